//! How long a 4 KiB file takes from one node's disk to another's, both idle before.
//!
//! Two nodes, in network namespaces where that is possible. The time runs from
//! before the file is made on A until it is whole on B, in a folder of a few files
//! and in a tree of 10,000.
//!
//!     cargo bench -p dunlin-node --bench latency -- [--check] [--count N]
//!
//! With `--check` the exit code says whether the bars are kept.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../support/mod.rs"]
mod support;

use support::files::{MANY_DIRS, bytes, many, mkdir, read, write};
use support::node::Group;
use support::options::{Options, keeps_to};

/// The size of each file.
const FILE_BYTES: usize = 4096;

/// The bars, in milliseconds.
const MEDIAN_MS_MAX: f64 = 15.0;
const P95_MS_MAX: f64 = 50.0;

/// How often B's disk is looked at; the error of a measurement.
const POLL: Duration = Duration::from_micros(500);

/// After this a file is taken for lost.
const LOST_AFTER: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let Some(options) = Options::from_args() else { return ExitCode::SUCCESS };
    let count = options.number("count", 60);
    let mut kept = true;
    for (name, tree) in [("small folder", false), ("tree of 10,000 files", true)] {
        kept &= measure(name, tree, count);
    }
    if options.has("check") && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Measures in one folder and says whether the bars are kept.
fn measure(name: &str, tree: bool, count: u64) -> bool {
    let mut group = Group::new(2);
    if tree {
        many(&group.nodes[0].dir, 1);
    } else {
        mkdir(group.nodes[0].at("d000"));
        write(group.nodes[0].at("d000/file"), bytes(1, FILE_BYTES));
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut times: Vec<f64> = (0..count)
        .map(|i| {
            random = next(random);
            // Both are idle before; the gap is random so that no timer of the program agrees
            // with it.
            std::thread::sleep(Duration::from_millis(300 + random % 1000));
            let dir = if tree { (random >> 32) as usize % MANY_DIRS } else { 0 };
            let path = format!("d{dir:03}/new {i}");
            let content = bytes(random, FILE_BYTES);
            arrival(&group.nodes[0].at(&path), &group.nodes[1].at(&path), &content)
        })
        .map(|time| time.as_secs_f64() * 1000.0)
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |quantile: f64| times[((times.len() - 1) as f64 * quantile).round() as usize];
    println!("{name}: {count} files of {FILE_BYTES} bytes, slowest {:.1} ms", at(1.0));
    let median = keeps_to(&format!("{name}, median"), at(0.5), MEDIAN_MS_MAX, "ms");
    keeps_to(&format!("{name}, 95th percentile"), at(0.95), P95_MS_MAX, "ms") && median
}

/// Writes a file and waits until it is whole on the other side.
fn arrival(from: &Path, to: &Path, content: &[u8]) -> Duration {
    let begin = Instant::now();
    write(from, content);
    loop {
        if to.exists() {
            let took = begin.elapsed();
            assert!(read(to) == content, "{} is visible and not whole", to.display());
            return took;
        }
        assert!(begin.elapsed() < LOST_AFTER, "{} never arrived", to.display());
        std::thread::sleep(POLL);
    }
}

/// The next number of xorshift64 (Marsaglia, 2003).
fn next(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}
