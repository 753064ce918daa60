//! Brings a large content together in a temporary file: from what an interrupted attempt left
//! there, from other files on this disk, and from blocks that peers send.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::{BlockRef, Manifest, address, is_hole};
use dunlin_identity::Hash;
use dunlin_index::Storage;
use dunlin_tree::disk::DiskTable;
use dunlin_tree::fs::{Fs, FsError, TempName, WriteAt};

use crate::manifests::ManifestStore;
use crate::partials::Partials;
use crate::serve::{BlockReader, read_kept};

/// A temporary file that is being filled.
pub struct Assembly {
    file: Arc<dyn WriteAt>,
    /// Where each block that is still missing belongs.
    missing: BTreeMap<Hash, Vec<(u64, u32)>>,
    order: Vec<BlockRef>,
    /// Where others find what has come.
    partials: Arc<Partials>,
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.partials.remove(&self.file);
    }
}

impl Assembly {
    /// Opens the temporary file, and finds in it and on this disk all that need not be fetched.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn begin<F: Fs, S: Storage>(
        fs: &F,
        rows: &DiskTable<S>,
        manifests: &ManifestStore<S>,
        manifest: &Manifest,
        temp: &TempName,
    ) -> Result<Self, FsError> {
        let file: Arc<dyn WriteAt> = Arc::from(fs.temp_create(temp, manifest.size)?);
        let there = file.stat()?.size;
        file.set_len(manifest.size)?;
        let partials = Arc::default();
        let mut assembly = Self { file, missing: BTreeMap::new(), order: Vec::new(), partials };
        let mut local = BlockReader::new(fs, rows);
        for (offset, block) in manifest.offsets() {
            if is_hole(&block) && offset >= there {
                // A new file reads as zeros there already.
                continue;
            }
            let resumed = offset + u64::from(block.len) <= there && assembly.has(offset, &block)?;
            if resumed
                || assembly.copy_local(&mut local, offset, &block)?
                || assembly.copy_kept(fs, manifests, offset, &block)?
            {
                continue;
            }
            let places = assembly.missing.entry(block.hash).or_default();
            if places.is_empty() {
                assembly.order.push(block);
            }
            places.push((offset, block.len));
        }
        Ok(assembly)
    }

    /// From now on, others find there what comes for this file, until it is dropped.
    #[must_use]
    pub fn shared_in(mut self, partials: &Arc<Partials>) -> Self {
        self.partials = Arc::clone(partials);
        self
    }

    /// The blocks to fetch, in the order of the file, each once.
    pub fn missing(&self) -> &[BlockRef] {
        &self.order
    }

    /// Whether the temporary file holds the block already.
    fn has(&self, offset: u64, block: &BlockRef) -> Result<bool, FsError> {
        let mut data = vec![0; block.len as usize];
        let mut filled = 0;
        while filled < data.len() {
            match self.file.read_at(&mut data[filled..], offset + filled as u64)? {
                0 => return Ok(false),
                read => filled += read,
            }
        }
        Ok(address(&data) == block.hash)
    }

    fn copy_local<F: Fs, S: Storage>(
        &self,
        local: &mut BlockReader<'_, F, S>,
        offset: u64,
        block: &BlockRef,
    ) -> Result<bool, FsError> {
        // A table that cannot be read only means that the block is fetched.
        let Ok(Some(data)) = local.read(&block.hash) else { return Ok(false) };
        self.file.write_at(&data, offset)?;
        Ok(true)
    }

    /// Copies a block that only the version store holds.
    fn copy_kept<F: Fs, S: Storage>(
        &self,
        fs: &F,
        manifests: &ManifestStore<S>,
        offset: u64,
        block: &BlockRef,
    ) -> Result<bool, FsError> {
        let Ok(Some(data)) = read_kept(fs, manifests, &block.hash) else { return Ok(false) };
        self.file.write_at(&data, offset)?;
        Ok(true)
    }

    /// Writes a block that a peer has sent, wherever it belongs. Its hash has been checked.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn supply(&mut self, hash: &Hash, data: &Bytes) -> Result<(), FsError> {
        for (offset, len) in self.missing.remove(hash).unwrap_or_default() {
            if data.len() == len as usize {
                self.file.write_at(data, offset)?;
                self.partials.add(&self.file, offset, BlockRef { hash: *hash, len });
            }
        }
        Ok(())
    }

    /// Whether every block is there.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Gives it its mode, and the time of its last change in nanoseconds since 1970. Writes after
    /// this change the time again.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn dress(&self, mode: u32, mtime_ns: i64) -> Result<(), FsError> {
        self.file.set_mode(mode)?;
        self.file.set_mtime(mtime_ns)
    }

    /// Makes what is there durable, so that it counts when the file is taken up again.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn sync(&self) -> Result<(), FsError> {
        self.file.sync()
    }
}
