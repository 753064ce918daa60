//! Blocks of Dunlin: where files are cut, what their pieces are called, and the lists of them.
//!
//! Everything here is pure: bytes go in, addresses and lists come out. A file is cut by its
//! content (FastCDC, 2020), so that an insertion changes the blocks around it and no others; a
//! block is named by its BLAKE3 hash; the list of a file's blocks, its [`Manifest`], is stored and
//! fetched as blocks itself.
//!
//! | file | root | blocks | manifest blocks |
//! | --- | --- | --- | --- |
//! | empty | BLAKE3 of nothing | none | none |
//! | up to [`SMALL_MAX`] | BLAKE3 of its bytes | the whole file | none |
//! | larger | hash of the manifest's top piece | cut by content | one piece or a tree of them |

mod chunking;
mod hasher;
mod manifest;
mod pipeline;
mod walk;

pub use chunking::{Chunking, chunking_for, is_hole};
pub use hasher::{FileHash, HashError, Hasher, hash_bytes, hash_reader};
pub use manifest::{BlockRef, EncodedManifest, Manifest, ManifestError};
pub use pipeline::hash_file;
pub use walk::ManifestWalk;

use dunlin_identity::Hash;

/// A file of at most this many bytes is its own only block, and its root is the hash of its bytes.
pub const SMALL_MAX: u64 = 64 * 1024;

/// No block, of a file or of a manifest, is longer than this many bytes.
pub const BLOCK_MAX: u32 = 4 * 1024 * 1024;

/// No piece of a manifest is longer than this many bytes; who fetches one without knowing its
/// length asks for at most this.
pub const PIECE_MAX: u32 = 32 * 1024;

/// Files above this many bytes (4 TiB) are refused, which bounds the memory of a manifest.
pub const FILE_MAX: u64 = 4 << 40;

/// Returns the address of a block: the BLAKE3 hash of its bytes.
#[must_use]
pub fn address(block: &[u8]) -> Hash {
    Hash::of(block)
}
