//! The same operations while the devices are apart.

use std::path::Path;

use crate::operations::{act_all, prepare_all};
use crate::support::files::{mkdir, write};
use crate::support::node::Group;
use crate::support::skipped;
use crate::support::snapshot::Snapshot;
use crate::support::wait::wait_until;

/// Fails the test unless `node`'s trees below `from-…` are the `expected` ones.
#[track_caller]
fn assert_all_arrived(group: &Group, which: &[usize], expected: &[(String, Snapshot)]) {
    for &i in which {
        let node = &group.nodes[i];
        for (side, snapshot) in expected {
            let difference = snapshot.difference(&Snapshot::of(node.at(side)));
            assert_eq!(difference, None, "{side} on {} (left: as it should be)", node.name);
        }
    }
}

/// Does everything on node `i`'s side and gives what must arrive.
fn act_on(group: &Group, i: usize, side: &str) -> (String, Snapshot) {
    let root = group.nodes[i].at(side);
    act_all(&root);
    (side.to_owned(), Snapshot::of(root))
}

#[test]
fn every_operation_made_while_both_are_stopped_arrives_when_they_are_together() {
    let mut group = Group::pair();
    prepare_all(&group.nodes[0].at("from-a"));
    prepare_all(&group.nodes[1].at("from-b"));
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    let expected = [act_on(&group, 0, "from-a"), act_on(&group, 1, "from-b")];
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    assert_all_arrived(&group, &[0, 1], &expected);
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn every_operation_made_while_the_wire_is_out_arrives_when_it_is_back() {
    let group = Group::pair();
    if !group.network.is_isolated() {
        skipped("operations while the wire is out", "needs network namespaces");
        return;
    }
    prepare_all(&group.nodes[0].at("from-a"));
    prepare_all(&group.nodes[1].at("from-b"));
    group.converge(&[0, 1]);
    assert!(group.network.plug(1, false));
    let expected = [act_on(&group, 0, "from-a"), act_on(&group, 1, "from-b")];
    // Both have taken their own side's changes in before they meet again.
    for (i, side) in [(0, "from-a"), (1, "from-b")] {
        write(group.nodes[i].at(format!("{side}/last")), "the last one");
        group.nodes[i].cli(&["scan"]).expect_code(0);
    }
    assert!(group.network.plug(1, true));
    group.converge(&[0, 1]);
    for (side, snapshot) in expected {
        for node in &group.nodes {
            let mut there = Snapshot::of(node.at(&side));
            assert!(there.0.remove(Path::new("last")).is_some(), "no last file on {}", node.name);
            assert_eq!(snapshot.difference(&there), None, "{side} on {}", node.name);
        }
    }
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn three_nodes_of_which_never_all_three_are_up_at_once_become_the_same() {
    let mut group = Group::new(3);
    group.start(&[0, 1]);
    for (i, side) in [(0, "from-a"), (1, "from-b")] {
        prepare_all(&group.nodes[i].at(side));
    }
    group.converge(&[0, 1]);
    group.stop(&[0]);
    // C comes while A is away, and learns from B what A made.
    group.start(&[2]);
    prepare_all(&group.nodes[2].at("from-c"));
    group.converge(&[1, 2]);
    group.stop(&[1]);
    // Now each does its part while it is alone or with one other.
    let mut expected = vec![act_on(&group, 0, "from-a"), act_on(&group, 1, "from-b")];
    group.start(&[0]);
    expected.push(act_on(&group, 2, "from-c"));
    group.converge(&[0, 2]);
    group.stop(&[2]);
    group.start(&[1]);
    group.converge(&[0, 1]);
    group.stop(&[0]);
    group.start(&[2]);
    group.converge(&[1, 2]);
    assert_all_arrived(&group, &[0, 1, 2], &expected);
    group.assert_no_conflicts(&[1, 2]);
}

#[test]
fn changes_travel_over_a_third_device_between_two_that_never_meet() {
    let mut group = Group::new(3);
    group.start(&[0, 1]);
    write(group.nodes[0].at("from a"), "1");
    group.converge(&[0, 1]);
    group.stop(&[0]);
    group.start(&[2]);
    group.converge(&[1, 2]);
    mkdir(group.nodes[2].at("dir"));
    write(group.nodes[2].at("dir/from c"), "2");
    write(group.nodes[2].at("from a"), "edited by c");
    group.converge(&[1, 2]);
    group.stop(&[2]);
    group.start(&[0]);
    wait_until("what C wrote is on A", || {
        std::fs::read(group.nodes[0].at("from a")).is_ok_and(|text| text == b"edited by c")
    });
    group.converge(&[0, 1]);
    assert_eq!(std::fs::read(group.nodes[0].at("dir/from c")).ok(), Some(b"2".to_vec()));
}
