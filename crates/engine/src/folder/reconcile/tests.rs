use bytes::Bytes;
use dunlin_identity::Hash;

use crate::folder::testing::{Rig, path};

/// What the user's files hold.
fn users(rig: &Rig) -> Vec<Vec<u8>> {
    let all = rig.disk.all_contents().into_iter();
    let mut users: Vec<_> = all
        .filter(|(path, _)| !path.starts_with(".dunlin/"))
        .map(|(_, content)| content.to_vec())
        .collect();
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
