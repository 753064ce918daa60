//! What a node costs that has nothing to do, with 10,000 files and another device connected.
//!
//! First, the CPU time from a start on unchanged files until it is idle again;
//! then the share of a core and the resident memory of two idle nodes.
//!
//!     cargo bench -p dunlin-node --bench idle -- [--check] [--settle SECONDS] [--seconds SECONDS]
//!
//! With `--check` the exit code says whether the bars are kept. The bars are
//! meant for five minutes after the start: `--settle 300`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../support/mod.rs"]
mod support;

use support::files::{MANY_FILES, many};
use support::node::{Group, Node};
use support::options::{Options, keeps_to};
use support::process::{cpu_time, resident_bytes};

/// The bars.
const RESTART_CPU_S_MAX: f64 = 0.5;
const IDLE_PERCENT_MAX: f64 = 0.2;
const RESIDENT_MB_MAX: f64 = 60.0;

/// A node whose CPU time has not grown for this long is idle.
const QUIET: Duration = Duration::from_secs(2);

/// A node that is not idle after this is measured as it is.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(options) = Options::from_args() else { return ExitCode::SUCCESS };
    let settle = Duration::from_secs(options.number("settle", 20));
    let period = Duration::from_secs(options.number("seconds", 60));
    let mut group = Group::new(2);
    many(&group.nodes[0].dir, 1);
    group.start(&[0, 1]);
    group.converge(&[0, 1]);

    let mut kept = true;
    for i in [1, 0] {
        group.nodes[i].stop();
        let begin = Instant::now();
        group.nodes[i].restart();
        let ready = begin.elapsed();
        group.nodes[i].wait_in_sync();
        let synced = begin.elapsed();
        let cpu = quiet(&group.nodes[i]).as_secs_f64();
        let name = group.nodes[i].name.clone();
        println!("{name}: restarted on {MANY_FILES} files: ready {ready:?}, in sync {synced:?}");
        kept &= keeps_to(&format!("{name}: restart"), cpu, RESTART_CPU_S_MAX, "CPU-s");
    }

    // Here time itself is what is measured: nothing happens, and nothing may be polled.
    std::thread::sleep(settle);
    let used = |group: &Group| [0, 1].map(|i| cpu(&group.nodes[i]));
    let before = used(&group);
    let begin = Instant::now();
    std::thread::sleep(period);
    let after = used(&group);
    let elapsed = begin.elapsed().as_secs_f64();
    for (i, node) in group.nodes.iter().enumerate() {
        let percent = (after[i] - before[i]).as_secs_f64() / elapsed * 100.0;
        let resident = resident_bytes(node.pid()).expect("a running node") as f64 / 1e6;
        let name = &node.name;
        kept &= keeps_to(&format!("{name}: idle"), percent, IDLE_PERCENT_MAX, "% of a core");
        kept &= keeps_to(&format!("{name}: resident"), resident, RESIDENT_MB_MAX, "MB");
    }
    if options.has("check") && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn cpu(node: &Node) -> Duration {
    cpu_time(node.pid()).expect("a running node")
}

/// Waits until the node uses no CPU time for a while; gives what it has used since its start.
fn quiet(node: &Node) -> Duration {
    let begin = Instant::now();
    let (mut last, mut since) = (cpu(node), begin);
    while since.elapsed() < QUIET && begin.elapsed() < QUIET_WITHIN {
        std::thread::sleep(Duration::from_millis(50));
        let now = cpu(node);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}
