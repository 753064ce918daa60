//! How a block is stored: compressed where that pays, under the hash of what it holds.
//!
//! One byte says how the rest is to be read. Who reads checks the hash of what came out, so that
//! whatever has become of the file, nothing wrong is handed on.

use bytes::Bytes;
use dunlin_blocks::{BLOCK_MAX, address};
use dunlin_identity::Hash;
use dunlin_tree::fs::ReadAt;

/// The rest is the block itself.
const PLAIN: u8 = 0;
/// The rest is the block as one zstd frame.
const ZSTD: u8 = 1;
/// The level of compression: the default of zstd, some hundred MiB a second.
const LEVEL: i32 = 3;
/// What is shorter is not worth a try: a frame has some ten bytes of its own.
const ZSTD_MIN: usize = 64;
/// The longest stored form: what does not become shorter is stored as it is.
const STORED_MAX: usize = BLOCK_MAX as usize + 1;

/// Encodes a block for storing.
pub fn encode(block: &[u8]) -> Vec<u8> {
    // An error of the compressor only means that it is stored as it is.
    if block.len() >= ZSTD_MIN
        && let Ok(mut packed) = zstd::bulk::compress(block, LEVEL)
        && packed.len() < block.len() - block.len() / 16
    {
        packed.insert(0, ZSTD);
        return packed;
    }
    let mut plain = Vec::with_capacity(block.len() + 1);
    plain.push(PLAIN);
    plain.extend_from_slice(block);
    plain
}

/// Decodes what was stored under `hash`; `None` when it is damaged.
pub fn decode(stored: &[u8], hash: &Hash) -> Option<Bytes> {
    let (form, rest) = stored.split_first()?;
    let block = match *form {
        PLAIN => rest.to_vec(),
        ZSTD => zstd::bulk::decompress(rest, BLOCK_MAX as usize).ok()?,
        _ => return None,
    };
    (address(&block) == *hash).then(|| block.into())
}

/// Reads an object and checks it; `None` when it is damaged or cannot be read.
pub fn read(file: &dyn ReadAt, hash: &Hash) -> Option<Bytes> {
    let size = usize::try_from(file.stat().ok()?.size).ok()?;
    if size > STORED_MAX {
        return None;
    }
    let mut stored = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match file.read_at(&mut stored[filled..], filled as u64) {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    decode(&stored, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_and_are_shorter_where_they_can_be() {
        let text = b"the same words again. ".repeat(500);
        let stored = encode(&text);
        assert!(stored.len() < text.len() / 10);
        assert_eq!(decode(&stored, &Hash::of(&text)).as_deref(), Some(&text[..]));
        let mut noise = vec![0; 5_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(encode(&noise).len(), noise.len() + 1);
        assert_eq!(decode(&encode(&noise), &Hash::of(&noise)).as_deref(), Some(&noise[..]));
        assert_eq!(decode(&encode(b""), &Hash::of(b"")).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let block = b"some block of a file".repeat(20);
        let stored = encode(&block);
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad, &Hash::of(&block)), None, "{at}");
        }
        assert_eq!(decode(&[], &Hash::of(b"")), None);
    }

    #[test]
    fn a_frame_that_claims_too_much_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; BLOCK_MAX as usize + 1], 1).expect("compressed");
        let bomb = [vec![ZSTD], bomb].concat();
        let hash = Hash::of(&vec![0; BLOCK_MAX as usize + 1]);
        assert_eq!(decode(&bomb, &hash), None);
    }
}
