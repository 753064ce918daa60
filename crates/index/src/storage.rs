//! Where an index and its neighbours keep their bytes: ordered key spaces behind one small trait.
//!
//! Goals: atomic batches, ordered scans in pages, a flush that means what it says, and typed
//! errors on which the engine can act (full disk, read-only file system, damaged database).
//!
//! Non-goals: transactions that read, secondary indexes, iterators that hold a lock.
//!
//! [`SledStore`] is the one that ships, [`MemStore`] the one for tests and simulations, which can
//! crash, roll back and fail on purpose. No other module knows either of them.

mod mem;
mod sled;

use std::io;

use thiserror::Error;

pub use self::{
    mem::{MemSnapshot, MemStore},
    sled::{DEFAULT_CACHE_BYTES, SPACE_PREFIX_BYTES_MAX, SledSpace, SledStore},
};

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One ordered key space.
///
/// Reads see every batch that was committed, flushed or not. A crash of the machine keeps all that
/// was flushed, loses the rest from its end, and never keeps part of a batch.
pub trait Storage: Send {
    /// Returns the value of `key`.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the medium cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Returns at most `limit` pairs in the order of their keys: those whose key begins with
    /// `prefix` and stands strictly behind `after`. Keys are returned whole, with the prefix.
    ///
    /// To go on, pass the last key of one page as `after` of the next; a page shorter than
    /// `limit` is the last.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the medium cannot be read.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError>;

    /// Makes all changes of `batch` at once. They are visible on return, and not yet durable.
    ///
    /// # Errors
    ///
    /// [`StorageError`]; whether the batch took effect is then unknown until [`Self::recover`].
    fn commit(&self, batch: Batch) -> Result<(), StorageError>;

    /// Makes everything that was committed before the call durable, against power loss too.
    ///
    /// # Errors
    ///
    /// [`StorageError`]; what was committed since the last flush that succeeded may be lost.
    fn flush(&self) -> Result<(), StorageError>;

    /// Makes the space usable again after an error, once its cause (a full disk, say) is gone.
    ///
    /// What was committed and not flushed may be lost by this: who keeps state in memory must
    /// read it again from here.
    ///
    /// # Errors
    ///
    /// [`StorageError`] while the cause persists; it can be tried again.
    fn recover(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Changes to one key space that take effect together, in the order in which they were added.
///
/// Some 1,000 changes to a batch are the best trade between speed and memory; a batch is held in
/// memory whole.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Returns a batch without changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value`, whatever it was before.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push((key.into(), None));
    }

    /// Tells whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns how many changes were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Hands out the changes: the key, and its value or none for a removal.
    pub(crate) fn into_changes(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.changes.into_iter()
    }
}

/// Why a storage could not do what it was asked.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk is full or a quota is reached.
    #[error("no space is left for the database")]
    NoSpace,
    /// The file system is mounted read-only, or the files belong to somebody else.
    #[error("the database cannot be written: {message}")]
    ReadOnly {
        /// The operating system's words.
        message: String,
    },
    /// Another process, or another store in this one, has the database open.
    #[error("the database is in use by another process")]
    Locked,
    /// What is on disk is no database of this version any more: move it aside and rebuild.
    #[error("the database is damaged: {message}")]
    Damaged {
        /// What was found.
        message: String,
    },
    /// Any other fault of the medium or the operating system.
    #[error("the database failed to read or write: {message}")]
    Io {
        /// The kind, to act on.
        kind: io::ErrorKind,
        /// The operating system's words.
        message: String,
    },
    /// A reopening failed before, so that no database is open now.
    #[error("the database is closed after a fault; it must be recovered first")]
    Closed,
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        let message = error.to_string();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                Self::ReadOnly { message }
            }
            kind => Self::Io { kind, message },
        }
    }
}

#[cfg(test)]
mod tests;
