//! What this device can serve beside the blocks of its files: the pieces of manifests, and the
//! blocks of versions that were kept when a peer's change replaced or deleted them.
//!
//! Pieces are cheap (36 bytes a block) and are kept until [`ManifestStore::sweep`] finds that no
//! file on this disk needs them any more. Kept versions matter when a rename made elsewhere, by
//! somebody who did not know, brings back what was deleted: their bytes may be in no folder.

use std::collections::BTreeSet;

use bytes::Bytes;
use dunlin_blocks::{BLOCK_MAX, BlockRef, FileHash, Manifest};
use dunlin_identity::Hash;
use dunlin_index::{Batch, IndexError, Kind, RelPath, SafeName, Storage, StorageError};
use dunlin_tree::disk::{DiskTable, RowId};
use dunlin_tree::fs::{TempName, VersionId};

/// What the key of a kept block begins with, before its hash.
const KEPT: &[u8] = b"kept";
/// What the key of an unfinished file's checkpoint begins with, before its temporary name.
const CHECKPOINT: &[u8] = b"checkpoint-";

/// Where a block of a kept version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBlock {
    /// The version.
    pub version: VersionId,
    /// Where the block begins in it, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
}

impl KeptBlock {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.offset.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(self.version.to_string().as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (offset, rest) = bytes.split_first_chunk::<8>()?;
        let (len, version) = rest.split_first_chunk::<4>()?;
        let (batch, path) = std::str::from_utf8(version).ok()?.split_once('/')?;
        let version =
            VersionId { batch: SafeName::parse(batch).ok()?, path: RelPath::parse(path).ok()? };
        let len = u32::from_le_bytes(*len);
        (len <= BLOCK_MAX).then_some(Self { version, offset: u64::from_le_bytes(*offset), len })
    }
}

fn kept_key(hash: &Hash) -> Vec<u8> {
    [KEPT, &hash.0].concat()
}

fn checkpoint_key(temp: &TempName) -> Vec<u8> {
    [CHECKPOINT, temp.as_str().as_bytes()].concat()
}

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

    /// Notes that a version with these blocks was kept.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn keep(
        &self,
        version: &VersionId,
        blocks: &[(u64, BlockRef)],
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (offset, block) in blocks {
            let kept = KeptBlock { version: version.clone(), offset: *offset, len: block.len };
            batch.put(kept_key(&block.hash), kept.encode());
        }
        if batch.is_empty() { Ok(()) } else { self.storage.commit(batch) }
    }

    /// Where a block was kept, if it was. A hint: the version may be gone or changed.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn kept(&self, hash: &Hash) -> Result<Option<KeptBlock>, StorageError> {
        Ok(self.storage.get(&kept_key(hash))?.as_deref().and_then(KeptBlock::decode))
    }

    /// Forgets the blocks of versions whose batch is not among `batches` any more.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn forget_kept(&self, batches: &BTreeSet<SafeName>) -> Result<(), StorageError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.storage.scan(KEPT, after.as_deref(), SWEEP_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut batch = Batch::new();
            for (key, value) in page {
                if key.len() != KEPT.len() + size_of::<Hash>() {
                    continue;
                }
                let kept = KeptBlock::decode(&value);
                if kept.is_none_or(|kept| !batches.contains(&kept.version.batch)) {
                    batch.delete(key);
                }
            }
            if !batch.is_empty() {
                self.storage.commit(batch)?;
            }
        }
    }

    /// Keeps what is known of an unfinished file. It is not flushed: that would make the table of
    /// files durable, too, which must not get ahead of the names on the disk. What a power cut takes
    /// of it is hashed again.
    pub(crate) fn put_checkpoint(
        &self,
        temp: &TempName,
        record: Vec<u8>,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put(checkpoint_key(temp), record);
        self.storage.commit(batch)
    }

    /// What is known of an unfinished file.
    pub(crate) fn checkpoint(&self, temp: &TempName) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.get(&checkpoint_key(temp))
    }

    /// Forgets an unfinished file: it is in its place now, or gone.
    pub(crate) fn forget_checkpoint(&self, temp: &TempName) -> Result<(), StorageError> {
        if self.checkpoint(temp)?.is_none() {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.delete(checkpoint_key(temp));
        self.storage.commit(batch)
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
                if key.len() == size_of::<Hash>() && !live.contains(key.as_slice()) {
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
            let row = row?;
            if row.kind == Kind::Directory {
                directories.push(row.id);
            }
            if row.kind != Kind::File || row.stat.size <= dunlin_blocks::SMALL_MAX {
                continue;
            }
            let blocks = rows.blocks_of(row.id)?;
            let blocks: Vec<_> = blocks.into_iter().map(|(_, block)| block).collect();
            let size = blocks.iter().map(|block| u64::from(block.len)).sum();
            if let Ok(encoded) = (Manifest { size, blocks }).encode() {
                live.extend(encoded.pieces.into_iter().map(|(hash, _)| hash.0.to_vec()));
            }
        }
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use dunlin_index::storage::MemStore;

    use super::*;

    fn version(batch: &str) -> VersionId {
        VersionId {
            batch: SafeName::parse(batch).expect("a plain name"),
            path: RelPath::parse("a/b c").expect("a plain path"),
        }
    }

    #[test]
    fn a_kept_block_is_found_until_its_batch_is_pruned() {
        let store = ManifestStore::new(MemStore::default());
        let block = |byte: u8| BlockRef { hash: Hash([byte; 32]), len: 7 };
        store.keep(&version("20261121-100254"), &[(3, block(1))]).expect("kept");
        store.keep(&version("20261121-100255"), &[(0, block(2))]).expect("kept");
        let found = store.kept(&Hash([1; 32])).expect("read").expect("found");
        assert_eq!(found, KeptBlock { version: version("20261121-100254"), offset: 3, len: 7 });
        let left = BTreeSet::from([SafeName::parse("20261121-100255").expect("a plain name")]);
        store.forget_kept(&left).expect("forgotten");
        assert_eq!(store.kept(&Hash([1; 32])).expect("read"), None);
        assert!(store.kept(&Hash([2; 32])).expect("read").is_some());
    }

    #[test]
    fn what_is_stored_of_a_kept_block_is_checked() {
        for bytes in [&b""[..], b"12345678", b"12345678abcd", b"12345678\0\0\0\0nobatch"] {
            assert_eq!(KeptBlock::decode(bytes), None);
        }
    }
}
