//! One readable test for each rule of the index.

use dunlin_identity::Tier;

use crate::context::Context;
use crate::error::{IndexError, MergeError};
use crate::ids::EntryId;
use crate::index::Index;
use crate::item::{Content, Kind, NewEntry};
use crate::storage::MemStore;
use crate::testing::{Fake, Replica, config, device, meet, name, text};

#[test]
fn a_change_made_here_is_seen_there() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("docs");
    a.create("docs/one.txt", "1");
    a.create("two.txt", "22");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["docs", "docs/one.txt", "two.txt"]);
    assert_eq!((b.index.counts().files, b.index.counts().dirs, b.index.counts().bytes), (2, 1, 3));
    b.write("docs/one.txt", "one");
    b.rename("docs", "papers");
    b.delete("two.txt");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["papers", "papers/one.txt"]);
    assert!(a.has("one") && !a.has("1") && !a.has("22"));
}

#[test]
fn rule_1_the_later_move_wins_and_edits_follow_it() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("f", "old");
    meet(&mut a, &mut b);
    a.rename("f", "a");
    b.rename("f", "b1");
    b.rename("b1", "b2");
    a.write("a", "new");
    meet(&mut a, &mut b);
    // More moves beat an equal clock and an earlier one.
    assert_eq!(a.paths(), ["b2"]);
    assert!(a.has("new"));
}

#[test]
fn rule_6_a_deleted_tree_spares_what_is_in_a_directory_that_is_not_known_yet() {
    let (mut a, mut b, mut c) = (Replica::new(1), Replica::new(2), Replica::new(3));
    a.mkdir("d");
    b.pull(&a);
    b.mkdir("d/s");
    c.pull(&b);
    c.create("d/s/f", "unseen");
    c.create("d/g", "seen");
    // What makes `d/s` known has not arrived.
    a.pull_only(&c);
    assert_eq!(a.paths(), ["d", "d/g"]);
    a.reopen();
    a.delete("d");
    a.audit();
    meet(&mut a, &mut b);
    meet(&mut a, &mut c);
    assert_eq!(c.paths(), ["d", "d/s", "d/s/f"]);
}

#[test]
fn rule_2_equal_things_made_apart_are_one() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    for replica in [&mut a, &mut b] {
        replica.mkdir("d");
        replica.create("d/same", "same");
    }
    assert_eq!(a.key("d/same").entry, b.key("d/same").entry);
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["d", "d/same"]);
    a.delete("d/same");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["d"]);
    let old = a.key("d").entry;
    // An identity that was used up is not used again.
    a.delete("d");
    a.mkdir("d");
    assert_ne!(a.key("d").entry, old);
    meet(&mut a, &mut b);
}

#[test]
fn rule_2_several_equal_things_show_once_and_are_addressed_together() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("x", "same");
    b.create("y", "same");
    a.rename("x", "f");
    b.rename("y", "f");
    assert_ne!(a.key("f").entry, b.key("f").entry);
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["f"]);
    assert_eq!(a.index.counts().conflicts, 0);
    a.rename("f", "g");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["g"]);
    b.write("g", "new");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["g"]);
    assert!(a.has("new") && !a.has("same"));
    a.delete("g");
    meet(&mut a, &mut b);
    assert!(b.paths().is_empty());
}

#[test]
fn rule_4_concurrent_edits_stand_side_by_side_under_the_same_names() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("f.txt", "old");
    meet(&mut a, &mut b);
    a.write("f.txt", "from a");
    b.write("f.txt", "from b");
    meet(&mut a, &mut b);
    let paths = a.paths();
    assert_eq!(paths.len(), 2);
    assert!(paths[0].starts_with("f (conflict ") && paths[0].ends_with(").txt"), "{paths:?}");
    assert_eq!(a.index.counts().conflicts, 1);
    // Deleting the winner does not take the loser along, nor does a later edit.
    let copy = paths[0].clone();
    a.delete("f.txt");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), [copy.as_str()]);
    b.write(&copy, "edited copy");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), [copy.as_str()]);
    assert_eq!(a.index.counts().conflicts, 0);
}

#[test]
fn rule_4_deleting_a_copy_deletes_that_copy() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("f", "from a");
    b.create("f", "from b");
    meet(&mut a, &mut b);
    let copy = a.paths().into_iter().find(|path| path != "f").unwrap();
    let kept = a.tree()["f"].clone();
    a.delete(&copy);
    meet(&mut a, &mut b);
    assert_eq!(b.tree().into_iter().collect::<Vec<_>>(), [("f".to_owned(), kept)]);
}

