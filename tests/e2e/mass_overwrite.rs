//! Most of a folder's files replaced within minutes waits for its user's word.

use crate::support::files::{bytes, exists, read, remove, rename, touch, write};
use crate::support::node::Group;
use crate::support::snapshot::Snapshot;
use crate::support::status::State;
use crate::support::wait::wait_until;

const FILES: u64 = 40;
const OVERWRITTEN: u64 = 30;
/// Of these, the contents are cut into blocks.
const LARGE: u64 = 5;

fn name(file: u64) -> String {
    format!("file {file}.jpg")
}

fn len(file: u64) -> usize {
    if file < LARGE { 200_000 } else { 1_000 }
}

fn encrypted(file: u64) -> Vec<u8> {
    bytes(1_000 + file, len(file))
}

/// A folder with [`FILES`] files, the same on both, and what it holds.
fn filled() -> (Group, Snapshot) {
    let group = Group::pair();
    for file in 0..FILES {
        write(group.nodes[0].at(name(file)), bytes(file, len(file)));
        touch(group.nodes[0].at(name(file)), 1_600_000_000_000_000_000 + file);
    }
    group.converge(&[0, 1]);
    let holds = Snapshot::of(&group.nodes[0].dir);
    (group, holds)
}

fn overwrite_many(group: &Group, i: usize) {
    for file in 0..OVERWRITTEN {
        write(group.nodes[i].at(name(file)), encrypted(file));
    }
}

/// Node `i` is held and says what to do.
#[track_caller]
fn assert_held(group: &Group, i: usize) {
    let why = group.nodes[i].assert_held();
    assert!(why.contains("replaced"), "not what happened: {why}");
}

/// How many of the overwritten files are as they were at node `i`.
fn untouched(group: &Group, i: usize) -> u64 {
    let same = |file: &u64| read(group.nodes[i].at(name(*file))) == bytes(*file, len(*file));
    (0..OVERWRITTEN).filter(same).count() as u64
}

#[track_caller]
fn assert_overwritten(group: &Group) {
    group.converge(&[0, 1]);
    for node in &group.nodes {
        for file in 0..OVERWRITTEN {
            assert!(read(node.at(name(file))) == encrypted(file), "{file} on {}", node.name);
        }
    }
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn a_mass_overwrite_made_while_stopped_goes_nowhere_and_is_undone() {
    let (mut group, holds) = filled();
    group.nodes[0].stop();
    overwrite_many(&group, 0);
    group.nodes[0].restart();
    assert_held(&group, 0);
    // Being held survives a restart, and other changes go through.
    group.nodes[0].stop();
    group.nodes[0].restart();
    assert_held(&group, 0);
    write(group.nodes[1].at("from b"), "while held");
    write(group.nodes[0].at("from a"), "while held");
    wait_until("both new files are on both", || {
        exists(group.nodes[0].at("from b")) && exists(group.nodes[1].at("from a"))
    });
    assert_eq!(untouched(&group, 1), OVERWRITTEN, "B has lost something");
    group.say(0, "undo");
    wait_until("all is back on A", || untouched(&group, 0) == OVERWRITTEN);
    for i in 0..2 {
        remove(group.nodes[i].at(if i == 0 { "from a" } else { "from b" }));
    }
    group.converge(&[0, 1]);
    for node in &group.nodes {
        let there = Snapshot::of(&node.dir);
        assert_eq!(holds.difference(&there), None, "{} (left: what it had)", node.name);
    }
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn a_mass_overwrite_online_is_held_before_most_of_it_is_told_and_all_of_it_is_undone() {
    let (group, holds) = filled();
    overwrite_many(&group, 0);
    assert_held(&group, 0);
    assert!(untouched(&group, 1) >= OVERWRITTEN - 20, "B has {}", untouched(&group, 1));
    group.say(0, "undo");
    wait_until("all is back on both", || {
        untouched(&group, 0) == OVERWRITTEN && untouched(&group, 1) == OVERWRITTEN
    });
    group.converge(&[0, 1]);
    let there = Snapshot::of(&group.nodes[1].dir);
    assert_eq!(holds.difference(&there), None, "B lost something (left: what it had)");
}

#[test]
fn a_mass_overwrite_that_is_approved_goes_through() {
    let (mut group, _) = filled();
    group.nodes[0].stop();
    overwrite_many(&group, 0);
    group.nodes[0].restart();
    assert_held(&group, 0);
    group.say(0, "approve");
    assert_overwritten(&group);
}

#[test]
fn a_device_that_holds_nothing_lets_it_go_and_the_next_one_holds_it() {
    let (mut group, _) = filled();
    let folder = group.nodes[0].dir.to_string_lossy().into_owned();
    group.nodes[0].cli(&["folder", "set", &folder, "hold", "never"]).expect_explained(1);
    group.nodes[0].cli(&["folder", "set", &folder, "hold", "off"]).expect_code(0);
    group.nodes[0].stop();
    overwrite_many(&group, 0);
    group.nodes[0].restart();
    assert_held(&group, 1);
    assert_eq!(untouched(&group, 1), OVERWRITTEN, "B has lost something");
    group.say(1, "approve");
    assert_overwritten(&group);
}

#[test]
fn contents_under_new_names_are_a_mass_deletion() {
    let (mut group, _) = filled();
    // What was made a minute ago would be new as well; what was there at the start is not.
    group.nodes[0].stop();
    group.nodes[0].restart();
    group.converge(&[0, 1]);
    for file in 0..OVERWRITTEN {
        let locked = group.nodes[0].at(format!("{}.locked", name(file)));
        write(group.nodes[0].at(format!("{}.tmp", name(file))), encrypted(file));
        remove(group.nodes[0].at(name(file)));
        rename(group.nodes[0].at(format!("{}.tmp", name(file))), locked);
    }
    let folder = group.nodes[0].wait_state(State::Held);
    assert!(folder.error.is_some_and(|why| why.contains("deleted")));
    assert_eq!(untouched(&group, 1), OVERWRITTEN, "B has lost something");
    group.say(0, "undo");
    wait_until("all is back on A", || {
        (0..OVERWRITTEN).all(|file| exists(group.nodes[0].at(name(file))))
    });
    group.converge(&[0, 1]);
    assert_eq!(untouched(&group, 0), OVERWRITTEN);
}
