//! Limits: set, changed while a transfer runs, taken away; and a metered connection.

use std::time::Instant;

use crate::support::files::{bytes, read, write};
use crate::support::node::{Group, Node};
use crate::support::wait::wait_until;

/// A file that takes three times as long as a test waits, at [`SLOW`].
const LARGE: usize = 24 << 20;
const SLOW: u64 = 80_000;

fn limit(node: &Node, arguments: &[&str]) -> serde_json::Value {
    let outcome = node.cli(&[&["limit", "--json"][..], arguments].concat()).expect_code(0);
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

/// A pair of which A has a large file, and B has begun to fetch it under A's limit.
fn transferring(group: &mut Group) {
    write(group.nodes[0].at("large"), bytes(1, LARGE));
    wait_until("A has indexed it", || group.nodes[0].folder().files == 1);
    wait_until("some of it has come", || group.nodes[1].folder().received_bytes > 0);
}

#[test]
fn a_limit_that_is_taken_away_lets_the_transfer_go_on_at_once() {
    let mut group = Group::pair();
    limit(&group.nodes[0], &["--up", "80kB/s"]);
    transferring(&mut group);
    assert!(!group.nodes[1].at("large").exists());
    // Under the limit it would take 300 s, and a test waits for 90.
    limit(&group.nodes[0], &["off"]);
    group.converge(&[0, 1]);
    assert_eq!(read(group.nodes[1].at("large")), bytes(1, LARGE));
}

#[test]
fn a_limit_holds_down_what_is_under_way_for_one_device_and_for_all() {
    let mut group = Group::pair();
    // High enough to be in the middle of the file when the next limit comes, whatever the machine.
    limit(&group.nodes[0], &["--up", "1MB/s"]);
    transferring(&mut group);
    let (a, b) = (&group.nodes[0], &group.nodes[1]);
    let device = b.status().device;
    let shown = limit(a, &["--up", "80kB/s", "--device", "b"]);
    assert_eq!(shown["up"], 1_000_000);
    assert_eq!(shown["devices"][0]["device"], device);
    assert_eq!(shown["devices"][0]["up"], SLOW);
    let (begin, before) = (Instant::now(), a.folder().sent_bytes);
    // Blocks count as sent when they are sent whole: some pass by, so that several are counted.
    wait_until("a few more blocks went", || a.folder().sent_bytes > before + 400_000);
    let (sent, took) = (a.folder().sent_bytes - before, begin.elapsed().as_secs_f64());
    // What was sent of the block that was under way before, and a burst, come on top.
    let allowed = SLOW as f64 * took + 300_000.0;
    assert!((sent as f64) < allowed, "{sent} bytes in {took} s");
    // The other way: B takes no more than it may.
    limit(a, &["off"]);
    limit(b, &["--down", "500MB/s"]);
    group.converge(&[0, 1]);
}

#[test]
fn on_a_metered_connection_small_files_come_and_large_ones_wait() {
    let group = Group::pair();
    let (a, b) = (&group.nodes[0], &group.nodes[1]);
    limit(b, &["--metered", "on"]);
    write(a.at("large"), bytes(1, 1 << 20));
    wait_until("B knows of it", || b.folder().need_files == 1);
    write(a.at("small"), bytes(2, 60_000));
    wait_until("the small one is there", || b.at("small").exists());
    assert!(!b.at("large").exists());
    assert_eq!(limit(b, &[])["metered"], true);
    limit(b, &["--metered", "off"]);
    group.converge(&[0, 1]);
    assert_eq!(read(b.at("large")), bytes(1, 1 << 20));
}

#[test]
fn limits_survive_a_restart_and_wrong_ones_are_explained() {
    let mut group = Group::pair();
    limit(&group.nodes[0], &["--down", "2MiB/s", "--schedule", "mon-sun 00:00-24:00"]);
    group.nodes[0].stop();
    group.nodes[0].restart();
    let shown = limit(&group.nodes[0], &[]);
    assert_eq!(shown["down"], 2 << 20);
    assert_eq!(
        (&shown["schedule"], &shown["active"]),
        (&"mon-sun 00:00-24:00".into(), &true.into())
    );
    group.nodes[0].cli(&["limit", "--schedule", "at night"]).expect_explained(1);
    group.nodes[0].cli(&["limit", "--up", "5MB/s", "--device", "nobody"]).expect_explained(1);
    group.nodes[0].cli(&["limit", "--up", "fast"]).expect_explained(2);
    let shown = limit(&group.nodes[0], &["off"]);
    assert!(shown["down"].is_null() && shown["schedule"].is_null());
}
