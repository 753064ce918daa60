//! Compression of what goes over the wire: when it pays, and how blocks are packed and unpacked.
//!
//! Goals: fewer bytes and less time over links that are slower than zstd; nothing lost on faster
//! ones, nor on data that does not become shorter. Non-goals: the best ratio; compressing what is
//! stored (the version store does that by itself).
//!
//! Blocks that follow each other and are judged to become shorter go as one *bundle*, one zstd
//! frame, so that many small texts share their words. The judge ([`Packer`]) compresses a sample
//! of a block, and compares what the whole would save on the link with what it would cost here and
//! there, at the rate that zstd was measured to have on this machine.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

/// Blocks of a bundle add up to at most so many bytes, unless it is one longer block: so much may
/// have to be sent that was taken back meanwhile.
pub(crate) const BUNDLE_BYTES: usize = 256 << 10;
/// Blocks in a bundle at most.
pub(crate) const BUNDLE_BLOCKS: usize = 128;
/// The quickest of zstd's ordinary levels.
const LEVEL: i32 = 1;
/// Bytes of a block that are compressed to judge it.
const SAMPLE: usize = 4 << 10;
/// What is shorter fits into a packet or two as it is.
const BUNDLE_MIN: usize = 1 << 10;
/// What must become shorter by, at least: a sixteenth.
const SHARE_MAX: f64 = 15.0 / 16.0;
/// How many times as long as compressing sending must take: there is unpacking, too, and the
/// processors have other work.
const MARGIN: f64 = 2.0;
/// What zstd is taken to do before it was measured, in bytes a second.
const RATE_GUESS: f64 = 250e6;
/// So many bytes at least are compressed for one measurement.
const MEASURED_MIN: usize = 16 << 10;
/// After refusals in a row, so many blocks at most are passed over without a look.
const PASSED_OVER_MAX: u32 = 15;

/// Some blocks of a portion, compressed together.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Which blocks of the portion.
    pub(crate) range: Range<usize>,
    /// All of them, one after the other, as one zstd frame.
    pub(crate) frame: Bytes,
}

/// Judges and compresses the blocks of one stream.
#[derive(Debug)]
pub(crate) struct Packer {
    /// Bytes a second that this machine compresses.
    rate: f64,
    /// Blocks in a row that were looked at and would not have become shorter.
    refused: u32,
    /// Blocks that are passed over from here on.
    pass_over: u32,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { rate: RATE_GUESS, refused: 0, pass_over: 0 }
    }

    /// Finds and compresses the blocks of a portion for which it pays on a link that carries `link`
    /// bytes a second.
    pub(crate) fn pack(&mut self, blocks: &[Option<Bytes>], link: f64) -> Vec<Bundle> {
        if !self.pays(link, 0.0) {
            return Vec::new();
        }
        // Without a compressor, for which there is no memory, all goes as it is.
        let Ok(mut zstd) = Compressor::new(LEVEL) else { return Vec::new() };
        let mut bundles = Vec::new();
        let mut begin = 0;
        while begin < blocks.len() {
            let (end, next) = self.run(blocks, begin, link, &mut zstd);
            if let Some(frame) = self.compress(&blocks[begin..end], &mut zstd) {
                bundles.push(Bundle { range: begin..end, frame });
            }
            begin = next;
        }
        bundles
    }

    /// Returns whether what shrinks to this share is here sooner when it is compressed.
    fn pays(&self, link: f64, share: f64) -> bool {
        share < SHARE_MAX && link * MARGIN < self.rate * (1.0 - share)
    }

    /// Returns where the blocks end that make a bundle from `begin` on, and which one is the next
    /// to be judged.
    fn run(
        &mut self,
        blocks: &[Option<Bytes>],
        begin: usize,
        link: f64,
        zstd: &mut Compressor<'_>,
    ) -> (usize, usize) {
        let mut bytes = 0;
        let mut end = begin;
        for block in blocks[begin..].iter().take(BUNDLE_BLOCKS) {
            let Some(block) = block else { return (end, end + 1) };
            bytes += block.len();
            if end > begin && bytes > BUNDLE_BYTES {
                break;
            }
            if !self.looks_good(block, link, zstd) {
                return (end, end + 1);
            }
            end += 1;
        }
        (end, end)
    }

    /// Judges a block by a sample of it, or by what came before.
    fn looks_good(&mut self, block: &[u8], link: f64, zstd: &mut Compressor<'_>) -> bool {
        if self.pass_over > 0 {
            self.pass_over -= 1;
            return false;
        }
        // From the middle, since the heads of files are often plainer than the rest.
        let begin = block.len().saturating_sub(SAMPLE) / 2;
        let sample = &block[begin..block.len().min(begin + SAMPLE)];
        let packed = zstd.compress(sample).map_or(sample.len(), |packed| packed.len());
        let good = self.pays(link, packed as f64 / sample.len().max(1) as f64);
        if good {
            self.refused = 0;
        } else {
            self.refused = (self.refused + 1).min(PASSED_OVER_MAX);
        }
        // A single one, such as a picture among texts, says nothing of the next.
        self.pass_over = self.refused.saturating_sub(1);
        good
    }

    /// Compresses blocks as one frame, unless that is hardly shorter.
    fn compress(&mut self, blocks: &[Option<Bytes>], zstd: &mut Compressor<'_>) -> Option<Bytes> {
        let plain = match blocks {
            [Some(block)] => block.clone(),
            blocks => Bytes::from(blocks.iter().flatten().fold(Vec::new(), joined)),
        };
        if plain.len() < BUNDLE_MIN {
            return None;
        }
        let begin = Instant::now();
        let packed = zstd.compress(&plain).ok()?;
        self.measured(plain.len(), begin.elapsed());
        let shorter = (packed.len() as f64) < plain.len() as f64 * SHARE_MAX;
        shorter.then(|| packed.into())
    }

    /// Learns how fast compressing is here.
    fn measured(&mut self, bytes: usize, took: Duration) {
        if bytes >= MEASURED_MIN && !took.is_zero() {
            self.rate = 0.8 * self.rate + 0.2 * (bytes as f64 / took.as_secs_f64());
        }
    }
}

