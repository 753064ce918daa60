//! Time as the shell sees it.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dunlin_index::Millis;

/// Tells the time. The state machines get it as a parameter; only their shells ask a clock.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 by the wall clock.
    fn now(&self) -> Millis;
}

/// Keeps a wall clock that may be set back from going back.
///
/// Timers of the state machines are moments of this clock. Were it to go back by a year, they
/// would wait for a year; so what it is set back by is added to all that comes after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady {
    last: Millis,
    added: Millis,
}

impl Steady {
    /// The time to go by when the wall clock shows `wall`.
    pub fn at(&mut self, wall: Millis) -> Millis {
        let now = wall.saturating_add(self.added);
        if now < self.last {
            self.added = self.last.saturating_sub(wall);
        }
        self.last = self.last.max(now);
        self.last
    }
}

/// The machine's own clock, kept steady while the process runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// One for the process, so that all its threads agree on the time.
static STEADY: Mutex<Steady> = Mutex::new(Steady { last: 0, added: 0 });

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        // A panic elsewhere leaves it whole.
        STEADY.lock().unwrap_or_else(PoisonError::into_inner).at(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
        let mut steady = Steady::default();
        assert_eq!(steady.at(1_000), 1_000);
        assert_eq!(steady.at(400), 1_000);
        assert_eq!(steady.at(450), 1_050);
        assert_eq!(steady.at(2_000), 2_600);
    }
}
