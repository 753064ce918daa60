//! The pieces of manifests that this device can serve, by hash.
//!
//! Pieces are cheap (36 bytes a block) and are kept until [`ManifestStore::sweep`] finds that no
//! file on this disk needs them any more.

use std::collections::BTreeSet;

use bytes::Bytes;
use dunlin_blocks::{FileHash, Manifest};
use dunlin_identity::Hash;
use dunlin_index::{Batch, IndexError, Kind, Storage, StorageError};
use dunlin_tree::disk::{DiskTable, RowId};

/// Pieces that are read at a time when sweeping.
const SWEEP_PAGE: usize = 1000;

/// Manifest pieces in a key space of their own.
#[derive(Clone, Debug)]
pub struct ManifestStore<S> {
    storage: S,
}

impl<S: Storage> ManifestStore<S> {
    /// Keeps pieces in `storage`.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// Keeps the pieces of a file's manifest.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn put(&self, hash: &FileHash) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        for (address, piece) in &hash.manifest_blocks {
            batch.put(address.0.to_vec(), piece.clone());
        }
        if batch.is_empty() { Ok(()) } else { self.storage.commit(batch) }
    }

    /// The piece with this hash, if it is here.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn get(&self, address: &Hash) -> Result<Option<Bytes>, StorageError> {
        Ok(self.storage.get(&address.0)?.map(Bytes::from))
    }

    /// Deletes the pieces that no file of `rows` needs. Returns how many there were.
    ///
    /// # Errors
    /// Fails when a storage does.
    pub fn sweep(&self, rows: &DiskTable<S>) -> Result<usize, IndexError> {
        if self.storage.scan(&[], None, 1)?.is_empty() {
            return Ok(0);
        }
        let live = live_pieces(rows)?;
        let mut after: Option<Vec<u8>> = None;
        let mut swept = 0;
        loop {
            let page = self.storage.scan(&[], after.as_deref(), SWEEP_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(swept) };
            after = Some(last.clone());
            let mut batch = Batch::default();
            for (key, _) in page {
                if !live.contains(key.as_slice()) {
                    batch.delete(key);
                    swept += 1;
                }
            }
            if !batch.is_empty() {
                self.storage.commit(batch)?;
            }
        }
    }
}

fn live_pieces<S: Storage>(rows: &DiskTable<S>) -> Result<BTreeSet<Vec<u8>>, IndexError> {
    let mut live = BTreeSet::new();
    let mut directories = vec![RowId::ROOT];
    while let Some(directory) = directories.pop() {
        for row in rows.children(directory) {
            let row = row.map_err(crate::folder::table_error)?;
            if row.kind == Kind::Directory {
                directories.push(row.id);
            }
            if row.kind != Kind::File || row.stat.size <= dunlin_blocks::SMALL_MAX {
                continue;
            }
            let blocks = rows.blocks_of(row.id).map_err(crate::folder::table_error)?;
            let blocks: Vec<_> = blocks.into_iter().map(|(_, block)| block).collect();
            let size = blocks.iter().map(|block| u64::from(block.len)).sum();
            if let Ok(encoded) = (Manifest { size, blocks }).encode() {
                live.extend(encoded.pieces.into_iter().map(|(hash, _)| hash.0.to_vec()));
            }
        }
    }
    Ok(live)
}
