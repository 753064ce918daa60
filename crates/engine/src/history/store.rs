//! The records in the database: by number, by what they are versions of, and by path.
//!
//! ```text
//! v ID                      the record
//! g GROUP ID                nothing: the versions of one thing, oldest first
//! p PATH 00 ID              nothing: by the path at which they ended
//! b BATCH/PATH              ID: by where the bytes were moved aside
//! l HASH                    a piece of a list of blocks
//! s ENTRY                   since when the present version is there, in milliseconds
//! m                         how far the journal is in here
//! ```

use bincode::{Decode, Encode};
use dunlin_blocks::{BlockRef, SMALL_MAX};
use dunlin_identity::Hash;
use dunlin_index::{Batch, EntryId, Millis, RelPath, Storage, StorageError};
use dunlin_tree::fs::{FsError, VersionId};

use super::lists;
use super::record::{Place, Record, What};

/// Records that are read at a time.
pub(super) const PAGE: usize = 500;

/// Why the history could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The disk failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How far the journal is in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Meta {
    pub(super) generation: u64,
    /// Bytes of the journal that are in the database.
    pub(super) len: u64,
    /// How long the journal was when it was last written anew.
    pub(super) len_fresh: u64,
    /// The number of the next version.
    pub(super) next_id: u64,
}

/// The records of one folder, to read.
#[derive(Clone, Debug)]
pub struct History<S> {
    pub(super) storage: S,
}

pub(super) fn record_key(id: u64) -> Vec<u8> {
    [&b"v"[..], &id.to_be_bytes()].concat()
}

fn group_key(group: &[u8; 16], id: u64) -> Vec<u8> {
    [&b"g"[..], group, &id.to_be_bytes()].concat()
}

fn path_prefix(path: &RelPath) -> Vec<u8> {
    [&b"p"[..], path.to_string().as_bytes()].concat()
}

fn path_key(path: &RelPath, id: u64) -> Vec<u8> {
    [path_prefix(path), vec![0], id.to_be_bytes().to_vec()].concat()
}

fn staged_key(version: &VersionId) -> Vec<u8> {
    [&b"b"[..], version.to_string().as_bytes()].concat()
}

pub(super) fn piece_key(hash: &Hash) -> Vec<u8> {
    [&b"l"[..], &hash.0].concat()
}

fn since_key(entry: EntryId) -> Vec<u8> {
    [&b"s"[..], &entry.0].concat()
}

/// The number at the end of a key.
fn id_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|id| u64::from_be_bytes(*id))
}

