use bytes::Bytes;
use dunlin_identity::Hash;
use dunlin_tree::fs::UserOp;

use crate::folder::testing::{Rig, path};
use crate::types::FolderState;

/// What the user's files hold.
fn users(rig: &Rig) -> Vec<Vec<u8>> {
    let mut users: Vec<_> = rig.users().into_iter().map(|(_, content)| content).collect();
    users.sort_unstable();
    users
}

#[test]
fn a_file_keeps_its_name_until_what_takes_it_has_come() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.write("file", b"one");
    other.write("file", b"other");
    one.meet(&mut other);
    for (rig, own) in [(&one, &b"one"[..]), (&other, b"other")] {
        assert_eq!(rig.disk.content(&path("file")).as_deref(), Some(own));
        assert_eq!(users(rig), [own]);
    }
    for (rig, theirs) in [(&mut one, &b"other"[..]), (&mut other, b"one")] {
        rig.folder.blobs(vec![(Hash::of(theirs), Some(Bytes::copy_from_slice(theirs)))], rig.now);
    }
    // The same stands under the name on both now, and the other one beside it.
    let shown = |rig: &Rig| rig.disk.content(&path("file"));
    assert_eq!(shown(&one), shown(&other));
    for rig in [&one, &other] {
        assert_eq!(users(rig), [&b"one"[..], b"other"]);
        assert!(rig.folder.is_settled());
    }
}

/// Two connected devices that have these files, each of which holds its own name.
fn sharing(names: &[String]) -> (Rig, Rig) {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    for name in names {
        one.disk.user(&UserOp::Write(path(name), name.clone().into_bytes()));
    }
    one.folder.scan();
    one.connect(&mut other);
    one.live(&mut other, 5_000);
    (one, other)
}

#[test]
fn an_approved_deletion_that_comes_with_a_mass_of_others_is_carried_out() {
    let names: Vec<String> = (0..30).map(|number| format!("directory/{number}")).collect();
    let (mut one, mut other) = sharing(&names);
    one.part(&mut other);
    // One is approved there, as a user does who is asked; the others are not.
    one.user(&UserOp::Remove(path(&names[0])));
    let author = one.folder.index.author();
    let until = one.folder.index.context().get(&author);
    one.folder.index.approve(one.now, author, until).expect("a writer may");
    one.folder.commit_local(Vec::new(), one.now);
    one.folder.set_hold(false);
    one.user(&UserOp::Remove(path("directory")));
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    assert_eq!(other.folder.state(), FolderState::Held);
    let left = |rig: &Rig| names.iter().filter(|at| rig.disk.content(&path(at)).is_some()).count();
    assert_eq!((left(&one), left(&other)), (0, names.len() - 1));
    assert!(other.folder.approve(other.now).expect("the index can be written"));
    one.live(&mut other, 2_000);
    assert_eq!(users(&other), Vec::<Vec<u8>>::new());
    assert!(one.folder.is_settled() && other.folder.is_settled());
}

/// What has a name on this disk gives it to a file whose content comes last, and becomes a conflict
/// copy elsewhere with another content, which is here already.
#[test]
fn what_makes_room_for_a_file_that_comes_gets_its_own_new_content() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    other.write("moving", b"before");
    other.write("here", b"after");
    other.connect(&mut one);
    one.live(&mut other, 2_000);
    one.part(&mut other);
    other.now = one.now;
    // One makes a file under the name that the other gives to one with a new content.
    other.write("moving", b"after");
    other.user(&UserOp::Rename(path("moving"), path("taken")));
    other.write("moving", b"new");
    one.user(&UserOp::Write(path("taken"), b"taken".to_vec()));
    one.meet(&mut other);
    one.folder.blobs(vec![(Hash::of(b"new"), Some(Bytes::from_static(b"new")))], one.now);
    one.pass(1_000);
    assert_eq!(one.disk.content(&path("moving")).as_deref(), Some(&b"new"[..]));
    assert_eq!(users(&one), [&b"after"[..], b"after", b"new", b"taken"]);
    assert!(one.folder.is_settled());
}

#[test]
fn what_is_held_stays_until_the_user_has_spoken_however_little_it_is_by_then() {
    let names: Vec<String> = (0..30).map(|number| format!("file {number}")).collect();
    let (mut one, mut other) = sharing(&names);
    one.folder.set_hold(false);
    for name in &names {
        one.disk.user(&UserOp::Remove(path(name)));
    }
    one.folder.scan();
    one.live(&mut other, 10_000);
    let left = |rig: &Rig| names.iter().filter(|at| rig.disk.content(&path(at)).is_some()).count();
    assert_eq!((other.folder.state(), left(&other)), (FolderState::Held, names.len()));
    // Something makes one of them be looked at again; then they are no half of the folder any more,
    // and something else comes.
    other.user(&UserOp::Chmod(path(&names[0]), 0o600));
    assert_eq!((other.folder.state(), left(&other)), (FolderState::Held, names.len()));
    for number in 0..100 {
        other.disk.user(&UserOp::Write(path(&format!("more {number}")), vec![number]));
    }
    other.user(&UserOp::Write(path("last"), b"last".to_vec()));
    one.now = other.now;
    one.write("new", b"new");
    one.live(&mut other, 10_000);
    assert_eq!(other.disk.content(&path("new")).as_deref(), Some(&b"new"[..]));
    assert_eq!((other.folder.state(), left(&other)), (FolderState::Held, names.len()));
    assert!(other.folder.approve(other.now).expect("the index can be written"));
    one.live(&mut other, 10_000);
    assert_eq!((other.folder.state(), left(&other)), (FolderState::Idle, 0));
}

#[test]
fn a_word_about_what_has_been_brought_back_is_none_about_the_next_mass_deletion() {
    let names: Vec<String> = (0..30).map(|number| format!("file {number}")).collect();
    let (mut one, mut other) = sharing(&names);
    let delete_all = |one: &mut Rig, other: &mut Rig| {
        one.folder.set_hold(false);
        names.iter().for_each(|name| one.disk.user(&UserOp::Remove(path(name))));
        one.folder.scan();
        one.live(other, 10_000);
        assert_eq!((users(one).len(), users(other).len()), (0, names.len()));
        assert_eq!(other.folder.state(), FolderState::Held);
    };
    delete_all(&mut one, &mut other);
    one.part(&mut other);
    // Edited one after the other, they all come back; then the user says that they may go.
    for few in names.chunks(7) {
        for name in few {
            other.disk.user(&UserOp::Write(path(name), format!("new {name}").into_bytes()));
        }
        other.folder.scan();
        other.pass(1_000_000);
    }
    assert!(other.folder.approve(other.now).expect("the index can be written"));
    assert_eq!(users(&other).len(), names.len());
    one.now = other.now;
    one.connect(&mut other);
    one.live(&mut other, 60_000);
    assert_eq!(users(&one).len(), names.len());
    delete_all(&mut one, &mut other);
}
