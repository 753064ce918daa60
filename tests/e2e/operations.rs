//! Every operation on files that must arrive: how it is prepared, and what is done.
//!
//! Each works in a directory of its own, so that one that fails does not hide the others.

use std::path::Path;

use crate::support::files::{
    append, bytes, chmod, exists, link, mkdir, read, remove, remove_tree, rename, touch, truncate,
    write,
};

/// A block's worth and more: cut into several blocks.
const LARGE: usize = 700_000;

/// A file of one block.
const SMALL: usize = 3_000;

/// One operation of the list.
pub(crate) struct Operation {
    /// Also the name of its directory.
    pub(crate) name: &'static str,
    /// What must be there, and be in sync, before.
    pub(crate) prepare: fn(&Path),
    /// The operation.
    pub(crate) act: fn(&Path),
}

fn nothing(_: &Path) {}

fn two_files(dir: &Path) {
    write(dir.join("small"), bytes(1, SMALL));
    write(dir.join("large"), bytes(2, LARGE));
}

fn a_tree(dir: &Path) {
    mkdir(dir.join("tree/inner/empty"));
    write(dir.join("tree/one"), bytes(3, SMALL));
    write(dir.join("tree/inner/two"), bytes(4, LARGE));
    link("one", dir.join("tree/link"));
}

/// The whole list.
pub(crate) const ALL: &[Operation] = &[
    Operation { name: "create", prepare: nothing, act: two_files },
    Operation { name: "create empty file", prepare: nothing, act: |dir| write(dir.join("e"), "") },
    Operation { name: "create tree at once", prepare: nothing, act: create_deep },
    Operation { name: "edit", prepare: two_files, act: edit },
    Operation { name: "edit to the same length", prepare: two_files, act: edit_same_length },
    Operation { name: "append", prepare: two_files, act: append_both },
    Operation { name: "truncate", prepare: two_files, act: truncate_both },
    Operation { name: "rename file", prepare: two_files, act: rename_files },
    Operation { name: "rename over a file", prepare: two_files, act: rename_over },
    Operation { name: "swap two files", prepare: two_files, act: swap },
    Operation { name: "rename directory", prepare: a_tree, act: rename_directory },
    Operation { name: "move between directories", prepare: a_tree, act: move_between },
    Operation { name: "copy", prepare: two_files, act: copy },
    Operation { name: "delete file", prepare: two_files, act: |dir| remove(dir.join("large")) },
    Operation { name: "delete tree", prepare: a_tree, act: |dir| remove_tree(dir.join("tree")) },
    Operation { name: "file to directory", prepare: two_files, act: file_to_directory },
    Operation { name: "directory to file", prepare: a_tree, act: directory_to_file },
    Operation { name: "file to directory and back", prepare: two_files, act: there_and_back },
    Operation { name: "file to link", prepare: two_files, act: file_to_link },
    Operation { name: "chmod", prepare: two_files, act: change_modes },
    Operation { name: "chmod directory", prepare: a_tree, act: |d| chmod(d.join("tree"), 0o750) },
    Operation { name: "touch", prepare: two_files, act: touch_both },
    Operation { name: "symlink", prepare: a_tree, act: make_links },
    Operation { name: "change a symlink", prepare: a_tree, act: change_link },
    Operation { name: "empty directory", prepare: nothing, act: |dir| mkdir(dir.join("a/b/c")) },
    Operation { name: "hidden files", prepare: nothing, act: hidden },
    Operation { name: "spaces", prepare: nothing, act: spaces },
    Operation { name: "emoji", prepare: nothing, act: emoji },
    Operation { name: "combining accents", prepare: nothing, act: accents },
    Operation { name: "255 bytes", prepare: nothing, act: longest_names },
    Operation { name: "rename to other case", prepare: two_files, act: other_case },
];

/// Prepares every operation below `root`.
pub(crate) fn prepare_all(root: &Path) {
    for operation in ALL {
        mkdir(root.join(operation.name));
        (operation.prepare)(&root.join(operation.name));
    }
}

/// Does every operation below `root`.
pub(crate) fn act_all(root: &Path) {
    for operation in ALL {
        (operation.act)(&root.join(operation.name));
    }
}

fn create_deep(dir: &Path) {
    // Faster than any watcher can follow: each directory is filled as soon as it is there.
    for i in 0..40 {
        let inner = dir.join(format!("x{}/y{i}/z", i % 4));
        mkdir(&inner);
        write(inner.join("file"), bytes(i, 100));
    }
}

fn edit(dir: &Path) {
    write(dir.join("small"), bytes(10, SMALL + 1));
    // In front: all that is cut by position moves, what is cut by content stays.
    let mut large = read(dir.join("large"));
    large.insert(0, b'!');
    write(dir.join("large"), large);
}

fn edit_same_length(dir: &Path) {
    let mut large = read(dir.join("large"));
    large[LARGE / 2] ^= 1;
    write(dir.join("large"), large);
    write(dir.join("small"), bytes(11, SMALL));
}

