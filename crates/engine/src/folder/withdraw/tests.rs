use dunlin_index::RelPath;
use dunlin_index::storage::MemStore;
use dunlin_tree::fs::{Fs, UserOp};

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

/// Two devices that have edited one text apart.
fn edited_apart() -> (Rig, Rig) {
    let (mut one, mut other) = two();
    one.write("t.md", b"one two three");
    one.live(&mut other, 5_000);
    one.part(&mut other);
    one.write("t.md", b"ONE two three");
    other.write("t.md", b"one two THREE");
    (one, other)
}

/// What stands on a disk, by name; of copies only that there are some.
fn texts(rig: &Rig) -> Vec<(bool, Vec<u8>)> {
    let listing = rig.fs().list(&RelPath::root()).expect("the folder is there");
    let names = listing.entries.iter().map(|(name, _)| name.as_str());
    let texts = names.filter(|name| name.ends_with(".md"));
    let text = |name: &str| (name == "t.md", rig.disk.content(&path(name)).expect("a file"));
    let mut texts: Vec<_> = texts.map(text).collect();
    texts.sort();
    texts
}

#[test]
fn a_version_whose_state_no_member_has_stands_beside_the_others() {
    let (mut one, mut other) = edited_apart();
    // The second one has lost the states of its texts since.
    other.spaces.texts.restore(&MemStore::new().snapshot());
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    assert_eq!(one.folder.state(), FolderState::Syncing, "it is not known what the text is");
    one.live(&mut other, 60_000);
    assert!(one.folder.is_settled() && other.folder.is_settled());
    let both = vec![(false, b"ONE two three".to_vec()), (true, b"one two THREE".to_vec())];
    assert_eq!((texts(&one), texts(&other)), (both.clone(), both));
    assert_eq!(one.folder.index().fingerprint(), other.folder.index().fingerprint());
    // Nobody asks for it any more.
    let before = one.folder.index().context().clone();
    one.live(&mut other, 60_000);
    assert_eq!(*one.folder.index().context(), before);
}

/// Whatever a device has asked for is nowhere.
fn find_nothing(rig: &mut Rig) {
    let lacked = rig.folder.needs.lacked().map(|(root, ..)| (*root, None)).collect();
    rig.folder.blobs(lacked, rig.now);
}

#[test]
fn a_state_that_a_member_has_is_waited_for() {
    let (mut one, mut other) = edited_apart();
    one.meet(&mut other);
    [&mut one, &mut other].into_iter().for_each(find_nothing);
    one.part(&mut other);
    one.pass(120_000);
    other.pass(120_000);
    assert_eq!(one.folder.state(), FolderState::Syncing);
    [&mut one, &mut other].into_iter().for_each(find_nothing);
    one.connect(&mut other);
    one.live(&mut other, 60_000);
    let merged = vec![(true, b"ONE two THREE".to_vec())];
    assert_eq!((texts(&one), texts(&other)), (merged.clone(), merged));
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
