//! Runs a mesh under seeded faults, as often as wanted.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use simulations::run::{Failure, Progress, catch_panics, run_many, run_seed, shrink, trace_seed};
use simulations::scenario::Plant;

/// A run allocates and frees all the time, on as many threads as there are cores.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a whole Dunlin mesh in one process, with virtual time and seeded faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Threads; as many as there are cores when not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Stop after so many failures.
    #[arg(long, default_value_t = 5)]
    failures: usize,
    /// Run one seed, the first, and print what happens.
    #[arg(long)]
    trace: bool,
    /// With --trace: only these steps of it, separated by commas.
    #[arg(long, value_delimiter = ',')]
    keep: Option<Vec<usize>>,
    /// With --trace: say where this part of a content is, whenever that changes.
    #[arg(long)]
    follow: Option<String>,
    /// Plants a fault, which must be found.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
    /// Report failures as they are, without looking for fewer steps.
    #[arg(long)]
    no_shrink: bool,
}

/// What every command that repeats something begins with.
const COMMAND: &str = "cargo run -p simulations --release --";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    catch_panics();
    if arguments.trace {
        return trace(&arguments);
    }
    let threads = arguments
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1);
    let begun = Instant::now();
    let shown = Mutex::new(Instant::now());
    let progress = |Progress { runs, failures, failure }: &Progress<'_>| {
        let Ok(mut shown) = shown.lock() else { return };
        if let Some(failure) = failure {
            eprintln!();
            tell(failure);
        }
        if shown.elapsed() > Duration::from_secs(2) {
            *shown = Instant::now();
            let rate = *runs as f64 / begun.elapsed().as_secs_f64();
            eprint!("\r{runs} of {} seeds, {rate:.0}/s, {failures} failed ", arguments.seeds);
            // Progress that cannot be shown is no loss.
            let _ = std::io::stderr().flush();
        }
    };
    let report = run_many(
        arguments.first,
        arguments.seeds,
        threads,
        arguments.failures,
        arguments.plant,
        progress,
    );
    let rate = report.runs as f64 / report.time.as_secs_f64();
    eprintln!();
    if !arguments.no_shrink {
        report.failures.iter().for_each(|failure| tell_shrunken(failure, arguments.plant));
    }
    println!(
        "{} seeds from {} on: {} failed, {:.1} s, {rate:.0} seeds/s on {threads} threads",
        report.runs,
        arguments.first,
        report.failures.len(),
        report.time.as_secs_f64(),
    );
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(failure: &Failure) {
    println!("seed {}: {}", failure.seed, failure.why);
    println!("  again: {COMMAND} --trace --first {}", failure.seed);
}

fn tell_shrunken(failure: &Failure, plant: Option<Plant>) {
    let kept = shrink(failure.seed, plant);
    let list: Vec<String> = kept.iter().map(usize::to_string).collect();
    let list = list.join(",");
    println!("seed {}, shrunken: {COMMAND} --trace --first {0} --keep {list}", failure.seed);
    let outcome = run_seed(failure.seed, Some(&kept), plant, true);
    for line in outcome.trace.iter().filter(|line| line.contains("step") || line.contains("user")) {
        println!("    {line}");
    }
    println!("    {}", outcome.failure.unwrap_or_default());
}

fn trace(arguments: &Arguments) -> ExitCode {
    let keep: Option<BTreeSet<usize>> =
        arguments.keep.as_ref().map(|keep| keep.iter().copied().collect());
    let follow = arguments.follow.clone();
    let outcome = trace_seed(arguments.first, keep.as_ref(), arguments.plant, follow);
    for line in outcome.trace {
        println!("{line}");
    }
    match outcome.failure {
        Some(why) => {
            println!("{} events; failed: {why}", outcome.events);
            ExitCode::FAILURE
        }
        None => {
            println!("{} events; all is well", outcome.events);
            ExitCode::SUCCESS
        }
    }
}
