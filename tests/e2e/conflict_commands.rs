//! `dunlin conflict ls|show|resolve`: what a user is told of a conflict, and how one ends.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::support::files::{bytes, mkdir, names, read, remove, rename, write};
use crate::support::node::{Group, Outcome};
use crate::support::process::Running;
use crate::support::wait::wait_until;

/// Large enough to be cut into blocks.
const LARGE: usize = 300_000;

/// A group of three, in which A and B have edited each of `files` apart; C had the old versions.
fn torn(files: &[&str]) -> Group {
    let mut group = Group::new(3);
    group.start(&[0, 1, 2]);
    mkdir(group.nodes[0].at("dir"));
    for file in files {
        write(group.nodes[0].at(file), format!("base of {file}\n"));
    }
    group.converge(&[0, 1, 2]);
    group.stop(&[0, 1]);
    for (i, who) in [(0, "a"), (1, "b")] {
        for file in files {
            write(group.nodes[i].at(file), format!("{who} wrote {file}\n"));
        }
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1, 2]);
    group
}

fn conflict(group: &Group, i: usize, arguments: &[&str]) -> Outcome {
    group.nodes[i].cli(&[&["conflict"], arguments].concat())
}

fn at(group: &Group, i: usize, path: &str) -> String {
    group.nodes[i].at(path).to_string_lossy().into_owned()
}

/// What `conflict ls --json` says at node `i`, by path.
fn listed(group: &Group, i: usize) -> BTreeMap<String, Value> {
    let outcome = conflict(group, i, &["ls", "--json"]).expect_code(0);
    let all: Vec<Value> = serde_json::from_str(&outcome.stdout).expect("a list");
    all.into_iter().map(|one| (one["path"].as_str().expect("a path").to_owned(), one)).collect()
}

/// The path of the copy that stands beside the winner at `path`.
fn copy_of(group: &Group, i: usize, path: &str) -> String {
    let listed = listed(group, i);
    let sides = listed[path]["sides"].as_array().expect("sides");
    assert_eq!(sides.len(), 2, "{sides:?}");
    sides[1]["path"].as_str().expect("a path").to_owned()
}

/// All nodes are the same, show no conflict, and have these files in the directory.
#[track_caller]
fn assert_over(group: &Group, which: &[usize], dir: &str, expected: &[&str]) {
    group.converge(which);
    group.assert_no_conflicts(which);
    for &i in which {
        assert_eq!(names(group.nodes[i].at(dir)), expected, "on {}", group.nodes[i].name);
        assert!(listed(group, i).is_empty());
    }
}

fn text(group: &Group, i: usize, path: &str) -> String {
    String::from_utf8(read(group.nodes[i].at(path))).expect("text")
}

/// Whether the version store of node `i` holds a file with this content.
fn kept(group: &Group, i: usize, content: &str) -> bool {
    let mut todo = vec![group.nodes[i].private().join("versions")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(path),
                Ok(kind) if kind.is_file() && read(&path) == content.as_bytes() => return true,
                _ => {}
            }
        }
    }
    false
}

#[test]
fn a_conflict_is_listed_with_its_sides_and_their_common_base_can_be_had() {
    let group = torn(&["dir/f.bin"]);
    for i in 0..3 {
        let listed = listed(&group, i);
        let one = &listed["dir/f.bin"];
        let sides = one["sides"].as_array().expect("sides");
        let mut devices: Vec<&str> =
            sides.iter().map(|side| side["device_name"].as_str().expect("a name")).collect();
        assert_eq!(sides[0]["path"], "dir/f.bin");
        assert!(sides[0]["winner"] == true && sides[1]["winner"] == false);
        for side in sides {
            let path = side["path"].as_str().expect("a path");
            assert_eq!(side["size"], read(group.nodes[i].at(path)).len(), "{side}");
            let who = side["device_name"].as_str().expect("a name");
            assert!(text(&group, i, path).starts_with(who), "{side}");
            assert!(side["modified"].as_str().is_some_and(|time| time.contains('T')), "{side}");
            assert!(side["here"] == true && side["kind"] == "file", "{side}");
        }
        devices.sort_unstable();
        assert_eq!(devices, ["a", "b"]);
        assert_eq!(one["base"]["size"], "base of dir/f.bin\n".len());
        let to = group.base.path().join(format!("base-{i}"));
        let to = to.to_string_lossy();
        conflict(&group, i, &["show", &at(&group, i, "dir/f.bin"), "--base", &to]).expect_code(0);
        assert_eq!(read(&*to), b"base of dir/f.bin\n");
        // What is there is not overwritten.
        let again = conflict(&group, i, &["show", &at(&group, i, "dir/f.bin"), "--base", &to]);
        again.expect_explained(1);
    }
    // For a person, and by the path of the copy.
    let copy = copy_of(&group, 0, "dir/f.bin");
    let told = conflict(&group, 0, &["show", &at(&group, 0, &copy)]).expect_code(0).stdout;
    assert!(told.contains("f.bin") && told.contains("came from one of"), "{told}");
    conflict(&group, 0, &["show", &at(&group, 0, "dir")]).expect_explained(1);
}

