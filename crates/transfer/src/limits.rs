//! Limits in bytes a second, as a bucket of tokens that fills at that rate.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A bucket holds at most what its rate fills in this long, so that an idle time is not saved up.
const BURST: Duration = Duration::from_millis(200);

/// Slower limits would keep sessions silent for so long that they are taken for dead.
const RATE_MIN: u64 = 16 * 1024;
/// With a limit, bytes go in pieces of this length, so that all streams get their share in time.
const PIECE: usize = 8 * 1024;

/// Slows its callers down to a rate, all together.
#[derive(Debug, Default)]
pub(crate) struct TokenBucket(Mutex<Option<State>>);

#[derive(Debug)]
struct State {
    rate: f64,
    /// Bytes that may go now; below zero, they are owed and the next caller waits for them.
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// Sets the rate in bytes a second, at least 16 KiB; `None` is without limit.
    pub(crate) fn set_rate(&self, rate: Option<u64>) {
        let state = rate.map(|rate| State {
            rate: rate.max(RATE_MIN) as f64,
            tokens: 0.0,
            filled: Instant::now(),
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Returns how many bytes to move between two takes.
    pub(crate) fn piece(&self) -> usize {
        let limited = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if limited { PIECE } else { usize::MAX }
    }

    /// Takes tokens for so many bytes, and waits until they are paid for.
    pub(crate) async fn take(&self, bytes: usize) {
        if let Some(wait) = self.debit(bytes, Instant::now()) {
            sleep(wait).await;
        }
    }

    /// Takes tokens, and returns how long their taker must wait for them to be paid for.
    fn debit(&self, bytes: usize, now: Instant) -> Option<Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = state.as_mut()?;
        let filled = now.saturating_duration_since(state.filled).as_secs_f64() * state.rate;
        let burst = BURST.as_secs_f64() * state.rate;
        state.tokens = (state.tokens + filled).min(burst) - bytes as f64;
        state.filled = now;
        (state.tokens < 0.0).then(|| Duration::from_secs_f64(-state.tokens / state.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_over_all_callers() {
        let bucket = TokenBucket::default();
        bucket.set_rate(Some(100_000));
        let now = Instant::now();
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            let wait = bucket.debit(10_000, now).unwrap_or_default();
            assert!(wait > last, "each waits for those before it");
            last = wait;
        }
        assert!((1.9..2.1).contains(&last.as_secs_f64()), "200 kB at 100 kB a second: {last:?}");
        // An idle hour is worth one burst.
        let later = now + Duration::from_secs(3600);
        assert_eq!(bucket.debit(20_000, later), None);
        assert!(bucket.debit(1, later).is_some());
    }

    #[test]
    fn no_limit_waits_for_nothing() {
        assert_eq!(TokenBucket::default().debit(usize::MAX, Instant::now()), None);
    }
}
