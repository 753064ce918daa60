//! What the scheduler costs a block: many blocks, from one source, four, and four of which one has
//! nothing.

use std::collections::VecDeque;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};
use dunlin_transfer::scheduler::{Action, Bounds, JobId, Priority, Scheduler, Source};

/// A gigabyte, in blocks of the usual length.
const BLOCKS: u32 = 13_000;
const LEN: u32 = 80_000;
/// What one fetch has wanted and not been answered for, at most.
const WANTED_MAX: usize = 2048;
/// How long a round of answers takes in the model, in microseconds.
const ROUND: u64 = 1_000;

fn source(number: u8) -> Source {
    Source { folder: FolderId([1; 32]), device: DeviceId::from_bytes([number; 32]) }
}

fn blocks() -> Vec<BlockRef> {
    (0..BLOCKS).map(|i| BlockRef { hash: Hash::of(&i.to_le_bytes()), len: LEN }).collect()
}

/// Fetches all blocks; the source with number `lacks_all` answers each question with no.
fn fetch(blocks: &[BlockRef], sources: u8, lacks_all: Option<u8>) {
    let mut scheduler = Scheduler::new(Bounds::default());
    let mut owed: Vec<(Source, VecDeque<BlockRef>)> =
        (0..sources).map(|number| (source(number), VecDeque::new())).collect();
    for (source, _) in &owed {
        assert!(scheduler.source_up(*source, 0));
    }
    let (job, folder, mut now) = (JobId(1), FolderId([1; 32]), 0);
    let (mut rest, mut arrived) = (blocks, 0);
    while arrived < blocks.len() {
        let open = blocks.len() - rest.len() - arrived;
        let (more, later) = rest.split_at(rest.len().min(WANTED_MAX - open));
        rest = later;
        scheduler.want(job, folder, Priority::Normal, more);
        for action in scheduler.actions(now) {
            if let Action::Request { source, blocks } = action
                && let Some((_, queue)) = owed.iter_mut().find(|(other, _)| *other == source)
            {
                queue.extend(blocks);
            }
        }
        now += ROUND;
        for (number, (source, queue)) in (0u8..).zip(&mut owed) {
            for block in queue.drain(..queue.len().min(16)) {
                if lacks_all == Some(number) {
                    scheduler.lacks(source, &block.hash, now);
                    continue;
                }
                for job in scheduler.arrived(source, &block.hash, block.len, now) {
                    arrived += 1;
                    scheduler.consumed(job, u64::from(block.len));
                }
            }
        }
    }
}

fn schedule(criterion: &mut Criterion) {
    let blocks = blocks();
    let mut group = criterion.benchmark_group("schedule 1 GB");
    group.throughput(Throughput::Elements(u64::from(BLOCKS))).sample_size(10);
    for (name, sources, lacks_all) in
        [("one source", 1, None), ("four", 4, None), ("four, one empty", 4, Some(0))]
    {
        group.bench_function(name, |bench| {
            bench.iter_batched(
                || &blocks,
                |blocks| fetch(blocks, sources, lacks_all),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, schedule);
criterion_main!(benches);
