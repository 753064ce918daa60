//! The version store: `.dunlin/versions`, where everything goes that is replaced or deleted by a peer.
//!
//! What is kept within one second goes into one **batch**, a directory named after that second (UTC),
//! at the path that it had in the folder: `.dunlin/versions/20261121-100254/photos/a.jpg`. So a user
//! without Dunlin can look back too, a deleted directory is moved there by one rename, and the oldest
//! are found by name. A path that is kept twice within a second goes into a second batch of that
//! second, `20261121-100254-1`.
//!
//! Nothing in here is an index of it: the directories are the truth, so there is nothing that a crash
//! could tear apart.

use dunlin_index::{Millis, SafeName};

/// Greatest number of batches that one second can have.
pub(crate) const BATCHES_PER_SECOND_MAX: u32 = 1000;

/// How much the version store may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Greatest size of all that is kept, in bytes.
    pub bytes_max: u64,
    /// Greatest age, in days.
    pub age_days_max: u32,
    /// Least age, in minutes, below which nothing is removed, whatever the rest says: it may be the only
    /// place that still has what a program wrote late.
    pub age_minutes_min: u32,
    /// Greatest number of batches.
    pub batches_max: usize,
    /// Bytes that should stay free on the file system; older versions go to get there.
    pub free_bytes_min: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            bytes_max: 10 << 30,
            age_days_max: 30,
            age_minutes_min: 60,
            batches_max: 20_000,
            free_bytes_min: 1 << 30,
        }
    }
}

/// What [`Fs::prune`](crate::fs::Fs::prune) removed, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Batches removed.
    pub batches: usize,
    /// Bytes removed.
    pub bytes: u64,
    /// Batches that are left.
    pub batches_left: usize,
    /// Bytes that are left.
    pub bytes_left: u64,
}

impl Policy {
    /// Whether the oldest batch has to go.
    pub(crate) fn wants_removed(&self, store: &StoreState) -> bool {
        let age_ms_max = u64::from(self.age_days_max) * 24 * 60 * 60 * 1000;
        let age_ms = store.now.saturating_sub(store.oldest);
        if age_ms < u64::from(self.age_minutes_min) * 60 * 1000 {
            return false;
        }
        age_ms > age_ms_max
            || store.bytes > self.bytes_max
            || store.batches > self.batches_max
            || store.free < self.free_bytes_min
    }
}

/// What a policy is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreState {
    pub(crate) now: Millis,
    /// When the oldest batch was begun.
    pub(crate) oldest: Millis,
    pub(crate) bytes: u64,
    pub(crate) batches: usize,
    pub(crate) free: u64,
}

/// The name of a batch: the second, and a number when it is not the first of that second.
pub(crate) fn batch_name(now: Millis, number: u32) -> SafeName {
    let second = i64::try_from(now / 1000).unwrap_or(i64::MAX);
    // A clock that is out of the calendar's range must not stop anything from being kept.
    let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
    let stamp = time.strftime("%Y%m%d-%H%M%S");
    let name = if number == 0 { stamp.to_string() } else { format!("{stamp}-{number}") };
    SafeName::parse(&name).expect("digits and dashes are a legal name")
}

/// The time in a batch's name, in milliseconds, and its number; `None` for any other name.
pub(crate) fn parse_batch(name: &str) -> Option<(Millis, u32)> {
    let stamp = name.get(..15)?;
    let number = match name.get(15..)? {
        "" => 0,
        rest => {
            let number: u32 = rest.strip_prefix('-')?.parse().ok()?;
            (1..BATCHES_PER_SECOND_MAX).contains(&number).then_some(number)?
        }
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", stamp).ok()?;
    let second = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    let now = u64::try_from(second).ok()?.checked_mul(1000)?;
    // Only names that would be made are read, so that a user's own directory is never removed.
    (batch_name(now, number).as_str() == name).then_some((now, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_names_round_trip_and_sort_by_time() {
        let now = 1_795_255_374_123;
        let name = batch_name(now, 0);
        assert_eq!(name.as_str(), "20261121-100254");
        assert_eq!(parse_batch(name.as_str()), Some((1_795_255_374_000, 0)));
        assert_eq!(parse_batch("20261121-100254-7"), Some((1_795_255_374_000, 7)));
        assert!(batch_name(now, 0) < batch_name(now + 1000, 0));
    }

    #[test]
    fn other_names_are_no_batches() {
        for name in ["", "photos", "20261121-10025", "20261321-100254", "20261121-100254-0"] {
            assert_eq!(parse_batch(name), None, "{name}");
        }
        for name in ["20261121-100254-01", "20261121-100254-1000", "20261121-100254x"] {
            assert_eq!(parse_batch(name), None, "{name}");
        }
    }

    #[test]
    fn a_clock_out_of_range_still_gives_a_name() {
        assert!(batch_name(u64::MAX, 3).as_str().ends_with("-3"));
    }
}
