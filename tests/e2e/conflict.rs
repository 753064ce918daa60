//! Both sides edit the same file while apart.

use std::collections::BTreeMap;

use crate::support::files::{bytes, names, read, remove, rename, write};
use crate::support::node::Group;

/// A directory's files, by name.
fn contents(group: &Group, i: usize, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = group.nodes[i].at(dir);
    names(&dir).into_iter().map(|name| (name.clone(), read(dir.join(name)))).collect()
}

/// A folder in which both edited `dir/file.jpg` apart, and which is together again.
fn conflicted() -> Group {
    let mut group = Group::new(3);
    group.start(&[0, 1]);
    std::fs::create_dir(group.nodes[0].at("dir")).expect("a directory");
    write(group.nodes[0].at("dir/file.jpg"), "the common ancestor");
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    write(group.nodes[0].at("dir/file.jpg"), "as A wrote it");
    write(group.nodes[1].at("dir/file.jpg"), "as B wrote it, and longer");
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    group
}

#[test]
fn both_edit_one_file_apart_and_one_keeps_the_name_and_one_copy_stands_beside_it() {
    let mut group = conflicted();
    let both = contents(&group, 0, "dir");
    assert_eq!(both.len(), 2, "one winner and one copy: {:?}", both.keys());
    assert!(both.contains_key("file.jpg"), "the name itself is gone: {:?}", both.keys());
    let mut texts: Vec<&[u8]> = both.values().map(Vec::as_slice).collect();
    texts.sort_unstable();
    assert_eq!(texts, [&b"as A wrote it"[..], b"as B wrote it, and longer"]);
    for node in &group.nodes[..2] {
        assert_eq!(node.folder().conflicts, 1, "{}", node.name);
    }
    // A third device makes the same copy, and not one of its own.
    group.start(&[2]);
    group.converge(&[0, 1, 2]);
    for i in 0..3 {
        assert_eq!(contents(&group, i, "dir"), both, "on {}", group.nodes[i].name);
    }

    // Editing and renaming the winner leaves the copy alone.
    let copy = both.keys().find(|name| *name != "file.jpg").expect("a copy").clone();
    write(group.nodes[0].at("dir/file.jpg"), "edited after the conflict");
    group.converge(&[0, 1, 2]);
    rename(group.nodes[1].at("dir/file.jpg"), group.nodes[1].at("dir/renamed.jpg"));
    group.converge(&[0, 1, 2]);
    for i in 0..3 {
        let now = contents(&group, i, "dir");
        assert_eq!(
            now.get("renamed.jpg").map(Vec::as_slice),
            Some(&b"edited after the conflict"[..])
        );
        assert_eq!(now.get(&copy), both.get(&copy), "the copy on {}", group.nodes[i].name);
        assert_eq!(now.len(), 2, "{:?}", now.keys());
    }
    // Deleting the copy deletes the copy.
    remove(group.nodes[2].at("dir").join(&copy));
    group.converge(&[0, 1, 2]);
    for i in 0..3 {
        assert_eq!(names(group.nodes[i].at("dir")), ["renamed.jpg"]);
        assert_eq!(group.nodes[i].folder().conflicts, 0);
    }
}

#[test]
fn edit_beats_delete_and_equal_edits_are_no_conflict() {
    let mut group = Group::pair();
    for name in ["deleted on a", "deleted on b", "same", "both deleted", "moved on a"] {
        write(group.nodes[0].at(name), name);
    }
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    remove(a.at("deleted on a"));
    write(b.at("deleted on a"), "but edited on b");
    write(a.at("deleted on b"), "but edited on a");
    remove(b.at("deleted on b"));
    for node in [a, b] {
        write(node.at("same"), "the same edit on both");
        remove(node.at("both deleted"));
    }
    rename(a.at("moved on a"), a.at("moved"));
    remove(b.at("moved on a"));
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    for node in &group.nodes {
        assert_eq!(names(&node.dir), ["deleted on a", "deleted on b", "moved", "same"]);
        assert_eq!(read(node.at("deleted on a")), b"but edited on b");
        assert_eq!(read(node.at("deleted on b")), b"but edited on a");
        assert_eq!(read(node.at("same")), b"the same edit on both");
        assert_eq!(read(node.at("moved")), b"moved on a");
    }
    group.assert_no_conflicts(&[0, 1]);
}

#[test]
fn two_files_made_apart_under_one_name_are_both_kept_and_equal_ones_are_one() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    for (i, text) in [(0, "made on a"), (1, "made on b")] {
        write(group.nodes[i].at("same name"), text);
        write(group.nodes[i].at("equal"), bytes(5, 100_000));
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    for i in 0..2 {
        let now = contents(&group, i, "");
        assert_eq!(now.len(), 3, "{:?}", now.keys());
        assert_eq!(now.get("equal"), Some(&bytes(5, 100_000)));
        let mut texts: Vec<&[u8]> =
            now.iter().filter(|(name, _)| *name != "equal").map(|(_, text)| &text[..]).collect();
        texts.sort_unstable();
        assert_eq!(texts, [b"made on a", b"made on b"]);
        assert!(now.contains_key("same name"));
    }
}
