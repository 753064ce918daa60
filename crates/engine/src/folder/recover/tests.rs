use dunlin_index::EntryId;
use dunlin_tree::fs::{Fault, Fs, FsErrorKind, Kept, UserOp};

use crate::folder::testing::{Rig, path};
use crate::types::FolderState;

#[test]
fn what_a_killed_process_has_moved_to_the_version_store_is_not_deleted() {
    let mut rig = Rig::new();
    let row = rig.write("file", b"content");
    let kept = rig.fs().keep(&path("file"), &row.stat, rig.now).expect("the disk works");
    assert!(matches!(kept, Kept::Done { .. }), "{kept:?}");
    rig.restart(false);
    rig.pass(3_000);
    assert_eq!((rig.row("file").item, rig.folder.is_settled()), (row.item, true));
    assert_eq!(rig.disk.content(&path("file")).as_deref(), Some(&b"content"[..]));
}

#[test]
fn what_the_user_has_deleted_while_the_process_was_dead_is_deleted() {
    let mut rig = Rig::new();
    rig.write("file", b"content");
    rig.disk.user(&UserOp::Remove(path("file")));
    rig.restart(false);
    rig.pass(3_000);
    assert!(rig.folder.rows().find(&path("file")).expect("read").is_none());
    assert_eq!(rig.folder.index().counts().files, 0);
}

#[test]
fn what_a_killed_process_has_put_in_place_gets_the_time_that_the_index_shows() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.write("file", b"old");
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    one.part(&mut other);
    let new = other.write("file", b"new");
    one.meet(&mut other);
    // Its user has touched it since: at this time.
    one.disk.user(&UserOp::Write(path("file"), b"new".to_vec()));
    one.restart(false);
    one.pass(3_000);
    let row = one.row("file");
    assert_eq!((row.item, row.stat.mtime_ns), (new.item, new.stat.mtime_ns));
    let there = one.fs().stat(&path("file")).expect("read").expect("it is there");
    assert_eq!(there.mtime_ns, new.stat.mtime_ns);
}

#[test]
fn a_file_whose_row_another_one_has_taken_is_new() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.write("before", b"content");
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    one.part(&mut other);
    other.user(&UserOp::Rename(path("before"), path("after")));
    one.meet(&mut other);
    one.fs().sync_all().expect("the disk works");
    // The table of files has the old name again, and a copy stands under the new one.
    one.restart(true);
    assert!(one.folder.rows().find(&path("before")).expect("read").is_some());
    one.disk.user(&UserOp::Rename(path("after"), path("elsewhere")));
    one.disk.user(&UserOp::Write(path("after"), b"content".to_vec()));
    one.meet(&mut other);
    one.pass(3_000);
    let rows = ["after", "elsewhere"].map(|at| one.row(at).item);
    assert_ne!(rows[0].entry, rows[1].entry);
    assert_eq!(one.folder.index().counts().files, 2);
}

#[test]
fn what_a_killed_process_has_put_in_place_is_known_when_the_first_look_fails() {
    let (mut rigs, name) = ([Rig::new(), Rig::of_device(9)], path("file.md"));
    for (at, rig) in rigs.iter_mut().enumerate() {
        rig.write("file.md", format!("of device {at}").as_bytes());
        rig.disk.inject(Fault::Halt(0));
    }
    let [one, other] = &mut rigs;
    one.meet(other);
    let shown = one.folder.index().children(EntryId::ROOT, None, 9).expect("read");
    let copy = shown.iter().find(|item| item.conflict).expect("a conflict copy");
    let copied = path(copy.name.as_str());
    let (killed, other) =
        if one.row("file.md").item == copy.key { (one, other) } else { (other, one) };
    let [ours, theirs] =
        [&*killed, &*other].map(|rig| rig.disk.content(&name).expect("it is there"));
    // The process is killed when it has put in place what it has heard, on the other device, too.
    for rig in [&mut *killed, &mut *other] {
        rig.restart(false);
    }
    killed.disk.user(&UserOp::Rename(name.clone(), copied.clone()));
    killed.disk.user(&UserOp::Write(name.clone(), theirs));
    other.disk.user(&UserOp::Write(copied.clone(), ours.clone()));
    killed.disk.inject(Fault::Once(4, FsErrorKind::Io));
    other.connect(killed);
    other.live(killed, 1_000);
    assert_eq!(killed.folder.state(), FolderState::Error);
    // Meanwhile the copy is touched elsewhere, and the file edited.
    other.disk.set_time(2 * i64::try_from(other.now).expect("a date of our time") * 1_000_000);
    other.disk.user(&UserOp::Write(copied.clone(), ours.clone()));
    other.disk.user(&UserOp::Write(name.clone(), b"edited".to_vec()));
    other.folder.scan();
    other.live(killed, 30_000);
    for rig in [killed, other] {
        assert_eq!(rig.disk.content(&name).as_deref(), Some(&b"edited"[..]));
        assert_eq!(rig.disk.content(&copied).as_ref(), Some(&ours));
        assert!(rig.folder.is_settled());
    }
}