#[test]
fn the_base_of_files_made_apart_is_said_to_be_unknown() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    write(group.nodes[0].at("f.bin"), "made on a");
    write(group.nodes[1].at("f.bin"), "made on b");
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    assert!(listed(&group, 0)["f.bin"]["base"].is_null());
    let path = at(&group, 0, "f.bin");
    let told = conflict(&group, 0, &["show", &path]).expect_code(0).stdout;
    assert!(told.contains("not known"), "{told}");
    let to = group.base.path().join("base").to_string_lossy().into_owned();
    conflict(&group, 0, &["show", &path, "--base", &to]).expect_explained(1);
    conflict(&group, 0, &["resolve", &path, "--keep", "that"]).expect_code(0);
    assert_over(&group, &[0, 1], "", &["f.bin"]);
}

#[test]
fn one_side_or_both_can_be_kept_and_what_goes_is_kept_as_a_version() {
    let group = torn(&["dir/this.bin", "dir/that.bin", "dir/both.bin", "dir/newest.bin"]);
    assert_eq!(group.nodes[2].folder().conflicts, 4);
    let before: BTreeMap<&str, (String, String)> =
        ["dir/this.bin", "dir/that.bin", "dir/both.bin", "dir/newest.bin"]
            .into_iter()
            .map(|path| (path, (text(&group, 0, path), text(&group, 0, &copy_of(&group, 0, path)))))
            .collect();
    let both_from = listed(&group, 0)["dir/both.bin"]["sides"][1]["device_name"].clone();
    // By the winner's path, by the copy's, and on different devices.
    let copy = copy_of(&group, 0, "dir/this.bin");
    conflict(&group, 0, &["resolve", &at(&group, 0, &copy), "--keep", "this"]).expect_code(0);
    let that = at(&group, 1, "dir/that.bin");
    conflict(&group, 1, &["resolve", &that, "--keep", "that", "--json"]).expect_code(0);
    conflict(&group, 2, &["resolve", &at(&group, 2, "dir/both.bin"), "--keep", "both"])
        .expect_code(0);
    conflict(&group, 2, &["resolve", &at(&group, 2, "dir/newest.bin"), "--keep", "newest"])
        .expect_code(0);
    let plain = format!("both ({}).bin", both_from.as_str().expect("a name"));
    let expected = [&plain, "both.bin", "newest.bin", "that.bin", "this.bin"];
    let mut expected: Vec<&str> = expected.map(AsRef::as_ref).to_vec();
    expected.sort_unstable();
    assert_over(&group, &[0, 1, 2], "dir", &expected);
    for i in 0..3 {
        for path in ["dir/this.bin", "dir/that.bin"] {
            assert_eq!(text(&group, i, path), before[path].1, "{path}");
            assert!(kept(&group, i, &before[path].0), "{path} on {}", group.nodes[i].name);
        }
        // The winner is the newest.
        assert_eq!(text(&group, i, "dir/newest.bin"), before["dir/newest.bin"].0);
        assert!(kept(&group, i, &before["dir/newest.bin"].1));
        assert_eq!(text(&group, i, "dir/both.bin"), before["dir/both.bin"].0);
        assert_eq!(text(&group, i, &format!("dir/{plain}")), before["dir/both.bin"].1);
    }
}

