use dunlin_tree::fs::UserOp;

use crate::folder::testing::{Rig, noise, path};

/// What the user's files hold, by name.
fn users(rig: &Rig) -> Vec<(String, Vec<u8>)> {
    let all = rig.disk.all_contents().into_iter();
    all.filter(|(path, _)| !path.starts_with(".dunlin/"))
        .map(|(path, content)| (path, content.to_vec()))
        .collect()
}

#[test]
fn an_edit_of_one_of_two_equal_versions_on_a_disk_spares_the_other() {
    let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
    one.write("file", b"base");
    one.connect(&mut other);
    one.live(&mut other, 2_000);
    one.part(&mut other);
    one.write("file", b"one");
    other.write("file", b"other");
    one.connect(&mut other);
    one.live(&mut other, 5_000);
    one.part(&mut other);
    let copies = users(&one);
    let [_, (copy, loser)] = copies.as_slice() else { panic!("not two files: {copies:?}") };
    assert!(copy.contains("(conflict "), "{copies:?}");
    // The version that has the name is replaced elsewhere, and what replaced it does not come yet.
    let newest = noise(1, 40_000);
    let root = other.write("file", &newest).root.expect("a file's");
    one.meet(&mut other);
    one.folder.blobs(vec![(root, None)], one.now);
    one.part(&mut other);
    // Now the user writes the copy's content into the file, and something else into the copy.
    one.disk.user(&UserOp::Write(path("file"), loser.clone()));
    one.disk.user(&UserOp::Write(path(copy), b"mine".to_vec()));
    one.folder.scan();
    one.pass(2_000);
    one.folder.blobs(vec![(root, None)], one.now);
    one.connect(&mut other);
    one.live(&mut other, 60_000);
    for rig in [&one, &other] {
        let mut contents: Vec<_> = users(rig).into_iter().map(|(_, content)| content).collect();
        let mut expected = vec![newest.clone(), loser.clone(), b"mine".to_vec()];
        contents.sort_unstable();
        expected.sort_unstable();
        assert!(rig.folder.is_settled());
        assert_eq!(
            contents,
            expected,
            "{:?}",
            users(rig).iter().map(|(p, _)| p).collect::<Vec<_>>()
        );
    }
}
