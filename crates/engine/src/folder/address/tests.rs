use dunlin_index::Kind;
use dunlin_tree::fs::UserOp;

use crate::folder::testing::{Rig, noise, path};

/// Two connected devices with a directory, and with two versions of another one, which both had or
/// each has made. Gives the copy's name and content, too.
fn conflicting(shared: bool) -> (Rig, Rig, String, Vec<u8>) {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.user(&UserOp::Mkdir(path("the directory")));
    if shared {
        one.write("file", b"base");
        one.connect(&mut other);
        one.live(&mut other, 2_000);
        one.part(&mut other);
    }
    one.write("file", b"one");
    other.write("file", b"other");
    one.connect(&mut other);
    one.live(&mut other, 5_000);
    let mut files = one.users();
    let (copy, beside) = files.remove(1);
    assert!(copy.contains("(conflict ") && files.len() == 1, "{copy} {files:?}");
    (one, other, copy, beside)
}

#[test]
fn what_is_done_to_one_of_two_equal_versions_on_a_disk_spares_the_other() {
    let cases = [true, false].map(|shared| [Some(&b"mine"[..]), None].map(|edit| (shared, edit)));
    for (shared, edit) in cases.into_iter().flatten() {
        let (mut one, mut other, copy, beside) = conflicting(shared);
        one.part(&mut other);
        // The version that has the name is replaced elsewhere, and what replaced it does not come
        // yet.
        let newest = noise(1, 40_000);
        let root = other.write("file", &newest).root.expect("a file's");
        one.meet(&mut other);
        one.folder.blobs(vec![(root, None)], one.now);
        one.part(&mut other);
        // Now the user writes the copy's content into the file, and something else into the copy,
        // or removes it.
        one.disk.user(&UserOp::Write(path("file"), beside.clone()));
        one.disk.user(&match edit {
            Some(edit) => UserOp::Write(path(&copy), edit.to_vec()),
            None => UserOp::Remove(path(&copy)),
        });
        one.folder.scan();
        one.pass(2_000);
        one.folder.blobs(vec![(root, None)], one.now);
        one.connect(&mut other);
        one.live(&mut other, 60_000);
        let mut expected = vec![newest, beside];
        expected.extend(edit.map(<[u8]>::to_vec));
        expected.sort_unstable();
        for rig in [&one, &other] {
            assert!(rig.folder.is_settled(), "{shared} {edit:?}");
            let mut contents: Vec<_> = rig.users().into_iter().map(|(_, it)| it).collect();
            contents.sort_unstable();
            assert_eq!(contents, expected, "{shared} {edit:?}");
        }
    }
}

#[test]
fn a_copy_that_swaps_names_with_a_directory_takes_its_own_content_along() {
    for shared in [true, false] {
        let (mut one, mut other, copy, beside) = conflicting(shared);
        let winner = one.disk.content(&path("file")).unwrap_or_default();
        for (from, to) in
            [(copy.as_str(), "swapping"), ("the directory", &copy), ("swapping", "the directory")]
        {
            one.disk.user(&UserOp::Rename(path(from), path(to)));
        }
        one.folder.scan();
        one.live(&mut other, 10_000);
        for rig in [&one, &other] {
            let content = |at: &str| rig.disk.content(&path(at)).unwrap_or_default();
            assert_eq!(content("file"), winner, "{shared}");
            assert_eq!(content("the directory"), beside, "{shared}");
            assert_eq!(rig.row(&copy).kind, Kind::Directory, "{shared}");
            assert_eq!(rig.users().len(), 2, "{shared}");
        }
    }
}