impl<S: Storage> History<S> {
    /// Reads from this key space, which must be its own.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    pub(super) fn meta(&self) -> Result<Option<Meta>, StorageError> {
        let config = bincode::config::standard().with_limit::<256>();
        let bytes = self.storage.get(b"m")?;
        let decode = |bytes: Vec<u8>| bincode::decode_from_slice(&bytes, config).ok();
        Ok(bytes.and_then(decode).map(|(meta, _)| meta))
    }

    /// A version by its number.
    ///
    /// # Errors
    /// Fails when the storage does; so do all other reads.
    pub fn get(&self, id: u64) -> Result<Option<Record>, StorageError> {
        Ok(self.storage.get(&record_key(id))?.as_deref().and_then(Record::decode))
    }

    /// All versions, by number, those above `after`; at most `limit`.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn page(&self, after: Option<u64>, limit: usize) -> Result<Vec<Record>, StorageError> {
        let after = after.map(record_key);
        let found = self.storage.scan(b"v", after.as_deref(), limit)?;
        Ok(found.iter().filter_map(|(_, value)| Record::decode(value)).collect())
    }

    /// The versions of one thing ([`Record::group`]), oldest first.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn of_group(&self, group: &[u8; 16]) -> Result<Vec<Record>, StorageError> {
        let prefix = [&b"g"[..], group].concat();
        let found = self.storage.scan(&prefix, None, usize::MAX)?;
        self.named_by(found.iter().map(|(key, _)| key.as_slice()))
    }

    /// The first group after this one, to go through all of them.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn next_group(&self, after: Option<[u8; 16]>) -> Result<Option<[u8; 16]>, StorageError> {
        let after = after.map(|group| group_key(&group, u64::MAX));
        let found = self.storage.scan(b"g", after.as_deref(), 1)?;
        Ok(found.first().and_then(|(key, _)| key.get(1..)?.first_chunk::<16>().copied()))
    }

    /// The versions that ended at exactly this path, oldest first.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn at_path(&self, path: &RelPath) -> Result<Vec<Record>, StorageError> {
        let prefix = [path_prefix(path), vec![0]].concat();
        let found = self.storage.scan(&prefix, None, usize::MAX)?;
        self.named_by(found.iter().map(|(key, _)| key.as_slice()))
    }

    /// The versions that ended below this directory, given to `visit` by path, a page at a time.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn below(&self, dir: &RelPath, mut visit: impl FnMut(Record)) -> Result<(), StorageError> {
        let mut prefix = path_prefix(dir);
        if !dir.is_root() {
            prefix.push(b'/');
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.storage.scan(&prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let records = self.named_by(page.iter().map(|(key, _)| key.as_slice()))?;
            records.into_iter().for_each(&mut visit);
        }
    }

    /// Whether any version ended below this directory.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn any_below(&self, dir: &RelPath) -> Result<bool, StorageError> {
        let mut prefix = path_prefix(dir);
        prefix.push(b'/');
        Ok(!self.storage.scan(&prefix, None, 1)?.is_empty())
    }

    fn named_by<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<Record>, StorageError> {
        let mut records = Vec::new();
        for id in keys.filter_map(id_of) {
            records.extend(self.get(id)?);
        }
        Ok(records)
    }

    /// The version whose bytes were moved aside to that place.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn staged_at(&self, version: &VersionId) -> Result<Option<Record>, StorageError> {
        let id = self.storage.get(&staged_key(version))?;
        match id.as_deref().and_then(id_of) {
            Some(id) => self.get(id),
            None => Ok(None),
        }
    }

    /// Since when the present version of an entry is there, if it is not its first one.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn since(&self, entry: EntryId) -> Result<Option<Millis>, StorageError> {
        Ok(self.storage.get(&since_key(entry))?.as_deref().and_then(id_of))
    }

    /// The blocks of a file in order; `None` when they are not known.
    ///
    /// # Errors
    /// See [`History::get`].
    pub fn blocks(&self, what: &What) -> Result<Option<Vec<(u64, BlockRef)>>, StorageError> {
        let What::File { root, size, list } = what else { return Ok(Some(Vec::new())) };
        if *size <= SMALL_MAX {
            let len = u32::try_from(*size).unwrap_or(u32::MAX);
            let only = (0, BlockRef { hash: *root, len });
            return Ok(Some(if *size > 0 { vec![only] } else { Vec::new() }));
        }
        let (mut blocks, mut offset) = (Vec::new(), 0);
        for hash in list {
            let Some(piece) = self.storage.get(&piece_key(hash))? else { return Ok(None) };
            let Some(piece) = lists::parse(&piece) else { return Ok(None) };
            for block in piece {
                blocks.push((offset, block));
                offset += u64::from(block.len);
            }
        }
        Ok((offset == *size).then_some(blocks))
    }

    /// Adds to `batch` what makes a record found.
    pub(super) fn put(batch: &mut Batch, record: &Record) {
        batch.put(record_key(record.id), record.encode());
        batch.put(group_key(&record.group(), record.id), []);
        batch.put(path_key(&record.path, record.id), []);
        if let Place::Staged(version) = &record.place {
            batch.put(staged_key(version), record.id.to_be_bytes());
        }
    }

    /// Adds to `batch` what takes a record out.
    pub(super) fn remove(&self, batch: &mut Batch, id: u64) -> Result<(), StorageError> {
        let Some(record) = self.get(id)? else { return Ok(()) };
        batch.delete(record_key(id));
        batch.delete(group_key(&record.group(), id));
        batch.delete(path_key(&record.path, id));
        if let Place::Staged(version) = &record.place {
            batch.delete(staged_key(version));
        }
        Ok(())
    }

    /// Adds to `batch` since when an entry's present version is there.
    pub(super) fn put_since(batch: &mut Batch, entry: EntryId, since: Option<Millis>) {
        match since {
            Some(since) => batch.put(since_key(entry), since.to_be_bytes()),
            None => batch.delete(since_key(entry)),
        }
    }
}