#[test]
fn what_a_user_renames_in_a_directory_that_a_killed_process_has_moved_stays() {
    // Of two directories that are one the names decide which is shown.
    for (after, before) in [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")] {
        let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
        one.connect(&mut other);
        one.disk.user(&UserOp::Write(path(&format!("{before}/file")), b"content".to_vec()));
        one.disk.user(&UserOp::Symlink(path(after), "target".to_owned()));
        one.folder.scan();
        one.live(&mut other, 2_000);
        one.part(&mut other);
        let swap = [(after, "swapping"), (before, after), ("swapping", before)];
        let swap = swap.map(|(from, to)| UserOp::Rename(path(from), path(to)));
        swap.iter().for_each(|op| other.disk.user(op));
        other.folder.scan();
        other.pass(2_000);
        one.disk.inject(Fault::Halt(0));
        one.meet(&mut other);
        one.restart(false);
        // The process had done the same before it was killed, and not noted it. With another name for
        // the only file in it, the directory is not known by that.
        swap.iter().for_each(|op| one.disk.user(op));
        let [old, new] = ["file", "new"].map(|name| path(&format!("{after}/{name}")));
        one.disk.user(&UserOp::Rename(old, new.clone()));
        one.connect(&mut other);
        one.live(&mut other, 10_000);
        for rig in [&one, &other] {
            assert_eq!(rig.disk.content(&new).as_deref(), Some(&b"content"[..]));
            assert!(rig.folder.is_settled());
        }
        one.user(&UserOp::Remove(path(after)));
        one.live(&mut other, 5_000);
        assert_eq!(other.fs().stat(&path(after)).expect("read"), None);
    }
}

#[test]
fn what_is_written_where_a_killed_process_has_moved_a_copy_away_is_no_edit_of_it() {
    let (mut killed, mut other) = (Rig::new(), Rig::of_device(9));
    killed.write("file", b"base");
    killed.connect(&mut other);
    killed.live(&mut other, 2_000);
    killed.part(&mut other);
    let root = killed.write("file", b"older").root.expect("a file's");
    other.disk.set_time(2 * i64::try_from(other.now).expect("a date of our time") * 1_000_000);
    other.write("file", b"newer");
    // The older version becomes a conflict copy elsewhere, and then a file of its own.
    killed.disk.inject(Fault::Halt(0));
    killed.meet(&mut other);
    other.folder.blobs(vec![(root, Some(b"older".as_slice().into()))], other.now);
    other.write("file", b"newest");
    let shown = other.folder.index().children(EntryId::ROOT, None, 9).expect("read");
    let copy = shown.iter().find(|item| item.name.as_str() != "file").expect("the copy");
    assert!(!copy.conflict);
    let copied = path(copy.name.as_str());
    killed.part(&mut other);
    killed.meet(&mut other);
    // The process is killed when it has moved it, and its user writes another file.
    killed.restart(false);
    killed.disk.user(&UserOp::Rename(path("file"), copied.clone()));
    killed.disk.user(&UserOp::Write(path("file"), b"another".to_vec()));
    killed.connect(&mut other);
    killed.live(&mut other, 30_000);
    for rig in [killed, other] {
        assert_eq!(rig.disk.content(&copied).as_deref(), Some(&b"older"[..]));
        let mut contents: Vec<_> = rig.users().into_iter().map(|(_, content)| content).collect();
        contents.sort_unstable();
        assert_eq!(contents, [&b"another"[..], b"newest", b"older"]);
        assert!(rig.folder.is_settled());
    }
}

#[test]
fn what_is_written_where_a_killed_process_has_moved_an_older_version_away_is_no_edit_of_it() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.connect(&mut other);
    one.disk.user(&UserOp::Write(path("file.md"), b"older\n".to_vec()));
    one.folder.scan();
    one.live(&mut other, 2_000);
    one.part(&mut other);
    other.user(&UserOp::Rename(path("file.md"), path("away.md")));
    other.write("away.md", b"older\nand newer\n");
    other.write("file.md", b"another\n");
    one.disk.inject(Fault::Halt(0));
    one.meet(&mut other);
    one.restart(false);
    // The process had put both in place before it was killed, and the latter was then written anew.
    one.disk.user(&UserOp::Remove(path("file.md")));
    one.disk.user(&UserOp::Write(path("away.md"), b"older\nand newer\n".to_vec()));
    one.disk.user(&UserOp::Write(path("file.md"), b"yet another\n".to_vec()));
    one.connect(&mut other);
    one.live(&mut other, 30_000);
    for rig in [&one, &other] {
        let away = rig.disk.content(&path("away.md"));
        assert_eq!(away.as_deref(), Some(&b"older\nand newer\n"[..]));
        assert!(rig.users().iter().any(|(_, content)| content == b"yet another\n"));
        assert!(rig.folder.is_settled());
    }
}
