//! How fast a file is cut and hashed, in one thread and in several.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dunlin_blocks::{hash_bytes, hash_file};

const LEN: usize = 64 << 20;

fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(LEN);
    while bytes.len() < LEN {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn chunk(criterion: &mut Criterion) {
    let bytes = noise();
    let mut group = criterion.benchmark_group("chunk and hash 64 MiB");
    group.throughput(Throughput::Bytes(LEN as u64)).sample_size(10);
    group.bench_function("streaming", |bench| bench.iter(|| hash_bytes(black_box(&bytes))));
    for threads in [2, 3] {
        group.bench_function(format!("{threads} hashing threads"), |bench| {
            bench.iter(|| {
                let read_at = |buffer: &mut [u8], offset: u64| {
                    let rest = &bytes[offset as usize..];
                    let len = rest.len().min(buffer.len());
                    buffer[..len].copy_from_slice(&rest[..len]);
                    Ok(len)
                };
                hash_file(read_at, LEN as u64, threads)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, chunk);
criterion_main!(benches);
