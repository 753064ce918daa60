//! When limits hold: hours of the week, as a person writes them.
//!
//! `mon-fri 08:00-18:00, sat 10:00-12:00, 22:00-06:00`: spans with commas between them, each with
//! its days (a day or a range of days; every day when there are none) and its time. A span whose
//! end is not after its beginning goes on into the next day. Times are those of the device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;
/// More spans than this are a slip.
const SPANS_MAX: usize = 32;

/// A moment of the week, in local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The day of the week; Monday is 0.
    pub day: u8,
    /// Minutes since midnight.
    pub minute: u16,
}

/// Why a text is no schedule, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A part of it makes no sense.
    #[error("{0:?} is no span of time: write it like \"mon-fri 08:00-18:00\" or \"22:00-06:00\"")]
    Span(String),
    /// There are too many spans.
    #[error("a schedule has 1 to {SPANS_MAX} spans of time, with commas between them")]
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// The days on which it begins; a bit each, Monday is the lowest.
    days: u8,
    begin: u16,
    /// At most a day; not after `begin` when it goes on into the next day.
    end: u16,
}

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    text: String,
    spans: Vec<Span>,
}

impl Schedule {
    /// Whether the moment lies in one of the spans. A span's end does not belong to it.
    #[must_use]
    pub fn covers(&self, moment: Moment) -> bool {
        self.spans.iter().any(|span| span.covers(moment))
    }
}

impl Span {
    fn covers(self, moment: Moment) -> bool {
        let begins_on = |day: u8| self.days & (1 << day) != 0;
        let Moment { day, minute } = moment;
        if self.begin < self.end {
            return begins_on(day) && (self.begin..self.end).contains(&minute);
        }
        let yesterday = (day + 6) % 7;
        (begins_on(day) && minute >= self.begin) || (begins_on(yesterday) && minute < self.end)
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if parts.len() > SPANS_MAX || parts == [""] {
            return Err(ScheduleError::Count);
        }
        let span = |part: &&str| span(part).ok_or_else(|| ScheduleError::Span((*part).to_owned()));
        let spans = parts.iter().map(span).collect::<Result<_, _>>()?;
        Ok(Self { text: parts.join(", "), spans })
    }
}

impl TryFrom<String> for Schedule {
    type Error = ScheduleError;

    fn try_from(text: String) -> Result<Self, ScheduleError> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.text
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn span(text: &str) -> Option<Span> {
    let mut words = text.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    let (days, times) = match second {
        Some(times) => (days(first)?, times),
        None => (0x7f, first),
    };
    let (begin, end) = times.split_once('-')?;
    let (begin, end) = (time(begin)?, time(end)?);
    (begin < DAY_MINUTES && begin != end).then_some(Span { days, begin, end })
}

fn days(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let Some((first, last)) = text.split_once('-') else { return Some(1 << day(text)?) };
    let (first, last) = (day(first)?, day(last)?);
    // A range may go over the end of the week.
    let count = (last + 7 - first) % 7 + 1;
    Some((0..count).fold(0, |days, i| days | 1 << ((first + i) % 7)))
}

fn time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let time = hour * 60 + minute;
    (minute < 60 && time <= DAY_MINUTES).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(schedule: &str, day: &str, hour: u16, minute: u16) -> bool {
        let schedule: Schedule = schedule.parse().expect("a schedule");
        let day = DAYS.iter().position(|name| *name == day).expect("a day") as u8;
        schedule.covers(Moment { day, minute: hour * 60 + minute })
    }

    #[test]
    fn a_span_holds_from_its_beginning_to_before_its_end() {
        let office = "mon-fri 08:00-18:00";
        assert!(covers(office, "mon", 8, 0) && covers(office, "fri", 17, 59));
        assert!(!covers(office, "mon", 7, 59) && !covers(office, "fri", 18, 0));
        assert!(!covers(office, "sat", 12, 0));
        assert!(covers("00:00-24:00", "sun", 23, 59));
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = "fri 22:00-06:00";
        assert!(covers(night, "fri", 22, 0) && covers(night, "sat", 5, 59));
        assert!(!covers(night, "fri", 5, 0) && !covers(night, "sat", 22, 0));
        assert!(covers("sun 23:00-01:00", "mon", 0, 30), "over the end of the week, too");
        assert!(covers("12:00-00:00", "wed", 23, 0) && !covers("12:00-00:00", "wed", 0, 0));
    }

    #[test]
    fn ranges_of_days_may_go_over_the_end_of_the_week_and_spans_add_up() {
        let free = "sat-mon 10:00-12:00, Wed 14:00-15:00";
        for day in ["sat", "sun", "mon"] {
            assert!(covers(free, day, 11, 0), "{day}");
        }
        assert!(!covers(free, "tue", 11, 0) && covers(free, "wed", 14, 30));
    }

    #[test]
    fn what_is_no_schedule_is_refused_and_the_part_is_named() {
        for wrong in [
            "",
            "always",
            "8:00-18:00",
            "mon 08:00",
            "mon-fri",
            "08:00-25:00",
            "08:60-09:00",
            "mon tue 08:00-09:00",
            "24:00-01:00",
            "08:00-08:00",
            "mon-xyz 08:00-09:00",
            "08:00-09:00,",
            "+8:00-09:00",
        ] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong:?}");
        }
        let error = "mon 08:00-09:00, noon".parse::<Schedule>().expect_err("no span");
        assert_eq!(error, ScheduleError::Span("noon".to_owned()));
    }

    #[test]
    fn it_is_kept_as_it_was_written() {
        let schedule: Schedule = "mon-fri 08:00-18:00,sat 10:00-12:00".parse().expect("a schedule");
        assert_eq!(schedule.to_string(), "mon-fri 08:00-18:00, sat 10:00-12:00");
        let text = serde_json::to_string(&schedule).expect("a text");
        assert_eq!(serde_json::from_str::<Schedule>(&text).expect("the same"), schedule);
    }
}
