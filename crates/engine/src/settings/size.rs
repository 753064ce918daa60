//! Sizes as a person writes them: `500MB`, `10GiB`.

/// A unit's name and its bytes, the largest first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Shows a size exactly, so that it can be read back: in the unit that makes the shortest number.
pub(crate) fn show(size: u64) -> String {
    let exact = UNITS.iter().filter(|(_, bytes)| size.is_multiple_of(*bytes));
    let shortest = exact.min_by_key(|(_, bytes)| (size / bytes).to_string().len());
    shortest.map_or_else(String::new, |(name, bytes)| format!("{}{name}", size / bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::policy::parse_size;

    #[test]
    fn what_is_shown_can_be_read_back() {
        for size in [1, 1537, 500_000_000, 10 << 30, 3 << 40, 1_000_000_000_001] {
            assert_eq!(parse_size(&show(size)), Ok(size), "{}", show(size));
        }
        assert_eq!(show(10 << 30), "10GiB");
        assert_eq!(show(500_000_000), "500MB");
    }
}
