//! A node that is killed in the middle of a transfer goes on where it was.

use crate::support::files::{bytes, read, write};
use crate::support::node::Group;
use crate::support::process::bytes_read;
use crate::support::skipped;
use crate::support::snapshot::Snapshot;
use crate::support::wait::wait_until;

const SIZE: usize = 48 << 20;

/// How much must have arrived before the receiver is killed: enough to tell going on from
/// beginning again.
const BEFORE_KILL: u64 = SIZE as u64 / 4;

#[test]
fn a_receiver_killed_in_the_middle_of_a_transfer_goes_on_where_it_was() {
    let mut group = Group::pair();
    group.wait_connected(1, 1);
    // Slow enough to be caught in the middle.
    if !group.network.limit(0, "120mbit") {
        skipped("a limited link", "needs namespaces and tc; the kill may come late");
    }
    let content = bytes(1, SIZE);
    write(group.nodes[0].at("big"), &content);
    let mut received = 0;
    wait_until("a quarter has arrived", || {
        received = group.nodes[1].folder().received_bytes;
        received >= BEFORE_KILL
    });
    group.nodes[1].kill9();
    assert!(received < SIZE as u64, "all of it had arrived before the kill");
    assert!(!group.nodes[1].at("big").exists(), "half a file is visible under its name");
    group.network.unlimit(0);
    group.nodes[1].restart();
    group.converge(&[0, 1]);
    assert!(read(group.nodes[1].at("big")) == content, "the content is another");
    let after = group.nodes[1].folder().received_bytes;
    println!("{received} of {SIZE} bytes before the kill, {after} after");
    assert!(after > 0 && after <= SIZE as u64 - received * 3 / 4, "it began again: {after} bytes");
}

#[test]
fn what_was_checked_and_durable_before_a_kill_is_not_read_again() {
    const SIZE: usize = 160 << 20;
    const BEFORE_KILL: u64 = 112 << 20;
    let mut group = Group::pair();
    group.wait_connected(1, 1);
    group.network.limit(0, "400mbit");
    let content = bytes(4, SIZE);
    write(group.nodes[0].at("big"), &content);
    let mut received = 0;
    wait_until("most has arrived", || {
        received = group.nodes[1].folder().received_bytes;
        received >= BEFORE_KILL
    });
    group.nodes[1].kill9();
    if received >= SIZE as u64 {
        skipped("a kill in the middle", "needs namespaces and tc: all had arrived before");
        return;
    }
    group.network.unlimit(0);
    group.nodes[1].restart();
    group.converge(&[0, 1]);
    assert!(read(group.nodes[1].at("big")) == content, "the content is another");
    let Some(again) = bytes_read(group.nodes[1].pid()) else {
        return skipped("what was read", "needs Linux's accounting of I/O in /proc");
    };
    println!("{received} bytes before the kill, {again} read after it");
    assert!(again < received / 2, "{again} of {received} bytes were read again");
}

#[test]
fn a_sender_killed_in_the_middle_of_a_transfer_goes_on_where_it_was() {
    let mut group = Group::pair();
    group.wait_connected(1, 1);
    group.network.limit(0, "120mbit");
    write(group.nodes[0].at("big"), bytes(2, SIZE));
    wait_until("a quarter has arrived", || group.nodes[1].folder().received_bytes >= BEFORE_KILL);
    group.nodes[0].kill9();
    group.network.unlimit(0);
    group.nodes[0].restart();
    group.converge(&[0, 1]);
    let received = group.nodes[1].folder().received_bytes;
    assert!(received < SIZE as u64 * 5 / 4, "much came twice: {received} bytes in all");
}

#[test]
fn nodes_killed_again_and_again_while_files_change_lose_nothing() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    for round in 0..4_u64 {
        for i in 0..30 {
            let name = format!("round {round} file {i}");
            write(group.nodes[0].at(&name), bytes(round * 100 + i, 40_000));
        }
        // Whichever of them has something to lose at that moment.
        let victim = (round % 2) as usize;
        wait_until("some of it is on B", || {
            group.nodes[1].at(format!("round {round} file 3")).exists()
        });
        group.nodes[victim].kill9();
        write(group.nodes[victim].at(format!("written after kill {round}")), bytes(round, 10));
        group.nodes[victim].restart();
    }
    let expected = Snapshot::of(&group.nodes[0].dir);
    group.converge(&[0, 1]);
    let there = Snapshot::of(&group.nodes[1].dir);
    for (path, thing) in &expected.0 {
        assert_eq!(there.0.get(path), Some(thing), "{}", path.display());
    }
    assert_eq!(there.files(), 4 * 31, "{:#?}", there.0.keys());
    group.assert_no_conflicts(&[0, 1]);
}
