//! Finds what the user did to the folder, by comparing the disk with the rows of the
//! [`DiskTable`](crate::disk::DiskTable).
//!
//! In three steps: [`walk`] (the whole folder) or [`look`] (the paths that the watcher named)
//! list what differs from the rows; [`pair_moves`] decides which of these differences are
//! renames, edits, creations and deletions; the engine carries these out on the index and the
//! rows. The comparing ([`diff_dir`]) and the deciding do no I/O but reads of the table.
//!
//! What is ignored, lies on another file system, cannot be named or cannot be read is left alone
//! and never taken for deleted (rule 11 of the design).
//!
//! Non-goals: contents are not read, so a change that keeps inode, size, mtime and ctime is not
//! found.

mod look;
mod moves;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;

use dunlin_index::{Kind, RelPath, SafeName};

use crate::disk::{DiskError, Row, RowId};
use crate::fs::{FileKind, FsError, Listing, SkipReason, Stat};
use crate::ignore::IgnoreRules;

pub use self::look::{LookAt, look};
pub use self::moves::{LocalChange, Paired, YOUNG_MS, pair_moves};
pub use self::walk::{WalkStats, walk};

/// What lies deeper is not synced. It bounds the work that one path can make.
pub const DEPTH_MAX: usize = 512;

/// A difference between the disk and the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Something is at a path that no row has, or that a row of another kind has. What is in a
    /// directory that appeared appears as well.
    Appeared {
        /// Where.
        path: RelPath,
        /// What.
        stat: Stat,
    },
    /// Another inode, size, mtime or ctime than the row's; the mode may differ too. Of a directory
    /// only the inode is compared: it is another directory by the same name.
    Changed {
        /// Where.
        path: RelPath,
        /// The row there.
        row: RowId,
        /// How it is now.
        stat: Stat,
    },
    /// Only the permission bits differ.
    ModeOnly {
        /// Where.
        path: RelPath,
        /// The row there.
        row: RowId,
        /// How it is now.
        stat: Stat,
    },
    /// As its row says, but in a directory that is not the one its row stood in. Deciding on
    /// moves needs to know what such a directory holds.
    Same {
        /// Where.
        path: RelPath,
        /// The row there.
        row: RowId,
        /// How it is now.
        stat: Stat,
    },
    /// Nothing, or a thing of another kind, is where the row is. For a directory this stands for
    /// all rows below it.
    Vanished {
        /// Where it was.
        path: RelPath,
        /// Its row.
        row: RowId,
    },
    /// Something is there that cannot be synced.
    Unrepresentable {
        /// The directory that it is in.
        dir: RelPath,
        /// Its name for the user.
        shown: String,
        /// Its name, where it has a legal one.
        name: Option<SafeName>,
        /// Why it cannot be synced.
        reason: Obstacle,
    },
    /// A directory or file could not be looked at; nothing is known of what is below it.
    Unreadable {
        /// Where.
        path: RelPath,
        /// Why.
        error: FsError,
    },
}

/// Why something on the disk cannot be synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Obstacle {
    /// Its name, or that another file system is mounted there.
    Skipped(SkipReason),
    /// A FIFO, socket or device. It was not opened.
    SpecialFile,
    /// It lies below more directories than a folder may have, one in another.
    TooDeep,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => reason.fmt(f),
            Self::SpecialFile => f.write_str("it is a FIFO, a socket or a device"),
            Self::TooDeep => write!(f, "it is more than {DEPTH_MAX} directories deep"),
        }
    }
}

/// Why a scan could not be finished. What it reported until then must not be acted on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The disk failed in a way that would make files look deleted.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The table could not be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A thread that lists directories is gone.
    #[error("a scanning thread ended before its time")]
    Thread,
}

/// A directory that is to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// Where it is.
    pub path: RelPath,
    /// Its row; `None` when it appeared.
    pub row: Option<RowId>,
    /// Whether it, or a directory above it, is not the one that its row knew; see
    /// [`Observed::Same`].
    pub replaced: bool,
}

/// What comparing one directory gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirDiff {
    /// The differences.
    pub observed: Vec<Observed>,
    /// The directories in it, which are to be compared in turn.
    pub enter: Vec<Enter>,
}

/// Compares one directory with the rows in it, both in name order.
///
/// # Errors
/// Only what `rows` yields.
pub fn diff_dir<E>(
    dir: &Enter,
    rows: impl Iterator<Item = Result<Row, E>>,
    listing: &Listing,
    ignore: &IgnoreRules,
) -> Result<DirDiff, E> {
    let mut diff = DirDiff::default();
    for skipped in &listing.unrepresentable {
        diff.observed.push(Observed::Unrepresentable {
            dir: dir.path.clone(),
            shown: skipped.shown.clone(),
            name: skipped.name.clone(),
            reason: Obstacle::Skipped(skipped.reason),
        });
    }
    let mut rows = rows.peekable();
    for (name, stat) in &listing.entries {
        while let Some(row) = rows.next_if(|row| row.as_ref().is_ok_and(|row| row.name < *name)) {
            diff_missing(dir, &row?, listing, ignore, &mut diff);
        }
        if matches!(rows.peek(), Some(Err(_))) {
            break;
        }
        let row =
            rows.next_if(|row| row.as_ref().is_ok_and(|row| row.name == *name)).transpose()?;
        diff_entry(dir, name, row.as_ref(), stat, ignore, &mut diff);
    }
    for row in rows {
        diff_missing(dir, &row?, listing, ignore, &mut diff);
    }
    Ok(diff)
}

