//! What files held before: told, restored, kept small, and read back.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::Value;

use crate::support::files::{
    MANY_DIRS, bytes, exists, many, mkdir, names, read, remove, remove_tree, rename, write,
};
use crate::support::mount::Mount;
use crate::support::node::{Group, Node};
use crate::support::skipped;
use crate::support::snapshot::{Snapshot, assert_same_tree};
use crate::support::wait::wait_until;

/// Size of the file that is edited in place, in MiB; with this set, 100.
const FULL: &str = "DUNLIN_E2E_FULL";

/// Two nodes; what the second one moves aside is packed at once.
fn pair() -> Group {
    let group = Group::pair();
    let name = group.nodes[1].folder().name;
    group.nodes[1].cli(&["folder", "set", &name, "versions-delay", "0s"]).expect_code(0);
    group
}

fn json(node: &Node, arguments: &[&str]) -> Value {
    let outcome = node.cli(&[arguments, &["--json"]].concat()).expect_code(0);
    serde_json::from_str(&outcome.stdout).expect("JSON, as promised")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// The versions of a path, newest first: number (none of the present one), path, what became of it.
fn history(node: &Node, path: &str) -> Vec<(Option<u64>, String, String)> {
    let told = json(node, &["history", text(&node.at(path))]);
    let versions = told["versions"].as_array().expect("a list");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    versions.iter().map(|v| (v["version"].as_u64(), word(&v["path"]), word(&v["change"]))).collect()
}

/// Waits until all is in sync: thousands of files take a debug build on a busy machine a while.
fn wait_long(node: &Node) {
    wait_until("thousands of files are in sync", || {
        node.cli(&["status", "--wait", "60"]).code == Some(0)
    });
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Waits until nothing waits to be packed.
fn wait_packed(node: &Node) {
    let versions = node.private().join("versions");
    wait_until("everything is packed", || {
        names(&versions).iter().all(|name| name == "objects" || name == "journal")
    });
}

/// Bytes of all that the version store holds.
fn store_bytes(node: &Node) -> u64 {
    let mut todo = vec![node.private().join("versions")];
    let mut sum = 0;
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the store") {
            let entry = entry.expect("an entry of the store");
            let meta = entry.metadata().expect("a file of the store");
            if meta.is_dir() {
                todo.push(entry.path());
            } else {
                sum += meta.len();
            }
        }
    }
    sum
}

#[test]
fn an_edited_renamed_and_deleted_file_has_one_history_on_both_sides() {
    let group = pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    write(a.at("draft.dat"), "first");
    a.wait_in_sync();
    write(a.at("draft.dat"), "second");
    a.wait_in_sync();
    rename(a.at("draft.dat"), a.at("final.dat"));
    a.wait_in_sync();
    write(a.at("final.dat"), "third");
    a.wait_in_sync();
    for node in [a, b] {
        let told = history(node, "final.dat");
        let changes: Vec<_> =
            told.iter().map(|(_, path, change)| (path.as_str(), change.as_str())).collect();
        let expected = [("final.dat", ""), ("final.dat", "edited"), ("draft.dat", "edited")];
        assert_eq!(changes, expected, "{}", node.name);
    }
    wait_packed(b);
    let told = json(b, &["history", text(&b.at("final.dat"))]);
    assert_eq!(told["versions"][1]["by_name"], "a");
    assert_eq!(told["versions"][1]["changed_by_name"], "a");
    assert_eq!(told["versions"][1]["place"], "here");
    let told = json(a, &["history", text(&a.at("final.dat"))]);
    assert_eq!(told["versions"][1]["place"], "elsewhere");

    remove(a.at("final.dat"));
    a.wait_in_sync();
    for node in [a, b] {
        let told = history(node, "final.dat");
        assert_eq!((told[0].0.is_some(), told[0].2.as_str()), (true, "deleted"), "{}", node.name);
    }
    // The user of `a` deleted it: the bytes come from `b`.
    a.cli(&["restore", text(&a.at("final.dat"))]).expect_code(0);
    assert_eq!(read(a.at("final.dat")), b"third");
    a.wait_in_sync();
    assert_same_tree(&a.dir, &b.dir);
}

