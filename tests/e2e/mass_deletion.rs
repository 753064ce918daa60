//! A deletion of more than half of a folder waits for its user's word.

use crate::support::files::{bytes, exists, mkdir, read, remove, remove_tree, touch, write};
use crate::support::node::Group;
use crate::support::snapshot::Snapshot;
use crate::support::status::State;
use crate::support::wait::wait_until;

const FILES: u64 = 40;
const DELETED: u64 = 30;

/// A folder with [`FILES`] files in one directory, the same on both, and what it holds.
fn filled() -> (Group, Snapshot) {
    let group = Group::pair();
    for i in 0..FILES {
        write(group.nodes[0].at(format!("file {i}")), bytes(i, 1000));
        touch(group.nodes[0].at(format!("file {i}")), 1_600_000_000_000_000_000 + i);
    }
    group.converge(&[0, 1]);
    let holds = Snapshot::of(&group.nodes[0].dir);
    (group, holds)
}

fn delete_many(group: &Group, i: usize) {
    for file in 0..DELETED {
        remove(group.nodes[i].at(format!("file {file}")));
    }
}

/// A is held and says so; B has everything.
#[track_caller]
fn assert_held(group: &Group, holds: &Snapshot) {
    group.nodes[0].assert_held();
    let there = Snapshot::of(&group.nodes[1].dir);
    assert_eq!(holds.difference(&there), None, "B lost something (left: what it had)");
}

#[track_caller]
fn assert_deleted(group: &Group) {
    group.converge(&[0, 1]);
    for node in &group.nodes {
        for file in 0..FILES {
            let kept = exists(node.at(format!("file {file}")));
            assert_eq!(kept, file >= DELETED, "file {file} on {}", node.name);
        }
    }
}

#[test]
fn a_mass_deletion_online_is_held_and_then_approved() {
    let (group, holds) = filled();
    delete_many(&group, 0);
    assert_held(&group, &holds);
    group.say(0, "approve");
    assert_deleted(&group);
    // What was deleted elsewhere is kept as a version, not thrown away.
    let kept = std::fs::read_dir(group.nodes[1].private().join("versions"));
    assert!(kept.is_ok_and(|mut kept| kept.next().is_some()), "B kept no versions");
}

#[test]
fn a_mass_deletion_made_while_stopped_is_held_and_then_undone() {
    let (mut group, holds) = filled();
    group.nodes[0].stop();
    delete_many(&group, 0);
    group.nodes[0].restart();
    assert_held(&group, &holds);
    // Being held survives a restart.
    group.nodes[0].stop();
    group.nodes[0].restart();
    assert_held(&group, &holds);
    group.say(0, "undo");
    wait_until("all is back on A", || {
        holds.difference(&Snapshot::try_of(&group.nodes[0].dir).unwrap_or_default()).is_none()
    });
    group.converge(&[0, 1]);
    let there = Snapshot::of(&group.nodes[1].dir);
    assert_eq!(holds.difference(&there), None, "B lost something (left: what it had)");
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn other_changes_go_through_while_a_mass_deletion_is_held() {
    let (group, holds) = filled();
    delete_many(&group, 0);
    assert_held(&group, &holds);
    write(group.nodes[1].at("from b"), "while held");
    wait_until("B's new file is on A", || exists(group.nodes[0].at("from b")));
    write(group.nodes[0].at("from a"), "while held");
    wait_until("A's new file is on B", || exists(group.nodes[1].at("from a")));
    write(group.nodes[1].at("file 0"), "edited while its deletion is held");
    group.say(0, "approve");
    group.converge(&[0, 1]);
    for node in &group.nodes {
        assert_eq!(read(node.at("file 0")), b"edited while its deletion is held", "{}", node.name);
        assert!(!exists(node.at("file 1")));
    }
}

#[test]
fn a_whole_folder_deleted_at_once_goes_nowhere_until_its_user_says_so() {
    let group = Group::pair();
    for i in 0..FILES {
        let dir = format!("dir {}/inner", i % 3);
        mkdir(group.nodes[0].at(&dir));
        write(group.nodes[0].at(&dir).join(format!("file {i}")), bytes(i, 1000));
    }
    group.converge(&[0, 1]);
    let holds = Snapshot::of(&group.nodes[0].dir);
    for dir in 0..3 {
        remove_tree(group.nodes[0].at(format!("dir {dir}")));
    }
    assert_held(&group, &holds);
    group.say(0, "undo");
    group.converge(&[0, 1]);
    assert_eq!(holds.difference(&Snapshot::of(&group.nodes[0].dir)), None);
}

#[test]
fn a_mass_deletion_in_small_steps_is_held_before_half_of_the_folder_is_gone() {
    let (group, _) = filled();
    // Each step has gone out before the next one is made.
    let mut steps = 0;
    for file in 0..FILES {
        remove(group.nodes[0].at(format!("file {file}")));
        steps += 1;
        wait_until("it is told or held", || {
            !exists(group.nodes[1].at(format!("file {file}")))
                || group.nodes[0].folder().state == State::Held
        });
        if group.nodes[0].folder().state == State::Held {
            break;
        }
    }
    assert!(steps < FILES, "nothing was held");
    let left = (0..FILES).filter(|file| exists(group.nodes[1].at(format!("file {file}"))));
    assert!(left.count() as u64 >= FILES / 2, "{steps} steps");
}
