use dunlin_tree::fs::{Fault, UserOp};

use crate::folder::testing::{Rig, path};

/// A file that does not merge.
const NAME: &str = "photo.jpg";

/// Two devices with the same file, of which the other one's user changes it while they are apart.
fn two(change: &UserOp) -> (Rig, Rig) {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.write(NAME, b"old");
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    one.part(&mut other);
    other.user(change);
    (one, other)
}

/// Connects the devices, until the process of `one` is killed before the operation with that number.
fn live_until_killed(one: &mut Rig, other: &mut Rig, operation: u64) {
    one.disk.inject(Fault::Halt(operation));
    one.connect(other);
    one.live(other, 1_000);
    one.part(other);
}

/// Starts `one` again; returns what is on both disks in the end.
fn restart(one: &mut Rig, other: &mut Rig) -> Vec<(String, Vec<u8>)> {
    one.restart(false);
    one.connect(other);
    one.live(other, 20_000);
    assert!(one.folder.is_settled() && other.folder.is_settled());
    assert_eq!(one.users(), other.users());
    one.users()
}

/// What is on the disks when the user has saved the file just before the last operation of a process
/// that was killed.
fn saved_and_killed(
    change: &UserOp,
    save: &UserOp,
    lacks: Option<Fault>,
    killed: u64,
) -> Vec<(String, Vec<u8>)> {
    let (mut one, mut other) = two(change);
    lacks.into_iter().for_each(|fault| one.disk.inject(fault));
    let begun = one.disk.operations();
    one.disk.user_before(killed - 1, save.clone());
    live_until_killed(&mut one, &mut other, killed);
    if one.disk.operations() < begun + killed {
        // It was idle before.
        one.disk.user(save);
    }
    restart(&mut one, &mut other)
}

#[test]
fn what_the_user_saves_is_on_the_disk_whenever_the_process_is_killed() {
    let name = || path(NAME);
    let changes = [UserOp::Write(name(), b"theirs".to_vec()), UserOp::Remove(name())];
    let saves = [
        UserOp::Write(name(), b"mine, longer".to_vec()),
        UserOp::Replace(name(), b"mine, longer".to_vec()),
    ];
    let mut beside = 0;
    for (change, save) in changes.iter().flat_map(|c| saves.iter().map(move |save| (c, save))) {
        for (lacks, killed) in
            [None, Some(Fault::NoExchange)].into_iter().flat_map(|l| (8..28).map(move |k| (l, k)))
        {
            let seen = saved_and_killed(change, save, lacks, killed);
            let mine = seen.iter().find(|(_, content)| content == b"mine, longer");
            let Some((name, _)) = mine else {
                panic!("{change:?}, {save:?}, {lacks:?}, {killed}: {seen:?}")
            };
            beside += usize::from(name == "photo (recovered 1).jpg");
        }
    }
    assert!(beside > 0, "what has lost its name has one beside it");
}

#[test]
fn what_dunlin_meant_to_take_away_does_not_come_back() {
    for killed in 8..28 {
        let (mut one, mut other) = two(&UserOp::Write(path(NAME), b"theirs".to_vec()));
        live_until_killed(&mut one, &mut other, killed);
        one.restart(false);
        one.pass(1_000);
        other.write(NAME, b"theirs again");
        live_until_killed(&mut one, &mut other, killed);
        let seen = restart(&mut one, &mut other);
        assert_eq!(seen, [(NAME.to_owned(), b"theirs again".to_vec())], "{killed}");
        other.user(&UserOp::Remove(path(NAME)));
        live_until_killed(&mut one, &mut other, killed);
        assert_eq!(restart(&mut one, &mut other), [], "{killed}");
    }
}
