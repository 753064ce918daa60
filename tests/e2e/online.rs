//! Every operation while both nodes run and are connected, on either side.

use crate::operations::{ALL, Operation, prepare_all};
use crate::support::files::mkdir;
use crate::support::node::Group;
use crate::support::snapshot::Snapshot;
use crate::support::wait::{PATIENCE, poll_for};

/// Directories in the folder, one for the operations of each side.
const SIDES: [&str; 2] = ["from-a", "from-b"];

#[test]
fn every_operation_arrives_online_from_either_side() {
    let group = Group::pair();
    for (node, side) in group.nodes.iter().zip(SIDES) {
        prepare_all(&node.at(side));
    }
    group.converge(&[0, 1]);
    let failures: Vec<String> =
        ALL.iter().filter_map(|operation| failure(&group, operation)).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    group.converge(&[0, 1]);
    group.assert_no_conflicts(&[0, 1]);
}

/// Does one operation on both sides at the same time; says what is wrong on either.
fn failure(group: &Group, operation: &Operation) -> Option<String> {
    let paths = SIDES.map(|side| format!("{side}/{}", operation.name));
    let expected: Vec<Snapshot> = group
        .nodes
        .iter()
        .zip(&paths)
        .map(|(node, path)| {
            (operation.act)(&node.at(path));
            Snapshot::of(node.at(path))
        })
        .collect();
    let mut wrong = None;
    poll_for(PATIENCE / 4, || {
        wrong = group.nodes.iter().find_map(|node| {
            let sides = paths.iter().zip(&expected);
            sides.into_iter().find_map(|(path, expected)| {
                let there = Snapshot::try_of(&node.at(path)).unwrap_or_default();
                let difference = expected.difference(&there)?;
                Some(format!("{path} on {} (left: as it should be): {difference}", node.name))
            })
        });
        wrong.is_none().then_some(())
    });
    wrong
}

#[test]
fn a_burst_of_changes_to_one_file_ends_with_the_last_one_on_both() {
    let group = Group::pair();
    mkdir(group.nodes[0].at("dir"));
    for round in 0..200_u32 {
        let content = format!("round {round}\n").repeat(1 + round as usize);
        crate::support::files::write(group.nodes[0].at("dir/file"), content);
    }
    let last = Snapshot::of(&group.nodes[0].dir);
    group.converge(&[0, 1]);
    assert_eq!(last.difference(&Snapshot::of(&group.nodes[1].dir)), None);
    group.assert_no_conflicts(&[0, 1]);
}
