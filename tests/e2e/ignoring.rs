//! `.dunlinignore`: what is ignored stays where it is and goes nowhere.

use crate::support::files::{exists, mkdir, read, remove, remove_tree, rename, write};
use crate::support::node::Group;
use crate::support::wait::wait_until;

#[test]
fn ignored_files_stay_move_with_their_directory_and_are_not_synced() {
    let mut group = Group::new(2);
    let ignore = "# comment\n*.tmp\n!wanted.tmp\nbuild/\n/only-at-the-root\n";
    write(group.nodes[0].at(".dunlinignore"), ignore);
    mkdir(group.nodes[0].at("dir"));
    mkdir(group.nodes[0].at("build"));
    for path in ["dir/kept", "dir/junk.tmp", "dir/wanted.tmp", "dir/only-at-the-root"] {
        write(group.nodes[0].at(path), path);
    }
    for path in ["build/object", "only-at-the-root"] {
        write(group.nodes[0].at(path), path);
    }
    group.start(&[0, 1]);
    wait_until("the first files are on B", || exists(group.nodes[1].at("dir/kept")));
    group.nodes[1].wait_in_sync();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    for path in ["dir/wanted.tmp", "dir/only-at-the-root"] {
        assert_eq!(read(b.at(path)), path.as_bytes());
    }
    for path in ["dir/junk.tmp", "build", "only-at-the-root"] {
        assert!(!exists(b.at(path)), "{path} was synced");
    }

    // The rules hold on B as well, whether they came with the folder or are its own.
    if !exists(b.at(".dunlinignore")) {
        write(b.at(".dunlinignore"), ignore);
        b.cli(&["scan"]).expect_code(0);
    }
    write(b.at("dir/own.tmp"), "B's own");
    rename(a.at("dir"), a.at("renamed"));
    wait_until("the rename is on B", || exists(b.at("renamed/kept")) && !exists(b.at("dir")));
    assert_eq!(read(b.at("renamed/own.tmp")), b"B's own");
    assert_eq!(read(a.at("renamed/junk.tmp")), b"dir/junk.tmp");
    assert!(!exists(a.at("renamed/own.tmp")), "an ignored file was synced");

    // Deleted elsewhere: what is ignored stays, and keeps its directory, and nobody hears of it.
    remove_tree(a.at("renamed"));
    wait_until("the deletion is on B", || !exists(b.at("renamed/kept")));
    assert_eq!(read(b.at("renamed/own.tmp")), b"B's own");
    b.cli(&["scan"]).expect_code(0);
    group.nodes[1].stop();
    group.nodes[1].restart();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    write(b.at("after"), "the restart");
    wait_until("what B wrote after is on A", || exists(a.at("after")));
    a.wait_in_sync();
    assert!(!exists(a.at("renamed")), "the directory was announced again");
    assert_eq!(read(b.at("renamed/own.tmp")), b"B's own");
}

#[test]
fn what_becomes_ignored_is_not_deleted_anywhere() {
    let group = Group::pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    for name in ["one.log", "two.log", "three"] {
        write(a.at(name), name);
    }
    group.converge(&[0, 1]);
    write(a.at(".dunlinignore"), "*.log\n");
    write(a.at("three"), "edited");
    wait_until("the edit is on B", || exists(b.at("three")) && read(b.at("three")) == b"edited");
    a.cli(&["scan"]).expect_code(0);
    b.cli(&["scan"]).expect_code(0);
    for node in [a, b] {
        for name in ["one.log", "two.log"] {
            assert_eq!(read(node.at(name)), name.as_bytes(), "on {}", node.name);
        }
    }
    remove(a.at(".dunlinignore"));
    a.cli(&["scan"]).expect_code(0);
    write(a.at("one.log"), "edited, no longer ignored");
    wait_until("the edit is on B", || read(b.at("one.log")) == b"edited, no longer ignored");
}
