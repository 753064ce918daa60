//! How much faster a file comes from two devices than from one.
//!
//! Every device that has the file sends at a held rate (tc tbf in its network namespace). The time
//! runs from the start of the device that has nothing until the file is whole there.
//!
//!     cargo bench -p dunlin-node --bench sources -- [--check] [--mib N] [--rate MBIT] [--rounds N]
//!
//! With `--check` the exit code says whether the bar is kept. It needs root, iproute2 and tc, and
//! says loudly when it is skipped without them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../support/mod.rs"]
mod support;

use support::files::{bytes, read, write};
use support::node::Group;
use support::options::{Options, at_least};
use support::skipped;
use support::wait::poll_for;

/// How many times the rate of one source two must give.
const GAIN_MIN: f64 = 1.8;
/// After this the file is taken for lost.
const LOST_AFTER: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let Some(options) = Options::from_args() else { return ExitCode::SUCCESS };
    let rate = format!("{}mbit", options.number("rate", 200));
    let size = usize::try_from(options.number("mib", 512) << 20).expect("a size for memory");
    let mut gains: Vec<f64> = Vec::new();
    for round in 0..options.number("rounds", 3) {
        let content = bytes(round + 1, size);
        let times = [1, 2].map(|sources| first_sync(sources, &rate, &content));
        let [Some(one), Some(two)] = times else {
            skipped("several sources", "links cannot be held to a rate here");
            return ExitCode::SUCCESS;
        };
        let (one, two) = (one.as_secs_f64(), two.as_secs_f64());
        println!("round {}: {one:.2} s from one, {two:.2} s from two sources", round + 1);
        gains.push(one / two);
    }
    gains.sort_by(f64::total_cmp);
    let kept = at_least("two sources by one, median", gains[gains.len() / 2], GAIN_MIN, "x");
    if options.has("check") && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Brings a file from so many sources to a device that has nothing, and says how long that took;
/// `None` when rates cannot be held here.
fn first_sync(sources: u8, rate: &str, content: &[u8]) -> Option<Duration> {
    let mut group = Group::new(sources + 1);
    let with_it: Vec<usize> = (0..usize::from(sources)).collect();
    write(group.nodes[0].at("file"), content);
    group.start(&with_it);
    if sources > 1 {
        group.converge(&with_it);
    }
    for &i in &with_it {
        let indexed = poll_for(LOST_AFTER, || (group.nodes[i].folder().files == 1).then_some(()));
        indexed.expect("the file is indexed");
        if !group.network.limit(i, rate) {
            return None;
        }
    }
    let code = group.code();
    let begin = Instant::now();
    let joining = &mut group.nodes[usize::from(sources)];
    joining.spawn(Some(&code));
    let there = joining.at("file");
    // A file is put in place whole, so being there is enough.
    let took = poll_for(LOST_AFTER, || there.exists().then(|| begin.elapsed()));
    let took = took.expect("the file arrives");
    assert!(read(&there) == content, "the file has arrived with other bytes");
    Some(took)
}
