//! Rates as a person writes them: `5MB/s`, `1.5MiB/s`, `20Mbit/s`.

/// A unit's name and its bytes.
const UNITS: [(&str, f64); 14] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("kiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("bit", 0.125),
    ("kbit", 125.0),
    ("Kbit", 125.0),
    ("Mbit", 125e3),
    ("Gbit", 125e6),
];

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
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let rate = number * bytes;
    match (1.0..=1e15).contains(&rate) {
        true => Ok(Rate(Some(rate as u64))),
        false => Err("expected a rate between 1B/s and 1000000GB/s; off takes a limit away".into()),
    }
}

/// Shows a limit, so that it can be given back to [`parse`]: exactly, in the largest unit that
/// does.
pub(crate) fn show(rate: Option<u64>) -> String {
    let Some(rate) = rate else { return "off".to_owned() };
    let units = [(1u64 << 30, "GiB"), (1_000_000_000, "GB"), (1 << 20, "MiB"), (1_000_000, "MB")];
    let units = units.into_iter().chain([(1 << 10, "KiB"), (1000, "kB"), (1, "B")]);
    let fitting = units.filter(|(bytes, _)| rate >= *bytes && rate % bytes == 0);
    // The shortest number; of two, the larger unit.
    let best = fitting.min_by_key(|(bytes, _)| (rate / bytes).to_string().len());
    best.map_or_else(|| "0B/s".to_owned(), |(bytes, name)| format!("{}{name}/s", rate / bytes))
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
