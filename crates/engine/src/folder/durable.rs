//! What a power cut could still take from this disk; `docs/durability.md` has the whole order.
//!
//! Two things must not get ahead of the disk. The table of files: what is found older than its row
//! after a power cut would be taken for the user's edit, and go to everyone. And what others are
//! told: they would wait for a content that no disk has any more, and drop the older one for it.

use std::collections::BTreeSet;

use dunlin_index::{Kind, Millis, RelPath, Storage};
use dunlin_tree::fs::{Fs, FsError};
use serde::{Deserialize, Serialize};

use super::Folder;
use super::error::Blocked;
use super::staging::SYNC_EACH_MAX;

/// Staged keys of the table of files after which it is written before the end of a pass: some five
/// for a file. (sled keeps every page that a batch replaces until the batch is through.)
pub(super) const ROWS_STAGED_MAX: usize = 5_000;

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

    /// Notes that a mode or time was set.
    pub(super) fn attributes(&mut self, path: &RelPath, kind: Kind) {
        let paths = if kind == Kind::Directory { &mut self.directories } else { &mut self.files };
        paths.insert(path.clone());
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

    /// Makes durable what was changed on this disk; to be called before the database is written.
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

    /// Writes the table of files and the index to the database, once what they say is durable.
    ///
    /// What is written may become durable at any time, also when nobody flushes it here: all folders
    /// share one log. A row of which a power cut could still take the file would then be taken for the
    /// user's deletion.
    ///
    /// Changes that could not be signed, because the disk failed, are left out: should the process
    /// end before the disk is mended, they are found again by looking.
    pub(super) fn write_back(&mut self, durable: bool) -> Result<(), Blocked> {
        if self.index.has_uncommitted() {
            return Ok(());
        }
        self.sync_disk()?;
        self.rows.write_back(durable)?;
        Ok(self.index.write_back(durable)?)
    }

    /// Writes back what is staged if it is much, so that memory stays bounded.
    pub(super) fn write_back_much(&mut self) -> Result<(), Blocked> {
        if self.rows.staged() > ROWS_STAGED_MAX { self.write_back(false) } else { Ok(()) }
    }

    /// Commits what was done to so many rows that it is much, so that memory stays bounded.
    pub(super) fn commit_much(&mut self, now: Millis) {
        if self.rows.staged() > ROWS_STAGED_MAX {
            self.commit_local(Vec::new(), now);
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dunlin_tree::fs::UserOp;

    use super::*;
    use crate::folder::testing::{Rig, path};
    use crate::take_up::Spaces;

    /// What a device's user sees, and how much the device has announced.
    fn seen(rig: &Rig) -> (BTreeMap<String, Vec<u8>>, u64) {
        let listing = rig.fs().list(&RelPath::root()).expect("the folder is there");
        let content = |name: &str| rig.disk.content(&path(name)).expect("a file");
        let files =
            listing.entries.iter().map(|(name, _)| (name.to_string(), content(name.as_str())));
        let index = rig.folder.index();
        let said = index.context().iter().filter(|(author, _)| author.device == rig.device());
        (files.collect(), said.map(|(_, seq)| seq).sum())
    }

    /// Another folder of the device has something to flush: the database is theirs together.
    fn flush_for_another_folder(rig: &Rig) {
        let Spaces { index, rows, manifests, meta, history, texts } = &rig.spaces;
        for space in [index, rows, manifests, meta, history, texts] {
            space.flush().expect("memory does not fail");
        }
    }

    #[test]
    fn what_the_table_says_outlives_a_power_cut_whoever_flushes_it() {
        for files in 2..8 {
            let (mut one, mut other) = (Rig::new(), Rig::of_device(9));
            for number in 0..files {
                one.write(&number.to_string(), b"made");
            }
            one.connect(&mut other);
            one.live(&mut other, 2_000);
            one.part(&mut other);
            one.write("1", b"edited");
            one.user(&UserOp::Remove(path("0")));
            one.connect(&mut other);
            // Not so long that what was replaced is packed, which makes everything durable.
            one.live(&mut other, 2_000);
            one.part(&mut other);
            let (before, _) = seen(&other);
            assert_eq!(before, seen(&one).0);
            flush_for_another_folder(&other);
            other.restart(true);
            let announced = seen(&other).1;
            other.pass(10_000);
            assert_eq!(seen(&other), (before, announced), "nothing was taken for the user's act");
        }
    }
}
