use dunlin_blocks::BlockRef;
use dunlin_identity::Hash;
use dunlin_tree::fs::{TempName, UserOp};

use super::super::testing::{Rig, path};
use super::super::{Put, PutError};
use super::*;
use crate::history::How;

fn wanted(at_path: &str, at: Option<Millis>, force: bool) -> Wanted {
    Wanted { path: path(at_path), at, version: None, force, elsewhere: false }
}

fn paths(plan: &Plan) -> Vec<String> {
    plan.targets.iter().map(|target| target.path.to_string()).collect()
}

/// Deletes what one directory of many holds, so that it is no mass deletion.
fn with_others(rig: &mut Rig) {
    for number in 0..30 {
        rig.disk.user(&UserOp::Write(path(&format!("others/{number}")), vec![number]));
    }
    rig.user(&UserOp::Mkdir(path("others/empty")));
}

/// A folder with a file `a` that was edited, and when it was not yet.
fn edited() -> (Rig, Millis) {
    let mut rig = Rig::new();
    rig.write("a", b"old");
    let then = rig.now;
    rig.pass(5_000);
    rig.write("a", b"new");
    (rig, then)
}

#[test]
fn an_edited_file_is_replaced_only_when_told() {
    let (rig, then) = edited();
    let plan = rig.folder.plan_restore(&wanted("a", Some(then), false)).expect("planned");
    assert_eq!((plan.targets.len(), plan.newer), (0, vec![path("a")]));
    let plan = rig.folder.plan_restore(&wanted("a", Some(then), true)).expect("planned");
    assert_eq!(plan.targets[0].expect, Some(rig.row("a").stat));
    let root = Hash::of(b"old");
    assert!(matches!(plan.targets[0].what, What::File { root: r, size: 3, .. } if r == root));
    // As of now it is as it is; as of before there was anything, it was not there.
    let plan = rig.folder.plan_restore(&wanted("a", Some(rig.now), true)).expect("planned");
    assert_eq!((plan.targets.len(), plan.unchanged), (0, 1));
    let before = rig.folder.plan_restore(&wanted("a", Some(1), true));
    assert!(matches!(before, Err(PastError::NotThen)));
    let never = rig.folder.plan_restore(&wanted("b", None, true));
    assert!(matches!(never, Err(PastError::Nothing)));
}

#[test]
fn a_file_that_was_renamed_since_gets_its_old_content_under_its_new_name() {
    let mut rig = Rig::new();
    rig.write("a", b"old");
    let then = rig.now;
    rig.pass(5_000);
    rig.user(&UserOp::Rename(path("a"), path("b")));
    rig.write("b", b"new");
    let plan = rig.folder.plan_restore(&wanted("", Some(then), true)).expect("planned");
    assert_eq!(paths(&plan), ["b"]);
    let past = rig.folder.past(&path("b"), 10).expect("read");
    assert_eq!(past.records.len(), 1);
    assert!(past.present.is_some());
}

#[test]
fn a_directory_is_planned_with_what_was_in_it_and_what_is_new_stays() {
    let mut rig = Rig::new();
    with_others(&mut rig);
    rig.write("d/e/x", b"x");
    rig.write("d/y", b"y");
    let then = rig.now;
    rig.pass(5_000);
    rig.user(&UserOp::Remove(path("d")));
    rig.write("since", b"since");
    for at in [None, Some(then)] {
        let plan = rig.folder.plan_restore(&wanted("d", at, false)).expect("planned");
        assert_eq!(paths(&plan), ["d", "d/e", "d/e/x", "d/y"]);
    }
    let plan = rig.folder.plan_restore(&wanted("", Some(then), false)).expect("planned");
    assert_eq!(paths(&plan), ["d", "d/e", "d/e/x", "d/y"]);
    assert_eq!((plan.stayed, plan.unchanged), (1, 30));
    let to = Wanted { elsewhere: true, ..wanted("others", Some(then), false) };
    assert_eq!(rig.folder.plan_restore(&to).expect("planned").targets.len(), 31);
}

