//! Joining: codes with and without a running node, directories that hold files already.

use std::collections::BTreeSet;

use crate::support::files::{bytes, mkdir, names, read, touch, write};
use crate::support::node::Group;
use crate::support::status::State;
use crate::support::wait::wait_until;

#[test]
fn a_directory_with_files_keeps_them_equal_ones_are_adopted_and_others_are_conflicts() {
    let mut group = Group::new(2);
    let equal = bytes(1, 200_000);
    for node in &group.nodes {
        mkdir(node.at("dir"));
        write(node.at("dir/equal"), &equal);
        write(node.at("equal"), "the same on both");
    }
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    touch(a.at("dir/equal"), 1_500_000_000_000_000_000);
    write(a.at("different"), "as A has it");
    write(b.at("different"), "as B has it, newer and longer");
    write(a.at("only on a"), "a");
    write(b.at("dir/only on b"), "b");
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    for node in &group.nodes {
        assert_eq!(read(node.at("dir/equal")), equal);
        assert_eq!(names(node.at("dir")), ["equal", "only on b"]);
        // Both versions are there: one under the name, one beside it.
        let all: BTreeSet<String> = names(&node.dir).into_iter().collect();
        assert_eq!(all.len(), 5, "{all:?}");
        let versions: BTreeSet<Vec<u8>> = all
            .iter()
            .filter(|name| name.contains("different"))
            .map(|name| read(node.at(name)))
            .collect();
        let expected = [&b"as A has it"[..], b"as B has it, newer and longer"];
        assert_eq!(versions, expected.map(<[u8]>::to_vec).into());
        assert_eq!(node.folder().conflicts, 1, "{}", node.name);
    }
    let moved = group.nodes[1].folder().received_bytes;
    assert!(moved < 100_000, "equal content was fetched: {moved} bytes");
}

#[test]
fn a_running_node_takes_a_joined_folder_up_at_once() {
    let mut group = Group::new(2);
    write(group.nodes[0].at("file"), "from a");
    // Each begins with a folder of its own.
    group.start(&[0]);
    let code = group.code();
    group.nodes[1].spawn(None);
    group.nodes[1].wait_ready();
    let second = group.base.path().join("second");
    let path = second.to_string_lossy().into_owned();
    group.nodes[1].cli(&["join", &code, &path]).expect_code(0);
    wait_until("the file is there", || {
        std::fs::read(second.join("file")).is_ok_and(|text| text == b"from a")
    });
    let status = group.nodes[1].status();
    assert_eq!(status.folders.len(), 2, "{status:?}");
    assert!(names(&group.nodes[1].dir).is_empty(), "the two folders were mixed up");
    // Both are there after a restart, and joining a second time changes nothing.
    group.nodes[1].stop();
    group.nodes[1].restart();
    assert_eq!(group.nodes[1].status().folders.len(), 2);
    write(second.join("back"), "from b");
    wait_until("the answer is there", || group.nodes[0].at("back").exists());
}

#[test]
fn join_without_a_node_is_remembered_for_the_next_up() {
    let mut group = Group::new(2);
    write(group.nodes[0].at("file"), "from a");
    group.start(&[0]);
    let code = group.code();
    let dir = group.nodes[1].dir.to_string_lossy().into_owned();
    group.nodes[1].cli(&["join", &code, &dir]).expect_code(0);
    group.nodes[1].assume_joined();
    group.nodes[1].restart();
    group.converge(&[0, 1]);
    assert_eq!(read(group.nodes[1].at("file")), b"from a");
}

#[test]
fn share_works_with_and_without_a_running_node() {
    let mut group = Group::new(1);
    group.start(&[0]);
    let printed = group.nodes[0].join_code();
    let dir = group.nodes[0].dir.to_string_lossy().into_owned();
    let running = group.nodes[0].cli(&["share", &dir]).expect_code(0).stdout;
    group.nodes[0].stop();
    let stopped = group.nodes[0].cli(&["share", &dir]).expect_code(0).stdout;
    for code in [printed.as_str(), running.trim_end(), stopped.trim_end()] {
        assert!(code.starts_with("dunlin1"), "{code}");
        assert_eq!(code.lines().count(), 1);
    }
    let read_only = group.nodes[0].cli(&["share", &dir, "--tier", "read"]).expect_code(0).stdout;
    assert!(read_only.starts_with("dunlin1") && read_only != stopped);
    let by_name = group.nodes[0].cli(&["share", "a", "--json"]).expect_code(0).stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&by_name).is_ok(), "{by_name}");
}

#[test]
fn a_reader_gets_everything_and_changes_nothing() {
    let mut group = Group::new(2);
    write(group.nodes[0].at("file"), "from a");
    group.start(&[0]);
    let dir = group.nodes[0].dir.to_string_lossy().into_owned();
    let code = group.nodes[0].cli(&["share", &dir, "--tier", "read"]).expect_code(0).stdout;
    group.nodes[1].spawn(Some(code.trim()));
    group.nodes[1].wait_ready();
    wait_until("the reader has the file", || group.nodes[1].at("file").exists());
    assert_eq!(read(group.nodes[1].at("file")), b"from a");
    assert_eq!(group.nodes[1].folder().tier, "read");
    write(group.nodes[1].at("file"), "changed by the reader");
    write(group.nodes[1].at("own"), "made by the reader");
    group.nodes[1].cli(&["scan"]);
    write(group.nodes[0].at("later"), "from a");
    wait_until("the reader has the next file", || group.nodes[1].at("later").exists());
    assert_eq!(names(&group.nodes[0].dir), ["file", "later"]);
    assert_eq!(read(group.nodes[0].at("file")), b"from a");
    assert_ne!(group.nodes[0].folder().state, State::Error);
}
