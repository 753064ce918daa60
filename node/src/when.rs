//! Times in the past as a person writes them: `2h`, `2026-11-01 12:00`.

use dunlin_engine::units::parse_span;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Reads a time: a span back from now (`30s`, `10m`, `2h`, `3d`, `1w`), `yesterday` (this time, a
/// day ago), a local date with or without a time of day, or RFC 3339. In milliseconds since 1970.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    parse_at(text.trim(), &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<u64, String> {
    let wrong = || {
        "expected a time such as 2h (ago), 3d, yesterday, \"2026-11-01 12:00\" or 2026-11-01"
            .to_owned()
    };
    let now_ms = now.timestamp().as_millisecond();
    let ms = if text == "yesterday" {
        now_ms - 24 * 3_600_000
    } else if let Ok(span) = parse_span(text) {
        now_ms.saturating_sub(i64::try_from(span).unwrap_or(i64::MAX))
    } else if let Ok(time) = text.parse::<Timestamp>() {
        time.as_millisecond()
    } else {
        let day = || text.parse::<Date>().map(|date| date.at(0, 0, 0, 0));
        let local: DateTime = text.parse().or_else(|_| day()).map_err(|_| wrong())?;
        local_ms(local, now.time_zone()).ok_or_else(wrong)?
    };
    match u64::try_from(ms) {
        Ok(past) if ms <= now_ms => Ok(past),
        Ok(_) => Err("expected a time in the past".to_owned()),
        Err(_) => Err(wrong()),
    }
}

fn local_ms(local: DateTime, zone: &TimeZone) -> Option<i64> {
    Some(local.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
}

/// A time of the API, in this machine's time zone, to the second.
pub(crate) fn show(rfc3339: &str) -> String {
    show_in(rfc3339, &TimeZone::system())
}

/// As [`show`], in a given time zone.
pub(crate) fn show_in(rfc3339: &str, zone: &TimeZone) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-11-21T10:00:00+01:00[+01:00]".parse().unwrap()
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let now_ms = u64::try_from(now().timestamp().as_millisecond()).unwrap();
        for (text, ago_ms) in [
            ("30s", 30_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("3d", 3 * 86_400_000),
            ("1w", 7 * 86_400_000),
            ("yesterday", 86_400_000),
            ("2026-11-21 09:00", 3_600_000),
            ("2026-11-21T09:59:30", 30_000),
            ("2026-11-21", 36_000_000),
            ("2026-11-21T08:00:00Z", 3_600_000),
        ] {
            assert_eq!(parse_at(text, &now()), Ok(now_ms - ago_ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_in_the_past_is_refused() {
        for text in ["", "soon", "2", "h", "2 parsecs", "2026-13-01", "2026-11-22", "1960-01-01"] {
            assert!(parse_at(text, &now()).is_err(), "{text}");
        }
    }
}
