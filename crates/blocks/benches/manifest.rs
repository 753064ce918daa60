//! What it costs to encode the list of a large file's blocks, and to read it piece by piece.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dunlin_blocks::{BlockRef, Manifest, ManifestWalk};
use dunlin_identity::Hash;

/// A file of 8 GiB has some 27,000 blocks of this length.
const BLOCKS: u32 = 27_000;
const LEN: u32 = 310_000;
const PIECES_AT_ONCE: usize = 256;

fn manifest() -> Manifest {
    let block = |i: u32| BlockRef { hash: Hash::of(&i.to_le_bytes()), len: LEN };
    let blocks: Vec<BlockRef> = (0..BLOCKS).map(block).collect();
    Manifest { size: u64::from(BLOCKS) * u64::from(LEN), blocks }
}

fn encode(criterion: &mut Criterion) {
    let manifest = manifest();
    let encoded = manifest.encode().expect("a legal manifest");
    let pieces: HashMap<Hash, Vec<u8>> = encoded.pieces.iter().cloned().collect();
    let mut group = criterion.benchmark_group("manifest of 8 GiB");
    group.throughput(Throughput::Elements(u64::from(BLOCKS))).sample_size(10);
    group.bench_function("encode", |bench| bench.iter(|| black_box(&manifest).encode()));
    group.bench_function("read", |bench| {
        bench.iter(|| {
            let mut walk = ManifestWalk::new(encoded.root, manifest.size).expect("a legal size");
            while !walk.is_complete() {
                for piece in walk.wanted(PIECES_AT_ONCE) {
                    walk.supply(&piece.hash, &pieces[&piece.hash]).expect("the right piece");
                }
            }
            walk.finish().expect("it is complete")
        });
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
