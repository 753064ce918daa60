//! Sizes and spans of time as a person writes them: `500MB`, `10GiB`, `90s`, `2w`.

use dunlin_index::Millis;

/// A unit's name and its bytes, the largest first. Two of a size: the one shown comes first.
const BYTES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A unit's name and its milliseconds.
const SPANS: [(&str, Millis); 6] = [
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
];

/// Splits a text such as `1.5GiB` into its number and its unit, which may be missing.
pub fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}

/// The bytes of a unit of sizes.
pub fn bytes_of_unit(unit: &str) -> Option<u64> {
    BYTES.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes)
}

/// Reads a size in bytes, as `10GiB`, `500 MB` or `4096`.
///
/// # Errors
/// What is wrong, for the user.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write it as 500MB or 10GiB");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let bytes = number * bytes_of_unit(unit).ok_or_else(wrong)? as f64;
    // A cast of what is too large gives the largest number there is, which is what is meant.
    Ok(bytes as u64)
}

/// Shows a size exactly, so that it can be read back: in the unit that makes the shortest number.
pub fn show_size(size: u64) -> String {
    let fitting = |unit: &&(&str, u64)| size >= unit.1 && size.is_multiple_of(unit.1);
    let shortest = BYTES.iter().filter(fitting).min_by_key(|(_, bytes)| digits(size / bytes));
    shortest.map_or_else(|| "0B".to_owned(), |(name, bytes)| format!("{}{name}", size / bytes))
}

fn digits(number: u64) -> u32 {
    number.checked_ilog10().unwrap_or(0)
}

/// Reads a span of time in milliseconds, as `30s`, `10m`, `2h`, `3d` or `1w`.
///
/// # Errors
/// What is wrong, for the user.
pub fn parse_span(text: &str) -> Result<Millis, String> {
    let wrong = || format!("{text:?} is no span of time: write it as 30s, 10m, 2h, 3d or 1w");
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let (_, unit_ms) = SPANS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    Ok((number * *unit_ms as f64) as Millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_back() {
        for size in [0, 1, 1537, 500_000_000, 10 << 30, 3 << 40, 1_000_000_000_001] {
            assert_eq!(parse_size(&show_size(size)), Ok(size), "{}", show_size(size));
        }
        assert_eq!(show_size(10 << 30), "10GiB");
        assert_eq!(show_size(500_000_000), "500MB");
        assert_eq!(show_size(5_000), "5kB");
    }

    #[test]
    fn sizes_and_spans_are_read_as_people_write_them() {
        assert_eq!(parse_size("10GiB"), Ok(10 << 30));
        assert_eq!(parse_size("1.5 MB"), Ok(1_500_000));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_span("90s"), Ok(90_000));
        assert_eq!(parse_span("1.5h"), Ok(5_400_000));
        assert_eq!(parse_span("2w"), Ok(14 * 24 * 3_600_000));
        for text in ["", "GiB", "-5MB", "5 parsecs", "1e3kB", "1.2.3GB"] {
            assert!(parse_size(text).is_err() && parse_span(text).is_err(), "{text}");
        }
    }
}
