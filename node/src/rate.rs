//! Rates as a person writes them: `5MB/s`, `1.5MiB/s`, `20Mbit/s`.

use dunlin_engine::units::{bytes_of_unit, number_and_unit, show_size};

/// A limit: bytes a second, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<u64>);

/// Reads a rate, or `off`. The `/s` may be left out; a number alone is no rate, since nobody could
/// tell of what.
pub(crate) fn parse(text: &str) -> Result<Rate, String> {
    let wrong = || "expected a rate such as 5MB/s, 500KiB/s or 20Mbit/s, or off".to_owned();
    let text = text.trim();
    if text == "off" {
        return Ok(Rate(None));
    }
    let text = text.strip_suffix("/s").unwrap_or(text);
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let bytes = match unit.strip_suffix("bit") {
        Some(multiple) => bytes_of_unit(&format!("{multiple}B")).map(|bytes| bytes as f64 / 8.0),
        None => bytes_of_unit(unit).map(|bytes| bytes as f64),
    };
    let rate = number * bytes.ok_or_else(wrong)?;
    match (1.0..=1e15).contains(&rate) {
        true => Ok(Rate(Some(rate as u64))),
        false => Err("expected a rate between 1B/s and 1000000GB/s; off takes a limit away".into()),
    }
}

/// Shows a limit exactly, so that it can be given back to [`parse`].
pub(crate) fn show(rate: Option<u64>) -> String {
    rate.map_or_else(|| "off".to_owned(), |rate| format!("{}/s", show_size(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_bytes_and_bits() {
        for (text, rate) in [
            ("5MB/s", 5_000_000),
            ("5MB", 5_000_000),
            ("1.5MiB/s", 1_572_864),
            ("500 kB/s", 500_000),
            ("64KiB/s", 65_536),
            ("20Mbit/s", 2_500_000),
            ("16384B/s", 16_384),
        ] {
            assert_eq!(parse(text), Ok(Rate(Some(rate))), "{text}");
        }
        assert_eq!(parse("off"), Ok(Rate(None)));
        for wrong in
            ["", "5", "MB/s", "5mb/s", "5XB/s", "-5MB/s", "0MB/s", "1e3MB/s", "5MB/h", "inf"]
        {
            parse(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for (rate, text) in [
            (5_000_000, "5MB/s"),
            (1_572_864, "1536KiB/s"),
            (65_536, "64KiB/s"),
            (2_500_000, "2500kB/s"),
            (1_000_000_000, "1GB/s"),
            (16_385, "16385B/s"),
        ] {
            assert_eq!(show(Some(rate)), text);
            assert_eq!(parse(text), Ok(Rate(Some(rate))));
        }
        assert_eq!(show(None), "off");
    }
}
