//! Lists of blocks, cut into pieces that neighbouring versions of a file share.
//!
//! A manifest's own pieces are too long for this: an edit of one block in a file of 100 MiB would
//! cost some 14 KiB, an eighth of the block itself. These are cut after one block in 32, so that it
//! costs about 1 KiB, and 32 bytes a piece in the record.

use dunlin_blocks::{BLOCK_MAX, BlockRef};
use dunlin_identity::Hash;

/// Bytes of a block in a piece: its hash, and its length as a little-endian u32.
const ENTRY: usize = 36;
/// A piece ends after a block whose hash's first byte leaves this remainder…
const CUT_ONE_IN: u8 = 32;
/// …but has at least so many blocks, unless it is the last…
const BLOCKS_MIN: usize = 8;
/// …and at most so many.
const BLOCKS_MAX: usize = 128;

/// The most bytes of a piece.
pub const PIECE_BYTES_MAX: usize = BLOCKS_MAX * ENTRY;

/// Cuts a list into its pieces, in order.
pub fn cut(blocks: &[(u64, BlockRef)]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for (_, block) in blocks {
        piece.extend_from_slice(&block.hash.0);
        piece.extend_from_slice(&block.len.to_le_bytes());
        let count = piece.len() / ENTRY;
        let cut = count >= BLOCKS_MIN && block.hash.0[0].is_multiple_of(CUT_ONE_IN);
        if cut || count == BLOCKS_MAX {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Reads a piece; `None` when it is none.
pub fn parse(piece: &[u8]) -> Option<Vec<BlockRef>> {
    if piece.is_empty() || piece.len() > PIECE_BYTES_MAX || !piece.len().is_multiple_of(ENTRY) {
        return None;
    }
    let block = |entry: &[u8]| {
        let (hash, len) = entry.split_first_chunk::<32>()?;
        let len = u32::from_le_bytes(len.try_into().ok()?);
        (1..=BLOCK_MAX).contains(&len).then_some(BlockRef { hash: Hash(*hash), len })
    };
    piece.chunks_exact(ENTRY).map(block).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(seeds: &[u32]) -> Vec<(u64, BlockRef)> {
        let mut offset = 0;
        let block = |seed: &u32| {
            let len = seed % BLOCK_MAX + 1;
            let at = offset;
            offset += u64::from(len);
            (at, BlockRef { hash: Hash::of(&seed.to_le_bytes()), len })
        };
        seeds.iter().map(block).collect()
    }

    proptest! {
        #[test]
        fn pieces_give_the_list_back(seeds in prop::collection::vec(any::<u32>(), 0..600)) {
            let blocks = blocks(&seeds);
            let back: Option<Vec<_>> = cut(&blocks).iter().map(|piece| parse(piece)).collect();
            let back = back.expect("what was cut can be read").concat();
            prop_assert_eq!(back, blocks.iter().map(|(_, block)| *block).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_block_that_changes_costs_a_piece() {
        let seeds: Vec<u32> = (0..1300).collect();
        let before = cut(&blocks(&seeds));
        let mut edited = seeds;
        edited[700] = 1_000_000;
        let after = cut(&blocks(&edited));
        let fresh: usize = after.iter().filter(|piece| !before.contains(piece)).map(Vec::len).sum();
        assert!(fresh <= 2 * PIECE_BYTES_MAX, "{fresh}");
        assert!(after.len() * 32 < 2048, "{} pieces", after.len());
    }

    #[test]
    fn what_is_no_piece_is_refused() {
        for bytes in [&[][..], &[0; 35], &[0; 36], &[0; PIECE_BYTES_MAX + 36]] {
            assert_eq!(parse(bytes), None);
        }
    }
}
