//! One readable test for each rule of the index.

use crate::testing::{Replica, meet};

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
