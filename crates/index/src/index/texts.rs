//! Rules of texts: which versions merge, and what an operation on a merged text takes along.

use dunlin_identity::Hash;

use crate::ids::{Dot, EntryId};
use crate::item::{Content, Item, ItemKey, Kind, NewEntry, Text};
use crate::testing::{Replica, meet, name, text};

/// A version of a text, in the lineage of that number.
fn version(said: &str, mtime_ns: i64, lineage: u8) -> Content {
    let Content::File { root, size, .. } = text(said) else { unreachable!("a text is a file") };
    let grown = Text::Grown { rules: 1, lineage: Hash([lineage; 32]), state: root, size: 1 };
    Content::File { root, size, mtime_ns, text: Some(grown) }
}

/// Two devices that hold the same text, `begin`, in lineage 1.
fn pair() -> (Replica, Replica, ItemKey) {
    let (mut one, mut two) = (Replica::new(1), Replica::new(2));
    let new = NewEntry { kind: Kind::File, content: version("begin", 0, 1), mode: 0o644 };
    let key = one.index.create(1000, EntryId::ROOT, &name("t.md"), new).unwrap();
    exchange(&mut one, &mut two);
    (one, two, key)
}

fn exchange(one: &mut Replica, two: &mut Replica) {
    one.commit();
    two.commit();
    meet(one, two);
}

fn items(replica: &Replica) -> Vec<Item> {
    replica.index.children(EntryId::ROOT, None, 10).unwrap()
}

fn parts(item: &Item) -> Vec<Dot> {
    item.merged.iter().map(|(dot, _)| *dot).collect()
}

#[test]
fn versions_of_one_lineage_are_one_item_and_no_conflict() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    let [item] = items(&one).try_into().unwrap();
    assert_eq!((item.key, parts(&item)), (a, vec![b.dot.unwrap()]));
    assert_eq!(one.index.counts().conflicts, 0);
}

#[test]
fn versions_of_two_lineages_stand_side_by_side() {
    let (mut one, mut two, key) = pair();
    one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    two.index.write(2000, &key, version("b", 1, 2)).unwrap();
    exchange(&mut one, &mut two);
    assert_eq!(items(&one).iter().filter(|item| item.conflict).count(), 1);
    assert!(items(&one).iter().all(|item| item.merged.is_empty()));
}

#[test]
fn the_same_edit_made_twice_is_one_version() {
    let (mut one, mut two, key) = pair();
    one.index.write(2000, &key, version("same", 2, 1)).unwrap();
    two.index.write(2000, &key, version("same", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    let [item] = items(&one).try_into().unwrap();
    assert!(item.merged.is_empty());
}

#[test]
fn an_edit_of_a_merged_text_replaces_what_its_user_saw() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    let all = one.index.write_merged(3000, &a, &[b.dot.unwrap()], version("ab", 3, 1)).unwrap();
    exchange(&mut one, &mut two);
    let [item] = items(&two).try_into().unwrap();
    assert_eq!((item.key, item.merged), (all, Vec::new()));
}

#[test]
fn an_edit_leaves_a_version_that_its_user_had_not_seen() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    // The second version has arrived, but was not on the disk yet when the first was edited.
    let a = one.index.write(3000, &a, version("aa", 3, 1)).unwrap();
    exchange(&mut one, &mut two);
    let [item] = items(&two).try_into().unwrap();
    assert_eq!((item.key, parts(&item)), (a, vec![b.dot.unwrap()]));
}

#[test]
fn a_deletion_leaves_a_version_that_its_user_had_not_seen() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    one.index.delete(3000, &a).unwrap();
    exchange(&mut one, &mut two);
    let [item] = items(&two).try_into().unwrap();
    assert_eq!((item.key, item.merged), (b, Vec::new()));
}

#[test]
fn a_deletion_takes_all_versions_that_its_user_had_seen() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    one.index.delete_merged(3000, &a, &[b.dot.unwrap()]).unwrap();
    exchange(&mut one, &mut two);
    assert_eq!(items(&two), []);
}

#[test]
fn versions_whose_merge_is_unsafe_are_kept_apart_until_the_set_changes() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    for replica in [&mut one, &mut two] {
        let dots = vec![a.dot.unwrap(), b.dot.unwrap()];
        replica.index.keep_apart(key.entry, dots).unwrap();
        replica.index.write_back(true).unwrap();
        replica.audit();
        replica.reopen();
    }
    exchange(&mut one, &mut two);
    assert_eq!(items(&one).iter().filter(|item| item.conflict).count(), 1);
    assert_eq!(one.index.counts().conflicts, 1);
    // An edit of the shown one makes the other a file of its own, as with every conflict.
    one.index.write(3000, &a, version("aa", 3, 1)).unwrap();
    exchange(&mut one, &mut two);
    let found = items(&two);
    assert!(found.len() == 2 && found.iter().all(|item| !item.conflict && item.merged.is_empty()));
}

#[test]
fn a_merged_text_is_renamed_as_one() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    one.index.rename(3000, &a, EntryId::ROOT, &name("u.md")).unwrap();
    exchange(&mut one, &mut two);
    let [item] = items(&two).try_into().unwrap();
    assert_eq!((item.name.as_str(), parts(&item)), ("u.md", vec![b.dot.unwrap()]));
}

/// The state of a version: in these tests it is named after the text.
fn state_of(said: &str) -> Hash {
    let Content::File { root, .. } = text(said) else { unreachable!("a text is a file") };
    root
}

#[test]
fn a_version_without_its_state_stands_beside_the_others() {
    let (mut one, mut two, key) = pair();
    let a = one.index.write(2000, &key, version("a", 2, 1)).unwrap();
    two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    // It does no harm that both find it out at once.
    for replica in [&mut one, &mut two] {
        assert!(replica.index.write_stateless(3000, key.entry, &state_of("b")).unwrap());
        assert!(!replica.index.write_stateless(3000, key.entry, &state_of("b")).unwrap());
    }
    exchange(&mut one, &mut two);
    assert_eq!(items(&one), items(&two));
    let found = items(&one);
    let [copy, first] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((first.key, first.conflict, copy.conflict), (a, false, true));
    assert!(copy.content.same_as(&text("b")) && copy.content.lineage().is_none());
    one.audit();
}

#[test]
fn a_version_that_is_not_shown_is_not_written_without_its_state() {
    let (mut one, mut two, key) = pair();
    let b = two.index.write(2000, &key, version("b", 1, 1)).unwrap();
    exchange(&mut one, &mut two);
    let c = two.index.write(3000, &b, version("c", 2, 1)).unwrap();
    two.index.delete(4000, &c).unwrap();
    exchange(&mut one, &mut two);
    for state in ["b", "c"] {
        assert!(!one.index.write_stateless(5000, key.entry, &state_of(state)).unwrap());
    }
    assert_eq!(items(&one), []);
}
