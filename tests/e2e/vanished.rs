//! The folder's directory vanishes while the node runs: nothing is deleted anywhere.

use crate::support::files::{bytes, mkdir, read, remove, remove_tree, rename, write};
use crate::support::mount::Mount;
use crate::support::node::Group;
use crate::support::skipped;
use crate::support::snapshot::Snapshot;
use crate::support::status::State;
use crate::support::wait::wait_until;

/// A folder with more than a few files, the same on both, and what it holds.
fn filled() -> (Group, Snapshot) {
    let group = Group::pair();
    for dir in ["one", "two", "three"] {
        mkdir(group.nodes[0].at(dir));
        for i in 0..20 {
            write(group.nodes[0].at(format!("{dir}/{i}")), bytes(i, 2000));
        }
    }
    group.converge(&[0, 1]);
    let holds = Snapshot::of(&group.nodes[1].dir);
    (group, holds)
}

/// The folder of A is in error and says why, and B keeps all of it, whatever A does now.
#[track_caller]
fn assert_harmless(group: &mut Group, holds: &Snapshot) {
    let folder = group.nodes[0].wait_state(State::Error);
    let why = folder.error.expect("an error comes with a reason");
    assert!(why.split_whitespace().count() >= 4, "no explanation: {why:?}");
    // The state alone may be early: a scan and a restart would announce what they miss.
    group.nodes[0].cli(&["scan"]);
    assert_kept(group, holds);
    let waited = group.nodes[0].cli(&["status", "--wait", "20"]).expect_explained(1);
    assert!(!waited.stderr.is_empty());
    group.nodes[0].stop();
    group.nodes[0].restart();
    group.nodes[0].wait_state(State::Error);
    group.nodes[0].cli(&["scan"]);
    assert_kept(group, holds);
    // The other side lives on.
    write(group.nodes[1].at("written meanwhile"), "on b");
    group.nodes[1].cli(&["scan"]).expect_code(0);
    remove(group.nodes[1].at("written meanwhile"));
    assert_kept(group, holds);
}

#[track_caller]
fn assert_kept(group: &Group, holds: &Snapshot) {
    let difference = holds.difference(&Snapshot::of(&group.nodes[1].dir));
    assert_eq!(difference, None, "B lost something (left: what it had)");
}

/// With the directory back, the folder goes on by itself.
#[track_caller]
fn assert_goes_on(group: &Group, holds: &Snapshot) {
    wait_until("the folder goes on", || group.nodes[0].folder().state == State::Idle);
    write(group.nodes[0].at("after"), "it came back");
    group.converge(&[0, 1]);
    assert_eq!(read(group.nodes[1].at("after")), b"it came back");
    let difference = holds.difference(&{
        let mut now = Snapshot::of(&group.nodes[0].dir);
        now.0.retain(|path, _| path.to_str() != Some("after"));
        now
    });
    assert_eq!(difference, None, "A lost something (left: what it had)");
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn moving_the_directory_away_deletes_nothing_and_moving_it_back_goes_on() {
    let (mut group, holds) = filled();
    let away = group.base.path().join("away");
    rename(&group.nodes[0].dir, &away);
    assert_harmless(&mut group, &holds);
    rename(&away, &group.nodes[0].dir);
    assert_goes_on(&group, &holds);
}

#[test]
fn deleting_the_directory_deletes_nothing_elsewhere() {
    let (mut group, holds) = filled();
    remove_tree(&group.nodes[0].dir);
    assert_harmless(&mut group, &holds);
    // An empty one in its place is not the folder either.
    mkdir(&group.nodes[0].dir);
    assert_harmless(&mut group, &holds);
}

#[test]
fn deleting_the_marker_deletes_nothing_even_if_files_go_after_it() {
    let (mut group, holds) = filled();
    let marker = group.nodes[0].private().join("folder");
    let content = read(&marker);
    remove(&marker);
    remove_tree(group.nodes[0].at("one"));
    assert_harmless(&mut group, &holds);
    // Another device's marker is as good as none: that is a copy of a folder.
    write(&marker, read(group.nodes[1].private().join("folder")));
    assert_harmless(&mut group, &holds);
    write(&marker, content);
    wait_until("the folder goes on", || group.nodes[0].folder().state != State::Error);
}

#[test]
fn an_empty_mount_over_the_directory_deletes_nothing_and_unmounting_goes_on() {
    let (mut group, holds) = filled();
    match Mount::tmpfs(&group.nodes[0].dir, 4) {
        Ok(mount) => group.mounts.push(mount),
        Err(why) => return skipped("an empty mount over a folder", &why),
    }
    assert_harmless(&mut group, &holds);
    group.mounts.clear();
    assert_goes_on(&group, &holds);
}

#[test]
fn a_mount_that_is_gone_deletes_nothing() {
    let mut group = Group::new(2);
    match Mount::tmpfs(&group.nodes[0].dir, 16) {
        Ok(mount) => group.mounts.push(mount),
        Err(why) => return skipped("a folder on a mount that goes away", &why),
    }
    group.start(&[0, 1]);
    for i in 0..50 {
        write(group.nodes[0].at(i.to_string()), bytes(i, 2000));
    }
    group.converge(&[0, 1]);
    let holds = Snapshot::of(&group.nodes[1].dir);
    // Only the mount point is left, empty.
    group.mounts.clear();
    assert_harmless(&mut group, &holds);
}
