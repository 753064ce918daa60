//! How much of a slow, long and lossy link a first sync uses.
//!
//! Two nodes in network namespaces, joined by the emulator of `tests/support/link.rs`. The time
//! runs from the start of the second node, which has nothing, until the file is whole there.
//!
//!     cargo bench -p dunlin-node --bench lossy -- [--check] [--mib N] [--rounds N]
//!         [--rate MBIT] [--rtt MS] [--loss PER_MILLE]
//!
//! With `--check` the exit code says whether the bar is kept. It needs root and /dev/net/tun, and
//! says loudly when it is skipped without them.

use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../support/mod.rs"]
mod support;

use support::files::{bytes, read, write};
use support::link::Shape;
use support::network::Network;
use support::node::Group;
use support::options::{Options, at_least};
use support::skipped;
use support::wait::poll_for;

/// The share of the link's rate that the file's own bytes must reach, in percent.
const SHARE_MIN: f64 = 70.0;
/// After this the file is taken for lost.
const LOST_AFTER: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let Some(options) = Options::from_args() else { return ExitCode::SUCCESS };
    let shape = Shape {
        rate_bits: options.number("rate", 100) * 1_000_000,
        round_trip: Duration::from_millis(options.number("rtt", 80)),
        loss_ppm: u32::try_from(options.number("loss", 10) * 1000).expect("a loss per mille"),
    };
    let size = usize::try_from(options.number("mib", 128) << 20).expect("a size for memory");
    let mut shares: Vec<f64> = Vec::new();
    for round in 0..options.number("rounds", 3) {
        let network = match Network::linked(shape) {
            Ok(network) => network,
            Err(why) => {
                skipped("the lossy link", &why);
                return ExitCode::SUCCESS;
            }
        };
        let took = first_sync(network, &bytes(round + 1, size));
        let share = size as f64 * 8.0 / took.as_secs_f64() / shape.rate_bits as f64 * 100.0;
        println!("round {}: {:.1} s, {share:.0} % of the link", round + 1, took.as_secs_f64());
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    let median = shares[shares.len() / 2];
    let kept = at_least("share of the link, median", median, SHARE_MIN, "%");
    if options.has("check") && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Brings a file to a device that has nothing, and says how long that took.
fn first_sync(network: Network, content: &[u8]) -> Duration {
    let mut group = Group::on(network, 2);
    write(group.nodes[0].at("file"), content);
    group.start(&[0]);
    let indexed = poll_for(LOST_AFTER, || (group.nodes[0].folder().files == 1).then_some(()));
    indexed.expect("the file is indexed");
    let code = group.code();
    let begin = Instant::now();
    group.nodes[1].spawn(Some(&code));
    let there = group.nodes[1].at("file");
    // A file is put in place whole, so being there is enough.
    let took = poll_for(LOST_AFTER, || there.exists().then(|| begin.elapsed()));
    let took = took.expect("the file arrives");
    assert!(read(&there) == content, "the file has arrived with other bytes");
    took
}
