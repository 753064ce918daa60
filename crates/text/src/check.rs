//! Whether a merge would break a file that a program reads.
//!
//! Two edits of one line both stand in it afterwards. A reader of prose sees that; a parser stops,
//! or takes the last of two equal keys. So a format that is known here is parsed before and after.

mod json;

/// A way of writing that can be parsed.
#[derive(Clone, Copy)]
enum Format {
    Json,
    /// One JSON value a line.
    JsonLines,
    Toml,
}

impl Format {
    fn of(name: &str) -> Option<Self> {
        let ending = name.rsplit_once('.')?.1.to_lowercase();
        match ending.as_str() {
            "json" | "geojson" | "ipynb" | "webmanifest" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    fn parses(self, text: &str) -> bool {
        match self {
            Self::Json => json::parses(text.trim_start_matches('\u{feff}')),
            Self::JsonLines => text
                .trim_start_matches('\u{feff}')
                .lines()
                .all(|line| line.trim().is_empty() || json::parses(line)),
            Self::Toml => text.parse::<toml::Table>().is_ok(),
        }
    }
}

/// Whether merging breaks a file: by its name it is JSON, JSON-lines or TOML, every one of `sides`
/// parses, and `merged` does not, or has a key twice in one object. Of other names nothing is known,
/// and the answer is no.
#[must_use]
pub fn breaks(name: &str, sides: &[&str], merged: &str) -> bool {
    Format::of(name).is_some_and(|format| {
        !format.parses(merged) && sides.iter().all(|side| format.parses(side))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_parses_no_more_is_broken() {
        let sides = ["{\"a\": 1,\n\"b\": 2}", "{\"a\": 1}"];
        assert!(breaks("x.json", &sides, "{\"a\": 1} 2}"));
        assert!(breaks("dir/X.JSON", &sides, ""));
        assert!(!breaks("x.json", &sides, "{\"a\": 1, \"b\": [null, 2.5, \"c\"]}"));
        assert!(!breaks("x.md", &sides, "{"));
    }

    #[test]
    fn what_did_not_parse_before_cannot_be_broken() {
        assert!(!breaks("x.json", &["{\"a\": 1}", "{"], "{{"));
    }

    #[test]
    fn a_key_that_stands_twice_breaks_json() {
        let sides = ["{\n\"a\": 1,\n\"c\": {\"a\": 0}\n}", "{\n\"a\": 2,\n\"c\": {\"a\": 0}\n}"];
        assert!(breaks("x.json", &sides, "{\n\"a\": 1,\n\"a\": 2,\n\"c\": {\"a\": 0}\n}"));
        assert!(breaks("x.json", &sides, "{\"c\": [{\"a\": 0, \"\\u0061\": 0}]}"));
        assert!(!breaks("x.json", &["{\"a\": 1, \"a\": 2}"], "{\"a\": 1, \"a\": 2, \"a\": 3}"));
    }

    #[test]
    fn each_line_of_json_lines_counts() {
        let sides = ["{\"a\": 1}\n\n{\"a\": 2}\n", "\u{feff}[1]\r\n[2]"];
        assert!(!breaks("x.jsonl", &sides, "[1]\n{\"a\": 1}\n"));
        assert!(breaks("x.ndjson", &sides, "[1]\n{\"a\": 1} [2]\n"));
    }

    #[test]
    fn toml_with_a_key_twice_is_broken() {
        let sides = ["a = 1\n", "a = 2\n"];
        assert!(breaks("Cargo.toml", &sides, "a = 1\na = 2\n"));
        assert!(!breaks("Cargo.toml", &sides, "a = 1\nb = 2\n"));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(breaks("x.json", &["[]"], &deep));
        assert!(breaks("x.toml", &["a = []"], &format!("a = {deep}")));
    }
}
