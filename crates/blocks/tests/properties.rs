//! Properties of cutting, hashing and manifests.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};

use dunlin_blocks::{
    BlockRef, FILE_MAX, FileHash, Hasher, Manifest, ManifestError, ManifestWalk, PIECE_MAX,
    SMALL_MAX, address, chunking_for, hash_bytes, hash_file, hash_reader, is_hole,
};
use dunlin_identity::Hash;
use proptest::prelude::*;

/// Bytes that look random, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A list of made-up blocks that a file may have.
fn made_up(count: usize, seed: u64) -> Manifest {
    let blocks: Vec<BlockRef> = (0..count as u64)
        .map(|i| BlockRef {
            hash: address(&[seed.to_le_bytes(), i.to_le_bytes()].concat()),
            len: 70_000 + (i % 1000) as u32,
        })
        .collect();
    Manifest { size: blocks.iter().map(|block| u64::from(block.len)).sum(), blocks }
}

/// Walks a manifest out of a set of pieces.
fn walk(root: Hash, size: u64, pieces: &[(Hash, Vec<u8>)]) -> Result<Manifest, ManifestError> {
    let pieces: HashMap<_, _> = pieces.iter().cloned().collect();
    let mut walk = ManifestWalk::new(root, size)?;
    while !walk.is_complete() {
        let wanted = walk.wanted(3);
        assert!(!wanted.is_empty(), "an incomplete walk wants something");
        for piece in wanted {
            assert_eq!(piece.len, PIECE_MAX);
            walk.supply(&piece.hash, &pieces[&piece.hash])?;
        }
    }
    walk.finish()
}