/// Reports a row whose name is not in the listing.
fn diff_missing(
    dir: &Enter,
    row: &Row,
    listing: &Listing,
    ignore: &IgnoreRules,
    diff: &mut DirDiff,
) {
    // A mount point is listed apart: what it hides is not deleted.
    let hidden = listing.unrepresentable.iter().any(|skip| skip.name.as_ref() == Some(&row.name));
    let is_dir = row.kind == Kind::Directory;
    if hidden || ignore.is_ignored_in(&dir.path, &row.name, is_dir) {
        return;
    }
    if let Ok(path) = dir.path.join(&row.name) {
        diff.observed.push(Observed::Vanished { path, row: row.id });
    }
}

/// Reports how one name differs from the row that has it, if any.
pub(crate) fn diff_entry(
    dir: &Enter,
    name: &SafeName,
    row: Option<&Row>,
    stat: &Stat,
    ignore: &IgnoreRules,
    diff: &mut DirDiff,
) {
    let is_dir = stat.kind == FileKind::Directory;
    if ignore.is_ignored_in(&dir.path, name, is_dir) {
        return;
    }
    let Ok(path) = dir.path.join(name) else {
        // Dunlin's own directory; listings leave it out.
        return;
    };
    if path.names().len() > DEPTH_MAX {
        diff.observed.push(obstacle(dir, name, Obstacle::TooDeep));
        return;
    }
    let same_kind = row.filter(|row| kind_of(stat) == Some(row.kind));
    if let (Some(row), None) = (row, same_kind) {
        diff.observed.push(Observed::Vanished { path: path.clone(), row: row.id });
    }
    if stat.kind == FileKind::Other {
        diff.observed.push(obstacle(dir, name, Obstacle::SpecialFile));
        return;
    }
    let other_inode = same_kind.is_none_or(|row| row.stat.ino != stat.ino);
    if is_dir {
        let row = same_kind.map(|row| row.id);
        let replaced = dir.replaced || other_inode;
        diff.enter.push(Enter { path: path.clone(), row, replaced });
    }
    let Some(row) = same_kind else {
        diff.observed.push(Observed::Appeared { path, stat: *stat });
        return;
    };
    let (row, stat, found) = (row.id, *stat, compare(&row.stat, stat));
    match found {
        Difference::Content => diff.observed.push(Observed::Changed { path, row, stat }),
        Difference::Mode => diff.observed.push(Observed::ModeOnly { path, row, stat }),
        Difference::None if dir.replaced => diff.observed.push(Observed::Same { path, row, stat }),
        Difference::None => {}
    }
}

fn obstacle(dir: &Enter, name: &SafeName, reason: Obstacle) -> Observed {
    Observed::Unrepresentable {
        dir: dir.path.clone(),
        shown: name.as_str().to_owned(),
        name: Some(name.clone()),
        reason,
    }
}

/// How two looks at one thing differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    None,
    Mode,
    Content,
}

/// Compares two stats of the same kind. The ctime alone counts as a difference of content, since
/// the mtime can be set back, unless a changed mode explains it.
pub(crate) fn compare(old: &Stat, new: &Stat) -> Difference {
    let mode = old.mode != new.mode;
    if old.ino != new.ino {
        return Difference::Content;
    }
    let content = match new.kind {
        FileKind::Directory => false,
        // A symlink's mode means nothing and differs between systems.
        FileKind::Symlink => old.mtime_ns != new.mtime_ns || old.ctime_ns != new.ctime_ns,
        _ => {
            old.size != new.size
                || old.mtime_ns != new.mtime_ns
                || (old.ctime_ns != new.ctime_ns && !mode)
        }
    };
    match (content, mode && new.kind != FileKind::Symlink) {
        (true, _) => Difference::Content,
        (false, true) => Difference::Mode,
        (false, false) => Difference::None,
    }
}

/// The index's word for what a stat shows; `None` for what cannot be synced.
pub(crate) fn kind_of(stat: &Stat) -> Option<Kind> {
    match stat.kind {
        FileKind::File => Some(Kind::File),
        FileKind::Directory => Some(Kind::Directory),
        FileKind::Symlink => Some(Kind::Symlink),
        FileKind::Other => None,
    }
}
