//! Devices that are removed: at once, for those that were away, and for old codes.

use std::fs;

use crate::support::files::{names, read, write};
use crate::support::node::Group;
use crate::support::status::State;
use crate::support::wait::wait_until;

/// Waits until a device that was removed says so.
#[track_caller]
fn wait_told(group: &Group, i: usize) -> String {
    let folder = group.nodes[i].wait_state(State::Error);
    let why = folder.error.expect("a folder that is stopped says why");
    assert!(why.contains("was removed from the folder") && why.contains("folder rm"), "{why}");
    why
}

/// Gives the names of the devices that a node is connected with.
fn connected(group: &Group, i: usize) -> Vec<String> {
    let devices = group.nodes[i].folder().devices.into_iter();
    devices.filter(|device| device.connected).map(|device| device.name).collect()
}

#[test]
fn a_device_that_is_removed_while_connected_is_out_at_once_and_the_others_go_on() {
    let mut group = Group::new(5);
    group.start(&[0, 1, 2]);
    write(group.nodes[0].at("before"), "1");
    group.converge(&[0, 1, 2]);
    let old_code = group.code();
    let said = group.nodes[0].cli(&["device", "remove", "c"]).expect_code(0).stderr;
    assert!(said.contains("copies that it has stay with it"), "{said}");
    wait_told(&group, 2);
    // What it does from now on appears nowhere, and what others do does not reach it.
    write(group.nodes[2].at("late"), "of the removed device");
    write(group.nodes[2].at("before"), "edited by the removed device");
    write(group.nodes[1].at("after"), "2");
    group.converge(&[0, 1]);
    assert_eq!((connected(&group, 0), connected(&group, 1)), (vec!["b".into()], vec!["a".into()]));
    assert_eq!(names(&group.nodes[0].dir), ["after", "before"]);
    let shown = group.nodes[0].folder().devices;
    assert_eq!(shown.len(), 1, "who was removed is not shown: {shown:?}");
    assert_eq!(names(&group.nodes[2].dir), ["before", "late"], "its own disk is left alone");
    // An old code lets nobody in, and says so; a new one does.
    group.nodes[3].spawn(Some(&old_code));
    group.nodes[3].wait_ready();
    wait_told(&group, 3);
    let new_code = group.code();
    assert_ne!(new_code, old_code);
    group.nodes[4].spawn(Some(&new_code));
    group.nodes[4].wait_ready();
    group.converge(&[0, 1, 4]);
    assert!(names(&group.nodes[3].dir).is_empty());
    // The same after everybody was started anew.
    group.stop(&[0, 1, 2, 4]);
    for i in [0, 1, 2, 4] {
        group.nodes[i].restart();
    }
    write(group.nodes[4].at("later"), "3");
    group.converge(&[0, 1, 4]);
    wait_told(&group, 2);
    assert_eq!(names(&group.nodes[1].dir), ["after", "before", "later"]);
    assert_eq!(read(group.nodes[1].at("before")), b"1");
    assert_eq!(names(&group.nodes[2].dir), ["before", "late"]);
}

#[test]
fn who_was_away_during_a_removal_takes_it_over_and_what_came_meanwhile_goes() {
    let mut group = Group::new(3);
    group.start(&[0, 1, 2]);
    write(group.nodes[0].at("before"), "1");
    write(group.nodes[0].at("both"), "as it was");
    group.converge(&[0, 1, 2]);
    group.stop(&[1, 2]);
    group.nodes[0].cli(&["device", "remove", "c"]).expect_code(0);
    write(group.nodes[0].at("after"), "2");
    group.stop(&[0]);
    // Those two have not heard of it, and go on together.
    group.start(&[1, 2]);
    write(group.nodes[2].at("late"), "of the removed device");
    write(group.nodes[2].at("both"), "edited by the removed device");
    write(group.nodes[1].at("mine"), "of a member");
    group.converge(&[1, 2]);
    group.start(&[0]);
    wait_until("b has what came after", || group.nodes[1].at("after").exists());
    group.converge(&[0, 1]);
    assert_eq!(names(&group.nodes[1].dir), ["after", "before", "both", "mine"]);
    assert_eq!(read(group.nodes[1].at("both")), b"as it was");
    wait_told(&group, 2);
    // What the removed device wrote is in the history of who had it.
    let both = group.nodes[1].at("both").to_string_lossy().into_owned();
    let history = group.nodes[1].cli(&["history", &both]).expect_code(0).stdout;
    assert!(history.lines().count() > 1, "{history}");
    // Let in anew, with a new code.
    let dir = group.nodes[2].dir.to_string_lossy().into_owned();
    group.nodes[2].cli(&["folder", "rm", &dir]).expect_code(0);
    fs::remove_file(group.nodes[2].at("both")).expect("its user agrees with the others");
    let code = group.nodes[1].cli(&["share", &group.nodes[1].dir.to_string_lossy()]);
    let code = code.expect_code(0).stdout.trim().to_owned();
    group.nodes[2].cli(&["join", &code, &dir]).expect_code(0);
    group.converge(&[0, 1, 2]);
    assert_eq!(names(&group.nodes[0].dir), ["after", "before", "both", "late", "mine"]);
}

#[test]
fn removals_made_apart_both_hold_and_those_that_are_left_agree_on_new_keys() {
    let mut group = Group::new(4);
    group.start(&[0, 1, 2, 3]);
    write(group.nodes[0].at("before"), "1");
    group.converge(&[0, 1, 2, 3]);
    group.stop(&[1, 2, 3]);
    group.nodes[0].cli(&["device", "remove", "c"]).expect_code(0);
    group.stop(&[0]);
    group.start(&[1]);
    group.nodes[1].cli(&["device", "remove", "d"]).expect_code(0);
    let of_b_alone = group.nodes[1].cli(&["share", &group.nodes[1].dir.to_string_lossy()]).stdout;
    group.start(&[0]);
    write(group.nodes[1].at("after"), "2");
    wait_until("a has what b wrote", || group.nodes[0].at("after").exists());
    wait_until("they agree on a new code", || {
        let codes = [0, 1].map(|i| {
            let dir = group.nodes[i].dir.to_string_lossy().into_owned();
            let code = group.nodes[i].cli(&["share", &dir]).expect_code(0).stdout;
            // What follows the keys are the addresses, which differ.
            code.chars().take(100).collect::<String>()
        });
        codes[0] == codes[1] && !of_b_alone.starts_with(&codes[0])
    });
    group.start(&[2, 3]);
    for i in [2, 3] {
        wait_told(&group, i);
    }
    write(group.nodes[0].at("last"), "3");
    group.converge(&[0, 1]);
    assert_eq!(names(&group.nodes[2].dir), ["before"]);
    assert_eq!(names(&group.nodes[3].dir), ["before"]);
}

#[test]
fn a_removal_that_cannot_be_is_refused_with_the_reason() {
    let mut group = Group::pair();
    write(group.nodes[0].at("file"), "1");
    group.converge(&[0, 1]);
    let refused = group.nodes[0].cli(&["device", "remove", "a"]).expect_explained(1);
    assert!(refused.stderr.contains("cannot remove itself"), "{}", refused.stderr);
    group.nodes[0].cli(&["device", "remove", "nobody"]).expect_explained(1);
    group.nodes[0].cli(&["device", "remove", "b", "--folder", "none"]).expect_explained(1);
    group.nodes[0].cli(&["device", "remove", "b", "--folder", "a"]).expect_code(0);
    wait_told(&group, 1);
    group.nodes[0].cli(&["device", "remove", "b"]).expect_explained(1);
    group.stop(&[0, 1]);
}
