use dunlin_index::Kind;
use dunlin_tree::fs::UserOp;

use crate::folder::testing::{Rig, path};

/// One part of a directory moves to where another one is, and its other part stays: whichever of
/// these the row on the disk is of (what they are called decides it), both are there in the end.
#[test]
fn one_part_of_a_directory_joins_another_one_and_the_rest_stays() {
    for number in 0..12 {
        let [first, from, to] = ["first", "from", "to"].map(|name| format!("{name}{number}"));
        let inside = format!("{from}/file");
        let rename = |from: &str, to: &str| UserOp::Rename(path(from), path(to));
        let (mut mover, mut one, mut third) =
            (Rig::of_device(1), Rig::of_device(2), Rig::of_device(3));
        mover.user(&UserOp::Mkdir(path(&first)));
        mover.user(&rename(&first, &from));
        mover.connect(&mut one);
        mover.live(&mut one, 5_000);
        mover.part(&mut one);
        mover.user(&rename(&from, &to));
        third.user(&UserOp::Mkdir(path(&from)));
        third.write(&inside, b"third");
        third.connect(&mut one);
        one.live(&mut third, 5_000);
        one.part(&mut third);
        one.user(&UserOp::Mkdir(path(&to)));

        one.now = one.now.max(mover.now);
        mover.connect(&mut one);
        one.live(&mut mover, 60_000);
        for rig in [&one, &mover] {
            assert!(rig.folder.is_settled(), "{number}");
            assert_eq!(rig.row(&to).kind, Kind::Directory, "{number}");
            assert_eq!(rig.disk.content(&path(&inside)).as_deref(), Some(&b"third"[..]));
            assert_eq!(rig.folder.rows().counts().directories, 2, "{number}");
        }
    }
}
