use bytes::Bytes;
use dunlin_identity::Hash;
use dunlin_tree::fs::UserOp;

use super::*;
use crate::folder::hold::BURST_MS_MAX;
use crate::folder::testing::{Rig, path};
use crate::types::FolderState;

const FILES: usize = 40;

fn name(number: usize) -> RelPath {
    path(&format!("file {number}"))
}

fn old(number: usize) -> Vec<u8> {
    format!("old {number}").into_bytes()
}

/// A folder with files of some length, all told to the others, a while ago.
fn filled(files: usize) -> Rig {
    let mut rig = Rig::new();
    for number in 0..files {
        rig.disk.user(&UserOp::Write(name(number), old(number)));
    }
    rig.folder.scan();
    rig.pass(2_000);
    later(&mut rig, 10 * WINDOW_MS);
    assert_eq!(rig.folder.state(), FolderState::Idle);
    rig
}

/// Lets time pass, for the disk too.
fn later(rig: &mut Rig, ms: Millis) {
    rig.now += ms;
    rig.disk.set_time(i64::try_from(rig.now).expect("a date of our time") * 1_000_000);
}

/// Overwrites many files at once, with contents of the same length.
fn overwrite(rig: &mut Rig, which: std::ops::Range<usize>) {
    for number in which {
        rig.disk.user(&UserOp::Write(name(number), format!("new {number}").into_bytes()));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
}

/// Whether the index shows this content of a file.
fn is_told(rig: &Rig, number: usize, content: &[u8]) -> bool {
    shows(rig, rig.row(&name(number).to_string()).item.entry, content)
}

fn shows(rig: &Rig, entry: EntryId, content: &[u8]) -> bool {
    let items = rig.folder.index().items(entry).expect("read");
    matches!(items[..], [ref item] if matches!(
        item.content,
        Content::File { root, .. } if root == Hash::of(content)
    ))
}

#[test]
fn only_what_is_close_together_counts_together() {
    assert_eq!(densest(Vec::new()), 0);
    let minute = 60_000;
    let slow: Vec<Millis> = (0..100).map(|number| number * 4 * minute).collect();
    assert_eq!(densest(slow.clone()), 2);
    let mut mixed = slow;
    mixed.extend((0..30).map(|number| 200 * minute + number));
    assert!((30..=33).contains(&densest(mixed)));
}

#[test]
fn most_of_a_folder_overwritten_at_once_is_told_to_nobody_until_it_is_approved() {
    let mut rig = filled(FILES);
    overwrite(&mut rig, 0..30);
    assert_eq!(rig.folder.state(), FolderState::Held);
    let reason = rig.folder.reason().expect("a held folder says why");
    assert!(reason.contains("30 files were replaced on this device"), "{reason}");
    assert!((0..30).all(|number| is_told(&rig, number, &old(number))));
    // What else happens goes out.
    rig.user(&UserOp::Write(path("other"), b"other".to_vec()));
    assert!(rig.folder.rows().find(&path("other")).expect("read").is_some());
    assert_eq!(rig.folder.state(), FolderState::Held);

    assert!(rig.folder.approve(rig.now).expect("approved"));
    rig.pass(1_000);
    assert_eq!(rig.folder.state(), FolderState::Idle);
    assert!((0..30).all(|n| is_told(&rig, n, format!("new {n}").as_bytes())));
    // The user's word holds for what follows.
    overwrite(&mut rig, 30..FILES);
    assert_eq!(rig.folder.state(), FolderState::Idle);
    assert!(!rig.folder.approve(rig.now).expect("nothing to approve"));
}

#[test]
fn what_is_undone_comes_back_and_what_was_overwritten_goes_to_the_versions() {
    let mut rig = filled(FILES);
    overwrite(&mut rig, 0..30);
    // Being held outlives a restart.
    rig.restart(false);
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Held);
    assert!(rig.folder.undo(rig.now).expect("undone"));
    rig.pass(1_000);
    // Nobody has the old contents yet: the new ones stay until somebody does.
    assert_eq!(rig.folder.need().0, 30);
    assert_eq!(rig.disk.content(&name(7)), Some(b"new 7".to_vec()));
    let blobs = (0..30).map(|n| (Hash::of(&old(n)), Some(Bytes::from(old(n))))).collect();
    rig.folder.blobs(blobs, rig.now);
    rig.pass(1_000);
    assert_eq!(rig.folder.state(), FolderState::Idle);
    let everything = rig.disk.all_contents();
    for number in 0..30 {
        assert_eq!(rig.disk.content(&name(number)), Some(old(number)));
        let new = format!("new {number}").into_bytes();
        assert!(everything.iter().any(|(_, content)| **content == new), "{number} is lost");
    }
}

