//! The rules of removal, one test each.

use dunlin_identity::{DeviceId, Tier};

use crate::EntryId;
use crate::error::IndexError;
use crate::item::{Kind, NewEntry};
use crate::record::WrappedKey;
use crate::testing::{Replica, device, meet, name, text};

fn remove(by: &mut Replica, who: &Replica) -> u32 {
    let generation =
        by.index.remove_device(by.now, who.config.device, &[]).expect("it is a member");
    by.commit();
    generation
}

/// Lets a device begin a new log, with an admission of a generation.
fn let_in(replica: &mut Replica, generation: u32) {
    replica.config.admission.generation = generation;
    replica.reopen();
    replica.index.open_new_epoch(100 + u64::from(generation), replica.now).unwrap();
    replica.commit();
}

/// Makes three devices that know each other.
fn three() -> [Replica; 3] {
    let [mut a, mut b, mut c] = [1, 2, 3].map(Replica::new);
    meet(&mut a, &mut b);
    meet(&mut b, &mut c);
    meet(&mut c, &mut a);
    [a, b, c]
}

#[test]
fn what_the_remover_had_not_seen_leaves_the_view_and_what_it_superseded_returns() {
    let [mut a, mut b, mut gone] = three();
    a.create("seen", "1");
    gone.pull(&a);
    gone.create("in time", "2");
    a.pull(&gone);
    gone.write("seen", "3");
    gone.create("late", "4");
    gone.delete("in time");
    gone.mkdir("dir");
    gone.rename("late", "dir/late");
    b.pull(&gone);
    assert_eq!(b.paths(), ["dir", "dir/late", "seen"]);
    assert_eq!(remove(&mut a, &gone), 1);
    b.pull(&a);
    assert_eq!(b.paths(), ["in time", "seen"]);
    assert!(b.has("1") && b.has("2") && !b.has("3") && !b.has("4"));
    // The logs stay whole: contexts converge, and whoever hears of it later comes to the same.
    meet(&mut a, &mut b);
    let mut later = Replica::new(4);
    meet(&mut later, &mut a);
    assert_eq!(later.tree(), b.tree());
    assert!(!b.index.is_member(&device(3)) && b.index.generation() == 1);
}

#[test]
fn what_members_wrote_in_a_file_that_the_removed_one_made_stays() {
    let [mut a, mut b, mut gone] = three();
    gone.mkdir("dir");
    gone.create("dir/file", "theirs");
    gone.create("dir/other", "unseen");
    b.pull(&gone);
    b.write("dir/file", "mine");
    b.create("dir/own", "own");
    remove(&mut a, &gone);
    b.pull(&a);
    assert_eq!(b.paths(), ["dir", "dir/file", "dir/own"]);
    assert!(b.has("mine") && b.has("own") && !b.has("theirs"));
    let mode = b.item("dir/file").unwrap().mode;
    assert_eq!(mode, 0o644, "as it was made");
    // In the other order: the removal is known first.
    a.pull(&gone);
    assert!(a.paths().is_empty(), "{:?}", a.paths());
    meet(&mut a, &mut b);
}

#[test]
fn of_concurrent_removals_the_lowest_cut_off_holds() {
    let [mut a, mut b, mut gone] = three();
    gone.create("one", "1");
    a.pull(&gone);
    gone.create("two", "2");
    b.pull(&gone);
    gone.create("three", "3");
    assert_eq!((remove(&mut a, &gone), remove(&mut b, &gone)), (1, 1));
    assert_eq!(b.paths(), ["one", "two"]);
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["one"]);
    a.pull(&gone);
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["one"]);
}

#[test]
fn a_log_that_one_of_two_removals_does_not_name_counts_not_at_all() {
    let [mut a, mut b, mut gone] = three();
    gone.index.open_new_epoch(33, gone.now).unwrap();
    gone.commit();
    gone.create("in the second log", "1");
    b.pull(&gone);
    remove(&mut a, &gone);
    remove(&mut b, &gone);
    assert_eq!(b.paths().len(), 1);
    // The removal that names the log arrives where nothing of it counts, and the reverse.
    a.pull(&gone);
    assert!(a.paths().is_empty());
    meet(&mut a, &mut b);
    assert!(a.paths().is_empty());
}

