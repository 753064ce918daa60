use dunlin_tree::fs::UserOp;

use crate::folder::testing::{Rig, noise, path};
use crate::types::FolderState;

/// A content that does not travel with the change itself.
const LEN: usize = 40_000;

/// Two devices with a directory `d`.
fn two() -> (Rig, Rig) {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.user(&UserOp::Mkdir(path("d")));
    one.connect(&mut other);
    one.live(&mut other, 1_000);
    (one, other)
}

/// On one device `d/f` is written and then deleted with its directory, which the other one, that has
/// not fetched it yet, renames.
fn lose_between(one: &mut Rig, other: &mut Rig) {
    let root = one.write("d/f", &noise(2, LEN)).root.expect("a file's");
    one.meet(other);
    one.part(other);
    one.user(&UserOp::Remove(path("d")));
    other.user(&UserOp::Rename(path("d"), path("e")));
    // What it asked for did not come.
    other.folder.blobs(vec![(root, None)], other.now);
}

#[test]
fn a_content_that_no_member_has_is_withdrawn() {
    let (mut one, mut other) = two();
    lose_between(&mut one, &mut other);
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    assert_eq!(other.folder.state(), FolderState::Syncing);
    one.live(&mut other, 60_000);
    for rig in [&one, &other] {
        assert!(rig.folder.is_settled());
        assert!(rig.folder.rows().find(&path("e")).expect("read").is_some());
        assert!(rig.folder.rows().find(&path("e/f")).expect("read").is_none());
    }
    assert_eq!(one.folder.index().fingerprint(), other.folder.index().fingerprint());
}

#[test]
fn a_member_that_is_away_holds_it_back() {
    let (mut one, mut other) = two();
    lose_between(&mut one, &mut other);
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    one.part(&mut other);
    one.pass(120_000);
    other.pass(120_000);
    assert_eq!(one.folder.state(), FolderState::Syncing);
    one.connect(&mut other);
    one.live(&mut other, 60_000);
    assert!(one.folder.is_settled() && other.folder.is_settled());
}

#[test]
fn an_older_version_that_a_disk_still_has_takes_its_place() {
    let (mut one, mut other) = two();
    let old = noise(1, LEN);
    one.write("d/f", &old);
    one.live(&mut other, 5_000);
    assert_eq!(other.disk.content(&path("d/f")), Some(old.clone()));
    lose_between(&mut one, &mut other);
    one.connect(&mut other);
    one.live(&mut other, 60_000);
    for rig in [&one, &other] {
        assert!(rig.folder.is_settled());
        assert_eq!(rig.disk.content(&path("e/f")), Some(old.clone()));
    }
}

#[test]
fn what_is_written_after_the_answer_is_written_anew() {
    let (mut one, mut other) = two();
    let lost = noise(2, LEN);
    lose_between(&mut one, &mut other);
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    let dot = one.folder.index().items(shown(&one)).expect("read")[0].key.dot;
    let (root, size) = (dunlin_blocks::hash_bytes(&lost).root, LEN as u64);
    one.folder.answer_search(other.device(), 7, vec![(root, size)], one.now);
    one.disk.user(&UserOp::Write(path("e/f"), lost.clone()));
    one.folder.scan();
    one.live(&mut other, 60_000);
    assert_ne!(one.row("e/f").item.dot, dot);
    for rig in [&one, &other] {
        assert!(rig.folder.is_settled());
        assert_eq!(rig.disk.content(&path("e/f")), Some(lost.clone()));
    }
}

/// The entry of `e/f`.
fn shown(rig: &Rig) -> dunlin_index::EntryId {
    let index = rig.folder.index();
    let find = |dir, name: &str| {
        let name = dunlin_index::SafeName::parse(name).expect("a plain name");
        index.lookup(dir, &name).expect("read").expect("it is shown").key.entry
    };
    find(find(dunlin_index::EntryId::ROOT, "e"), "f")
}
