//! Waiting for conditions, with a deadline and without fixed sleeps.

use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up. Generous: the machine
/// may be busy, and a test that passes never waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(7);

/// Looks every few milliseconds until `condition` gives a value; `None` when `limit` is over.
pub(crate) fn poll_for<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Looks until `condition` holds, and fails the test, naming `what`, when it does not in time.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let met = poll_for(PATIENCE, || condition().then_some(()));
    assert!(met.is_some(), "waited {PATIENCE:?} in vain until {what}");
}