#[test]
fn two_that_remove_each_other_are_both_out_and_a_third_goes_on() {
    let [mut a, mut b, mut third] = three();
    a.create("a", "1");
    b.pull(&a);
    b.create("b", "2");
    remove(&mut a, &b);
    remove(&mut b, &a);
    third.pull(&a);
    third.pull(&b);
    assert_eq!(third.paths(), ["a"], "b had seen it, and a had not seen b's");
    a.pull(&b);
    b.pull(&a);
    for replica in [&a, &b, &third] {
        let members = replica.index.members().into_iter().filter(|member| !member.removed);
        let left: Vec<DeviceId> = members.map(|member| member.device).collect();
        assert_eq!(left, [device(3)]);
        assert_eq!(replica.tree(), third.tree());
    }
    let new = NewEntry { kind: Kind::File, content: text("3"), mode: 0o644 };
    let refused = a.index.create(a.now, EntryId::ROOT, &name("c"), new);
    assert!(matches!(refused, Err(IndexError::Removed)), "{refused:?}");
    third.create("c", "3");
    meet(&mut third, &mut a);
}

#[test]
fn who_is_let_in_anew_writes_in_a_new_log_and_what_was_cut_off_stays_away() {
    let [mut a, mut b, mut gone] = three();
    gone.create("before", "1");
    a.pull(&gone);
    gone.create("late", "2");
    remove(&mut a, &gone);
    gone.pull(&a);
    assert_eq!(gone.paths(), ["before"]);
    assert!(gone.index.is_removed());
    // A new admission alone does not bring the old log back.
    gone.config.admission.generation = 1;
    gone.config.name = "again".to_owned();
    gone.reopen();
    gone.commit();
    assert!(gone.index.is_member(&gone.config.device) && gone.index.is_removed());
    let_in(&mut gone, 1);
    assert!(!gone.index.is_removed());
    gone.create("after", "3");
    meet(&mut gone, &mut a);
    meet(&mut gone, &mut b);
    assert_eq!(b.paths(), ["after", "before"]);
    // Removed once more: of the second log counts what the remover holds.
    gone.create("late again", "4");
    assert_eq!(remove(&mut b, &gone), 2);
    meet(&mut gone, &mut b);
    assert_eq!(b.paths(), ["after", "before"]);
    assert!(!b.index.is_member(&device(3)));
}

#[test]
fn a_removal_of_an_earlier_generation_does_not_end_the_log_of_who_came_back() {
    let [mut a, mut b, mut gone] = three();
    remove(&mut a, &gone);
    gone.pull(&a);
    let_in(&mut gone, 1);
    gone.create("back", "1");
    // Removed at the same time by somebody who knew of neither.
    remove(&mut b, &gone);
    meet(&mut gone, &mut b);
    assert_eq!(b.paths(), ["back"]);
    assert!(b.index.is_member(&device(3)));
}

#[test]
fn settings_and_releases_past_the_cut_off_are_taken_back() {
    let [mut a, mut b, mut gone] = three();
    a.index.set_settings(a.now, b"ours".to_vec()).unwrap();
    a.commit();
    gone.pull(&a);
    gone.index.set_settings(gone.now, b"theirs".to_vec()).unwrap();
    gone.index.approve(gone.now, a.index.author(), 9).unwrap();
    gone.commit();
    b.pull(&gone);
    assert!(b.index.is_approved(&a.index.author(), 9));
    remove(&mut a, &gone);
    meet(&mut a, &mut b);
    assert!(!b.index.is_approved(&a.index.author(), 9));
    let settings: Vec<&[u8]> =
        b.index.settings().iter().map(|(_, value)| value.as_slice()).collect();
    assert_eq!(settings, [b"ours"]);
}

#[test]
fn a_deletion_of_a_tree_past_the_cut_off_is_taken_back() {
    let [mut a, mut b, mut gone] = three();
    a.mkdir("dir");
    a.create("dir/file", "1");
    gone.pull(&a);
    b.pull(&a);
    gone.delete("dir");
    b.pull(&gone);
    assert!(b.paths().is_empty());
    remove(&mut a, &gone);
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["dir", "dir/file"]);
}

