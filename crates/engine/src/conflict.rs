//! Conflicts as users and embedding programs see them: what they are told, what they may decide,
//! and the hook by which a program decides in the user's place.
//!
//! # Example
//! A program that keeps the longer of two notes, and leaves everything else to its user:
//!
//! ```
//! use dunlin_engine::conflict::{Case, Verdict};
//!
//! fn longer_note(case: &mut Case) -> Verdict {
//!     if !case.path.ends_with(".note") {
//!         return Verdict::Leave;
//!     }
//!     if case.winner.size() >= case.copy.size() { Verdict::KeepWinner } else { Verdict::KeepCopy }
//! }
//!
//! /// One that joins two lists of lines; equal on every device, whichever of them decides.
//! fn all_lines(case: &mut Case) -> Verdict {
//!     let mut lines = std::collections::BTreeSet::new();
//!     for side in [&mut case.winner, &mut case.copy] {
//!         let Ok(text) = std::io::read_to_string(side) else { return Verdict::Leave };
//!         lines.extend(text.lines().map(str::to_owned));
//!     }
//!     let merged: Vec<String> = lines.into_iter().map(|line| line + "\n").collect();
//!     Verdict::Merged(merged.concat().into_bytes())
//! }
//!
//! # fn register(node: &dunlin_engine::Node) {
//! node.set_resolver(longer_note);
//! # node.set_resolver(all_lines);
//! # }
//! ```

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::content::ContentReader;

/// The largest merged content that a resolver may give, in bytes.
pub const MERGED_MAX: usize = 64 << 20;

/// A conflict, as `dunlin conflict ls --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictInfo {
    /// The folder's name.
    pub folder: String,
    /// The path in the folder that all sides claim.
    pub path: String,
    /// The sides, the one that has the path first.
    pub sides: Vec<ConflictSide>,
    /// What all sides replaced, when that is known.
    pub base: Option<ConflictBase>,
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictSide {
    /// Names this version; another version of the side has another one.
    pub id: String,
    /// Where it is, in the folder.
    pub path: String,
    /// Whether it has the path that all claim.
    pub winner: bool,
    /// `file`, `symlink` or `directory`.
    pub kind: String,
    /// Its bytes.
    pub size: u64,
    /// When it was last changed, RFC 3339 in UTC; for files only.
    pub modified: Option<String>,
    /// Where a link points.
    pub target: Option<String>,
    /// The PeerId of the device that wrote it; of a directory nobody's.
    pub device: Option<String>,
    /// That device's name.
    pub device_name: Option<String>,
    /// Whether it is on this device's disk yet.
    pub here: bool,
}

/// What all sides of a conflict replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictBase {
    /// Its bytes.
    pub size: u64,
    /// When it was last changed, RFC 3339 in UTC; for files only.
    pub modified: Option<String>,
}

/// Which sides of a conflict stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The side at the path that was named.
    This,
    /// The other one, of two.
    That,
    /// All: copies become ordinary files with names of their own.
    Both,
    /// The one that was changed last, by its own device's clock.
    Newest,
}

/// Why a conflict could not be shown or resolved; in words for the user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConflictError {
    /// Nothing that is shown at the path is in conflict.
    #[error("{0} is in no conflict: `dunlin conflict ls` lists them")]
    NoConflict(String),
    /// The conflict is not the one that was looked at.
    #[error("{0} was changed meanwhile: look at it again, and decide anew")]
    Changed(String),
    /// A side is not on this disk, or just being written.
    #[error("{0} is not on this disk as it should be yet: try again in a moment")]
    NotHere(String),
    /// The folder does not run.
    #[error("the folder is paused or stopped: `dunlin folder resume`, or `dunlin status` for why")]
    NotRunning,
    /// This device may not change the folder.
    #[error("this device may only read the folder: resolve it on one that may write")]
    ReadOnly,
    /// `that` has no meaning.
    #[error(
        "{0} has {1} sides, so that `that` does not say which: name the one to keep, and `this`"
    )]
    ManySides(String, usize),
    /// A directory is in the way.
    #[error("{0} is a directory, which keeps its name: keep both, or the directory")]
    Directory(String),
    /// Not all sides are files.
    #[error("{0} is not a conflict between files: only one or both sides can be kept")]
    NotFiles(String),
    /// The logs do not say what all sides replaced.
    #[error(
        "what all versions of {0} came from is not known: they were made apart, or too long ago"
    )]
    NoBase(String),
    /// The base is known, but its bytes are nowhere.
    #[error("what all versions of {0} came from is on no connected device any more")]
    BaseGone(String),
    /// The merged content cannot be used.
    #[error("the merged file cannot be used: {0}")]
    Merged(io::Error),
    /// The disk failed.
    #[error(transparent)]
    Fs(#[from] dunlin_tree::fs::FsError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] dunlin_index::IndexError),
    /// The folder's thread has ended.
    #[error("the folder is being closed")]
    Closed,
}

impl From<dunlin_tree::disk::DiskError> for ConflictError {
    fn from(error: dunlin_tree::disk::DiskError) -> Self {
        Self::Index(error.into())
    }
}

/// One version of a file in a [`Case`]: its bytes, and where they come from.
pub struct Version {
    /// Where it is in the folder; of the base, the path that all claim.
    pub path: String,
    /// The name of the device that wrote it; empty when unknown, and of the base.
    pub device_name: String,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    pub(crate) reader: ContentReader,
}

impl Version {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.reader.size()
    }
}

impl Read for Version {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Seek for Version {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A conflict between two versions of a file, for a [`Resolver`].
#[derive(Debug)]
pub struct Case {
    /// The folder's name.
    pub folder: String,
    /// The path that both claim.
    pub path: String,
    /// The version that has the path.
    pub winner: Version,
    /// The version that stands beside it.
    pub copy: Version,
    /// What both replaced, if that is known and can be had.
    pub base: Option<Version>,
}

/// What a [`Resolver`] decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the conflict stays for the user.
    Leave,
    /// The winner stays; the copy goes to the version store.
    KeepWinner,
    /// The copy takes the winner's place, which goes to the version store.
    KeepCopy,
    /// Both stay, under names of their own.
    Both,
    /// This content takes the place of both; at most [`MERGED_MAX`] bytes.
    Merged(Vec<u8>),
}

/// Decides about conflicts in the user's place.
///
/// It is called on a thread of its own, for one conflict of a folder at a time, and once for each
/// while the program runs; what the files become meanwhile is found out, and the verdict dropped.
/// Only conflicts between two files are asked about. Every device that has a resolver may decide:
/// as long as it decides by the contents alone, all come to the same.
pub trait Resolver: Send + Sync + 'static {
    /// Decides about one conflict. What it cannot read, it should leave.
    fn resolve(&self, case: &mut Case) -> Verdict;
}

impl<F: Fn(&mut Case) -> Verdict + Send + Sync + 'static> Resolver for F {
    fn resolve(&self, case: &mut Case) -> Verdict {
        self(case)
    }
}

/// Where a node's folders find the resolver, if there is one.
#[derive(Default)]
pub struct ResolverSlot(RwLock<Option<Arc<dyn Resolver>>>);

impl ResolverSlot {
    pub(crate) fn set(&self, resolver: Arc<dyn Resolver>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(resolver);
    }

    pub(crate) fn get(&self) -> Option<Arc<dyn Resolver>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
