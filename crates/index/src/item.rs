//! What the index holds of an entry, and how it is shown.

use bincode::{Decode, Encode};
use dunlin_identity::Hash;

use crate::ids::{Dot, EntryId};
use crate::name::SafeName;

/// What an entry is; never changes (a change of type is a delete and a create).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

/// One value of an entry's content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Content {
    /// A file's content.
    File {
        /// The BLAKE3 hash of the bytes of a small file, else of its manifest.
        root: Hash,
        /// The number of bytes.
        size: u64,
        /// The time of the last change, in nanoseconds since 1970.
        mtime_ns: i64,
        /// How concurrent versions of a text merge; none for what is no text.
        text: Option<Text>,
    },
    /// Where a symbolic link points, as written in it; at most 4,095 bytes.
    Symlink {
        /// The target, never followed here.
        target: String,
    },
    /// A directory has no content of its own.
    Directory,
}

/// What a version of a text carries, so that versions made apart merge into one.
///
/// Whether a version merges, and by which rules, is decided when it is written: so the view stays a
/// pure function of the records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Text {
    /// A lineage begins here: the state is the one that the text alone makes.
    Fresh {
        /// The version of the rules of merging.
        rules: u8,
    },
    /// A version in a lineage.
    Grown {
        /// The version of the rules of merging.
        rules: u8,
        /// The root of the content that the lineage began with.
        lineage: Hash,
        /// The BLAKE3 hash of the state.
        state: Hash,
        /// The number of bytes of the state.
        size: u32,
    },
}

impl Content {
    /// Gives what versions must have in common to merge: the rules, and where they began.
    pub fn lineage(&self) -> Option<(u8, Hash)> {
        match self {
            Self::File { text: Some(Text::Fresh { rules }), root, .. } => Some((*rules, *root)),
            Self::File { text: Some(Text::Grown { rules, lineage, .. }), .. } => {
                Some((*rules, *lineage))
            }
            _ => None,
        }
    }

    /// Gives the kind of entry that can have this content.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Symlink { .. } => Kind::Symlink,
            Self::Directory => Kind::Directory,
        }
    }

    /// Tells whether both show the user the same (times and merge states aside).
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { root: a, size: x, .. }, Self::File { root: b, size: y, .. }) => {
                a == b && x == y
            }
            (Self::Symlink { target: a }, Self::Symlink { target: b }) => a == b,
            (Self::Directory, Self::Directory) => true,
            _ => false,
        }
    }

    /// Gives the number of bytes that a file's content has; 0 for others.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            _ => 0,
        }
    }

    pub(crate) fn mtime_ns(&self) -> i64 {
        match self {
            Self::File { mtime_ns, .. } => *mtime_ns,
            _ => 0,
        }
    }
}

/// What a new entry begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// What it is.
    pub kind: Kind,
    /// Its first content, of the same kind.
    pub content: Content,
    /// Its permission bits, within 0o7777.
    pub mode: u32,
}

/// Names an item of the view: an entry, and which of its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ItemKey {
    /// The entry.
    pub entry: EntryId,
    /// The dot of the content value that is shown; none for a directory.
    pub dot: Option<Dot>,
}

/// One thing that the view shows: what a device is to have on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Item {
    /// Names the entry and the value.
    pub key: ItemKey,
    /// The canonical identity of the directory that it is shown in.
    pub parent: EntryId,
    /// The name that it is shown under.
    pub name: SafeName,
    /// What it is.
    pub kind: Kind,
    /// Its permission bits, within 0o7777.
    pub mode: u32,
    /// What it contains.
    pub content: Content,
    /// Whether it stands beside a winner under a derived name.
    pub conflict: bool,
    /// Other versions of a text that merge into this one, by dot: what a device is to have on its
    /// disk is what all of them make, or `content` until their states are known.
    pub merged: Vec<(Dot, Content)>,
}

/// One name for which the view has more than one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What is shown under the plain name; `None` for the one name that nothing may be shown under.
    pub winner: Option<Item>,
    /// What stands beside it under derived names, sorted by them.
    pub copies: Vec<Item>,
}

impl Conflict {
    /// Gives all sides, the winner first.
    pub fn sides(&self) -> impl Iterator<Item = &Item> {
        self.winner.iter().chain(&self.copies)
    }
}

/// How a [`Conflict`] is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// One side has the plain name, the others are deleted.
    Keep(ItemKey),
    /// All sides stay: each copy, in order, becomes an ordinary file of this name.
    KeepAll(Vec<SafeName>),
    /// A new content, made of all sides, has the plain name; the copies are deleted.
    Replace(Content),
}
