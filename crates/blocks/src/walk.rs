//! Reading a manifest that comes piece by piece, from peers that may lie.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use dunlin_identity::Hash;

use crate::manifest::{BlockRef, LEVEL_MAX, Manifest, ManifestError, Piece, decode_piece};
use crate::{FILE_MAX, PIECE_MAX, SMALL_MAX, chunking_for};

/// Asks for the pieces of a manifest and puts them together. Does no I/O itself: [`wanted`] says
/// what to fetch, [`supply`] takes what came.
///
/// What is held is bounded by the blocks that a file of the claimed size can have; a tree that
/// claims more, whose sizes do not add up, or that is too deep is refused at once. After an error
/// other than [`ManifestError::WrongHash`] and [`ManifestError::Unasked`] the manifest is bad
/// whoever supplies it, since the pieces are what the hashes say.
///
/// [`wanted`]: ManifestWalk::wanted
/// [`supply`]: ManifestWalk::supply
#[derive(Debug)]
pub struct ManifestWalk {
    size: u64,
    /// Nodes and leaves by offset in the file; leaves replace nodes from the left to the right.
    parts: Parts,
    /// Pieces asked for, with every place that waits for them.
    waiting: HashMap<Hash, Vec<Slot>>,
    /// Pieces that have not been handed out by `wanted` yet.
    unasked: Vec<Hash>,
    blocks_left: u64,
    pieces_left: u64,
}

/// Blocks by the offset of the leaf that lists them.
type Parts = std::collections::BTreeMap<u64, Vec<BlockRef>>;

/// A place in the tree where a piece belongs.
#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: u64,
    size: u64,
    /// `None` for the top piece: any level up to the highest.
    level: Option<u8>,
}

impl ManifestWalk {
    /// Starts with a file's root and size, as its record in the index says.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`] when the size is above [`FILE_MAX`].
    pub fn new(root: Hash, size: u64) -> Result<Self, ManifestError> {
        if size > FILE_MAX {
            return Err(ManifestError::TooLarge(size));
        }
        let blocks_left = chunking_for(size).blocks_max(size);
        let mut walk = Self {
            size,
            parts: Parts::new(),
            waiting: HashMap::new(),
            unasked: Vec::new(),
            blocks_left,
            // Honest pieces have 64 entries or more but for the last of each level.
            pieces_left: blocks_left / 32 + u64::from(LEVEL_MAX) + 1,
        };
        if size > SMALL_MAX {
            walk.expect(root, Slot { offset: 0, size, level: None })?;
        } else if size > 0 {
            // A small file is its own only block.
            let len = u32::try_from(size).unwrap_or(u32::MAX);
            walk.parts.insert(0, vec![BlockRef { hash: root, len }]);
        }
        Ok(walk)
    }

    /// Returns up to `limit` pieces to fetch that were not returned before; `len` is an upper
    /// bound of the piece's length.
    pub fn wanted(&mut self, limit: usize) -> Vec<BlockRef> {
        let first = self.unasked.len().saturating_sub(limit);
        self.unasked.drain(first..).map(|hash| BlockRef { hash, len: PIECE_MAX }).collect()
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// See [`ManifestError`]; the walk must not be used after an error other than `WrongHash` and
    /// `Unasked`, which leave it as it was.
    pub fn supply(&mut self, hash: &Hash, piece: &[u8]) -> Result<(), ManifestError> {
        if !self.waiting.contains_key(hash) {
            return Err(ManifestError::Unasked);
        }
        if crate::address(piece) != *hash {
            return Err(ManifestError::WrongHash);
        }
        let slots = self.waiting.remove(hash).unwrap_or_default();
        self.unasked.retain(|unasked| unasked != hash);
        for slot in slots {
            match decode_piece(piece)? {
                Piece::Leaf(blocks) => self.leaf(slot, blocks)?,
                Piece::Node { level, children } => self.node(slot, level, &children)?,
            }
        }
        Ok(())
    }

    /// Returns whether all pieces are here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the manifest, once it is complete.
    ///
    /// # Errors
    /// [`ManifestError::Incomplete`], or what [`Manifest::check`] finds.
    pub fn finish(self) -> Result<Manifest, ManifestError> {
        if !self.is_complete() {
            return Err(ManifestError::Incomplete);
        }
        let blocks = self.parts.into_values().flatten().collect();
        let manifest = Manifest { size: self.size, blocks };
        manifest.check()?;
        Ok(manifest)
    }

    fn leaf(&mut self, slot: Slot, blocks: Vec<BlockRef>) -> Result<(), ManifestError> {
        if slot.level.is_some_and(|level| level != 0) {
            return Err(ManifestError::WrongLevel);
        }
        let sum: u64 = blocks.iter().map(|block| u64::from(block.len)).sum();
        let left = self.blocks_left.checked_sub(blocks.len() as u64);
        self.blocks_left = left.ok_or(ManifestError::WrongBlock)?;
        if sum != slot.size {
            return Err(ManifestError::WrongSize);
        }
        self.parts.insert(slot.offset, blocks);
        Ok(())
    }

    fn node(
        &mut self,
        slot: Slot,
        level: u8,
        children: &[(Hash, u64)],
    ) -> Result<(), ManifestError> {
        if slot.level.is_some_and(|expected| expected != level) {
            return Err(ManifestError::WrongLevel);
        }
        let mut offset = slot.offset;
        for (hash, size) in children {
            // No piece covers nothing, so offsets are distinct and the walk ends.
            let end = offset.checked_add(*size).filter(|_| *size > 0);
            let end = end.ok_or(ManifestError::WrongSize)?;
            self.expect(*hash, Slot { offset, size: *size, level: Some(level - 1) })?;
            offset = end;
        }
        if offset == slot.offset + slot.size { Ok(()) } else { Err(ManifestError::WrongSize) }
    }

    fn expect(&mut self, hash: Hash, slot: Slot) -> Result<(), ManifestError> {
        self.pieces_left = self.pieces_left.checked_sub(1).ok_or(ManifestError::WrongBlock)?;
        match self.waiting.entry(hash) {
            Entry::Occupied(mut entry) => entry.get_mut().push(slot),
            Entry::Vacant(entry) => {
                entry.insert(vec![slot]);
                self.unasked.push(hash);
            }
        }
        Ok(())
    }
}
