//! Cutting and hashing a file that comes as a stream of bytes.

use std::io::{self, Read};

use dunlin_identity::Hash;

use crate::chunking::{Chunking, chunking_for};
use crate::manifest::{BlockRef, Manifest, ManifestError};
use crate::{SMALL_MAX, address};

/// Bytes that are read at a time.
pub(crate) const READ_LEN: usize = 1 << 20;

/// What hashing a file gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHash {
    /// The file's root: what its record in the index carries.
    pub root: Hash,
    /// The bytes that were hashed.
    pub size: u64,
    /// The blocks with their offsets, in order; one for a small file, none for an empty one.
    pub blocks: Vec<(u64, BlockRef)>,
    /// The pieces of the manifest, each a block; empty for a small file.
    pub manifest_blocks: Vec<(Hash, Vec<u8>)>,
}

/// Why a file could not be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The file had a size at its end that is cut otherwise than the size at the beginning: it
    /// changed meanwhile and must be hashed again.
    #[error("the file changed from {expected} to {found} bytes while it was read")]
    SizeChanged {
        /// Bytes at the beginning.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// The file cannot be listed in a manifest (too large).
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl From<HashError> for io::Error {
    fn from(error: HashError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// Cuts and hashes bytes as they come, with less than 5 MiB of memory for files of any size.
#[derive(Debug)]
pub struct Hasher {
    size_hint: u64,
    chunking: Chunking,
    /// Bytes of blocks that are not cut yet, from `start` on.
    pending: Vec<u8>,
    start: usize,
    offset: u64,
    blocks: Vec<BlockRef>,
}

impl Hasher {
    /// Starts; `size_hint` is the file's size as far as known, which decides how it is cut.
    #[must_use]
    pub fn new(size_hint: u64) -> Self {
        Self {
            size_hint,
            chunking: chunking_for(size_hint),
            pending: Vec::new(),
            start: 0,
            offset: 0,
            blocks: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        // Large inputs go in by parts, so that what is pending stays bounded.
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(READ_LEN));
            self.pending.extend_from_slice(now);
            bytes = later;
            // A cut is final only when a block of the full length would fit.
            while self.pending.len() - self.start >= self.chunking.max as usize {
                self.cut();
            }
            self.pending.drain(..self.start);
            self.start = 0;
        }
    }

    /// Returns the blocks and the root.
    ///
    /// # Errors
    /// [`HashError::SizeChanged`] when the size came out so different from the hint that the file
    /// is to be cut otherwise; [`HashError::Manifest`] for a file above
    /// [`FILE_MAX`](crate::FILE_MAX).
    pub fn finish(mut self) -> Result<FileHash, HashError> {
        let size = self.offset + self.pending.len() as u64;
        if size <= SMALL_MAX {
            // Nothing was cut yet: blocks are cut only when more than this is pending.
            return Ok(hash_bytes(&self.pending));
        }
        if chunking_for(size) != self.chunking {
            return Err(HashError::SizeChanged { expected: self.size_hint, found: size });
        }
        while self.start < self.pending.len() {
            self.cut();
        }
        assemble(size, self.blocks)
    }

    fn cut(&mut self) {
        let rest = &self.pending[self.start..];
        let block = &rest[..self.chunking.first_block(rest)];
        self.blocks.push(BlockRef { hash: address(block), len: block.len() as u32 });
        self.start += block.len();
        self.offset += block.len() as u64;
        if self.start == self.pending.len() {
            self.pending.clear();
            self.start = 0;
        }
    }
}

/// Puts the blocks of a file above [`SMALL_MAX`] together.
pub(crate) fn assemble(size: u64, blocks: Vec<BlockRef>) -> Result<FileHash, HashError> {
    let manifest = Manifest { size, blocks };
    let encoded = manifest.encode()?;
    Ok(FileHash {
        root: encoded.root,
        size,
        blocks: manifest.offsets().collect(),
        manifest_blocks: encoded.pieces,
    })
}

/// Hashes a whole small file (at most [`SMALL_MAX`] bytes) that is in memory; larger inputs are
/// cut as [`Hasher`] does.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> FileHash {
    let size = bytes.len() as u64;
    if size <= SMALL_MAX {
        let hash = address(bytes);
        let block = BlockRef { hash, len: bytes.len() as u32 };
        let blocks = if bytes.is_empty() { Vec::new() } else { vec![(0, block)] };
        return FileHash { root: hash, size, blocks, manifest_blocks: Vec::new() };
    }
    let mut hasher = Hasher::new(size);
    hasher.push(bytes);
    hasher.finish().expect("the hint is exact and what fits into memory is below the limit")
}

/// Reads to the end and hashes; `size_hint` is the file's size as far as known.
///
/// # Errors
/// What reading gives; [`io::ErrorKind::InvalidData`] around a [`HashError`] when the file changed
/// its size meanwhile so much that it must be hashed again.
pub fn hash_reader(mut reader: impl Read, size_hint: u64) -> io::Result<FileHash> {
    let mut hasher = Hasher::new(size_hint);
    let len = usize::try_from(size_hint).unwrap_or(READ_LEN).clamp(4096, READ_LEN);
    let mut buffer = vec![0; len];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()?),
            Ok(read) => hasher.push(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