fn joined(mut all: Vec<u8>, block: &Bytes) -> Vec<u8> {
    all.extend_from_slice(block);
    all
}

/// Unpacks a bundle into blocks of these lengths; `None` when it holds anything else.
///
/// Memory is bounded by the lengths: what a frame claims is not believed, and it is unpacked into
/// its place at once, so that the window that it asks for does not matter either.
pub(crate) fn unpack(frame: &[u8], lens: &[u32]) -> Option<Vec<Bytes>> {
    let total = lens.iter().map(|len| *len as usize).sum();
    let mut plain = Vec::with_capacity(total);
    let written = Decompressor::new().ok()?.decompress_to_buffer(frame, &mut plain).ok()?;
    if written != total {
        return None;
    }
    let mut rest = Bytes::from(plain);
    Some(lens.iter().map(|len| rest.split_to(*len as usize)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A link of 50 Mbit/s, in bytes a second.
    const SLOW: f64 = 6.25e6;

    fn noise(seed: u8, len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        let key = dunlin_identity::Hash::of(&[seed]).0;
        let mut state = u64::from_le_bytes(key[..8].try_into().unwrap()) | 1;
        for byte in &mut bytes {
            // Xorshift (Marsaglia, 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 32) as u8;
        }
        bytes.into()
    }

    fn text(seed: u8, len: usize) -> Bytes {
        let words = ["the", "shore", "of", "a", "flock", "returns", "in", "winter", "and", "waits"];
        let picks = noise(seed, len);
        let words =
            picks.iter().flat_map(|pick| [words[*pick as usize % 10], " "].concat().into_bytes());
        words.take(len).collect()
    }

    fn some(blocks: &[Bytes]) -> Vec<Option<Bytes>> {
        blocks.iter().cloned().map(Some).collect()
    }

    fn lens(blocks: &[Option<Bytes>]) -> Vec<u32> {
        blocks.iter().flatten().map(|block| block.len() as u32).collect()
    }

    #[test]
    fn texts_go_together_over_a_slow_link() {
        let blocks: Vec<Bytes> = (0..20).map(|i| text(i, 3_000)).collect();
        let bundles = Packer::new().pack(&some(&blocks), SLOW);
        assert_eq!(bundles.len(), 1);
        assert_eq!(bundles[0].range, 0..20);
        let alone: usize = blocks.iter().map(|b| zstd::bulk::compress(b, 1).unwrap().len()).sum();
        assert!(bundles[0].frame.len() < alone, "they share their words");
        let unpacked = unpack(&bundles[0].frame, &lens(&some(&blocks))).unwrap();
        assert_eq!(unpacked, blocks);
    }

    #[test]
    fn a_fast_link_and_what_is_not_here_are_left_alone() {
        let blocks = some(&[text(1, 100_000)]);
        assert!(Packer::new().pack(&blocks, 1.25e9).is_empty());
        assert!(Packer::new().pack(&[None, None], SLOW).is_empty());
        assert!(Packer::new().pack(&some(&[text(1, 500)]), SLOW).is_empty(), "it fits a packet");
    }

    #[test]
    fn noise_is_left_alone_and_hardly_looked_at() {
        let blocks = some(&(0..64).map(|i| noise(i, 100_000)).collect::<Vec<_>>());
        let mut packer = Packer::new();
        assert!(packer.pack(&blocks, SLOW).is_empty());
        assert_eq!(packer.refused, 11, "of 64 blocks, the others were passed over");
    }

    #[test]
    fn bundles_end_at_what_does_not_become_shorter() {
        let small = [text(1, 5_000), text(2, 5_000), noise(3, 5_000), text(4, 5_000)];
        let mut blocks = some(&small);
        blocks.push(None);
        blocks.extend(some(&[text(5, 5_000)]));
        let ranges: Vec<_> =
            Packer::new().pack(&blocks, SLOW).into_iter().map(|bundle| bundle.range).collect();
        assert_eq!(ranges, [0..2, 3..4, 5..6]);
    }

    #[test]
    fn bundles_are_bounded_but_for_one_long_block() {
        let mut blocks: Vec<Bytes> = (0..200).map(|i| text(i, 1_000)).collect();
        blocks.extend((0..10).map(|i| text(i, 60_000)));
        blocks.push(text(1, 1 << 20));
        for bundle in Packer::new().pack(&some(&blocks), SLOW) {
            let bytes: usize = blocks[bundle.range.clone()].iter().map(Bytes::len).sum();
            assert!(bundle.range.len() <= BUNDLE_BLOCKS);
            assert!(bytes <= BUNDLE_BYTES || bundle.range.len() == 1);
        }
    }

    #[test]
    fn a_frame_that_holds_more_than_was_asked_for_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        assert_eq!(unpack(&bomb, &[1000]), None);
        assert_eq!(unpack(&bomb, &[]), None);
        let two =
            [zstd::bulk::compress(b"one", 1).unwrap(), zstd::bulk::compress(b"two", 1).unwrap()];
        assert_eq!(unpack(&two.concat(), &[3]), None);
        assert_eq!(unpack(&two[0], &[4]), None, "nor less");
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            picks in prop::collection::vec((any::<u8>(), 0usize..20_000, 0u8..4), 0..40),
            link in 1e5..1e9,
        ) {
            let blocks: Vec<Option<Bytes>> = picks
                .iter()
                .map(|(seed, len, kind)| match kind {
                    0 => None,
                    1 => Some(noise(*seed, *len)),
                    _ => Some(text(*seed, *len)),
                })
                .collect();
            let mut end = 0;
            for Bundle { range, frame } in Packer::new().pack(&blocks, link) {
                prop_assert!(range.start >= end && !range.is_empty());
                end = range.end;
                let packed = &blocks[range];
                prop_assert!(packed.iter().all(Option::is_some));
                let unpacked = unpack(&frame, &lens(packed)).unwrap();
                prop_assert_eq!(some(&unpacked), packed);
            }
        }

        #[test]
        fn whatever_comes_unpacks_to_what_was_asked_for_or_nothing(
            frame in prop::collection::vec(any::<u8>(), 0..300),
            asked in prop::collection::vec(0u32..5_000, 0..10),
        ) {
            if let Some(blocks) = unpack(&frame, &asked) {
                prop_assert_eq!(lens(&some(&blocks)), asked);
            }
        }

        #[test]
        fn a_damaged_frame_unpacks_to_what_was_asked_for_or_nothing(
            seed in any::<u8>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let mut frame = zstd::bulk::compress(&text(seed, 5_000), 1).unwrap();
            for (place, value) in damage {
                let place = place.index(frame.len());
                frame[place] = value;
            }
            if let Some(blocks) = unpack(&frame, &[2_000, 3_000]) {
                prop_assert_eq!(lens(&some(&blocks)), [2_000, 3_000]);
            }
        }
    }
}
