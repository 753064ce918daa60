//! A user who saves between any two of our operations, and crashes there.

use super::conformance::{NOW, fill, marker, path, put};
use crate::fs::*;

/// Sets of what a file system may lack.
const LACKS: [&[Fault]; 3] = [&[], &[Fault::NoExchange], &[Fault::NoNoReplace]];

fn fresh(seed: u64, lacks: &[Fault]) -> (MemFs, Stat) {
    let fs = MemFs::new(seed);
    fs.init(&marker()).unwrap();
    fs.mkdir(&path("d"), 0o755).unwrap();
    let old = put(&fs, "d/a", b"old");
    fill(&fs, "n", b"new");
    lacks.iter().for_each(|fault| fs.volume().inject(*fault));
    (fs, old)
}

fn is_anywhere(fs: &MemFs, content: &[u8]) -> bool {
    fs.volume().all_contents().iter().any(|(_, found)| found.as_slice() == content)
}

/// What one of our operations is.
type Action = fn(&MemFs, &Stat);

const ACTIONS: [Action; 3] = [
    |fs, old| {
        let new = super::conformance::temp("n");
        let _ = fs.install(&new, &path("d/a"), Some(old), NOW);
    },
    |fs, old| {
        let _ = fs.keep(&path("d/a"), old, NOW);
    },
    |fs, old| {
        let _ = fs.rename(&path("d/a"), &path("d/b"), old);
    },
];

#[test]
fn whatever_the_user_saves_meanwhile_is_still_there() {
    let a = || path("d/a");
    let saves: [fn(RelPath, Vec<u8>) -> UserOp; 2] = [UserOp::Replace, UserOp::Write];
    for (lacks, action) in LACKS.iter().flat_map(|lacks| ACTIONS.map(|action| (lacks, action))) {
        for (first, second) in (0..14).flat_map(|first| (first..14).map(move |s| (first, s))) {
            for save in saves {
                let (fs, old) = fresh(1, lacks);
                fs.volume().user_before(first, save(a(), b"users".to_vec()));
                fs.volume().user_before(second, save(a(), b"users later".to_vec()));
                action(&fs, &old);
                // What was scheduled for after the end happens now.
                let done = fs.volume().operations();
                (0..14).for_each(|_| drop(fs.stat(&a())));
                let newest = is_anywhere(&fs, b"users later");
                assert!(
                    newest,
                    "{lacks:?} {first} {second} {done}: {:?}",
                    fs.volume().all_contents()
                );
            }
        }
    }
}

#[test]
fn a_save_by_rename_stays_at_its_path() {
    for at in 0..14 {
        let (fs, old) = fresh(1, &[]);
        fs.volume().user_before(at, UserOp::Replace(path("d/a"), b"users".to_vec()));
        ACTIONS[0](&fs, &old);
        (0..14).for_each(|_| drop(fs.stat(&path("d/a"))));
        assert_eq!(fs.volume().content(&path("d/a")).as_deref(), Some(&b"users"[..]), "{at}");
    }
}

#[test]
fn a_kill_at_any_operation_leaves_the_old_or_the_new_file() {
    for at in 0..14 {
        let (fs, old) = fresh(1, &[]);
        fs.volume().inject(Fault::Halt(at));
        ACTIONS[0](&fs, &old);
        fs.volume().heal();
        let content = fs.volume().content(&path("d/a")).unwrap();
        assert!(content == b"old" || content == b"new", "{at}");
        assert!(is_anywhere(&fs, b"old"), "{at}: what was replaced is kept");
    }
}

#[test]
fn a_power_cut_at_any_operation_leaves_synced_files_whole() {
    for (seed, at) in (0..20).flat_map(|seed| (0..14).map(move |at| (seed, at))) {
        let (fs, old) = fresh(seed, &[]);
        fs.sync_all().unwrap();
        fs.volume().inject(Fault::Halt(at));
        ACTIONS[0](&fs, &old);
        fs.volume().crash();
        let content = fs.volume().content(&path("d/a")).unwrap();
        assert!(content == b"old" || content == b"new", "seed {seed}, operation {at}");
        assert!(is_anywhere(&fs, b"old"), "seed {seed}, operation {at}");
        fs.root_check(&marker()).unwrap();
    }
}