#[test]
fn a_large_copy_takes_the_winners_place_where_nobody_else_has_it() {
    let mut group = Group::pair();
    write(group.nodes[0].at("f.bin"), bytes(1, LARGE));
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    for i in 0..2 {
        write(group.nodes[i].at("f.bin"), bytes(10 + i as u64, LARGE));
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    let wanted = read(group.nodes[0].at(copy_of(&group, 0, "f.bin")));
    group.stop(&[1]);
    conflict(&group, 0, &["resolve", &at(&group, 0, "f.bin"), "--keep", "that"]).expect_code(0);
    wait_until("it is in place", || read(group.nodes[0].at("f.bin")) == wanted);
    group.nodes[1].restart();
    assert_over(&group, &[0, 1], "", &["f.bin"]);
    assert!(read(group.nodes[1].at("f.bin")) == wanted, "another content on B");
}

#[test]
fn a_tool_merges_from_the_base_and_one_that_fails_changes_nothing() {
    let group = torn(&["dir/f.bin", "dir/g.bin"]);
    let path = at(&group, 0, "dir/f.bin");
    let both = names(group.nodes[0].at("dir"));
    let resolve =
        |tool: &str| conflict(&group, 0, &["resolve", &path, &format!("--with-tool={tool}")]);
    for bad in ["false", "true", "no-such-tool-anywhere"] {
        resolve(bad).expect_explained(1);
        assert_eq!(names(group.nodes[0].at("dir")), both);
    }
    // None is named.
    conflict(&group, 0, &["resolve", &path, "--with-tool"]).expect_explained(1);
    assert_eq!(listed(&group, 0).len(), 2);
    let (winner, copy) = (text(&group, 0, "dir/f.bin"), copy_of(&group, 0, "dir/f.bin"));
    let expected = format!("base of dir/f.bin\n{winner}{}", text(&group, 0, &copy));
    resolve(r#"cat "$BASE" "$LOCAL" "$REMOTE" > "$MERGED""#).expect_code(0);
    // Named by the environment; a result that is cut into blocks.
    let copy = at(&group, 0, &copy_of(&group, 0, "dir/g.bin"));
    let mut command = group.nodes[0].command(&["conflict", "resolve", &copy, "--with-tool"]);
    command.env("DUNLIN_MERGETOOL", format!("yes merged | head -c {LARGE} > \"$MERGED\""));
    let status = command.stdin(Stdio::null()).status().expect("the program under test starts");
    assert!(status.success());
    assert_over(&group, &[0, 1, 2], "dir", &["f.bin", "g.bin"]);
    for i in 0..3 {
        assert_eq!(text(&group, i, "dir/f.bin"), expected);
        assert_eq!(read(group.nodes[i].at("dir/g.bin")).len(), LARGE);
        assert!(kept(&group, i, &winner), "on {}", group.nodes[i].name);
    }
}

#[test]
fn two_devices_that_decide_differently_while_apart_come_to_one_result() {
    let mut group = torn(&["dir/one.bin", "dir/two.bin"]);
    let winner = text(&group, 0, "dir/one.bin");
    let copy = text(&group, 0, &copy_of(&group, 0, "dir/one.bin"));
    let from = listed(&group, 0)["dir/two.bin"]["sides"][1]["device_name"].clone();
    let plain = format!("two ({}).bin", from.as_str().expect("a name"));
    let decide = |group: &Group, i: usize, one: &str, two: &str| {
        for (path, keep) in [("dir/one.bin", one), ("dir/two.bin", two)] {
            conflict(group, i, &["resolve", &at(group, i, path), "--keep", keep]).expect_code(0);
        }
    };
    // Never both at once, so that neither knows of the other's decision.
    group.stop(&[1, 2]);
    decide(&group, 0, "that", "both");
    group.stop(&[0]);
    group.nodes[1].restart();
    decide(&group, 1, "this", "this");
    group.start(&[0, 2]);
    let mut expected = ["one.bin", "two.bin", &plain];
    expected.sort_unstable();
    assert_over(&group, &[0, 1, 2], "dir", &expected);
    for i in 0..3 {
        // The content that somebody chose anew beats the one that was there.
        assert_eq!(text(&group, i, "dir/one.bin"), copy, "on {}", group.nodes[i].name);
    }
    assert!(kept(&group, 0, &winner) || kept(&group, 1, &winner));
}

#[test]
fn a_copy_that_is_edited_renamed_or_deleted_by_hand_is_no_conflict_any_more_and_events_tell() {
    let group = torn(&["dir/e.bin", "dir/r.bin", "dir/d.bin"]);
    let path = group.base.path().join("events");
    let mut command = group.nodes[1].command(&["events"]);
    command.stdin(Stdio::null()).stdout(fs::File::create(&path).expect("a file"));
    let _events = Running::start(command);
    let mut count = 0;
    wait_until("events are being told", || {
        count += 1;
        write(group.nodes[1].at(format!("tick {count}")), "");
        fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())
    });
    let copies = ["dir/e.bin", "dir/r.bin", "dir/d.bin"].map(|path| copy_of(&group, 0, path));
    write(group.nodes[0].at(&copies[0]), "edited by hand");
    rename(group.nodes[0].at(&copies[1]), group.nodes[0].at("dir/mine.bin"));
    remove(group.nodes[0].at(&copies[2]));
    let edited = copies[0].strip_prefix("dir/").expect("a path in the directory");
    let mut expected = vec!["d.bin", "e.bin", "mine.bin", "r.bin", edited];
    expected.sort_unstable();
    assert_over(&group, &[0, 1, 2], "dir", &expected);
    wait_until("all three are told to be over", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let over = text.lines().filter(|line| line.contains("\"conflict_resolved\""));
        let over: Vec<&str> = over.collect();
        copies.iter().all(|copy| over.iter().any(|line| line.contains(copy.as_str())))
    });
}