/// Two equal files and a directory that were given one name apart: they show as `n` and a copy.
fn a_directory_and_two_equal_files() -> (Replica, Replica, String) {
    let (mut a, mut b, mut c) = (Replica::new(1), Replica::new(2), Replica::new(3));
    a.create("one", "same");
    a.create("two", "same");
    a.mkdir("dir");
    b.pull(&a);
    c.pull(&a);
    a.rename("one", "n");
    b.rename("two", "n");
    c.rename("dir", "n");
    a.pull(&b);
    meet(&mut a, &mut c);
    meet(&mut a, &mut b);
    let copy = a.paths().into_iter().find(|path| path.starts_with("n (conflict")).unwrap();
    assert_eq!(a.paths(), ["n".to_owned(), copy.clone()]);
    (a, b, copy)
}

#[test]
fn rule_4_what_equals_a_copy_goes_with_it_when_the_winner_is_deleted() {
    let (mut a, mut b, copy) = a_directory_and_two_equal_files();
    a.delete("n");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), [copy], "and not once more under the name that became free");
    a.audit();
}

#[test]
fn rule_4_what_equals_a_copy_is_deleted_with_it() {
    let (mut a, mut b, copy) = a_directory_and_two_equal_files();
    b.delete(&copy);
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["n"]);
    a.audit();
}

#[test]
fn rule_4_a_copy_that_was_not_seen_is_left_alone() {
    for rename in [false, true] {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        a.create("f", "old");
        meet(&mut a, &mut b);
        a.write("f", "one");
        b.write("f", "two");
        meet(&mut a, &mut b);
        let copy = a.paths().into_iter().find(|path| path != "f").unwrap();
        let unseen = a.item(&copy).unwrap();
        a.index.leave_alone(vec![unseen.key]);
        if rename {
            a.rename("f", "g");
        } else {
            a.delete("f");
        }
        meet(&mut a, &mut b);
        if rename {
            assert_eq!(b.paths().len(), 2);
            assert!(b.paths().iter().all(|path| path.starts_with('g')), "{:?}", b.paths());
        } else {
            assert_eq!(b.item("f").unwrap().content, unseen.content);
            assert_eq!(b.paths(), ["f"]);
        }
        a.audit();
    }
}

#[test]
fn rule_4_an_edit_of_a_copy_stays_that_came_before_what_made_it_independent() {
    for delete in [false, true] {
        let (mut a, mut b, mut c) = (Replica::new(1), Replica::new(2), Replica::new(3));
        a.create("f", "old");
        b.pull(&a);
        a.write("f", "one");
        b.write("f", "two");
        meet(&mut a, &mut b);
        meet(&mut a, &mut c);
        let copy = a.paths().into_iter().find(|path| path != "f").unwrap();
        a.delete("f");
        b.pull(&a);
        b.write(&copy, "an edit of the copy");
        // What has made it a file of its own has not arrived.
        c.pull_only(&b);
        assert!(!c.has("an edit of the copy"));
        if delete {
            c.delete(&copy);
        } else {
            c.write(&copy, "another edit");
        }
        meet(&mut a, &mut c);
        meet(&mut a, &mut b);
        assert!(b.has("an edit of the copy"), "{:?}", b.tree());
        assert_eq!(b.has("another edit"), !delete);
        a.audit();
    }
}

#[test]
fn rule_4_one_of_two_equal_values_can_be_made_a_file_of_its_own() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("f", "old");
    meet(&mut a, &mut b);
    let keys = [a.write("f", "same"), b.write("f", "same")];
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["f"]);
    let apart = a.index.promote_apart(a.now, &keys[1], EntryId::ROOT, &name("g")).unwrap();
    a.commit();
    assert_eq!(Some(a.key("g")), apart);
    assert_eq!(a.index.values_of(keys[0].entry).unwrap(), [keys[0].dot.unwrap()]);
    a.write("f", "new");
    a.delete("f");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["g"]);
    assert!(b.has("same"));
    let gone = a.index.promote_apart(a.now, &keys[0], EntryId::ROOT, &name("h")).unwrap();
    assert_eq!(gone, None);
}

#[test]
fn rule_5_who_moved_a_file_that_was_edited_and_deleted_elsewhere_knows_it() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let key = a.create("f", "old");
    meet(&mut a, &mut b);
    a.write("f", "new");
    a.delete("f");
    b.rename("f", "g");
    assert!(!b.index.outlives_contents(key.entry).unwrap());
    meet(&mut a, &mut b);
    assert!(b.index.outlives_contents(key.entry).unwrap());
    assert!(!a.index.outlives_contents(key.entry).unwrap(), "it has not moved it");
    assert!(b.has("new"));
    b.index.write(b.now, &key, text("old")).unwrap();
    b.commit();
    meet(&mut a, &mut b);
    assert!(a.has("old") && !a.has("new"));
    assert_eq!(a.paths(), ["g"]);
    assert!(!b.index.outlives_contents(key.entry).unwrap());
}

