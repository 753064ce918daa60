//! Where a block lies on this disk: from a block's hash to a row's file and back.
//!
//! A location is a hint. The file may have changed a moment ago, so whoever reads a block from a
//! location checks its hash before using it.

use bincode::{Decode, Encode};
use dunlin_blocks::BlockRef;
use dunlin_identity::Hash;
use dunlin_index::Storage;

use super::{DiskError, DiskTable, RowId, codec};

/// Blocks in one stored piece of a row's block list.
const PIECE_BLOCKS: usize = 256;
/// Rows that are tried for one hash; a block of zeros may be in every file there is.
const CANDIDATES_MAX: usize = 16;

/// A place on this disk where a block was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLocation {
    /// The file's row.
    pub row: RowId,
    /// Where the block begins in the file, in bytes.
    pub offset: u64,
    /// The block's length in bytes.
    pub len: u32,
}

/// The blocks follow one another, so that only the first offset is stored.
#[derive(Encode, Decode)]
enum StoredPiece {
    V1 { offset: u64, blocks: Vec<(u32, [u8; 32])> },
}

#[derive(Encode, Decode)]
struct StoredLocation {
    offset: u64,
    len: u32,
}

impl<S: Storage> DiskTable<S> {
    /// Remembers the blocks of a row's file, instead of what was known of it before. The blocks
    /// must follow one another without gaps.
    ///
    /// # Errors
    /// [`DiskError::NoRow`] when there is no such row; [`DiskError::Damaged`] when the blocks
    /// leave a gap; fails when the storage does.
    pub fn put_blocks(&mut self, id: RowId, blocks: &[(u64, BlockRef)]) -> Result<(), DiskError> {
        let row = self.get(id)?.ok_or(DiskError::NoRow(id))?;
        let gapless = blocks
            .windows(2)
            .all(|pair| pair[0].0.checked_add(u64::from(pair[0].1.len)) == Some(pair[1].0));
        if !gapless {
            return Err(DiskError::Damaged("blocks of a file leave a gap"));
        }
        if self.newest.take() != Some(id) {
            self.remove_blocks(id, row.root)?;
        }
        for (offset, block) in blocks.iter().rev() {
            // Backwards, so that of equal blocks in one file the first is remembered.
            let location = StoredLocation { offset: *offset, len: block.len };
            self.overlay.put(codec::hash_key(&block.hash, id), codec::encode(&location));
        }
        if let [(0, only)] = blocks
            && Some(only.hash) == row.root
        {
            // A small file is its own only block: the row and the location say all.
            return Ok(());
        }
        for (piece, part) in (0u32..).zip(blocks.chunks(PIECE_BLOCKS)) {
            let stored = StoredPiece::V1 {
                offset: part[0].0,
                blocks: part.iter().map(|(_, block)| (block.len, block.hash.0)).collect(),
            };
            self.overlay.put(codec::blocks_key(id, piece), codec::encode(&stored));
        }
        Ok(())
    }

    /// Lists the blocks of a row's file in order; empty when they are not known.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn blocks_of(&self, id: RowId) -> Result<Vec<(u64, BlockRef)>, DiskError> {
        let pieces = self.overlay.scan(&codec::blocks_prefix(id), None, usize::MAX)?;
        let mut out = Vec::new();
        for (_, value) in &pieces {
            let StoredPiece::V1 { mut offset, blocks } = codec::decode(value)?;
            for (len, hash) in blocks {
                out.push((offset, BlockRef { hash: Hash(hash), len }));
                offset = offset.saturating_add(u64::from(len));
            }
        }
        if !pieces.is_empty() {
            return Ok(out);
        }
        let Some(root) = self.get(id)?.and_then(|row| row.root) else { return Ok(out) };
        if let Some(value) = self.overlay.get(&codec::hash_key(&root, id))? {
            let location: StoredLocation = codec::decode(&value)?;
            out.push((location.offset, BlockRef { hash: root, len: location.len }));
        }
        Ok(out)
    }

    /// Returns one place where the block was seen; see [`DiskTable::locate_all`].
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn locate(&self, hash: &Hash) -> Result<Option<BlockLocation>, DiskError> {
        Ok(self.locate_some(hash, 1)?.first().copied())
    }

    /// Lists places where the block was seen, at most 16, one for each file. They are hints: the
    /// reader checks the hash.
    ///
    /// # Errors
    /// See [`DiskTable::get`].
    pub fn locate_all(&self, hash: &Hash) -> Result<Vec<BlockLocation>, DiskError> {
        self.locate_some(hash, CANDIDATES_MAX)
    }

    fn locate_some(&self, hash: &Hash, limit: usize) -> Result<Vec<BlockLocation>, DiskError> {
        let mut out = Vec::new();
        for (key, value) in self.overlay.scan(&codec::hash_prefix(hash), None, limit)? {
            let StoredLocation { offset, len } = codec::decode(&value)?;
            out.push(BlockLocation { row: codec::id_at_end(&key)?, offset, len });
        }
        Ok(out)
    }

    /// Forgets the blocks of a row whose content root was `root`.
    pub(super) fn remove_blocks(&mut self, id: RowId, root: Option<Hash>) -> Result<(), DiskError> {
        if let Some(root) = root {
            self.overlay.delete(codec::hash_key(&root, id));
        }
        for (key, value) in self.overlay.scan(&codec::blocks_prefix(id), None, usize::MAX)? {
            let StoredPiece::V1 { blocks, .. } = codec::decode(&value)?;
            for (_, hash) in blocks {
                self.overlay.delete(codec::hash_key(&Hash(hash), id));
            }
            self.overlay.delete(key);
        }
        Ok(())
    }
}
