//! Faults planted on purpose in the code that ships are found. They are compiled in by the feature
//! `planted-faults` only.

#![cfg(feature = "planted-faults")]

use simulations::run::{catch_panics, run_many};
use simulations::scenario::Plant;

/// The number of seeds within which each fault must be found.
const SEEDS_MAX: u64 = 10_000;

fn is_found(plant: Plant) {
    catch_panics();
    let report = run_many(0, SEEDS_MAX, 2, 1, Some(plant), |_| {});
    let found = report.failures.first().map(|failure| (failure.seed, &failure.why));
    println!("{plant:?}: {} seeds, {found:?}", report.runs);
    assert!(found.is_some(), "{plant:?} was not found within {SEEDS_MAX} seeds");
}

#[test]
fn a_version_comparison_that_is_skipped_is_found() {
    is_found(Plant::SkipVersion);
}

#[test]
fn a_dropped_epoch_is_found() {
    is_found(Plant::DropEpoch);
}

#[test]
fn a_tombstone_that_is_forgotten_early_is_found() {
    is_found(Plant::ForgetTombstone);
}

#[test]
fn applying_without_a_look_at_the_target_is_found() {
    is_found(Plant::TrustTarget);
}

#[test]
fn a_trusted_hash_is_found() {
    is_found(Plant::TrustHash);
}
