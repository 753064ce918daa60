//! What one operation costs in a large index on disk, and how much memory an entry holds.
//!
//! `DUNLIN_BENCH_ENTRIES` sets the number of entries (100,000 when unset). Signatures are cheap
//! hashes: a real one adds some 20 µs to a commit and some 40 µs to a merge.

// A benchmark that cannot go on is to stop.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion};
use dunlin_identity::{Admission, DeviceId, FolderId, Hash, Signature, Tier};
use dunlin_index::storage::SledSpace;
use dunlin_index::{
    Config, Content, Context, EntryId, Index, ItemKey, MemStore, NewEntry, SafeName, Signer,
    SledStore, Storage, Verifier,
};

const DIR_FILES: usize = 1000;

/// What the engine gives the database of a node.
const CACHE_BYTES: u64 = dunlin_index::storage::DEFAULT_CACHE_BYTES;

/// Names the database whose memory a child of this process is to measure.
const MEASURE: &str = "DUNLIN_BENCH_MEASURE";

struct Fake(DeviceId);

fn signature(device: &DeviceId, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    blake3::Hasher::new_keyed(device.as_bytes()).update(message).finalize_xof().fill(&mut bytes);
    Signature(bytes)
}

impl Signer for Fake {
    fn device(&self) -> DeviceId {
        self.0
    }
    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.0, message)
    }
}

struct FakeVerifier;

impl Verifier for FakeVerifier {
    fn verify(&self, device: &DeviceId, message: &[u8], signed: &Signature) -> bool {
        signature(device, message) == *signed
    }
    fn admits(&self, _: &Admission) -> bool {
        true
    }
}

fn config(number: u8) -> Config {
    let device = DeviceId::from_bytes([number; 32]);
    let none = Signature([0; 64]);
    Config {
        folder: FolderId([9; 32]),
        id_key: [5; 32],
        device,
        tier: Tier::Write,
        admission: Admission {
            device,
            tier: Tier::Write,
            generation: 0,
            commitment: [0; 32],
            admission_key: [0; 32],
            certificate: none,
            signature: none,
        },
        name: format!("device {number}"),
        verifier: Arc::new(FakeVerifier),
        fresh_epoch: u64::from(number),
    }
}

fn content(number: u64) -> Content {
    let root = Hash::of(&number.to_le_bytes());
    Content::File { root, size: number % 100_000, mtime_ns: number as i64, text: None }
}

fn file_name(number: usize) -> SafeName {
    SafeName::parse(&format!("IMG_{number:08}.jpeg")).unwrap()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as u64
}

/// Fills an index with directories of a thousand files, and gives the directories.
fn fill<S: Storage>(index: &mut Index<S>, entries: usize, signer: &Fake) -> Vec<EntryId> {
    let mut dirs = Vec::new();
    for dir in 0..entries.div_ceil(DIR_FILES) {
        let name = SafeName::parse(&format!("album {dir:06}")).unwrap();
        let new = NewEntry {
            kind: dunlin_index::Kind::Directory,
            content: Content::Directory,
            mode: 0o755,
        };
        let parent = index.create(now(), EntryId::ROOT, &name, new).unwrap().entry;
        for file in 0..DIR_FILES {
            let content = content((dir * DIR_FILES + file) as u64);
            let new = NewEntry { kind: content.kind(), content, mode: 0o644 };
            index.create(now(), parent, &file_name(file), new).unwrap();
        }
        index.commit(signer).unwrap();
        dirs.push(parent);
    }
    dirs
}