#[test]
fn ransomware_that_begins_slowly_is_stopped_and_all_of_it_is_undone() {
    let mut rig = filled(FILES);
    for number in 0..30 {
        overwrite(&mut rig, number..number + 1);
    }
    assert_eq!(rig.folder.state(), FolderState::Held);
    // The first ones went out as any edit does.
    let told = (0..30).filter(|number| !is_told(&rig, *number, &old(*number))).count();
    assert!(told <= HOLD_ABOVE as usize, "{told} were told");
    assert!(rig.folder.undo(rig.now).expect("undone"));
    assert!((0..30).all(|number| is_told(&rig, number, &old(number))));
}

#[test]
fn what_is_being_hashed_counts_with_what_is_told() {
    let mut rig = filled(FILES);
    for number in 0..5 {
        rig.disk.user(&UserOp::Write(name(number), vec![1; 200_000]));
    }
    rig.folder.scan();
    rig.folder.tick(rig.now);
    for number in 5..23 {
        rig.disk.user(&UserOp::Write(name(number), b"new".to_vec()));
    }
    rig.folder.scan();
    rig.folder.tick(rig.now);
    assert!((5..23).all(|number| is_told(&rig, number, &old(number))));
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Held);
    assert!((5..23).all(|number| is_told(&rig, number, &old(number))));
}

#[test]
fn the_first_bytes_of_a_new_file_are_no_overwrite_to_undo() {
    let mut rig = filled(FILES);
    rig.user(&UserOp::Write(path("new"), Vec::new()));
    rig.user(&UserOp::Write(path("new"), b"all of it".to_vec()));
    overwrite(&mut rig, 0..30);
    assert_eq!(rig.folder.state(), FolderState::Held);
    assert!(rig.folder.undo(rig.now).expect("undone"));
    rig.pass(1_000);
    assert_eq!(rig.disk.content(&path("new")), Some(b"all of it".to_vec()));
}

#[test]
fn undoing_a_mass_deletion_leaves_the_edits_before_it() {
    let mut rig = filled(FILES);
    overwrite(&mut rig, 0..3);
    assert!(is_told(&rig, 0, b"new 0"));
    let entry = rig.row(&name(0).to_string()).item.entry;
    for number in 0..30 {
        rig.disk.user(&UserOp::Remove(name(number)));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Held);
    assert!(rig.folder.undo(rig.now).expect("undone"));
    rig.pass(1_000);
    assert!(shows(&rig, entry, b"new 0"), "the edit was undone, too");
}

#[test]
fn what_is_no_mass_overwrite_is_not_held() {
    // Few files, or less than half of many.
    for (files, which) in [(20, 0..20), (FILES, 0..20), (80, 0..40)] {
        let mut rig = filled(files);
        overwrite(&mut rig, which.clone());
        assert_eq!(rig.folder.state(), FolderState::Idle, "{which:?} of {files}");
        assert!(which.clone().all(|n| is_told(&rig, n, format!("new {n}").as_bytes())));
    }
    // Times alone.
    let mut rig = filled(FILES);
    for number in 0..FILES {
        rig.disk.user(&UserOp::Write(name(number), old(number)));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Idle);
    // One file, saved again and again.
    for _ in 0..FILES {
        overwrite(&mut rig, 0..1);
    }
    assert_eq!(rig.folder.state(), FolderState::Idle);
    // A day's work, found all at once.
    for number in 0..FILES {
        later(&mut rig, WINDOW_MS / 2);
        rig.disk.user(&UserOp::Write(name(number), format!("work {number}").into_bytes()));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Idle);
}

