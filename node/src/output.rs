//! Results on stdout, for a person or a program, and notes on stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::cli::Global;

/// How this run writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    quiet: bool,
    color: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet, color: wants_color(&io::stdout()) }
    }

    /// Writes a JSON document on a line.
    pub(crate) fn document(&self, document: &impl Serialize) -> io::Result<()> {
        self.text(&serde_json::to_string(document)?)
    }

    /// Writes text as it is, and an end of line if it has none.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// Writes the rows under each other.
    pub(crate) fn table(&self, rows: &[Vec<Cell>]) -> io::Result<()> {
        self.text(&table(rows, self.color))
    }

    /// Tells a person something on stderr that is no result.
    pub(crate) fn note(&self, note: &str) {
        if !self.quiet && !self.json {
            // A note that nobody can read is no reason to fail.
            let _ = io::stderr().write_all(format!("{}\n", printable(note)).as_bytes());
        }
    }

    /// Whether a person watches, who can be shown progress and pictures.
    pub(crate) fn is_watched(&self) -> bool {
        !self.json && !self.quiet && io::stdout().is_terminal() && io::stderr().is_terminal()
    }
}

/// Whether a stream takes colours and its user has not declined them.
pub(crate) fn wants_color(stream: &impl IsTerminal) -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !declined && !dumb
}

/// How a cell looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Head,
    Good,
    Busy,
    Bad,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Head => "\x1b[1m",
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    look: Look,
}

impl Cell {
    pub(crate) fn new(text: &str, look: Look) -> Self {
        Self { text: printable(text).into_owned(), look }
    }

    pub(crate) fn plain(text: &str) -> Self {
        Self::new(text, Look::Plain)
    }
}

/// The head of a table.
pub(crate) fn head(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::new(name, Look::Head)).collect()
}

/// Rows under each other, columns two spaces apart, no space at the end of a line.
pub(crate) fn table(rows: &[Vec<Cell>], color: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(width).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let last = row.iter().rposition(|cell| !cell.text.is_empty());
        for (i, cell) in row.iter().take(last.map_or(0, |last| last + 1)).enumerate() {
            match color && cell.look != Look::Plain {
                true => text.push_str(&format!("{}{}\x1b[0m", cell.look.code(), cell.text)),
                false => text.push_str(&cell.text),
            }
            if Some(i) != last {
                text.extend(std::iter::repeat_n(' ', widths[i] - width(cell) + 2));
            }
        }
        text.push('\n');
    }
    text
}

fn width(cell: &Cell) -> usize {
    cell.text.chars().count()
}

/// The text without what would steer a terminal: names come from other devices.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(steers) {
        return text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect();
    }
    Cow::Borrowed(text)
}

/// As [`printable`], for text of several lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => format!("{}\n", printable(line)),
            None => printable(line).into_owned(),
        })
        .collect()
}

/// Control characters, and those that turn the direction of the text around.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number of bytes for a person: `0 B`, `12.3 KiB`, `4.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // What would be rounded to 1024.0 is told in the next unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A time span for a person, in its largest whole unit: `5 s`, `3 min`, `2 h`, `4 days`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (85_000_000, "81.1 MiB"),
            (1_048_575, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn spans_are_in_the_largest_unit() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_200, "2 h"), (172_800, "2 days")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn columns_are_aligned_without_trailing_spaces() {
        let rows = vec![
            head(&["NAME", "STATE", "ERROR"]),
            vec![Cell::plain("ü"), Cell::new("idle", Look::Good), Cell::plain("")],
        ];
        assert_eq!(table(&rows, false), "NAME  STATE  ERROR\nü     idle\n");
        let colored = table(&rows, true);
        assert!(colored.contains("\x1b[32midle\x1b[0m\n"), "{colored:?}");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let evil = "a\x1b]0;x\x07\u{202e}b\r\n\u{9b}1m";
        let shown = printable(evil);
        assert!(!shown.chars().any(steers), "{shown:?}");
        assert_eq!(printable("plain – ünïcode 鳥"), "plain – ünïcode 鳥");
        assert_eq!(printable_lines("a\x1b\nb\n"), "a\u{fffd}\nb\n");
    }
}
