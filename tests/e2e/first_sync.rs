//! A real folder arrives for the first time, and big directories are renamed.

use std::time::{Duration, Instant};

use crate::support::files::{MANY_DIRS, MANY_FILES, bytes, many, read, rename, touch, write};
use crate::support::network::Traffic;
use crate::support::node::Group;
use crate::support::skipped;
use crate::support::snapshot::{Snapshot, assert_same_tree};
use crate::support::wait::wait_until;

/// What a rename of a directory may send beyond the idle traffic of the same time.
const RENAME_BYTES_MAX: u64 = 10 * 1024;

/// How long idle traffic is counted before the rename, and at least as long after it.
const COUNTED: Duration = Duration::from_secs(3);

/// The size of the one big file: 64 MiB, and 1 GiB with `DUNLIN_E2E_FULL`, which takes long in a
/// debug build.
fn big_file_bytes() -> usize {
    if std::env::var_os("DUNLIN_E2E_FULL").is_some() {
        1 << 30
    } else {
        skipped("the big file's full size of 1 GiB", "DUNLIN_E2E_FULL is not set; it has 64 MiB");
        64 << 20
    }
}

#[test]
fn ten_thousand_files_and_a_big_one_arrive_and_their_directory_is_renamed_for_nothing() {
    let mut group = Group::new(2);
    many(group.nodes[0].at("many"), 1);
    let size = big_file_bytes();
    write(group.nodes[0].at("big"), bytes(7, size));
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    assert_same_tree(&group.nodes[0].dir, &group.nodes[1].dir);
    let status = group.nodes[1].folder();
    assert_eq!(status.files, MANY_FILES as u64 + 1);
    assert_eq!(status.dirs, MANY_DIRS as u64 + 1);
    assert_eq!((status.need_files, status.need_bytes, status.conflicts), (0, 0, 0));
    assert!(status.bytes > size as u64);

    rename_costs_nothing(&group);
    edit_follows_the_rename(&mut group);
}

/// A rename of a directory with 10,000 files moves no block and hardly a byte.
fn rename_costs_nothing(group: &Group) {
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    let received_before = [a, b].map(|node| node.folder().received_bytes);
    let sent = |group: &Group| {
        let traffic: Option<Vec<Traffic>> = (0..2).map(|i| group.network.traffic(i)).collect();
        traffic.map(|nodes| nodes.iter().map(|node| node.sent).sum::<u64>())
    };
    let begin = sent(group);
    // Counting traffic for a time is the one thing here that needs a fixed wait.
    std::thread::sleep(COUNTED);
    let idle = sent(group).zip(begin).map(|(end, begin)| end - begin);

    let (started, begin) = (Instant::now(), sent(group));
    rename(a.at("many"), a.at("renamed"));
    wait_until("the directory has its new name on B", || b.at("renamed/d099/f099.bin").exists());
    assert!(!b.at("many").exists(), "the old name is still there");
    std::thread::sleep(COUNTED.saturating_sub(started.elapsed()));
    let took = started.elapsed();
    let busy = sent(group).zip(begin).map(|(end, begin)| end - begin);

    match idle.zip(busy) {
        Some((idle, busy)) => {
            // The idle traffic of as long a time.
            let idle = idle * took.as_millis() as u64 / COUNTED.as_millis() as u64;
            println!("rename of {MANY_FILES} files: {busy} bytes in {took:?}, idle: {idle}");
            let beyond = busy.saturating_sub(idle);
            assert!(beyond <= RENAME_BYTES_MAX, "the rename sent {beyond} bytes beyond idle");
        }
        None => skipped("bytes on the wire of a rename", "needs network namespaces"),
    }
    let received_after = [a, b].map(|node| node.folder().received_bytes);
    assert_eq!(received_after, received_before, "a rename moved blocks");
    group.converge(&[0, 1]);
}

/// Renamed on A and edited within on B while apart: the edit stands under the new name, on both.
fn edit_follows_the_rename(group: &mut Group) {
    group.stop(&[0, 1]);
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    rename(a.at("renamed"), a.at("renamed again"));
    write(b.at("renamed/d042/f042.bin"), "edited on b while apart");
    touch(b.at("renamed/d042/f042.bin"), 1_700_000_000_000_000_000);
    write(b.at("renamed/d043/new.bin"), "made on b while apart");
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    for node in [a, b] {
        assert!(!node.at("renamed").exists(), "the old name is back on {}", node.name);
        assert_eq!(read(node.at("renamed again/d042/f042.bin")), b"edited on b while apart");
        assert_eq!(read(node.at("renamed again/d043/new.bin")), b"made on b while apart");
        assert_eq!(Snapshot::of(&node.dir).files(), MANY_FILES + 2, "{}", node.name);
    }
    group.assert_no_conflicts(&[0, 1]);
}