#[test]
fn history_of_a_directory_tells_the_newest_first_and_how_much_more_there_is() {
    let mut rig = Rig::new();
    with_others(&mut rig);
    for number in 0..5u8 {
        rig.write("d/x", &[number]);
    }
    rig.user(&UserOp::Remove(path("d/x")));
    let past = rig.folder.past(&path("d"), 3).expect("read");
    assert_eq!((past.records.len(), past.more), (3, 2));
    assert_eq!(past.records[0].how, How::Deleted);
    assert!(past.records.windows(2).all(|pair| pair[0].until >= pair[1].until));
}

fn put(rig: &mut Rig, target: &Target, content: &[u8]) -> Result<(), PutError> {
    let temp = TempName::parse("restore-1").expect("a name");
    let fs = rig.fs();
    let file = fs.temp_create(&temp, 0).expect("made");
    file.write_at(content, 0).expect("written");
    file.set_len(content.len() as u64).expect("set");
    let len = u32::try_from(content.len()).expect("small");
    let blocks = vec![(0, BlockRef { hash: Hash::of(content), len })];
    let put = Put { target: target.clone(), temp: Some(temp), blocks, repair: false };
    rig.folder.put(vec![put], rig.now).pop().expect("one outcome")
}

#[test]
fn what_is_put_in_place_is_a_local_change_and_keeps_what_it_replaces() {
    let (mut rig, then) = edited();
    let plan = rig.folder.plan_restore(&wanted("a", Some(then), true)).expect("planned");
    put(&mut rig, &plan.targets[0], b"old").expect("put");
    assert_eq!(rig.disk.content(&path("a")).as_deref(), Some(&b"old"[..]));
    let key = rig.row("a").item;
    let items = rig.folder.index().items(key.entry).expect("read");
    assert!(items.iter().any(|item| item.key == key && item.content.size() == 3));
    let past = rig.folder.past(&path("a"), 10).expect("read");
    let told: Vec<_> = past.records.iter().map(|record| record.how).collect();
    assert_eq!(told, [How::Restored, How::Edited]);
    // A scan finds nothing new.
    let before = rig.folder.index().context().clone();
    rig.folder.scan();
    rig.pass(5_000);
    assert_eq!(*rig.folder.index().context(), before);
    assert_eq!(rig.block(&Hash::of(b"new")).as_deref(), Some(&b"new"[..]));
}

#[test]
fn what_changed_meanwhile_is_not_replaced() {
    let (mut rig, then) = edited();
    let plan = rig.folder.plan_restore(&wanted("a", Some(then), true)).expect("planned");
    rig.write("a", b"newest");
    let refused = put(&mut rig, &plan.targets[0], b"old");
    assert!(matches!(refused, Err(PutError::Changed)), "{refused:?}");
    assert_eq!(rig.disk.content(&path("a")).as_deref(), Some(&b"newest"[..]));
    assert!(rig.fs().temp_list().expect("listed").is_empty());
}

#[test]
fn a_restore_of_many_files_is_approved_for_the_other_devices() {
    let mut rig = Rig::new();
    for number in 0..25u8 {
        rig.disk.user(&UserOp::Write(path(&format!("f{number}")), vec![number]));
    }
    rig.user(&UserOp::Mkdir(path("d")));
    for number in 0..2u8 {
        rig.write(&format!("f{number}"), b"edited");
    }
    let author = rig.folder.index().author();
    let told = rig.folder.index().context().get(&author);
    let puts = (0..25u8).map(|number| {
        let name = format!("f{number}");
        let temp = TempName::parse(&format!("restore-{number}")).expect("a name");
        let fs = rig.fs();
        let file = fs.temp_create(&temp, 0).expect("made");
        file.write_at(b"older", 0).expect("written");
        let root = Hash::of(b"older");
        let target = Target {
            path: path(&name),
            what: What::File { root, size: 5, list: Vec::new() },
            mode: 0o644,
            mtime_ns: 0,
            expect: Some(rig.row(&name).stat),
        };
        let blocks = vec![(0, BlockRef { hash: root, len: 5 })];
        Put { target, temp: Some(temp), blocks, repair: false }
    });
    let puts = puts.collect();
    let outcomes = rig.folder.put(puts, rig.now);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let index = rig.folder.index();
    assert!(index.is_approved(&author, told + 25), "{} to {:?}", told, index.context());
}
