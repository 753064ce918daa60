use dunlin_tree::fs::{Fs, UserOp};
use dunlin_tree::settle::{RawEvent, RawKind};

use crate::folder::aside::aside_name;
use crate::folder::testing::{Rig, path};
use crate::types::FolderState;

#[test]
fn names_can_be_swapped_where_files_have_the_names_to_wait_under() {
    let mut rig = Rig::new();
    let file = rig.write("file", b"a file").id;
    rig.write("dir/in it", b"in a directory");
    let dir = rig.row("dir").id;
    for row in [file, dir] {
        rig.write(aside_name(row).as_str(), b"the user's");
    }
    let rename = |from: &str, to: &str| UserOp::Rename(path(from), path(to));
    rig.disk.user(&rename("file", "swapping"));
    rig.disk.user(&rename("dir", "file"));
    rig.user(&rename("swapping", "dir"));
    assert_eq!(rig.folder.state(), FolderState::Idle);
    assert_eq!([rig.row("dir").id, rig.row("file").id], [file, dir]);
    let content = |at: &str| rig.disk.content(&path(at)).unwrap_or_default();
    assert_eq!(content("dir"), b"a file");
    assert_eq!(content("file/in it"), b"in a directory");
    for row in [file, dir] {
        assert_eq!(content(aside_name(row).as_str()), b"the user's");
    }
    assert_eq!(rig.users().len(), 4, "no copy came of it");
}

#[test]
fn a_change_of_mode_at_any_moment_keeps_nothing_that_was_deleted_elsewhere() {
    for moment in 0..30 {
        let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
        one.connect(&mut other);
        one.disk.user(&UserOp::Write(path("dir/file"), b"deleted".to_vec()));
        one.folder.scan();
        one.live(&mut other, 2_000);
        assert!(other.disk.content(&path("dir/file")).is_some());
        other.disk.user(&UserOp::Remove(path("dir")));
        other.folder.scan();
        one.disk.user_before(moment, UserOp::Chmod(path("dir/file"), 0o700));
        // The mode is seen by a watcher; what was missed is tried again within a minute.
        one.live(&mut other, 90_000);
        for rig in [&one, &other] {
            let row = rig.folder.rows().find(&path("dir")).expect("read");
            assert!(row.is_none(), "before operation {moment}");
            assert!(rig.fs().stat(&path("dir")).expect("looked").is_none());
            assert!(rig.folder.is_settled(), "before operation {moment}");
        }
    }
}

#[test]
fn what_comes_to_where_the_user_has_put_the_same_is_there_once() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.connect(&mut other);
    one.disk.user(&UserOp::Write(path("before/file"), b"the same".to_vec()));
    one.folder.scan();
    one.live(&mut other, 2_000);
    other.disk.user(&UserOp::Rename(path("before"), path("after")));
    other.folder.scan();
    one.disk.user(&UserOp::Write(path("after/file"), b"the same".to_vec()));
    one.live(&mut other, 5_000);
    for rig in [&one, &other] {
        assert_eq!(rig.users(), [("after/file".to_owned(), b"the same".to_vec())]);
        assert!(rig.folder.is_settled());
    }
}

#[test]
fn what_is_deleted_while_another_one_writes_the_same_stays() {
    for below in ["", "dir/"] {
        let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
        let file = format!("{below}file");
        one.connect(&mut other);
        one.disk.user(&UserOp::Write(path(&file), b"before".to_vec()));
        one.folder.scan();
        one.live(&mut other, 2_000);
        one.part(&mut other);
        for rig in [&mut one, &mut other] {
            rig.write(&file, b"the same");
        }
        one.now = one.now.max(other.now);
        let gone = path(if below.is_empty() { "file" } else { "dir" });
        one.disk.user(&UserOp::Remove(gone.clone()));
        let is_dir = !below.is_empty();
        one.folder.event(RawEvent { kind: RawKind::Remove, path: gone, is_dir }, one.now);
        one.connect(&mut other);
        one.live(&mut other, 5_000);
        for rig in [&one, &other] {
            assert_eq!(rig.disk.content(&path(&file)).as_deref(), Some(&b"the same"[..]));
            assert!(rig.folder.is_settled());
        }
        one.user(&UserOp::Remove(path(&file)));
        one.live(&mut other, 5_000);
        assert_eq!(other.disk.content(&path(&file)), None, "now it was seen");
    }
}

#[test]
fn what_is_deleted_while_another_one_moves_it_stays() {
    let cases = [
        ("file", "file", "file", "new", "new"),
        ("dir/file", "dir", "dir", "new", "new/file"),
        ("dir/file", "dir", "dir/file", "dir/new", "dir/new"),
        ("dir/file", "dir", "dir/file", "new", "new"),
    ];
    for (file, removed, from, to, stays) in cases {
        let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
        one.connect(&mut other);
        one.disk.user(&UserOp::Write(path(file), b"content".to_vec()));
        one.folder.scan();
        one.live(&mut other, 2_000);
        let gone = path(removed);
        one.disk.user(&UserOp::Remove(gone.clone()));
        let is_dir = file != removed;
        one.folder.event(RawEvent { kind: RawKind::Remove, path: gone, is_dir }, one.now);
        other.disk.user(&UserOp::Rename(path(from), path(to)));
        other.folder.scan();
        one.live(&mut other, 5_000);
        for rig in [&one, &other] {
            assert_eq!(rig.users(), [(stays.to_owned(), b"content".to_vec())]);
            assert!(rig.folder.is_settled());
        }
        one.user(&UserOp::Remove(path(stays)));
        one.live(&mut other, 5_000);
        assert_eq!(other.disk.content(&path(stays)), None, "now it was seen");
    }
}
