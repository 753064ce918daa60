//! Reads blocks for others, and for this device itself, from the files on this disk.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::address;
use dunlin_identity::Hash;
use dunlin_index::{IndexError, Storage};
use dunlin_tree::disk::{BlockLocation, DiskTable, RowId};
use dunlin_tree::fs::{Fs, ObjectName, ReadAt};

use crate::history::object;
use crate::manifests::ManifestStore;
use crate::network::ServeBlocks;
use crate::partials::Partials;
use crate::texts::TextStore;

/// Reads a block from any file of this folder that holds it, and checks its hash. A file that has
/// changed or gone is passed over.
///
/// # Errors
/// Fails when the disk table does; errors of files only mean that the block is not there.
pub(crate) fn read_block<F: Fs, S: Storage>(
    fs: &F,
    rows: &DiskTable<S>,
    hash: &Hash,
) -> Result<Option<Bytes>, IndexError> {
    BlockReader::new(fs, rows).read(hash)
}

/// Reads many blocks of a folder. It keeps open the file that it read from last, since most blocks
/// that are wanted one after the other are neighbours in one file.
pub(crate) struct BlockReader<'a, F, S: Storage> {
    fs: &'a F,
    rows: &'a DiskTable<S>,
    open: Option<(RowId, Box<dyn ReadAt>)>,
}

impl<'a, F: Fs, S: Storage> BlockReader<'a, F, S> {
    pub(crate) fn new(fs: &'a F, rows: &'a DiskTable<S>) -> Self {
        Self { fs, rows, open: None }
    }

    /// See [`read_block`].
    pub(crate) fn read(&mut self, hash: &Hash) -> Result<Option<Bytes>, IndexError> {
        let mut places = self.rows.locate_all(hash)?;
        // What is open is tried first.
        let open = self.open.as_ref().map(|(row, _)| *row);
        places.sort_by_key(|place| Some(place.row) != open);
        for place in places {
            if let Some(data) = self.read_at(&place)?
                && address(&data) == *hash
            {
                return Ok(Some(Bytes::from(data)));
            }
        }
        Ok(None)
    }

    fn read_at(&mut self, place: &BlockLocation) -> Result<Option<Vec<u8>>, IndexError> {
        let file = self.file(place.row)?;
        Ok(file.and_then(|file| read_whole(file, place.offset, place.len)))
    }

    /// Opens a file, if it is not open already; none when that cannot be done.
    ///
    /// # Errors
    /// Fails when the disk table does.
    pub(crate) fn file(&mut self, row: RowId) -> Result<Option<&dyn ReadAt>, IndexError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != row) {
            let path = self.rows.path(row)?;
            let Some(Ok(file)) = path.map(|path| self.fs.open(&path)) else { return Ok(None) };
            self.open = Some((row, file));
        }
        Ok(self.open.as_ref().map(|(_, file)| &**file))
    }
}

/// Reads a block of a kept version, be it moved aside or packed, and checks its hash.
///
/// # Errors
/// Fails when the storage does; errors of files only mean that the block is not there.
pub(crate) fn read_kept<F: Fs, S: Storage>(
    fs: &F,
    manifests: &ManifestStore<S>,
    hash: &Hash,
) -> Result<Option<Bytes>, IndexError> {
    if let Some(kept) = manifests.kept(hash)?
        && let Ok(file) = fs.version_open(&kept.version)
        && let Some(data) = read_whole(&*file, kept.offset, kept.len)
        && address(&data) == *hash
    {
        return Ok(Some(Bytes::from(data)));
    }
    let object = fs.object_open(&ObjectName::of(hash)).ok().flatten();
    Ok(object.and_then(|file| object::read(&*file, hash)))
}

/// Reads `len` bytes from `offset`, if there are so many.
pub(crate) fn read_whole(file: &dyn ReadAt, offset: u64, len: u32) -> Option<Vec<u8>> {
    let mut data = vec![0; len as usize];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], offset + filled as u64) {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    Some(data)
}

/// The blocks of one folder: those of its files, whole or on their way, manifest pieces, kept
/// versions and states of texts.
pub struct FolderBlocks<F, S: Storage> {
    /// The user's files.
    pub fs: Arc<F>,
    /// What is on this disk.
    pub rows: Arc<DiskTable<S>>,
    /// Manifest pieces.
    pub manifests: ManifestStore<S>,
    /// The states of texts.
    pub texts: TextStore<S>,
    /// Files that are still on their way.
    pub partials: Arc<Partials>,
}

impl<F: Fs, S: Storage + Sync> ServeBlocks for FolderBlocks<F, S> {
    fn read_many(&self, hashes: &[Hash]) -> Vec<Option<Bytes>> {
        let mut reader = BlockReader::new(&*self.fs, &self.rows);
        let mut read = |hash| match reader.read(hash) {
            Ok(Some(data)) => Some(data),
            Ok(None) => self.read_apart(hash),
            Err(error) => {
                tracing::warn!(%error, "a block could not be looked up");
                None
            }
        };
        hashes.iter().map(&mut read).collect()
    }

    fn has_many(&self, hashes: &[Hash]) -> Vec<bool> {
        let in_a_file = |hash| self.rows.locate_all(hash).is_ok_and(|places| !places.is_empty());
        let here = |hash| {
            in_a_file(hash) || self.partials.contains(hash) || self.read_apart(hash).is_some()
        };
        hashes.iter().map(here).collect()
    }
}

impl<F: Fs, S: Storage + Sync> FolderBlocks<F, S> {
    /// Reads what is in no file of the folder.
    fn read_apart(&self, hash: &Hash) -> Option<Bytes> {
        if let Ok(Some(piece)) = self.manifests.get(hash) {
            return Some(piece);
        }
        if let Ok(Some(state)) = self.texts.find(hash) {
            return Some(state).filter(|state| address(state) == *hash);
        }
        let on_its_way = self.partials.read(hash);
        on_its_way.or_else(|| read_kept(&*self.fs, &self.manifests, hash).ok().flatten())
    }
}
