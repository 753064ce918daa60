//! Runs seeds, on all cores; shrinks those that fail.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::scenario::{Plant, Scenario};
use crate::world::{Outcome, World};

/// Shrinking tries at most so many runs.
const SHRINK_RUNS_MAX: usize = 600;

/// A run that has failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What is wrong.
    pub why: String,
}

thread_local! {
    /// Where the panic that was caught last came from.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics in the code under test from filling the screen; they are reported as failures.
pub fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        PANIC.with(|last| *last.borrow_mut() = Some(info.to_string()));
    }));
}

/// Runs one scenario. A panic in the code under test is a failure like any other.
pub fn run(scenario: Scenario, trace: bool) -> Outcome {
    #[cfg(feature = "planted-faults")]
    dunlin_index::planted::plant(scenario.plant.and_then(Plant::in_shipped_code));
    let world = AssertUnwindSafe(World::new(scenario, trace));
    panic::catch_unwind(move || { world }.0.run()).unwrap_or_else(|_| {
        let place = PANIC.with(|last| last.borrow_mut().take());
        let place = place.unwrap_or_else(|| "somewhere".to_owned());
        Outcome { failure: Some(format!("panicked: {place}")), trace: Vec::new(), events: 0 }
    })
}

/// Runs the seed alone; with `keep`, only those of its steps.
pub fn run_seed(
    seed: u64,
    keep: Option<&BTreeSet<usize>>,
    plant: Option<Plant>,
    trace: bool,
) -> Outcome {
    run(scenario(seed, keep, plant), trace)
}

/// Runs the seed alone, or only some of its steps, and gives a trace that also says where a part
/// of a content is, whenever that changes.
pub fn trace_seed(
    seed: u64,
    keep: Option<&BTreeSet<usize>>,
    plant: Option<Plant>,
    follow: Option<String>,
) -> Outcome {
    run(Scenario { follow, ..scenario(seed, keep, plant) }, true)
}

fn scenario(seed: u64, keep: Option<&BTreeSet<usize>>, plant: Option<Plant>) -> Scenario {
    let mut scenario = Scenario::draw(seed);
    scenario.plant = plant;
    if let Some(keep) = keep {
        scenario.steps.retain(|step| keep.contains(&step.number));
    }
    scenario
}

/// Finds few steps with which the seed still fails, by leaving out ever smaller parts of them.
pub fn shrink(seed: u64, plant: Option<Plant>) -> BTreeSet<usize> {
    let mut kept: Vec<usize> = Scenario::draw(seed).steps.iter().map(|step| step.number).collect();
    let mut runs = 0;
    let mut part = kept.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut smaller = false;
        while at < kept.len() && runs < SHRINK_RUNS_MAX {
            let mut rest = kept.clone();
            rest.drain(at..(at + part).min(kept.len()));
            runs += 1;
            let fewer: BTreeSet<usize> = rest.iter().copied().collect();
            if run_seed(seed, Some(&fewer), plant, false).failure.is_some() {
                kept = rest;
                smaller = true;
            } else {
                at += part;
            }
        }
        if runs >= SHRINK_RUNS_MAX || (part == 1 && !smaller) {
            return kept.into_iter().collect();
        }
        if !smaller {
            part = part.div_ceil(2);
        }
        part = part.min(kept.len()).max(1);
    }
}

/// How far a number of seeds is, after each run.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Runs that were made.
    pub runs: u64,
    /// Those of them that have failed.
    pub failures: usize,
    /// The failure of the run that has just ended.
    pub failure: Option<&'a Failure>,
}

/// What a number of seeds came to.
#[derive(Debug)]
pub struct Report {
    /// Runs that have failed, by seed.
    pub failures: Vec<Failure>,
    /// Runs that were made.
    pub runs: u64,
    /// How long it took.
    pub time: Duration,
}

/// Runs `count` seeds from `first` on, on so many threads, until `failures_max` have failed.
/// `progress` is called after each run, by one thread at a time.
pub fn run_many(
    first: u64,
    count: u64,
    threads: usize,
    failures_max: usize,
    plant: Option<Plant>,
    progress: impl Fn(&Progress<'_>) + Sync,
) -> Report {
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let runs = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let seed = first.wrapping_add(number);
                    let outcome = run_seed(seed, None, plant, false);
                    let failure = outcome.failure.map(|why| Failure { seed, why });
                    let mut failures = lock(&failures);
                    let runs = runs.fetch_add(1, Ordering::Relaxed) + 1;
                    failures.extend(failure.clone());
                    if failures.len() >= failures_max {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let failures = failures.len();
                    progress(&Progress { runs, failures, failure: failure.as_ref() });
                }
            });
        }
    });
    let mut failures = std::mem::take(&mut *lock(&failures));
    failures.sort_by_key(|failure| failure.seed);
    Report { failures, runs: runs.into_inner(), time: begun.elapsed() }
}

fn lock<T>(list: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every change leaves it whole, so a panic in another thread harms nothing here.
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