fn append_both(dir: &Path) {
    append(dir.join("small"), b"and a line more\n");
    append(dir.join("large"), &bytes(12, 100_000));
}

fn truncate_both(dir: &Path) {
    truncate(dir.join("small"), 0);
    truncate(dir.join("large"), LARGE as u64 / 2);
}

fn rename_files(dir: &Path) {
    rename(dir.join("small"), dir.join("small renamed"));
    rename(dir.join("large"), dir.join("large renamed"));
}

fn rename_over(dir: &Path) {
    rename(dir.join("small"), dir.join("large"));
}

fn swap(dir: &Path) {
    rename(dir.join("small"), dir.join("third"));
    rename(dir.join("large"), dir.join("small"));
    rename(dir.join("third"), dir.join("large"));
}

fn rename_directory(dir: &Path) {
    rename(dir.join("tree"), dir.join("wood"));
    write(dir.join("wood/inner/new"), bytes(13, SMALL));
}

fn move_between(dir: &Path) {
    rename(dir.join("tree/one"), dir.join("tree/inner/one"));
    rename(dir.join("tree/inner/two"), dir.join("two"));
    rename(dir.join("tree/inner/empty"), dir.join("empty"));
}

fn copy(dir: &Path) {
    std::fs::copy(dir.join("large"), dir.join("large copy")).expect("a copy");
}

fn file_to_directory(dir: &Path) {
    remove(dir.join("small"));
    mkdir(dir.join("small"));
    write(dir.join("small/inside"), bytes(14, SMALL));
}

fn directory_to_file(dir: &Path) {
    remove_tree(dir.join("tree/inner"));
    write(dir.join("tree/inner"), bytes(15, SMALL));
}

fn there_and_back(dir: &Path) {
    let content = read(dir.join("small"));
    file_to_directory(dir);
    remove_tree(dir.join("small"));
    write(dir.join("small"), [&content[..], b"and back"].concat());
}

fn file_to_link(dir: &Path) {
    remove(dir.join("small"));
    link("large", dir.join("small"));
}

fn change_modes(dir: &Path) {
    chmod(dir.join("small"), 0o755);
    chmod(dir.join("large"), 0o600);
}

fn touch_both(dir: &Path) {
    touch(dir.join("small"), 1_000_000_000_123_456_789);
    touch(dir.join("large"), 1);
}

fn make_links(dir: &Path) {
    link("tree/one", dir.join("to a file"));
    link("tree", dir.join("to a directory"));
    link("nowhere/at all", dir.join("dangling"));
    link("/etc/hostname", dir.join("absolute"));
    link("../..", dir.join("upwards"));
}

fn change_link(dir: &Path) {
    remove(dir.join("tree/link"));
    link("inner/two", dir.join("tree/link"));
}

fn hidden(dir: &Path) {
    write(dir.join(".hidden"), bytes(16, SMALL));
    mkdir(dir.join(".config/app"));
    write(dir.join(".config/app/.rc"), "x");
    write(dir.join("..."), "three dots are a name like others");
    // Below the root this name is nobody's.
    mkdir(dir.join(".dunlin"));
    write(dir.join(".dunlin/mine"), "a user's file");
}

fn spaces(dir: &Path) {
    for name in [" leading", "trailing ", "in the middle", "  ", "tab\there", "new\nline", "a\\b"] {
        write(dir.join(name), name);
    }
    for name in ["quote\"s", "it's", "star*", "what?", "a|b", "<angle>", "co:lon", "-rf", "~", "$x"]
    {
        write(dir.join(name), name);
    }
}

fn emoji(dir: &Path) {
    mkdir(dir.join("🏖️"));
    for name in ["🐦", "👩‍👩‍👧‍👦", "🇩🇰.txt", "שלום", "日本語", "🏖️/𝒟𝓊𝓃𝓁𝒾𝓃"]
    {
        write(dir.join(name), name);
    }
}

fn accents(dir: &Path) {
    // The same word to a reader, two names to a file system: composed and decomposed.
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    write(dir.join(composed), "composed");
    write(dir.join(decomposed), "decomposed");
    // On a file system that takes them for one, the second write went into the first file.
    if read(dir.join(composed)) == b"composed" {
        assert!(exists(dir.join(decomposed)));
    }
    mkdir(dir.join("A\u{30a}ngstro\u{308}m"));
    write(dir.join("A\u{30a}ngstro\u{308}m/\u{212b}"), "the sign, not the letter");
}

fn longest_names(dir: &Path) {
    let ascii = "n".repeat(255);
    // 63 emoji of 4 bytes and 3 letters.
    let wide = format!("{}end", "🐦".repeat(63));
    assert_eq!((ascii.len(), wide.len()), (255, 255));
    write(dir.join(&ascii), "255 bytes");
    mkdir(dir.join(&wide));
    write(dir.join(&wide).join(&ascii), "and below another one");
}

fn other_case(dir: &Path) {
    rename(dir.join("small"), dir.join("SMALL"));
    rename(dir.join("large"), dir.join("Large"));
}
