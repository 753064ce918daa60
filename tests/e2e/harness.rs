//! The tests' own tools, so that a fault in them is not taken for one of the program.

use std::process::Command;
use std::time::Duration;

use crate::operations::{ALL, act_all, prepare_all};
use crate::support::files::{chmod, link, read, remove, touch, write};
use crate::support::network::Network;
use crate::support::node::run;
use crate::support::snapshot::{Snapshot, assert_same_tree};

#[test]
fn every_operation_changes_something_and_works_on_a_plain_directory() {
    let base = tempfile::tempdir().expect("a temporary directory");
    for operation in ALL {
        let dir = base.path().join(operation.name);
        std::fs::create_dir(&dir).expect("operations have different names");
        (operation.prepare)(&dir);
        let before = Snapshot::of(&dir);
        (operation.act)(&dir);
        assert!(before != Snapshot::of(&dir), "{} changes nothing", operation.name);
    }
    let other = tempfile::tempdir().expect("a temporary directory");
    prepare_all(other.path());
    act_all(other.path());
    assert_eq!(Snapshot::of(other.path()).0.len(), Snapshot::of(base.path()).0.len());
}

#[test]
fn snapshots_see_every_kind_of_difference() {
    let base = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (base.path().join("left"), base.path().join("right"));
    prepare_all(&left);
    link("target", left.join("link"));
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&left).arg(&right);
    assert_eq!(run(copy, Duration::from_secs(60)).code, Some(0));
    assert_same_tree(&left, &right);

    let differs = |what: &str| {
        let difference = Snapshot::of(&left).difference(&Snapshot::of(&right));
        let difference = difference.unwrap_or_else(|| panic!("{what} is not seen"));
        assert!(difference.starts_with("1 differences"), "{what}: {difference}");
    };
    let file = right.join("edit/small");
    let (content, meta) = (read(&file), file.metadata().expect("a file"));
    let modified = meta.modified().expect("a time").duration_since(std::time::UNIX_EPOCH);
    let mtime_ns = u64::try_from(modified.expect("a time").as_nanos()).expect("a time");
    touch(&file, mtime_ns + 1);
    differs("a nanosecond");
    let mut flipped = content.clone();
    flipped[0] ^= 1;
    write(&file, flipped);
    touch(&file, mtime_ns);
    differs("a bit");
    write(&file, content);
    touch(&file, mtime_ns);
    assert_same_tree(&left, &right);
    chmod(&file, 0o755);
    differs("an executable bit");
    chmod(&file, 0o644);
    chmod(left.join("edit/small"), 0o644);
    remove(right.join("link"));
    differs("a missing link");
    link("other target", right.join("link"));
    differs("a link's target");
    remove(right.join("link"));
    link("target", right.join("link"));
    std::fs::create_dir(right.join("empty one")).expect("a directory");
    differs("an empty directory");
}

#[test]
fn networks_are_apart_and_count_what_goes_through() {
    let network = Network::new(2);
    let (a, b) = (network.place(0), network.place(1));
    assert_ne!(a.multiaddr(), b.multiaddr());
    let Some(before) = network.traffic(0) else { return };
    // A connection to a closed port is answered, so the way is there both ways.
    let connect = |to: &std::net::Ipv4Addr| {
        let mut shell = a.command("bash");
        shell.arg("-c").arg(format!("exec 3<>/dev/tcp/{to}/9"));
        run(shell, Duration::from_secs(20)).stderr
    };
    assert!(connect(&b.ip).contains("refused"), "{}", connect(&b.ip));
    let after = network.traffic(0).expect("counted before");
    assert!(after.sent > before.sent && after.received > before.received);
}
