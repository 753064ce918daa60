//! A token bucket without a clock.
//!
//! It counts two things that only grow: what has been *promised* (all that was ever taken) and the
//! *credit* (all that the rate has allowed so far). A take is the place up to which its bytes
//! reach in what was promised; it may go as soon as the credit is there. So whoever took first
//! goes first, and a change of the rate holds for those who wait already.
//!
//! The credit is never more than [`BURST`] ahead of what was promised: over any stretch of time,
//! no more goes than the rate times that time and one burst (or one take, where that is longer).

use crate::scheduler::Micros;

/// An idle time is worth at most what the rate allows in this long.
const BURST: Micros = 200_000;
/// Slower limits, in bytes a second, would keep sessions silent for so long that they are taken
/// for dead.
pub(crate) const RATE_MIN: u64 = 16 * 1024;
/// What is counted: a byte is so many.
const UNIT: u128 = 1_000_000;

/// The place of a take, in bytes that were promised before it and its own, times [`UNIT`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u128);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Bytes a second; `None` is without limit.
    rate: Option<u64>,
    credit: u128,
    promised: u128,
    counted_at: Micros,
}

impl Bucket {
    /// Returns the limit in bytes a second, if there is one.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Sets the limit, from now on; below [`RATE_MIN`] it is taken for that. A limit begins
    /// without a burst.
    pub(crate) fn set_rate(&mut self, rate: Option<u64>, now: Micros) {
        self.count(now);
        if self.rate.is_none() {
            self.credit = self.promised;
        }
        self.rate = rate.map(|rate| rate.max(RATE_MIN));
    }

    /// Takes so many bytes. They may go when [`wait`](Self::wait) says so.
    pub(crate) fn take(&mut self, bytes: u64, now: Micros) -> Ticket {
        self.count(now);
        self.promised += u128::from(bytes) * UNIT;
        Ticket(self.promised)
    }

    /// Returns how long a take has to wait, in microseconds, unless the rate changes; `None` when
    /// its bytes may go now.
    pub(crate) fn wait(&mut self, ticket: Ticket, now: Micros) -> Option<Micros> {
        self.count(now);
        let rate = self.rate?;
        let lacking = ticket.0.checked_sub(self.credit).filter(|lacking| *lacking > 0)?;
        let wait = lacking.div_ceil(u128::from(rate));
        Some(Micros::try_from(wait).unwrap_or(Micros::MAX))
    }

    /// Counts what the rate has allowed since it was counted last.
    fn count(&mut self, now: Micros) {
        let passed = now.saturating_sub(self.counted_at);
        self.counted_at = self.counted_at.max(now);
        let Some(rate) = self.rate.map(u128::from) else {
            self.credit = self.promised;
            return;
        };
        let allowed = self.credit + rate * u128::from(passed);
        self.credit = allowed.min(self.promised + rate * u128::from(BURST));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Micros = 1_000_000;

    #[derive(Clone, Debug)]
    enum Step {
        Pass(Micros),
        Take(u64),
        Rate(Option<u64>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0u64..2 * SECOND).prop_map(Step::Pass),
            5 => (1u64..200_000).prop_map(Step::Take),
        ];
        prop::collection::vec(step, 1..80)
    }

    /// Plays the steps, each taker waiting for its turn beside the others; gives when how many
    /// bytes went.
    fn play(bucket: &mut Bucket, steps: &[Step]) -> Vec<(Micros, u64)> {
        let (mut now, mut waiting, mut gone) = (0, Vec::new(), Vec::new());
        let mut release = |bucket: &mut Bucket, waiting: &mut Vec<(Ticket, u64)>, until: Micros| {
            while let Some((ticket, bytes)) = waiting.first().copied() {
                let at = now + bucket.wait(ticket, now).unwrap_or(0);
                if at > until {
                    break;
                }
                now = at;
                gone.push((now, bytes));
                waiting.remove(0);
            }
            now = until.max(now);
            now
        };
        let mut time = 0;
        for step in steps {
            match step {
                Step::Pass(passed) => time = release(bucket, &mut waiting, time + passed),
                Step::Take(bytes) => waiting.push((bucket.take(*bytes, time), *bytes)),
                Step::Rate(rate) => bucket.set_rate(*rate, time),
            }
        }
        release(bucket, &mut waiting, Micros::MAX / 2);
        assert!(waiting.is_empty(), "everybody's turn comes");
        gone
    }

    proptest! {
        #[test]
        fn no_more_goes_in_any_time_than_rate_and_burst(rate in 16_384u64..5_000_000, steps in steps()) {
            let mut bucket = Bucket::default();
            bucket.set_rate(Some(rate), 0);
            let gone = play(&mut bucket, &steps);
            let longest = gone.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
            let burst = (rate * BURST / SECOND).max(longest);
            for (first, (begin, _)) in gone.iter().enumerate() {
                let mut bytes = 0;
                for (end, more) in &gone[first..] {
                    bytes += more;
                    // One byte for the rounding of times up to whole microseconds.
                    let allowed = u128::from(rate) * u128::from(end - begin) / UNIT + 1;
                    prop_assert!(u128::from(bytes) <= allowed + u128::from(burst));
                }
            }
        }

        #[test]
        fn what_waits_is_never_held_longer_than_the_rate_asks(
            rate in 16_384u64..5_000_000,
            takes in prop::collection::vec(1u64..200_000, 1..40),
        ) {
            let mut bucket = Bucket::default();
            bucket.set_rate(Some(rate), 0);
            let steps: Vec<Step> = takes.iter().copied().map(Step::Take).collect();
            let gone = play(&mut bucket, &steps);
            let all: u64 = takes.iter().sum();
            let exact = u128::from(all) * UNIT / u128::from(rate);
            let last = u128::from(gone.last().expect("something went").0);
            prop_assert!(last.abs_diff(exact) <= takes.len() as u128 + 1);
        }

        #[test]
        fn changes_of_the_rate_lose_and_hold_nobody(
            steps in prop::collection::vec(prop_oneof![
                2 => (0u64..SECOND).prop_map(Step::Pass),
                3 => (1u64..100_000).prop_map(Step::Take),
                1 => prop::option::of(0u64..1_000_000).prop_map(Step::Rate),
            ], 1..80),
        ) {
            let taken = steps.iter().filter(|step| matches!(step, Step::Take(_))).count();
            prop_assert_eq!(play(&mut Bucket::default(), &steps).len(), taken);
        }
    }

    #[test]
    fn without_a_limit_nobody_waits_and_a_limit_begins_without_a_burst() {
        let mut bucket = Bucket::default();
        let ticket = bucket.take(u64::MAX, 0);
        assert_eq!(bucket.wait(ticket, 0), None);
        bucket.set_rate(Some(100_000), 3600 * SECOND);
        let ticket = bucket.take(100_000, 3600 * SECOND);
        assert_eq!(bucket.wait(ticket, 3600 * SECOND), Some(SECOND));
    }

    #[test]
    fn an_idle_hour_is_worth_one_burst() {
        let mut bucket = Bucket::default();
        bucket.set_rate(Some(100_000), 0);
        let ticket = bucket.take(20_000, 3600 * SECOND);
        assert_eq!(bucket.wait(ticket, 3600 * SECOND), None);
        let ticket = bucket.take(1000, 3600 * SECOND);
        assert_eq!(bucket.wait(ticket, 3600 * SECOND), Some(10_000));
    }
}
