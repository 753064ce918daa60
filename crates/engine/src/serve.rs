//! Reads blocks for others, and for this device itself, from the files on this disk.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::address;
use dunlin_identity::Hash;
use dunlin_index::{IndexError, Storage};
use dunlin_tree::disk::{BlockLocation, DiskTable};
use dunlin_tree::fs::Fs;

use crate::folder::table_error;
use crate::manifests::ManifestStore;
use crate::network::ServeBlocks;

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
    for location in rows.locate_all(hash).map_err(table_error)? {
        if let Some(data) = read_location(fs, rows, &location, hash)? {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn read_location<F: Fs, S: Storage>(
    fs: &F,
    rows: &DiskTable<S>,
    location: &BlockLocation,
    hash: &Hash,
) -> Result<Option<Bytes>, IndexError> {
    let Some(path) = rows.path(location.row).map_err(table_error)? else { return Ok(None) };
    let Ok(file) = fs.open(&path) else { return Ok(None) };
    let mut data = vec![0; location.len as usize];
    let mut filled = 0;
    while filled < data.len() {
        match file.read_at(&mut data[filled..], location.offset + filled as u64) {
            Ok(0) | Err(_) => return Ok(None),
            Ok(read) => filled += read,
        }
    }
    Ok((address(&data) == *hash).then(|| Bytes::from(data)))
}

/// The blocks of one folder, manifest pieces included.
pub struct FolderBlocks<F, S: Storage> {
    /// The user's files.
    pub fs: Arc<F>,
    /// What is on this disk.
    pub rows: Arc<DiskTable<S>>,
    /// Manifest pieces.
    pub manifests: ManifestStore<S>,
}

impl<F: Fs, S: Storage + Sync> ServeBlocks for FolderBlocks<F, S> {
    fn read(&self, hash: &Hash) -> Option<Bytes> {
        match read_block(&*self.fs, &self.rows, hash) {
            Ok(Some(data)) => Some(data),
            Ok(None) => self.manifests.get(hash).ok().flatten(),
            Err(error) => {
                tracing::warn!(%error, "a block could not be looked up");
                None
            }
        }
    }
}
