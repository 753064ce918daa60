//! A full disk stops the folder, loses nothing, and the folder goes on when there is room.

use crate::support::files::{bytes, exists, read, write};
use crate::support::mount::Mount;
use crate::support::node::Group;
use crate::support::skipped;
use crate::support::snapshot::Snapshot;
use crate::support::status::State;
use crate::support::wait::wait_until;

const FILES: u64 = 8;
const FILE_BYTES: usize = 1 << 20;

#[test]
fn a_full_disk_stops_the_folder_and_it_goes_on_when_there_is_room() {
    let mut group = Group::new(2);
    match Mount::tmpfs(&group.nodes[1].dir, 4) {
        Ok(mount) => group.mounts.push(mount),
        Err(why) => return skipped("a full disk", &why),
    }
    group.start(&[0, 1]);
    write(group.nodes[1].at("precious"), "B's own");
    group.converge(&[0, 1]);
    for i in 0..FILES {
        write(group.nodes[0].at(format!("file {i}")), bytes(i, FILE_BYTES));
    }
    let before = Snapshot::of(&group.nodes[0].dir);
    let folder = group.nodes[1].wait_state(State::Error);
    let why = folder.error.as_deref().expect("an error comes with a reason").to_lowercase();
    assert!(why.contains("full") || why.contains("space"), "not what is wrong: {why}");
    assert!(folder.need_files > 0 && folder.need_bytes > 0, "{folder:?}");
    group.nodes[1].cli(&["status", "--wait", "20"]).expect_explained(1);
    // What is visible is whole, and nothing went away on either side.
    assert_eq!(read(group.nodes[1].at("precious")), b"B's own");
    for i in 0..FILES {
        let path = group.nodes[1].at(format!("file {i}"));
        assert!(!exists(&path) || read(&path) == bytes(i, FILE_BYTES), "file {i} is not whole");
    }
    assert_eq!(before.difference(&Snapshot::of(&group.nodes[0].dir)), None);

    group.mounts[0].resize(64);
    wait_until("B goes on", || group.nodes[1].folder().state != State::Error);
    group.converge(&[0, 1]);
    assert_eq!(before.difference(&Snapshot::of(&group.nodes[1].dir)), None);
    assert_eq!(group.nodes[1].folder().state, State::Idle);
    group.assert_no_conflicts(&[0, 1]);
}
