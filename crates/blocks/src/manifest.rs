//! The list of a file's blocks, and how it is stored as blocks itself.
//!
//! Encoding of a piece: version (1 byte, [`VERSION`]), level (1 byte), then entries of fixed
//! length up to the end. A leaf (level 0) holds the file's blocks in order, 36 bytes each: hash,
//! length (u32, little endian). A node (level n) holds pieces of level n - 1, 40 bytes each: hash,
//! bytes of the file that the piece covers (u64, little endian). Fixed lengths make every count
//! follow from the piece's own length, so a hostile piece cannot claim more than it carries.
//!
//! A list that does not fit into [`PIECE_MAX`](crate::PIECE_MAX) bytes is cut into pieces by
//! content: after an entry whose hash says so (one in [`CUT_ONE_IN`]), so an edit of the file
//! changes the piece around it and the nodes above, some 15 KiB, and leaves the others as they
//! were.

use dunlin_identity::Hash;

use crate::{BLOCK_MAX, FILE_MAX, PIECE_MAX, SMALL_MAX, address, chunking_for};

/// The version of the encoding of manifest pieces.
const VERSION: u8 = 1;
/// Bytes before the entries: version and level.
const HEAD: usize = 2;
/// Bytes of an entry of a leaf.
const LEAF_ENTRY: usize = 36;
/// Bytes of an entry of a node.
const NODE_ENTRY: usize = 40;
/// Of so many entries, one ends a piece, on average.
const CUT_ONE_IN: u8 = 255;
/// No piece but the last of its level has fewer entries, so each level is much shorter than the
/// one below and the tree's depth is bounded.
const PIECE_ENTRIES_MIN: usize = 64;
/// Levels above the leaves are at most this many: 64 entries a piece cover any file up to
/// [`FILE_MAX`] with fewer.
pub(crate) const LEVEL_MAX: u8 = 5;

/// A block of a file: its address and its length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// BLAKE3 of the bytes.
    pub hash: Hash,
    /// Length in bytes. For a piece of a manifest whose length is not known yet: an upper bound.
    pub len: u32,
}

/// The blocks of a file, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The file's length in bytes.
    pub size: u64,
    /// Its blocks; their lengths add up to `size`.
    pub blocks: Vec<BlockRef>,
}

/// A manifest as it is stored: a tree of pieces, each a block of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedManifest {
    /// The file's root: the address of the top piece (of the file itself when it is small).
    pub root: Hash,
    /// Every piece with its address, without repetition; leaves first, the top piece last.
    pub pieces: Vec<(Hash, Vec<u8>)>,
}

/// Why a manifest or a piece of one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The file is larger than [`FILE_MAX`].
    #[error("a file of {0} bytes is larger than is supported")]
    TooLarge(u64),
    /// The piece does not have the address under which it was supplied.
    #[error("a piece of the manifest has the wrong hash")]
    WrongHash,
    /// The piece was not asked for.
    #[error("a piece of the manifest that was not asked for")]
    Unasked,
    /// The piece has another version, is empty, too long, or is not made of whole entries.
    #[error("a piece of the manifest is malformed")]
    Malformed,
    /// The piece is not of the level that the piece above says, or the tree is too deep.
    #[error("a piece of the manifest is at the wrong level")]
    WrongLevel,
    /// The lengths do not add up to the size that the file (or the piece above) claims.
    #[error("the lengths in the manifest do not add up to the size of the file")]
    WrongSize,
    /// A block is shorter or longer than a file of this size is cut into.
    #[error("a block in the manifest has an impossible length")]
    WrongBlock,
    /// Some pieces have not been supplied yet.
    #[error("the manifest is not complete yet")]
    Incomplete,
}

/// A decoded piece.
pub(crate) enum Piece {
    /// Blocks of the file.
    Leaf(Vec<BlockRef>),
    /// Pieces of the level below, with the bytes of the file that each covers.
    Node { level: u8, children: Vec<(Hash, u64)> },
}

impl Manifest {
    /// Encodes the manifest into its pieces.
    ///
    /// # Errors
    /// When the blocks are not what a file of this size is cut into (see [`Manifest::check`]).
    pub fn encode(&self) -> Result<EncodedManifest, ManifestError> {
        self.check()?;
        if self.size <= SMALL_MAX {
            let root = self.blocks.first().map_or_else(|| address(b""), |block| block.hash);
            return Ok(EncodedManifest { root, pieces: Vec::new() });
        }
        let mut pieces = Pieces::default();
        let mut level = pieces.add_level(
            0,
            LEAF_ENTRY,
            self.blocks.iter().map(|block| (block.hash, u64::from(block.len))),
        );
        let mut height = 0;
        while level.len() > 1 {
            height += 1;
            level = pieces.add_level(height, NODE_ENTRY, level.into_iter());
        }
        debug_assert!(height <= LEVEL_MAX);
        Ok(EncodedManifest { root: level[0].0, pieces: pieces.made })
    }