fn entries() -> usize {
    std::env::var("DUNLIN_BENCH_ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

/// Gives this process's resident bytes, on Linux.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0) * 1024
}

/// Opens a filled database, uses it for a while, and says how much memory that took.
fn measure(path: &Path) {
    let before = resident();
    let store = SledStore::open(path, CACHE_BYTES).unwrap();
    let mut index = Index::open(store.space(b"f"), config(1), now()).unwrap();
    let opened = resident() - before;
    let dirs: Vec<EntryId> = (0..entries().div_ceil(DIR_FILES))
        .map(|dir| SafeName::parse(&format!("album {dir:06}")).unwrap())
        .map(|name| index.lookup(EntryId::ROOT, &name).unwrap().unwrap().key.entry)
        .collect();
    for step in 0..20_000 {
        pick(&index, &dirs, step);
    }
    for step in 0..1000 {
        let key = pick(&index, &dirs, step);
        index.write(now(), &key, content(step as u64 + (1 << 40))).unwrap();
        index.commit(&Fake(config(1).device)).unwrap();
    }
    let used = resident() - before;
    let each = |bytes: usize| bytes / entries();
    println!(
        "resident: {} bytes an entry when opened ({} MiB), {} after use ({} MiB), cache {} MiB",
        each(opened),
        opened >> 20,
        each(used),
        used >> 20,
        CACHE_BYTES >> 20,
    );
}

/// Looks up a file that depends on the step; the files come in no order.
fn pick<S: Storage>(index: &Index<S>, dirs: &[EntryId], step: usize) -> ItemKey {
    let mixed = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let name = file_name(mixed / dirs.len() % DIR_FILES);
    index.lookup(dirs[mixed % dirs.len()], &name).unwrap().unwrap().key
}

/// Another device, which knows only the first directory, edits its files over and over.
fn segments_of_another<S: Storage>(index: &Index<S>, dir: EntryId, count: usize) -> Vec<Vec<u8>> {
    let config = config(2);
    let signer = Fake(config.device);
    let mut other = Index::open(MemStore::default(), config, now()).unwrap();
    let (segments, _) = index.segments_beyond(&Context::default(), 1 << 20).unwrap();
    for segment in segments {
        other.merge(&segment, now()).unwrap();
    }
    let mut made = other.commit(&signer).unwrap().segments;
    let dirs = [dir];
    for step in 0..count {
        let key = pick(&other, &dirs, step);
        other.write(now(), &key, content(step as u64 + (1 << 41))).unwrap();
        made.extend(other.commit(&signer).unwrap().segments);
    }
    made
}

fn bench(criterion: &mut Criterion, index: &mut Index<SledSpace>, dirs: &[EntryId]) {
    let signer = Fake(config(1).device);
    let segments = segments_of_another(index, dirs[0], 200_000);
    let mut group = criterion.benchmark_group(format!("index of {}", entries()));
    let mut step = 0;
    group.bench_function("view lookup", |bencher| {
        bencher.iter(|| {
            step += 1;
            pick(index, dirs, step)
        });
    });
    group.bench_function("range of 100 records for a peer", |bencher| {
        let author = index.author();
        let mut theirs = Context::default();
        theirs.raise(author, index.context().get(&author) - 100);
        bencher.iter(|| index.segments_beyond(&theirs, 1 << 20).unwrap());
    });
    group.bench_function("local write, signed and stored in batches of 64", |bencher| {
        bencher.iter(|| {
            step += 1;
            let key = pick(index, dirs, step);
            index.write(now(), &key, content(step as u64 + (1 << 40))).unwrap();
            if step % 64 == 0 {
                index.commit(&signer).unwrap();
            }
        });
    });
    index.commit(&signer).unwrap();
    group.bench_function("local write, each durable on its own", |bencher| {
        bencher.iter(|| {
            step += 1;
            let key = pick(index, dirs, step);
            index.write(now(), &key, content(step as u64 + (1 << 40))).unwrap();
            index.commit(&signer).unwrap()
        });
    });
    let mut segments = segments.into_iter();
    group.bench_function("remote merge, stored in batches of 64", |bencher| {
        bencher.iter_batched(
            || segments.next().expect("as many segments were made as are merged"),
            |segment| {
                step += 1;
                let merged = index.merge(&segment, now()).unwrap();
                assert!(merged.new_records > 0);
                if step % 64 == 0 {
                    index.write_back(false).unwrap();
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn main() {
    if let Some(path) = std::env::var_os(MEASURE) {
        measure(Path::new(&path));
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let signer = Fake(config(1).device);
    let begun = std::time::Instant::now();
    {
        let store = SledStore::open(home.path(), CACHE_BYTES).unwrap();
        let mut index = Index::open(store.space(b"f"), config(1), now()).unwrap();
        index.commit(&signer).unwrap();
        let dirs = fill(&mut index, entries(), &signer);
        println!(
            "filled with {} entries in {:.1} s, {} MiB on disk",
            entries(),
            begun.elapsed().as_secs_f64(),
            store.size_on_disk().unwrap() >> 20,
        );
        let mut criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(std::time::Duration::from_millis(300))
            .measurement_time(std::time::Duration::from_secs(2))
            .without_plots()
            .configure_from_args();
        bench(&mut criterion, &mut index, &dirs);
    }
    let program = std::env::current_exe().unwrap();
    std::process::Command::new(program).env(MEASURE, home.path()).status().unwrap();
}