#[test]
fn rule_6_what_was_deleted_with_its_directory_stays_away_when_the_rest_moves() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("d");
    a.create("d/f", "old");
    meet(&mut a, &mut b);
    a.write("d/f", "one");
    a.delete("d");
    b.write("d/f", "two");
    meet(&mut a, &mut b);
    assert!(a.has("two") && !a.has("one"));
    b.rename("d/f", "d/g");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["d", "d/g"]);
    assert!(b.has("two") && !b.has("one"));
    a.rename("d/g", "f");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["d", "f"], "the directory was used");
    assert!(b.has("two") && !b.has("one"));
}

#[test]
fn rule_4_an_equal_file_that_is_parted_is_not_changed_with_the_other() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("one", "same");
    a.create("two", "same");
    meet(&mut a, &mut b);
    a.rename("one", "n");
    b.rename("two", "n");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["n"]);
    let shown = a.key("n");
    let others = a.index.equals(&shown).unwrap();
    assert_eq!(others.len(), 1);
    a.index.move_apart(a.now, &shown, EntryId::ROOT, &name("one")).unwrap();
    assert!(a.index.equals(&shown).unwrap().is_empty());
    a.commit();
    a.delete("one");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["n"]);
}

#[test]
fn rule_4_a_copy_that_is_edited_keeps_its_name_and_stands_alone() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("f", "from a");
    b.create("f", "from b");
    meet(&mut a, &mut b);
    let copy = a.paths().into_iter().find(|path| path != "f").unwrap();
    let shown = a.index.lookup(EntryId::ROOT, &name("f")).unwrap().unwrap();
    let winner = if shown.content.same_as(&text("from a")) { "from a" } else { "from b" };
    // Somebody gives the copy the winner's content, and deletes the winner.
    a.write(&copy, winner);
    assert_eq!(a.index.counts().conflicts, 0);
    a.delete("f");
    meet(&mut a, &mut b);
    for replica in [&a, &b] {
        assert_eq!(replica.paths(), [copy.as_str()]);
        assert!(replica.has(winner));
    }
}

#[test]
fn rule_4_an_edit_of_what_was_replaced_is_kept_beside_it() {
    let mut a = Replica::new(1);
    let old = a.create("f", "1");
    a.write("f", "2");
    a.index.write(a.now, &old, text("late")).unwrap();
    a.commit();
    assert!(a.has("2") && a.has("late"));
    // A late deletion of what was replaced does nothing.
    a.index.delete(a.now, &old).unwrap();
    assert!(a.has("2") && a.has("late"));
    a.audit();
}

#[test]
fn rule_5_two_directories_with_one_name_are_one() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("x");
    a.create("x/from a", "a");
    a.rename("x", "d");
    b.mkdir("y");
    b.create("y/from b", "b");
    b.rename("y", "d");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["d", "d/from a", "d/from b"]);
    a.create("d/new", "new");
    a.rename("d", "e");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["e", "e/from a", "e/from b", "e/new"]);
    b.delete("e");
    meet(&mut a, &mut b);
    assert!(a.paths().is_empty());
}

#[test]
fn rule_5_a_live_entry_keeps_its_directories_but_revives_nothing_else() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("d");
    a.create("d/kept", "1");
    a.create("d/gone", "2");
    meet(&mut a, &mut b);
    a.delete("d");
    b.write("d/kept", "edited");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["d", "d/kept"]);
    // Moving the ghost revives nothing either.
    a.rename("d", "e");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["e", "e/kept"]);
    // The first operation in it has enabled it: it stays when it is empty.
    b.delete("e/kept");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["e"]);
}

#[test]
fn rule_5_a_circle_of_moves_is_shown_as_a_tree() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("x");
    a.mkdir("y");
    a.create("x/in x", "1");
    meet(&mut a, &mut b);
    a.rename("x", "y/x");
    b.rename("y", "x/y");
    meet(&mut a, &mut b);
    // The move of x has the higher stamp (the later clock): x is shown where it was.
    assert_eq!(a.paths(), ["x", "x/in x", "x/y"]);
    a.rename("x/y", "z");
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["x", "x/in x", "z"]);
}