#[test]
fn a_folder_that_shall_hold_nothing_holds_nothing() {
    let mut rig = filled(FILES);
    rig.folder.set_hold(false);
    overwrite(&mut rig, 0..FILES);
    assert_eq!(rig.folder.state(), FolderState::Idle);
    assert!((0..FILES).all(|n| is_told(&rig, n, format!("new {n}").as_bytes())));
    for number in 0..FILES {
        rig.disk.user(&UserOp::Remove(name(number)));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Idle);
}

#[test]
fn new_names_for_new_contents_are_a_mass_deletion() {
    let mut rig = filled(FILES);
    for number in 0..30 {
        let locked = path(&format!("file {number}.locked"));
        rig.disk.user(&UserOp::Write(name(number), b"encrypted, and longer".to_vec()));
        rig.disk.user(&UserOp::Rename(name(number), locked));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Held);
    let reason = rig.folder.reason().expect("a held folder says why");
    assert!(reason.contains("30 entries, more than half of the folder, were deleted"), "{reason}");
}

#[test]
fn files_that_come_and_go_are_no_mass_deletion() {
    let mut rig = filled(FILES);
    for number in 100..130 {
        rig.disk.user(&UserOp::Write(name(number), old(number)));
    }
    rig.folder.scan();
    rig.pass(2_000);
    for number in 100..130 {
        rig.disk.user(&UserOp::Remove(name(number)));
    }
    rig.folder.scan();
    rig.pass(BURST_MS_MAX + 1_000);
    assert_eq!(rig.folder.state(), FolderState::Idle);
}

#[test]
fn deleting_a_directory_with_held_files_spares_what_others_have_written_meanwhile() {
    for replaced in [true, false] {
        let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
        let names: Vec<String> = (0..FILES).map(|number| format!("directory/{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            one.disk.user(&UserOp::Write(path(name), old(number)));
        }
        one.folder.scan();
        one.pass(2_000);
        one.connect(&mut other);
        one.live(&mut other, 2_000);
        one.part(&mut other);
        later(&mut one, 10 * WINDOW_MS);
        for name in &names {
            one.disk.user(&UserOp::Write(path(name), name.clone().into_bytes()));
        }
        one.folder.scan();
        one.pass(BURST_MS_MAX + 1_000);
        assert_eq!(one.folder.state(), FolderState::Held);
        let last = &names[FILES - 1];
        other.now = one.now;
        other.write(last, b"theirs");
        one.meet(&mut other);
        one.folder.blobs(vec![(Hash::of(b"theirs"), None)], one.now);
        one.part(&mut other);
        // The user has never seen that when they put a file in the directory's place, or delete it.
        one.disk.user(&UserOp::Remove(path("directory")));
        if replaced {
            one.disk.user(&UserOp::Write(path("directory"), b"a file".to_vec()));
        }
        one.folder.scan();
        one.pass(2_000);
        one.connect(&mut other);
        one.live(&mut other, 2_000);
        for rig in [&mut one, &mut other] {
            rig.folder.approve(rig.now).expect("the index can be written");
        }
        one.live(&mut other, 60_000);
        let theirs = other.disk.content(&path(last));
        assert_eq!(theirs.as_deref(), Some(&b"theirs"[..]), "replaced: {replaced}");
        let back = one.disk.content(&path(last)).as_deref() == Some(&b"theirs"[..]);
        assert!(back || one.folder.need() == (1, 6), "it is on its way to this disk again");
    }
}