#[test]
fn a_restore_replaces_nothing_newer_unless_told_and_keeps_what_it_replaces() {
    let group = pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    write(a.at("f"), "old");
    a.wait_in_sync();
    write(a.at("f"), "new");
    a.wait_in_sync();
    let at = b.at("f");
    let first = history(b, "f").last().and_then(|(id, ..)| *id).expect("a version").to_string();
    let arguments = ["restore", text(&at), "--version", &first];
    let refused = b.cli(&arguments).expect_explained(1);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(read(&at), b"new");
    let beside = group.base.path().join("elsewhere/f");
    b.cli(&[&arguments[..], &["--to", text(&beside)]].concat()).expect_code(0);
    assert_eq!(read(&beside), b"old");
    let taken = b.cli(&[&arguments[..], &["--to", text(&beside)]].concat()).expect_explained(1);
    assert!(taken.stderr.contains("is there already"), "{}", taken.stderr);

    b.cli(&[&arguments[..], &["--force"]].concat()).expect_code(0);
    assert_eq!(read(&at), b"old");
    b.wait_in_sync();
    assert_eq!(read(a.at("f")), b"old");
    let told = history(b, "f");
    assert_eq!(told[1].2, "restored");
    let replaced = told[1].0.expect("a version").to_string();
    b.cli(&["restore", text(&at), "--version", &replaced, "--force"]).expect_code(0);
    assert_eq!(read(&at), b"new");
    b.cli(&["restore", text(&b.at("never"))]).expect_explained(1);
}

#[test]
fn a_deleted_directory_comes_back_whole() {
    let group = pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    mkdir(a.at("keep"));
    mkdir(a.at("d/e/empty"));
    for number in 0..30 {
        write(a.at(format!("keep/{number}")), bytes(number, 100));
    }
    write(a.at("d/small"), "small");
    write(a.at("d/e/large"), bytes(1, 300_000));
    std::os::unix::fs::symlink("small", a.at("d/link")).expect("a link");
    a.wait_in_sync();
    let before = Snapshot::of(&b.dir);
    remove_tree(a.at("d"));
    a.wait_in_sync();
    assert!(!exists(b.at("d")));
    wait_packed(b);
    b.cli(&["restore", text(&b.at("d"))]).expect_code(0);
    let after = Snapshot::of(&b.dir);
    assert_eq!(before.difference(&after), None);
    b.wait_in_sync();
    assert_same_tree(&a.dir, &b.dir);
}

#[test]
fn a_folder_of_ten_thousand_files_goes_back_to_an_earlier_time_in_one_command() {
    let group = pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    many(&a.dir, 1);
    wait_long(a);
    let (before, then) = (Snapshot::of(&b.dir), now());
    for dir in 0..MANY_DIRS * 3 / 10 {
        remove_tree(a.at(format!("d{dir:03}")));
    }
    for dir in MANY_DIRS * 7 / 10..MANY_DIRS {
        for name in names(a.at(format!("d{dir:03}"))) {
            write(a.at(format!("d{dir:03}/{name}")), format!("overwritten: {name}"));
        }
    }
    write(a.at("made since"), "stays");
    wait_long(a);
    let report = json(b, &["restore", text(&b.dir), "--at", &then, "--force"]);
    assert_eq!(report["failed_count"], 0);
    assert_eq!(report["stayed"], 1);
    // What was restored as a directory counts as well.
    assert!(report["restored"].as_u64() >= Some(6000), "{}", report["restored"]);
    let mut after = Snapshot::of(&b.dir);
    assert!(after.0.remove(Path::new("made since")).is_some());
    assert_eq!(before.difference(&after), None);
    wait_long(b);
    assert_same_tree(&a.dir, &b.dir);
}

#[test]
fn a_kill_in_the_middle_of_packing_loses_no_version() {
    let mut group = pair();
    let a = &group.nodes[0];
    for number in 0..2600u64 {
        write(a.at(format!("f{number}")), bytes(number, 2_000));
    }
    mkdir(a.at("d"));
    for number in 0..800u64 {
        write(a.at(format!("d/{number}")), bytes(10_000 + number, 2_000));
    }
    a.wait_in_sync();
    let before = Snapshot::of(&group.nodes[1].dir);
    remove_tree(group.nodes[0].at("d"));
    let objects = group.nodes[1].private().join("versions/objects");
    wait_until("something is packed", || exists(&objects));
    group.nodes[1].kill9();
    group.nodes[1].restart();
    group.nodes[0].wait_in_sync();
    let b = &group.nodes[1];
    wait_packed(b);
    assert!(!exists(b.at("d")));
    b.cli(&["restore", text(&b.at("d"))]).expect_code(0);
    let after = Snapshot::of(&b.dir);
    assert_eq!(before.difference(&after), None);
}

