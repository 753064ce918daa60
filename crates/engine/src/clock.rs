//! Time as the shell sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use dunlin_index::Millis;

/// Tells the time. The state machines get it as a parameter; only their shells ask a clock.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 by the wall clock.
    fn now(&self) -> Millis;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
