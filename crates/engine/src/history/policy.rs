//! Which versions are kept: pure functions of a policy, the time, and what is there.

use std::fmt;
use std::str::FromStr;

use dunlin_index::Millis;

const HOUR_MS: Millis = 60 * 60 * 1000;
const DAY_MS: Millis = 24 * HOUR_MS;
const WEEK_MS: Millis = 7 * DAY_MS;

/// The steps of [`Keep::Staggered`]: up to this age, one version in each span of that length.
///
/// Spans are counted from 1970 on and each is a multiple of the one before, and of each span its
/// newest version stays: so thinning again later never finds that it should have kept another.
const STEPS: [(Millis, Millis); 4] =
    [(DAY_MS, 1), (WEEK_MS, HOUR_MS), (30 * DAY_MS, DAY_MS), (365 * DAY_MS, WEEK_MS)];

/// Which versions of one file or link are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// None: what is replaced or deleted goes after the delay for late writers.
    None,
    /// The newest so many.
    Count(u32),
    /// Those that ended within so many days.
    Days(u32),
    /// All of the last day, then one an hour for a week, one a day for 30 days, and one a week for
    /// a year.
    #[default]
    Staggered,
}

/// How much history a folder keeps on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which versions.
    pub keep: Keep,
    /// How many bytes all of them may take.
    pub bytes_max: u64,
    /// How long what was moved aside stays as it is, for programs that still write to it, before
    /// it is packed, in milliseconds.
    pub delay_ms: Millis,
}

impl Default for Policy {
    fn default() -> Self {
        Self { keep: Keep::default(), bytes_max: 10 << 30, delay_ms: 10 * 60 * 1000 }
    }
}

impl Policy {
    /// How many bytes the history may take on a file system where it takes `used` and `free` are
    /// free: what the policy says, but not more than half of what both come to.
    pub fn bytes_allowed(&self, used: u64, free: u64) -> u64 {
        self.bytes_max.min(used.saturating_add(free) / 2)
    }
}

/// Says which versions of one thing go: `versions` are their numbers and when they ended.
pub fn expired(keep: Keep, now: Millis, versions: &[(u64, Millis)]) -> Vec<u64> {
    let mut versions = versions.to_vec();
    // The newest first; of two that ended at once, the later number is the newer one.
    versions.sort_by_key(|(id, until)| std::cmp::Reverse((*until, *id)));
    let mut newer = None;
    let mut number = 0u32;
    versions.retain(|(_, until)| {
        let age = now.saturating_sub(*until);
        number = number.saturating_add(1);
        let newer = newer.replace(*until);
        let keeps = match keep {
            Keep::None => false,
            Keep::Count(count) => number <= count,
            Keep::Days(days) => age <= u64::from(days) * DAY_MS,
            Keep::Staggered => match STEPS.iter().find(|(age_max, _)| age <= *age_max) {
                None => false,
                Some((_, 1)) => true,
                // Also where the newer one is in a shorter span yet: it will be in this one.
                Some((_, span)) => newer.is_none_or(|newer: Millis| newer / span != until / span),
            },
        };
        !keeps
    });
    versions.into_iter().map(|(id, _)| id).collect()
}

/// Why a text names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to keep versions: none, keep:N (the newest N), days:N or staggered")]
pub struct ParseKeepError(String);

impl FromStr for Keep {
    type Err = ParseKeepError;

    fn from_str(text: &str) -> Result<Self, ParseKeepError> {
        let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0);
        let keep = match text.split_once(':') {
            None if text == "none" => Some(Self::None),
            None if text == "staggered" => Some(Self::Staggered),
            Some(("keep", count)) => number(count).map(Self::Count),
            Some(("days", days)) => number(days).map(Self::Days),
            _ => None,
        };
        keep.ok_or_else(|| ParseKeepError(text.to_owned()))
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Count(count) => write!(f, "keep:{count}"),
            Self::Days(days) => write!(f, "days:{days}"),
            Self::Staggered => f.write_str("staggered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = 1_795_255_374_123;

    fn kept(keep: Keep, now: Millis, versions: &[(u64, Millis)]) -> Vec<(u64, Millis)> {
        let gone = expired(keep, now, versions);
        versions.iter().filter(|(id, _)| !gone.contains(id)).copied().collect()
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        prop_oneof![
            Just(Keep::None),
            (1..20u32).prop_map(Keep::Count),
            (1..500u32).prop_map(Keep::Days),
            Just(Keep::Staggered),
        ]
    }

    fn any_versions() -> impl Strategy<Value = Vec<(u64, Millis)>> {
        prop::collection::vec(0..500 * DAY_MS, 0..200).prop_map(|ages| {
            let mut until: Vec<_> = ages.iter().map(|age| NOW - age).collect();
            until.sort_unstable();
            (0..).zip(until).collect()
        })
    }

    proptest! {
        #[test]
        fn thinning_early_keeps_what_thinning_late_would(
            keep in any_keep(),
            versions in any_versions(),
            later in 0..400 * DAY_MS,
        ) {
            let at_once = kept(keep, NOW + later, &versions);
            let in_steps = kept(keep, NOW + later, &kept(keep, NOW, &versions));
            prop_assert_eq!(at_once, in_steps);
        }

        #[test]
        fn the_newest_stays_while_any_does(keep in any_keep(), versions in any_versions()) {
            let left = kept(keep, NOW, &versions);
            if let Some(newest) = left.last() {
                prop_assert_eq!(Some(newest), versions.last());
            }
        }

        #[test]
        fn staggered_versions_are_no_further_apart_than_they_must_be(versions in any_versions()) {
            let left = kept(Keep::Staggered, NOW, &versions);
            for (id, until) in &versions {
                let age = NOW - until;
                let Some((_, span)) = STEPS.iter().find(|(age_max, _)| age <= *age_max) else {
                    prop_assert!(!left.contains(&(*id, *until)));
                    continue;
                };
                let near = left.iter().any(|(_, other)| other / span == until / span);
                prop_assert!(near, "nothing is left near {until}");
            }
        }

        #[test]
        fn a_policy_is_read_as_it_is_shown(keep in any_keep()) {
            prop_assert_eq!(keep.to_string().parse(), Ok(keep));
        }
    }

    #[test]
    fn a_day_is_kept_whole_and_a_year_thinly() {
        let every_minute: Vec<_> = (0..24 * 60).map(|n| (n, NOW - n * 60_000)).collect();
        assert_eq!(kept(Keep::Staggered, NOW, &every_minute).len(), 24 * 60);
        let hourly: Vec<_> = (0..400 * 24).map(|n| (n, NOW - n * HOUR_MS)).collect();
        let left = kept(Keep::Staggered, NOW, &hourly).len();
        // 25 of the last day, 6 days of hours, 23 days, 48 weeks; how many spans the ends of the
        // steps cut depends on the hour.
        assert!((25 + 144 + 23 + 47..=25 + 144 + 25 + 50).contains(&left), "{left}");
    }

    #[test]
    fn what_is_no_policy_says_so() {
        for text in ["", "all", "keep", "keep:", "keep:0", "days:-1", "keep:x", "staggered:2"] {
            assert!(text.parse::<Keep>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_history_leaves_room_on_a_small_disk() {
        let policy = Policy { bytes_max: 1000, ..Policy::default() };
        assert_eq!(policy.bytes_allowed(100, 10_000), 1000);
        assert_eq!(policy.bytes_allowed(100, 300), 200);
    }
}
