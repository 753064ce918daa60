//! Where files are cut: FastCDC with normalised chunking (Xia et al., 2020), by the file's size.
//!
//! The average block is 64 KiB for files below 512 MiB, 256 KiB below 8 GiB, and 1 MiB above: an
//! edit of a file of everyday size then costs some blocks of 64 KiB, and the manifest of a large
//! one stays in the order of 4,000 to 14,000 entries until some 16 GiB. A file that grows past a
//! step is cut anew as a whole, so the steps are few and far apart.
//!
//! Cut points are a function of the content and the step alone: equal files have equal roots on
//! every device, which is what makes equal things one.

use std::sync::LazyLock;

use dunlin_identity::Hash;
use fastcdc::v2020::{Normalization, cut, select_masks};

use crate::manifest::BlockRef;
use crate::{BLOCK_MAX, address};

/// The bounds of a file's blocks, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// No block but the last is shorter.
    pub min: u32,
    /// The nominal average; real files come out at some 1.2 times this.
    pub avg: u32,
    /// No block is longer.
    pub max: u32,
}

/// The sizes from which the average is larger, with that average.
const STEPS: [(u64, u32); 3] = [(0, 64 << 10), (512 << 20, 256 << 10), (8 << 30, 1 << 20)];

/// Returns how a file of this many bytes is cut.
#[must_use]
pub fn chunking_for(size: u64) -> Chunking {
    let avg =
        STEPS.iter().rev().find(|(from, _)| size >= *from).map_or(STEPS[0].1, |(_, avg)| *avg);
    let chunking = Chunking { min: avg / 4, avg, max: avg * 4 };
    debug_assert!(chunking.max <= BLOCK_MAX);
    chunking
}

impl Chunking {
    /// Returns the length of the first block of `bytes`.
    ///
    /// The answer is final when `bytes` holds at least [`Chunking::max`] bytes or ends where the
    /// file ends; it is 0 only for no bytes.
    #[must_use]
    pub fn first_block(&self, bytes: &[u8]) -> usize {
        let (strict, loose) = select_masks(self.avg as usize, Normalization::Level1);
        let (_, len) = cut(
            bytes,
            self.min as usize,
            self.avg as usize,
            self.max as usize,
            strict,
            loose,
            strict << 1,
            loose << 1,
        );
        len
    }

    /// Returns the most blocks that a file of this many bytes can have.
    #[must_use]
    pub fn blocks_max(&self, size: u64) -> u64 {
        size / u64::from(self.min) + 1
    }
}

/// The addresses of the blocks of zeros that a hole is cut into, one for each step.
static HOLES: LazyLock<[(u32, Hash); 3]> =
    LazyLock::new(|| STEPS.map(|(_, avg)| (avg * 4, address(&vec![0; avg as usize * 4]))));

/// Returns whether the block is a whole block of zeros, as the inside of a hole (or a long run of
/// zeros) is cut into. Such a block need neither be fetched nor written to a fresh file.
///
/// Blocks at the edges of a hole are longer or shorter than the usual and are not recognised.
#[must_use]
pub fn is_hole(block: &BlockRef) -> bool {
    HOLES.iter().any(|(len, hash)| *len == block.len && *hash == block.hash)
}