#[test]
fn a_removal_that_cannot_be_is_refused_with_the_reason() {
    let [mut a, _, gone] = three();
    let own = a.config.device;
    let refused = a.index.remove_device(0, own, &[]);
    assert!(matches!(refused, Err(IndexError::ThisDevice)), "{refused:?}");
    let refused = a.index.remove_device(0, device(9), &[]);
    assert!(matches!(refused, Err(IndexError::NotAMember(_))), "{refused:?}");
    let key = |bytes| WrappedKey { device: device(2), sealed: vec![0; bytes] };
    let refused = a.index.remove_device(0, gone.config.device, &[key(9000)]);
    assert!(matches!(refused, Err(IndexError::Content(_))), "{refused:?}");
    assert!(!a.index.has_uncommitted(), "a refused removal leaves nothing behind");
    remove(&mut a, &gone);
    let refused = a.index.remove_device(0, gone.config.device, &[]);
    assert!(matches!(refused, Err(IndexError::NotAMember(_))), "{refused:?}");
    let mut reader = Replica::new(2);
    reader.config.tier = Tier::Read;
    reader.reopen();
    let refused = reader.index.remove_device(0, device(1), &[]);
    assert!(matches!(refused, Err(IndexError::ReadOnly)), "{refused:?}");
}

#[test]
fn the_keys_of_many_members_go_into_several_records() {
    let [mut a, mut b, gone] = three();
    let key = |number: u8| WrappedKey { device: device(number), sealed: vec![number; 210] };
    let keys: Vec<WrappedKey> = (0..100).map(key).collect();
    a.index.remove_device(a.now, gone.config.device, &keys).unwrap();
    a.commit();
    meet(&mut a, &mut b);
    assert_eq!(b.index.generation(), 1);
    let granted = b.index.granted().expect("one removal alone");
    assert_eq!((granted.generation, granted.by), (1, device(1)));
    assert_eq!(granted.keys.len(), 100);
    assert_eq!(granted.keys.get(&device(99)), Some(&vec![99; 210]));
    b.reopen();
    assert_eq!(b.index.granted(), a.index.granted());
}

#[test]
fn of_removals_made_apart_no_key_is_used_and_one_writer_raises_the_generation_again() {
    let [mut a, mut b, mut gone] = three();
    let mut third = Replica::new(4);
    for other in [&mut a, &mut b, &mut gone] {
        meet(&mut third, other);
        meet(other, &mut third);
    }
    a.pull(&third);
    b.pull(&third);
    let keys = |by: u8| [WrappedKey { device: device(2), sealed: vec![by; 210] }];
    a.index.remove_device(a.now, gone.config.device, &keys(1)).unwrap();
    a.commit();
    assert!(!a.index.must_raise());
    b.index.remove_device(b.now, third.config.device, &keys(2)).unwrap();
    b.commit();
    meet(&mut a, &mut b);
    for replica in [&a, &b] {
        assert_eq!(replica.index.granted(), None);
        assert_eq!(replica.index.generation(), 1);
    }
    assert!(a.index.must_raise() && !b.index.must_raise(), "the lowest id does");
    assert_eq!(a.index.raise_generation(a.now, &keys(3)).unwrap(), 2);
    a.commit();
    meet(&mut a, &mut b);
    let granted = b.index.granted().expect("one has made it");
    assert_eq!((granted.generation, granted.by), (2, device(1)));
    assert!(!a.index.must_raise());
    let members = b.index.members().into_iter().filter(|member| !member.removed);
    assert_eq!(members.map(|member| member.device).collect::<Vec<_>>(), [device(1), device(2)]);
}

#[test]
fn keys_of_a_removed_device_are_not_used() {
    let [mut a, mut b, mut gone] = three();
    remove(&mut a, &gone);
    // It does not know, and removes somebody; and somebody who does not know either takes it.
    let keys = [WrappedKey { device: device(2), sealed: vec![3; 210] }];
    gone.index.remove_device(gone.now, device(1), &keys).unwrap();
    gone.index.raise_generation(gone.now, &keys).unwrap();
    gone.commit();
    b.pull(&gone);
    assert_eq!(b.index.granted().map(|granted| granted.by), Some(device(3)));
    b.pull(&a);
    assert_eq!(b.index.granted(), None);
    assert!(b.index.must_raise(), "it alone is left");
    b.index.raise_generation(b.now, &[]).unwrap();
    assert_eq!(b.index.granted().map(|granted| granted.generation), Some(3));
}