#[test]
fn rule_6_deleting_a_tree_spares_what_it_has_not_seen() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("d");
    a.mkdir("d/sub");
    a.create("d/sub/seen", "1");
    a.mkdir("elsewhere");
    a.create("elsewhere/moved in", "2");
    meet(&mut a, &mut b);
    a.delete("d");
    // One record for the whole tree.
    assert_eq!(a.index.context().get(&a.index.author()), 7);
    b.create("d/sub/unseen", "3");
    b.rename("elsewhere", "d/elsewhere");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["d", "d/elsewhere", "d/elsewhere/moved in", "d/sub", "d/sub/unseen"]);
}

#[test]
fn rule_6_a_move_that_it_has_not_seen_voids_a_deletion() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("d");
    a.create("d/f", "1");
    meet(&mut a, &mut b);
    a.delete("d");
    b.rename("d", "e");
    meet(&mut a, &mut b);
    assert_eq!(a.paths(), ["e", "e/f"]);
}

#[test]
fn rule_6_what_was_deleted_with_its_directory_does_not_come_back_beside_an_edit() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.mkdir("d");
    a.create("d/f", "old");
    meet(&mut a, &mut b);
    a.write("d/f", "deleted");
    a.delete("d");
    b.write("d/f", "edited");
    meet(&mut a, &mut b);
    for replica in [&a, &b] {
        assert_eq!(replica.paths(), ["d", "d/f"]);
        assert!(replica.has("edited") && !replica.has("deleted"));
    }
}

#[test]
fn rule_6_a_deletion_spares_an_edit_of_what_has_not_arrived() {
    let (mut a, mut b, mut c) = (Replica::new(1), Replica::new(2), Replica::new(3));
    a.mkdir("d");
    meet(&mut a, &mut b);
    meet(&mut a, &mut c);
    a.create("d/f", "old");
    b.pull(&a);
    b.create("d/g", "seen");
    b.write("d/f", "edited");
    b.write("d/g", "seen too");
    // It hears of the edit, but not of the file, and shows nothing of it.
    c.pull_only(&b);
    assert_eq!(c.paths(), ["d", "d/g"]);
    c.delete("d");
    c.audit();
    meet(&mut a, &mut b);
    meet(&mut b, &mut c);
    meet(&mut c, &mut a);
    for replica in [&mut a, &mut b, &mut c] {
        assert_eq!(replica.paths(), ["d", "d/f"]);
        assert!(replica.has("edited"));
        replica.audit();
    }
}

#[test]
fn rule_6_a_deletion_waits_for_what_it_is_about() {
    let (mut a, mut b, mut c) = (Replica::new(1), Replica::new(2), Replica::new(3));
    a.mkdir("d");
    a.create("d/f", "1");
    meet(&mut a, &mut b);
    b.create("d/g", "2");
    b.delete("d");
    // The deletion arrives before what it deletes.
    c.pull_only(&b);
    assert!(c.paths().is_empty());
    c.pull(&a);
    assert!(c.paths().is_empty());
    c.audit();
}

#[test]
fn rule_8_two_histories_with_one_key_are_found() {
    let mut a = Replica::new(1);
    let mut b = Replica::new(2);
    a.create("f", "1");
    let mut clone = Replica::new(1);
    clone.create("g", "2");
    b.pull(&a);
    let forked = clone.log.last().unwrap();
    assert!(matches!(b.index.merge(forked, 0), Err(MergeError::Fork { .. })));
}

#[test]
fn rule_8_a_restored_backup_goes_on_in_a_new_epoch() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("before", "1");
    let backup = Replica::new(1);
    b.pull(&a);
    let mut restored = backup;
    let last = b.index.segments_beyond(&restored.index.context().clone(), 1 << 20).unwrap().0;
    let own = last.iter().find_map(|segment| restored.index.merge(segment, 0).err());
    assert!(matches!(own, Some(MergeError::OwnEpochAhead { .. })), "{own:?}");
    restored.index.open_new_epoch(99, 0).unwrap();
    restored.commit();
    meet(&mut restored, &mut b);
    restored.create("after", "2");
    meet(&mut restored, &mut b);
    assert_eq!(b.paths(), ["after", "before"]);
}

#[test]
fn rule_9_joined_segments_prove_the_same() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    for number in 0..300 {
        a.create(&format!("f{number}"), "x");
    }
    let segments = a.index.segments_beyond(&Context::default(), usize::MAX).unwrap().0;
    assert!(segments.len() < 12, "{} segments", segments.len());
    // The receiver took some single records, and gets the rest cut where it stands.
    for segment in &a.log[..7] {
        b.index.merge(segment, 0).unwrap();
    }
    meet(&mut a, &mut b);
    assert_eq!(
        a.index.heads().iter().find(|head| head.author == a.index.author()),
        b.index.heads().iter().find(|head| head.author == a.index.author())
    );
}

