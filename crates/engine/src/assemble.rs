//! Brings a large content together in a temporary file: from what an interrupted attempt left
//! there, from other files on this disk, and from blocks that peers send.

mod local;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::{BlockRef, Manifest, address, is_hole};
use dunlin_identity::Hash;
use dunlin_index::Storage;
use dunlin_tree::disk::DiskTable;
use dunlin_tree::fs::{Fs, FsError, TempName, WriteAt};

use self::local::{Wanted, stretches};
use crate::checkpoint::{self, BlockSet, Checkpoint};
use crate::manifests::ManifestStore;
use crate::partials::Partials;
use crate::serve::{BlockReader, read_kept};

/// So many blocks at a time are looked for in other files.
const WINDOW: usize = 1024;

/// A temporary file that is being filled.
pub struct Assembly {
    file: Arc<dyn WriteAt>,
    temp: TempName,
    /// The blocks that are there, checked.
    there: BlockSet,
    /// Where each block that is still missing belongs.
    missing: BTreeMap<Hash, Vec<Place>>,
    order: Vec<BlockRef>,
    /// Where others find what has come.
    partials: Arc<Partials>,
}

/// A place in the file, where a block belongs.
struct Place {
    number: usize,
    offset: u64,
    len: u32,
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
        let before = file.stat()?;
        // A database that cannot be read only means that what is there is hashed.
        let known = checkpoint::recall(manifests, temp, &before).unwrap_or_default();
        file.set_len(manifest.size)?;
        let mut assembly = Self {
            file,
            temp: temp.clone(),
            there: BlockSet::default(),
            missing: BTreeMap::new(),
            order: Vec::new(),
            partials: Arc::default(),
        };
        let mut here = Here { fs, rows, manifests, reader: BlockReader::new(fs, rows) };
        let mut wanted = Vec::with_capacity(WINDOW);
        let mut holes = Holes { file: Arc::clone(&assembly.file), size: before.size, data: None };
        for (number, (offset, block)) in manifest.offsets().enumerate() {
            let hole = holes.cover(offset, block.len)?;
            let had = match (known.contains(number), hole) {
                (true, _) => true,
                // What is no data reads as zeros.
                (false, true) => is_hole(&block),
                (false, false) => assembly.has(offset, &block)?,
            };
            if had {
                assembly.there.insert(number);
                continue;
            }
            wanted.push(Wanted { number, offset, block });
            if wanted.len() == WINDOW {
                assembly.copy_from_here(&mut here, &mut wanted)?;
            }
        }
        assembly.copy_from_here(&mut here, &mut wanted)?;
        Ok(assembly)
    }

    /// Copies what this disk has of the blocks that are wanted, and notes the others as missing.
    fn copy_from_here<F: Fs, S: Storage>(
        &mut self,
        here: &mut Here<'_, F, S>,
        wanted: &mut Vec<Wanted>,
    ) -> Result<(), FsError> {
        for stretch in stretches(here.rows, wanted) {
            let Some(source) = here.reader.file(stretch.row).ok().flatten() else { continue };
            // What cannot be copied at once is tried block by block.
            if self.file.copy_from(source, stretch.from, stretch.to, stretch.len).is_err() {
                continue;
            }
            for copied in &wanted[stretch.blocks] {
                if self.has(copied.offset, &copied.block)? {
                    self.there.insert(copied.number);
                }
            }
        }
        for Wanted { number, offset, block } in wanted.drain(..) {
            if self.there.contains(number) {
                continue;
            }
            if let Some(data) = here.read(&block.hash) {
                self.file.write_at(&data, offset)?;
                self.there.insert(number);
                continue;
            }
            let places = self.missing.entry(block.hash).or_default();
            if places.is_empty() {
                self.order.push(block);
            }
            places.push(Place { number, offset, len: block.len });
        }
        Ok(())
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

    /// Writes a block that a peer has sent, wherever it belongs. Its hash has been checked.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn supply(&mut self, hash: &Hash, data: &Bytes) -> Result<(), FsError> {
        for Place { number, offset, len } in self.missing.remove(hash).unwrap_or_default() {
            if data.len() == len as usize {
                self.file.write_at(data, offset)?;
                self.there.insert(number);
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

    /// What is there now; once it is saved, it counts without being hashed when the file is taken
    /// up again.
    pub fn checkpoint(&self) -> Checkpoint {
        let (file, temp) = (Arc::clone(&self.file), self.temp.clone());
        Checkpoint { file, temp, blocks: self.there.clone() }
    }

    /// Makes what is there durable.
    ///
    /// # Errors
    /// Whatever the disk reports.
    pub fn sync(&self) -> Result<(), FsError> {
        self.file.sync()
    }
}

/// Where blocks can be had on this disk.
struct Here<'a, F, S: Storage> {
    fs: &'a F,
    rows: &'a DiskTable<S>,
    manifests: &'a ManifestStore<S>,
    reader: BlockReader<'a, F, S>,
}

impl<F: Fs, S: Storage> Here<'_, F, S> {
    /// Reads a block from a file of the folder, or from the version store. Tables that cannot be
    /// read only mean that it is fetched.
    fn read(&mut self, hash: &Hash) -> Option<Bytes> {
        let in_a_file = self.reader.read(hash).ok().flatten();
        in_a_file.or_else(|| read_kept(self.fs, self.manifests, hash).ok().flatten())
    }
}

/// Where a file had no data when it was taken up. Files on their way are mostly holes, and reading
/// and hashing those would take longer than all else.
struct Holes {
    file: Arc<dyn WriteAt>,
    /// Its length then.
    size: u64,
    /// The last answer: from where it was asked, and where the next data begins.
    data: Option<(u64, u64)>,
}

impl Holes {
    /// Whether all of a block that begins at `offset` lies in a hole, or behind the end.
    fn cover(&mut self, offset: u64, len: u32) -> Result<bool, FsError> {
        let end = offset + u64::from(len);
        let answered = self.data.filter(|(from, next)| *from <= offset && offset < *next);
        let next = match answered {
            Some((_, next)) => next,
            None => self.file.next_data(offset)?.unwrap_or(u64::MAX),
        };
        self.data = Some((offset, next));
        Ok(end <= next || offset >= self.size)
    }
}

#[cfg(test)]
mod tests;