#[test]
fn one_failed_operation_loses_nothing() {
    let kinds = [FsErrorKind::Io, FsErrorKind::NoSpace, FsErrorKind::Permission];
    for (lacks, kind) in LACKS.iter().flat_map(|lacks| kinds.map(|kind| (lacks, kind))) {
        for (at, action) in (0..14).flat_map(|at| ACTIONS.map(|action| (at, action))) {
            let (fs, old) = fresh(1, lacks);
            fs.volume().inject(Fault::Once(at, kind));
            action(&fs, &old);
            assert!(is_anywhere(&fs, b"old"), "{lacks:?} {kind:?} {at}");
        }
    }
}

/// Whether a content is in the folder, where its user finds it.
fn is_in_the_tree(fs: &MemFs, content: &[u8]) -> bool {
    let all = fs.volume().all_contents();
    all.iter().any(|(at, found)| found.as_slice() == content && !at.starts_with(".dunlin/"))
}

#[test]
fn what_is_saved_while_the_disk_fails_is_back_when_it_works() {
    let saves: [fn(RelPath, Vec<u8>) -> UserOp; 2] = [UserOp::Replace, UserOp::Write];
    for (lacks, action) in LACKS.iter().flat_map(|lacks| ACTIONS.map(|action| (lacks, action))) {
        for (moment, fault) in (0..14).flat_map(|moment| (0..14).map(move |at| (moment, at))) {
            for (save, later) in saves.iter().flat_map(|save| [(save, false), (save, true)]) {
                let (fs, old) = fresh(1, lacks);
                fs.volume().user_before(moment, save(path("d/a"), b"users".to_vec()));
                fs.volume().inject(Fault::Once(fault, FsErrorKind::Io));
                action(&fs, &old);
                (0..14).for_each(|_| drop(fs.stat(&path("d/a"))));
                let seen = is_in_the_tree(&fs, b"users");
                if later {
                    fs.volume().user(&save(path("d/a"), b"users later".to_vec()));
                }
                fs.root_check(&marker()).unwrap();
                let all = fs.volume().all_contents();
                let context = format!("{lacks:?} {moment} {fault} {later}: {all:?}");
                assert!(is_in_the_tree(&fs, b"users later") || !later, "{context}");
                assert!(is_in_the_tree(&fs, b"users") || (later && seen), "{context}");
            }
        }
    }
}

#[test]
fn unsynced_content_can_be_lost_and_synced_content_cannot() {
    let mut lost = 0;
    for seed in 0..50 {
        let fs = MemFs::new(seed);
        fs.volume().user(&UserOp::Write(path("a"), b"synced".to_vec()));
        fs.sync_all().unwrap();
        fs.volume().user(&UserOp::Write(path("b"), b"unsynced".to_vec()));
        fs.volume().crash();
        assert_eq!(fs.volume().content(&path("a")).unwrap(), b"synced");
        lost += u32::from(fs.volume().content(&path("b")).as_deref() != Some(b"unsynced"));
    }
    assert!((10..50).contains(&lost), "{lost} of 50");
}

#[test]
fn what_is_written_into_a_new_version_while_it_is_taken_back_stays_in_the_folder() {
    for (moment, fault) in (0..10).flat_map(|moment| (0..14).map(move |fault| (moment, fault))) {
        let (fs, old) = fresh(1, &[]);
        fs.volume().inject(Fault::Once(fault, FsErrorKind::Io));
        ACTIONS[0](&fs, &old);
        fs.volume().user_before(moment, UserOp::Write(path("d/a"), b"users".to_vec()));
        // The fault may come only here, once.
        fs.root_check(&marker()).or_else(|_| fs.root_check(&marker())).unwrap();
        (0..10).for_each(|_| drop(fs.stat(&path("d/a"))));
        let all = fs.volume().all_contents();
        assert!(is_in_the_tree(&fs, b"users"), "{moment} {fault}: {all:?}");
    }
}

#[test]
fn what_the_user_did_meanwhile_is_told_with_what_was_there_before_and_after() {
    let (fs, _) = fresh(1, &[]);
    fs.volume().user_before(1, UserOp::Remove(path("d/a")));
    drop(fs.stat(&path("d/a")));
    assert!(fs.volume().take_acted().is_empty());
    drop(fs.stat(&path("d/a")));
    let acted = fs.volume().take_acted();
    let [Acted { before, after }] = acted.as_slice() else { panic!("{acted:?}") };
    let has = |contents: &Contents| contents.iter().any(|(at, _)| at == "d/a");
    assert!(has(before) && !has(after));
    assert!(fs.volume().take_acted().is_empty());
}