fn check_against(bytes: &[u8], hash: &FileHash) {
    assert_eq!(hash.size, bytes.len() as u64);
    let mut next = 0;
    for (offset, block) in &hash.blocks {
        assert_eq!(*offset, next);
        let block_bytes = &bytes[next as usize..][..block.len as usize];
        assert_eq!(address(block_bytes), block.hash);
        next += u64::from(block.len);
    }
    assert_eq!(next, hash.size);
    let manifest = walk(hash.root, hash.size, &hash.manifest_blocks).unwrap();
    assert_eq!(manifest.offsets().collect::<Vec<_>>(), hash.blocks);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn blocks_put_together_are_the_file(seed: u64, len in 0usize..3_000_000) {
        let bytes = noise(seed, len);
        check_against(&bytes, &hash_bytes(&bytes));
    }

    #[test]
    fn the_way_bytes_come_makes_no_difference(
        seed: u64,
        len in 0usize..1_500_000,
        parts in prop::collection::vec(1usize..200_000, 1..8),
        hint in 0u64..4_000_000,
    ) {
        let bytes = noise(seed, len);
        let mut hasher = Hasher::new(hint);
        let (mut rest, mut parts) = (&bytes[..], parts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*parts.next().unwrap()));
            hasher.push(now);
            rest = later;
        }
        prop_assert_eq!(hasher.finish().unwrap(), hash_bytes(&bytes));
        prop_assert_eq!(hash_reader(&bytes[..], len as u64).unwrap(), hash_bytes(&bytes));
    }

    #[test]
    fn an_insertion_changes_few_blocks(
        seed: u64,
        place in 0usize..4_000_000,
        inserted in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let before = noise(seed, 4_000_000);
        let mut after = before.clone();
        after.splice(place..place, inserted);
        let old = hash_bytes(&before);
        let known: HashSet<_> = old.blocks.iter().map(|(_, block)| block.hash).collect();
        let new = hash_bytes(&after);
        let changed = new.blocks.iter().filter(|(_, block)| !known.contains(&block.hash)).count();
        // Cut points are found again after a block or two; nine would be the worst of bad luck.
        prop_assert!(changed <= 9, "{} of {} blocks changed", changed, new.blocks.len());
    }

    #[test]
    fn a_manifest_survives_its_encoding(count in 1usize..20_000, seed: u64) {
        let manifest = made_up(count, seed);
        let encoded = manifest.encode().unwrap();
        prop_assert!(encoded.pieces.iter().all(|(_, piece)| piece.len() <= PIECE_MAX as usize));
        prop_assert!(encoded.pieces.iter().all(|(hash, piece)| address(piece) == *hash));
        prop_assert_eq!(walk(encoded.root, manifest.size, &encoded.pieces).unwrap(), manifest);
    }

    #[test]
    fn hostile_pieces_are_refused_without_panic(
        mut piece in prop::collection::vec(any::<u8>(), 0..4_000),
        level in 0u8..8,
        size in any::<u64>(),
    ) {
        if piece.len() > 2 {
            (piece[0], piece[1]) = (1, level);
        }
        let root = address(&piece);
        if let Ok(mut walk) = ManifestWalk::new(root, size) {
            let _ = walk.supply(&root, &piece);
            let _ = walk.finish();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn many_threads_hash_as_one(seed: u64, len in 8_388_608usize..14_000_000, odd in 1usize..70_000) {
        let mut bytes = noise(seed, len);
        // Zeros are cut at the maximum, which puts blocks across the buffers' borders.
        bytes[2_000_000..5_000_000].fill(0);
        let read_at = |buffer: &mut [u8], offset: u64| {
            let rest = &bytes[offset as usize..];
            // Short reads are as good as full ones.
            let len = rest.len().min(buffer.len()).min(1_000_000 + odd);
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        };
        for threads in [1, 2, 3] {
            let hashed = hash_file(read_at, len as u64, threads).unwrap();
            prop_assert_eq!(&hashed, &hash_bytes(&bytes));
        }
    }
}

#[test]
fn a_small_file_is_its_own_only_block() {
    for len in [1, 1000, SMALL_MAX as usize] {
        let bytes = noise(1, len);
        let hash = hash_bytes(&bytes);
        assert_eq!(hash.root, address(&bytes));
        assert_eq!(hash.blocks, [(0, BlockRef { hash: hash.root, len: len as u32 })]);
        assert!(hash.manifest_blocks.is_empty());
        check_against(&bytes, &hash);
    }
    let bytes = noise(1, SMALL_MAX as usize + 1);
    assert_eq!(hash_bytes(&bytes).manifest_blocks.len(), 1);
    check_against(&bytes, &hash_bytes(&bytes));
}

#[test]
fn an_empty_file_has_no_block() {
    let hash = hash_bytes(b"");
    assert_eq!((hash.root, hash.blocks.len()), (address(b""), 0));
    check_against(b"", &hash);
}

#[test]
fn an_edit_changes_few_bytes_of_a_large_manifest() {
    let before = made_up(4000, 7);
    let mut after = before.clone();
    after.blocks[0].hash = address(b"changed");
    after.blocks.insert(1, BlockRef { hash: address(b"new"), len: 70_000 });
    after.size += 70_000;
    let known: HashSet<_> = before.encode().unwrap().pieces.into_iter().map(|p| p.0).collect();
    let pieces = after.encode().unwrap().pieces;
    let changed: usize =
        pieces.iter().filter(|(hash, _)| !known.contains(hash)).map(|(_, piece)| piece.len()).sum();
    assert!(pieces.len() > 8, "the manifest is cut at all");
    assert!(changed < 2 * PIECE_MAX as usize, "{changed} bytes changed");
}

#[test]
fn averages_grow_with_the_file_and_manifests_stay_small() {
    assert_eq!(chunking_for(256 << 20).avg, 64 << 10);
    let mut last = 0;
    for shift in 16..=42 {
        let chunking = chunking_for(1 << shift);
        assert!(chunking.avg >= last);
        last = chunking.avg;
        let blocks = (1u64 << shift) / u64::from(chunking.avg);
        assert!(shift > 36 || blocks <= 65_536, "2^{shift} bytes have {blocks} blocks");
    }
}

#[test]
fn the_inside_of_a_hole_is_recognised() {
    let mut bytes = noise(3, 3_000_000);
    bytes[500_000..2_500_000].fill(0);
    let hash = hash_bytes(&bytes);
    let holes = hash.blocks.iter().filter(|(_, block)| is_hole(block)).count();
    assert!(holes >= 6, "{holes} blocks of zeros");
    check_against(&bytes, &hash);
    let none = hash_bytes(&noise(3, 3_000_000));
    assert!(!none.blocks.iter().any(|(_, block)| is_hole(block)));
}

#[test]
fn a_file_of_zeros_has_few_distinct_pieces() {
    // Equal pieces in one tree: the walk must put each where all of its places are.
    let block = BlockRef { hash: address(&vec![0; 262_144]), len: 262_144 };
    let manifest = Manifest { size: 2000 * 262_144, blocks: vec![block; 2000] };
    assert_eq!(chunking_for(manifest.size).max, 262_144);
    let encoded = manifest.encode().unwrap();
    assert_eq!(encoded.pieces.len(), 3);
    assert_eq!(walk(encoded.root, manifest.size, &encoded.pieces).unwrap(), manifest);
}

#[test]
fn a_wrong_size_is_refused() {
    let manifest = made_up(3000, 1);
    let encoded = manifest.encode().unwrap();
    for size in [manifest.size - 1, manifest.size + 1, SMALL_MAX + 1, FILE_MAX] {
        let refused = walk(encoded.root, size, &encoded.pieces);
        assert!(
            matches!(refused, Err(ManifestError::WrongSize | ManifestError::WrongBlock)),
            "{refused:?}"
        );
    }
    assert_eq!(
        walk(encoded.root, FILE_MAX + 1, &encoded.pieces),
        Err(ManifestError::TooLarge(FILE_MAX + 1))
    );
}

#[test]
fn a_tree_that_multiplies_itself_is_refused() {
    // Each node names the one below 800 times: some kilobytes that claim 800^5 blocks.
    let node = |level: u8, child: &(Hash, u64)| {
        let mut piece = vec![1, level];
        for _ in 0..800 {
            piece.extend_from_slice(&child.0.0);
            piece.extend_from_slice(&child.1.to_le_bytes());
        }
        let size = child.1 * 800;
        (address(&piece), size, piece)
    };
    let mut leaf = vec![1, 0];
    for _ in 0..900 {
        leaf.extend_from_slice(&[7; 32]);
        leaf.extend_from_slice(&1u32.to_le_bytes());
    }
    let mut pieces = vec![(address(&leaf), leaf)];
    let mut top = (pieces[0].0, 900);
    for level in 1..=3 {
        let (hash, size, piece) = node(level, &top);
        pieces.push((hash, piece));
        top = (hash, size);
    }
    assert_eq!(walk(top.0, top.1, &pieces), Err(ManifestError::WrongBlock));
}

#[test]
fn wrong_and_unasked_pieces_leave_the_walk_as_it_was() {
    let manifest = made_up(3000, 1);
    let encoded = manifest.encode().unwrap();
    let mut walk = ManifestWalk::new(encoded.root, manifest.size).unwrap();
    let (leaf, leaf_bytes) = &encoded.pieces[0];
    assert_eq!(walk.supply(leaf, leaf_bytes), Err(ManifestError::Unasked));
    assert_eq!(walk.supply(&encoded.root, leaf_bytes), Err(ManifestError::WrongHash));
    assert_eq!(walk.wanted(10), [BlockRef { hash: encoded.root, len: PIECE_MAX }]);
    assert!(walk.wanted(10).is_empty(), "each piece is handed out once");
    walk.supply(&encoded.root, &encoded.pieces.last().unwrap().1).unwrap();
    assert!(!walk.is_complete());
    assert_eq!(walk.finish().unwrap_err(), ManifestError::Incomplete);
}

#[test]
fn a_file_that_grew_past_a_step_is_noticed() {
    let mut hasher = Hasher::new(600 << 20);
    hasher.push(&noise(1, 1_000_000));
    assert!(hasher.finish().is_err());
    let grown = hash_reader(&noise(1, 1_000_000)[..], 600 << 20);
    assert_eq!(grown.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}

#[test]
fn one_byte_in_front_of_256_mib_costs_less_than_400_kb() {
    let hash = |front: &[u8]| {
        let size = (256 << 20) + front.len() as u64;
        let mut hasher = Hasher::new(size);
        hasher.push(front);
        (0..256).for_each(|part| hasher.push(&noise(part, 1 << 20)));
        hasher.finish().unwrap()
    };
    let (before, after) = (hash(b""), hash(b"x"));
    let mut known: HashSet<Hash> = before.blocks.iter().map(|(_, block)| block.hash).collect();
    known.extend(before.manifest_blocks.iter().map(|(hash, _)| *hash));
    let new_blocks = after.blocks.iter().filter(|(_, block)| !known.contains(&block.hash));
    let new_pieces = after.manifest_blocks.iter().filter(|(hash, _)| !known.contains(hash));
    let blocks: u64 = new_blocks.map(|(_, block)| u64::from(block.len)).sum();
    let pieces: usize = new_pieces.map(|(_, piece)| piece.len()).sum();
    assert!(blocks + pieces as u64 <= 400_000, "{blocks} of blocks, {pieces} of the manifest");
}
