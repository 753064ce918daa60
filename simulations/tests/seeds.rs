//! A fixed set of seeds, for every change; and as many new ones as are asked for.

use std::time::Duration;

use simulations::run::{Failure, catch_panics, run_many};
use simulations::scenario::Plant;

/// New seeds are run when this says how many.
const NEW_SEEDS: &str = "DUNLIN_SIM_NEW_SEEDS";

/// New seeds are begun for so long.
const NEW_SEEDS_TIME: Duration = Duration::from_secs(120);
/// So many at a time.
const NEW_SEEDS_AT_ONCE: u64 = 50;

/// Seeds that have failed once; what each has found is in `docs/simulator.md`.
const FOUND: &[u64] = &[
    98, 102, 103, 123, 150, 188, 245, 246, 264, 276, 290, 330, 333, 376, 396, 542, 585, 590, 697,
    836, 888, 1207, 1504, 1685, 2246, 2293, 2323, 2703, 2730, 2838, 3025, 3384, 4168, 4378, 5683,
    5877, 7207, 13359, 14181, 15767, 19542, 20669, 23783, 26413, 29844, 30701, 38636, 38687, 3317,
    20347, 41888, 48925, 60029, 64069, 77965, 1069, 1746, 2015, 2324, 2346, 2352, 36858, 42725,
    53838, 53978, 55926, 75330, 79933, 407124, 408331, 415009, 415792, 423994, 427020, 2006160,
    2000683, 2005159, 2011249, 2019933, 2055233, 43243, 126315, 154251, 2011661, 2112605, 2316909,
    4007717, 4017568, 4039637, 4047814, 4056337, 4084480, 2302636, 2318300, 3010071, 3010096,
    3024885, 4033818, 4091275, 4210642, 5220049, 7268000, 10019008, 10022927, 20010118, 20010234,
    20010787, 20010955, 20011335, 20029417, 20043108, 6156996, 7327642, 6192799, 6294034, 6344544,
    6668252, 6881322, 6668584, 6892363, 8081172, 8420813, 8090027, 215666, 312036, 474591, 467402,
    476811, 458031, 944205,
];

fn run(first: u64, count: u64) {
    catch_panics();
    let report = run_many(first, count, 2, 3, None, |_| {});
    assert!(report.failures.is_empty(), "{}", told(&report.failures));
    assert_eq!(report.runs, count);
}

/// What has failed, each with the command that repeats it.
fn told(failures: &[Failure]) -> String {
    let lines = failures.iter().map(|Failure { seed, why }| {
        let command = "cargo run -p simulations --release -- --trace --first";
        format!("seed {seed}: {why}\n  again: {command} {seed}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn fixed_seeds_come_to_rest_and_lose_nothing() {
    run(0, 50);
}

#[test]
fn seeds_that_have_failed_once_do_so_no_more() {
    catch_panics();
    for seed in FOUND {
        let outcome = simulations::run::run_seed(*seed, None, None, false);
        assert_eq!(outcome.failure, None, "seed {seed}");
    }
}

#[test]
fn new_seeds_come_to_rest_and_lose_nothing() {
    let Some(count) = std::env::var(NEW_SEEDS).ok().and_then(|count| count.parse::<u64>().ok())
    else {
        return;
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = since.map_or(1, |since| since.as_secs()) * 1000;
    println!("seeds from {first} on");
    let begun = std::time::Instant::now();
    let mut at = first;
    while at < first + count && begun.elapsed() < NEW_SEEDS_TIME {
        let part = (first + count - at).min(NEW_SEEDS_AT_ONCE);
        run(at, part);
        at += part;
    }
}

#[test]
fn blocks_that_are_trusted_unseen_are_found_out() {
    catch_panics();
    let report = run_many(0, 1500, 2, 1, Some(Plant::TrustHash), |_| {});
    assert!(!report.failures.is_empty());
}

#[test]
fn one_seed_is_one_run() {
    catch_panics();
    for seed in 0..5 {
        let traces: Vec<_> =
            (0..2).map(|_| simulations::run::run_seed(seed, None, None, true).trace).collect();
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}