    /// Checks that the blocks are what a file of this size may be cut into.
    ///
    /// # Errors
    /// [`ManifestError::TooLarge`], [`ManifestError::WrongBlock`] or [`ManifestError::WrongSize`].
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.size > FILE_MAX {
            return Err(ManifestError::TooLarge(self.size));
        }
        let sum: u64 = self.blocks.iter().map(|block| u64::from(block.len)).sum();
        if sum != self.size {
            return Err(ManifestError::WrongSize);
        }
        if self.size <= SMALL_MAX {
            // One block, or none: a block of no bytes would be a second way to say "empty".
            let right = self.blocks.len() == usize::from(self.size > 0);
            return if right { Ok(()) } else { Err(ManifestError::WrongBlock) };
        }
        let (last, rest) = self.blocks.split_last().ok_or(ManifestError::WrongSize)?;
        let chunking = chunking_for(self.size);
        let whole = |block: &BlockRef| (chunking.min..=chunking.max).contains(&block.len);
        if rest.iter().all(whole) && (1..=chunking.max).contains(&last.len) {
            Ok(())
        } else {
            Err(ManifestError::WrongBlock)
        }
    }

    /// Returns each block with its offset in the file, in order.
    pub fn offsets(&self) -> impl Iterator<Item = (u64, BlockRef)> + '_ {
        self.blocks.iter().scan(0, |next, block| {
            let offset = *next;
            *next += u64::from(block.len);
            Some((offset, *block))
        })
    }
}

/// The pieces made so far; equal pieces (long runs of zeros make them) are kept once.
#[derive(Default)]
struct Pieces {
    made: Vec<(Hash, Vec<u8>)>,
    known: std::collections::HashSet<Hash>,
}

impl Pieces {
    /// Adds the pieces of one level; returns each with the bytes of the file that it covers.
    fn add_level(
        &mut self,
        level: u8,
        entry_len: usize,
        entries: impl ExactSizeIterator<Item = (Hash, u64)>,
    ) -> Vec<(Hash, u64)> {
        let entries_max = (PIECE_MAX as usize - HEAD) / entry_len;
        let whole = entries.len() <= entries_max;
        let mut above = Vec::new();
        let mut piece = vec![VERSION, level];
        let (mut count, mut covers) = (0, 0);
        for (hash, size) in entries {
            piece.extend_from_slice(&hash.0);
            piece.extend_from_slice(&size.to_le_bytes()[..entry_len - 32]);
            count += 1;
            covers += size;
            let cut = count >= PIECE_ENTRIES_MIN && hash.0[0] == CUT_ONE_IN;
            if !whole && (cut || count == entries_max) {
                above.push((self.add(std::mem::replace(&mut piece, vec![VERSION, level])), covers));
                (count, covers) = (0, 0);
            }
        }
        if count > 0 {
            above.push((self.add(piece), covers));
        }
        above
    }

    fn add(&mut self, piece: Vec<u8>) -> Hash {
        let hash = address(&piece);
        if self.known.insert(hash) {
            self.made.push((hash, piece));
        }
        hash
    }
}

/// Decodes one piece.
pub(crate) fn decode_piece(bytes: &[u8]) -> Result<Piece, ManifestError> {
    let [VERSION, level, entries @ ..] = bytes else { return Err(ManifestError::Malformed) };
    let entry_len = if *level == 0 { LEAF_ENTRY } else { NODE_ENTRY };
    let whole = !entries.is_empty() && entries.len().is_multiple_of(entry_len);
    if bytes.len() > PIECE_MAX as usize || !whole {
        return Err(ManifestError::Malformed);
    }
    if *level > LEVEL_MAX {
        return Err(ManifestError::WrongLevel);
    }
    let entries = entries.chunks_exact(entry_len).map(decode_entry);
    if *level > 0 {
        return Ok(Piece::Node { level: *level, children: entries.collect() });
    }
    let leaf = |(hash, size): (Hash, u64)| match u32::try_from(size) {
        Ok(len) if (1..=BLOCK_MAX).contains(&len) => Ok(BlockRef { hash, len }),
        _ => Err(ManifestError::WrongBlock),
    };
    entries.map(leaf).collect::<Result<_, _>>().map(Piece::Leaf)
}

/// Splits an entry into its hash and the number after it.
fn decode_entry(entry: &[u8]) -> (Hash, u64) {
    let (hash_bytes, size_bytes) = entry.split_at(32);
    let mut hash = [0; 32];
    hash.copy_from_slice(hash_bytes);
    let mut size = [0; 8];
    size[..size_bytes.len()].copy_from_slice(size_bytes);
    (Hash(hash), u64::from_le_bytes(size))
}
