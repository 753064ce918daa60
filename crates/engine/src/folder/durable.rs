//! What a power cut could still take from this disk.
//!
//! Two things must not get ahead of the disk. The table of files: what is found older than its row
//! after a power cut would be taken for the user's edit, and go to everyone. And what others are
//! told: they would wait for a content that no disk has any more, and drop the older one for it.

use std::collections::BTreeSet;

use dunlin_index::{IndexError, RelPath, Storage};
use dunlin_tree::fs::{Fs, FsError};
use serde::{Deserialize, Serialize};

use super::Folder;
use super::staging::SYNC_EACH_MAX;

/// When others are told of what the user has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Announce {
    /// Once it is durable on this disk, which costs an `fsync` of what few files changed, or a
    /// `syncfs` for many at once.
    #[default]
    Durable,
    /// At once: after a power cut others may wait for contents that this disk has lost.
    AtOnce,
}

/// What may not be durable yet.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Files that the user has written.
    files: BTreeSet<RelPath>,
    /// Directories in which names were changed.
    directories: BTreeSet<RelPath>,
}

impl Unsynced {
    /// Notes that a name was made, changed or removed.
    pub(super) fn name(&mut self, path: &RelPath) {
        self.directories.extend(path.parent());
    }

    fn is_many(&self) -> bool {
        self.files.len() + self.directories.len() > SYNC_EACH_MAX
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Notes a name that the user has made, changed or removed.
    pub(super) fn user_changed_name(&mut self, path: &RelPath) {
        if self.announce == Announce::Durable {
            self.unsynced.name(path);
        }
    }

    /// Notes a file that the user has written.
    pub(super) fn user_wrote(&mut self, path: &RelPath) {
        if self.announce == Announce::Durable {
            self.unsynced.files.insert(path.clone());
        }
    }

    /// Makes durable what was changed on this disk; to be called before the database is flushed.
    pub(super) fn sync_disk(&mut self) -> Result<(), FsError> {
        if self.unsynced.is_many() || !self.sync_files()? {
            self.fs.sync_all()?;
        } else {
            for directory in &self.unsynced.directories {
                match self.fs.sync_dir(directory) {
                    // A directory that is not there any more has no names to lose.
                    Err(error) if !error.kind().pauses_folder() => {}
                    other => other?,
                }
            }
        }
        self.unsynced = Unsynced::default();
        Ok(())
    }

    /// Writes the table of files and the index to the database.
    ///
    /// Changes that could not be signed, because the disk failed, are left out: should the process
    /// end before the disk is mended, they are found again by looking.
    pub(super) fn write_back(&mut self, durable: bool) -> Result<(), IndexError> {
        if self.index.has_uncommitted() {
            return Ok(());
        }
        self.rows.write_back(durable)?;
        self.index.write_back(durable)
    }

    /// Makes the files durable one by one; false when one of them is not where it was.
    fn sync_files(&self) -> Result<bool, FsError> {
        for path in &self.unsynced.files {
            match self.fs.open(path).and_then(|file| file.sync()) {
                Err(error) if !error.kind().pauses_folder() => return Ok(false),
                other => other?,
            }
        }
        Ok(true)
    }
}