#[test]
fn rule_9_a_changed_record_is_refused() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.create("f", "1");
    let mut segment = a.log[0].clone();
    let at = segment.len() / 2;
    segment[at] ^= 1;
    assert!(b.index.merge(&segment, 0).is_err());
    assert!(matches!(b.index.merge(&a.log[1], 0), Err(MergeError::Gap { .. })));
    assert!(b.paths().is_empty());
}

#[test]
fn members_alone_may_write_and_readers_only_announce_themselves() {
    let mut b = Replica::new(2);
    let store = MemStore::default();
    let reader = config(3, Tier::Read);
    let mut index = Index::open(store, reader, 0).unwrap();
    let committed = index.commit(&Fake(device(3))).unwrap();
    b.index.merge(&committed.segments[0], 0).unwrap();
    assert!(b.index.is_member(&device(3)));
    let new = NewEntry { kind: Kind::Directory, content: Content::Directory, mode: 0 };
    let refused = index.create(0, EntryId::ROOT, &name("d"), new);
    assert!(matches!(refused, Err(IndexError::ReadOnly)));
    // The same by a reader whose program does not care.
    let mut cheat = config(3, Tier::Write);
    cheat.admission.tier = Tier::Read;
    cheat.fresh_epoch = 4;
    let mut index = Index::open(MemStore::default(), cheat, 0).unwrap();
    let new = NewEntry { kind: Kind::Directory, content: Content::Directory, mode: 0 };
    index.create(0, EntryId::ROOT, &name("d"), new).unwrap();
    let committed = index.commit(&Fake(device(3))).unwrap();
    let refused = b.index.merge(&committed.segments[0], 0);
    assert!(matches!(refused, Err(MergeError::NotAllowed(_))));
    // An admission that the folder's keys do not confirm.
    let mut stranger = config(5, Tier::Write);
    stranger.admission.certificate = dunlin_identity::Signature([0; 64]);
    let mut index = Index::open(MemStore::default(), stranger, 0).unwrap();
    let committed = index.commit(&Fake(device(5))).unwrap();
    let refused = b.index.merge(&committed.segments[0], 0);
    assert!(matches!(refused, Err(MergeError::NotAllowed(_))));
}

#[test]
fn rule_10_a_release_is_known_everywhere() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let author = b.index.author();
    a.index.approve(0, author, 5).unwrap();
    a.commit();
    meet(&mut a, &mut b);
    assert!(b.index.is_approved(&author, 5) && !b.index.is_approved(&author, 6));
}

#[test]
fn what_was_not_committed_is_not_lost_by_reopening() {
    let mut a = Replica::new(1);
    let new = NewEntry { kind: Kind::File, content: text("1"), mode: 0o644 };
    a.index.create(0, EntryId::ROOT, &name("f"), new).unwrap();
    a.reopen();
    assert!(a.index.has_uncommitted());
    let committed = a.commit();
    assert_eq!(committed.segments.len(), 1);
    let mut b = Replica::new(2);
    meet(&mut a, &mut b);
    assert_eq!(b.paths(), ["f"]);
}

#[test]
fn a_device_that_was_renamed_is_known_by_its_latest_name() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    for new in ["zebra", "ant"] {
        a.now += 1000;
        a.config.name = new.to_owned();
        a.reopen();
        assert_eq!(a.commit().segments.len(), 1, "a new name is told once");
        a.reopen();
        assert!(a.commit().segments.is_empty(), "and only once");
    }
    meet(&mut a, &mut b);
    let device = a.config.device;
    for replica in [&a, &b] {
        let members = replica.index.members();
        assert!(members.iter().any(|member| member.device == device && member.name == "ant"));
    }
}

#[test]
fn a_deletion_is_approved_with_the_record_that_made_it_and_not_with_one_before() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    let file = a.create("file", "1").entry;
    a.mkdir("dir");
    let inside = a.create("dir/file", "2").entry;
    a.commit();
    a.delete("file");
    a.commit();
    let (author, first) = (a.index.author(), a.index.context().get(&a.index.author()));
    a.delete("dir");
    a.commit();
    a.index.approve(a.now, author, first).unwrap();
    a.commit();
    meet(&mut a, &mut b);
    for replica in [&a, &b] {
        assert!(replica.index.is_deletion_approved(file).unwrap());
        assert!(!replica.index.is_deletion_approved(inside).unwrap(), "a later one is not");
    }
    a.index.approve(a.now, author, first + 1).unwrap();
    a.commit();
    meet(&mut a, &mut b);
    assert!(b.index.is_deletion_approved(inside).unwrap(), "with the directory above it");
}