#[test]
fn a_hundred_edits_in_place_cost_what_has_changed() {
    let mib: usize = if std::env::var(FULL).is_ok() { 100 } else { 16 };
    let group = pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    let mut content = bytes(7, mib << 20);
    write(a.at("large"), &content);
    a.wait_in_sync();
    wait_packed(b);
    let empty = store_bytes(b);
    let mut kept = Vec::new();
    let mut blocks = std::collections::BTreeMap::new();
    let file = OpenOptions::new().write(true).open(a.at("large")).expect("opened");
    for edit in 0..100 {
        let hash = dunlin_blocks::hash_bytes(&content);
        kept.push(blake3::hash(&content));
        blocks.extend(hash.blocks.into_iter().map(|(_, block)| (block.hash, block.len)));
        let at = edit * (content.len() / 100) + 4321;
        content[at] ^= 0xff;
        file.write_all_at(&content[at..=at], at as u64).expect("written");
        a.wait_in_sync();
    }
    wait_packed(b);
    for (_, block) in dunlin_blocks::hash_bytes(&content).blocks {
        blocks.remove(&block.hash);
    }
    let changed: u64 = blocks.values().map(|len| u64::from(*len)).sum();
    let stored = store_bytes(b) - empty;
    println!("{mib} MiB, 100 edits: {changed} bytes changed, {stored} bytes stored");
    assert!(stored <= changed + changed / 10, "{stored} bytes for {changed} that changed");

    let told = history(b, "large");
    assert_eq!(told.len(), 101);
    for edit in [0, 57, 99] {
        let id = told[100 - edit].0.expect("a version").to_string();
        let to = group.base.path().join("old");
        b.cli(&["restore", text(&b.at("large")), "--version", &id, "--force", "--to", text(&to)])
            .expect_code(0);
        assert_eq!(blake3::hash(&read(&to)), kept[edit], "after {edit} edits");
    }
}

#[test]
fn verify_finds_and_repairs_a_flipped_bit() {
    let mut group = Group::new(2);
    let image = group.base.path().join("image");
    match Mount::ext4(&image, &group.nodes[1].dir, 64) {
        Ok(mount) => group.mounts.push(mount),
        Err(why) => return skipped("a disk that rots", &why),
    }
    group.start(&[0, 1]);
    let name = group.nodes[1].folder().name;
    group.nodes[1].cli(&["folder", "set", &name, "versions-delay", "0s"]).expect_code(0);
    let contents = [("small", bytes(1, 5_000)), ("large", bytes(2, 400_000))];
    for (name, content) in &contents {
        write(group.nodes[0].at(name), content);
    }
    write(group.nodes[0].at("gone"), bytes(3, 5_000));
    group.nodes[0].wait_in_sync();
    let before = Snapshot::of(&group.nodes[0].dir);
    remove(group.nodes[0].at("gone"));
    group.nodes[0].wait_in_sync();
    wait_packed(&group.nodes[1]);
    let whole = json(&group.nodes[1], &["folder", "verify", &name]);
    assert_eq!((&whole["files"], &whole["rotten_count"]), (&2.into(), &0.into()));
    assert_eq!((&whole["objects"], &whole["objects_damaged"]), (&1.into(), &0.into()));

    group.nodes[1].stop();
    group.nodes[0].stop();
    for content in [&contents[0].1[1000..1100], &contents[1].1[200_000..200_100]] {
        group.mounts[0].rot(&image, content);
    }
    // The object of what was deleted: it is stored as it is, since noise cannot be compressed.
    group.mounts[0].rot(&image, &bytes(3, 5_000)[2000..2100]);
    group.nodes[1].restart();
    let alone = group.nodes[1].cli(&["folder", "verify", &name, "--json"]).expect_code(1);
    let alone: Value = serde_json::from_str(&alone.stdout).expect("JSON, as promised");
    assert_eq!((&alone["rotten_count"], &alone["repaired_count"]), (&2.into(), &0.into()));
    assert_eq!((&alone["objects_damaged"], &alone["objects_repaired"]), (&1.into(), &0.into()));
    group.nodes[1].cli(&["restore", text(&group.nodes[1].at("gone"))]).expect_explained(1);

    group.nodes[0].restart();
    group.nodes[0].wait_in_sync();
    let repaired = json(&group.nodes[1], &["folder", "verify", &name]);
    assert_eq!((&repaired["rotten_count"], &repaired["repaired_count"]), (&2.into(), &2.into()));
    for (name, content) in &contents {
        assert_eq!(&read(group.nodes[1].at(name)), content);
    }
    let mut left = before;
    assert!(left.0.remove(Path::new("gone")).is_some());
    assert_eq!(left.difference(&Snapshot::of(&group.nodes[1].dir)), None);
    let good = json(&group.nodes[1], &["folder", "verify", &name]);
    assert_eq!(good["rotten_count"], 0);
    group.nodes[1].wait_in_sync();
    assert_same_tree(&group.nodes[0].dir, &group.nodes[1].dir);
}