#[test]
fn what_is_no_conflict_or_needs_a_choice_is_refused_with_words() {
    let group = torn(&["dir/f.bin"]);
    write(group.nodes[0].at("plain"), "plain");
    group.converge(&[0, 1, 2]);
    conflict(&group, 0, &["resolve", &at(&group, 0, "plain"), "--keep", "this"])
        .expect_explained(1);
    conflict(&group, 0, &["resolve", "/nowhere/at/all", "--keep", "this"]).expect_explained(1);
    conflict(&group, 0, &["resolve", &at(&group, 0, "dir/f.bin")]).expect_code(2);
    let folder = group.nodes[0].dir.to_string_lossy().into_owned();
    group.nodes[0].cli(&["folder", "pause", &folder]).expect_code(0);
    conflict(&group, 0, &["resolve", &at(&group, 0, "dir/f.bin"), "--keep", "this"])
        .expect_explained(1);
    assert_eq!(listed(&group, 0).len(), 1);
}

#[test]
fn texts_made_apart_are_resolved_and_go_on_to_merge() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    for i in 0..2 {
        for name in ["that.txt", "both.txt", "tool.txt"] {
            write(group.nodes[i].at(name), format!("one by {i}\ntwo by {i}\nthree by {i}\n"));
        }
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    assert_eq!(listed(&group, 0).len(), 3);
    let copy = text(&group, 0, &copy_of(&group, 0, "that.txt"));
    conflict(&group, 0, &["resolve", &at(&group, 0, "that.txt"), "--keep", "that"]).expect_code(0);
    conflict(&group, 1, &["resolve", &at(&group, 1, "both.txt"), "--keep", "both"]).expect_code(0);
    let tool = r#"--with-tool=cat "$LOCAL" "$REMOTE" > "$MERGED""#;
    conflict(&group, 0, &["resolve", &at(&group, 0, "tool.txt"), tool]).expect_code(0);
    group.converge(&[0, 1]);
    group.assert_no_conflicts(&[0, 1]);
    assert_eq!(text(&group, 1, "that.txt"), copy);
    assert_eq!(names(group.nodes[0].at("")).len(), 4);
    // What was edited once since, merges like any other text.
    for name in ["that.txt", "both.txt", "tool.txt"] {
        write(group.nodes[0].at(name), format!("{}four\n", text(&group, 0, name)));
    }
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    for name in ["that.txt", "both.txt", "tool.txt"] {
        let before = text(&group, 0, name);
        write(group.nodes[0].at(name), format!("first by a\n{before}"));
        write(group.nodes[1].at(name), format!("{before}last by b\n"));
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    group.assert_no_conflicts(&[0, 1]);
    for name in ["that.txt", "both.txt", "tool.txt"] {
        let merged = text(&group, 1, name);
        assert!(merged.starts_with("first by a\n") && merged.ends_with("last by b\n"), "{merged}");
    }
}
