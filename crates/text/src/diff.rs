//! What was changed between two texts, in tokens.
//!
//! A *word* is what stands between white space. A *token* is a word with the white space before it;
//! a line break begins a token of its own. The texts compared here begin with a line break (see
//! [`crate::doc`]), so every token begins with white space, and whatever survives of several
//! devices' tokens, in whatever order, no two words of them touch.
//!
//! First the lines are compared, then, where lines were replaced, their tokens, both with the
//! algorithm of Myers ("An O(ND) difference algorithm and its variations", 1986) with the bound on
//! the work that the crate `similar` sets by the size of its input.

use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// One replacement: these bytes of the old text become that part of the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hunk<'a> {
    /// The bytes of the old text that go.
    pub(crate) old: Range<usize>,
    /// What comes in their place.
    pub(crate) new: &'a str,
}

/// Returns what turns `old` into `new`, in order. Both begin with a line break.
pub(crate) fn hunks<'a>(old: &str, new: &'a str) -> Vec<Hunk<'a>> {
    let (start, tail) = common(old, new);
    let old_lines: Vec<&str> = lines(&old[start..old.len() - tail]).collect();
    let new_lines: Vec<&'a str> = lines(&new[start..new.len() - tail]).collect();
    let mut hunks = Vec::new();
    for (old_at, new_at) in replaced(&old_lines, &new_lines, start, start) {
        let old_tokens: Vec<&str> = tokens(&old[old_at.clone()]).collect();
        let new_tokens: Vec<&str> = tokens(&new[new_at.clone()]).collect();
        for (old_at, new_at) in replaced(&old_tokens, &new_tokens, old_at.start, new_at.start) {
            hunks.push(Hunk { old: old_at, new: &new[new_at] });
        }
    }
    hunks
}

/// Compares two sequences of neighbouring pieces, which begin at these bytes of their texts, and
/// returns which bytes of the old text became which of the new one.
fn replaced(
    old: &[&str],
    new: &[&str],
    old_start: usize,
    new_start: usize,
) -> Vec<(Range<usize>, Range<usize>)> {
    let old_ends = ends(old, old_start);
    let new_ends = ends(new, new_start);
    capture_diff_slices(Algorithm::Myers, old, new)
        .into_iter()
        .filter(|op| !matches!(op, DiffOp::Equal { .. }))
        .map(|op| {
            let (old, new) = (op.old_range(), op.new_range());
            (old_ends[old.start]..old_ends[old.end], new_ends[new.start]..new_ends[new.end])
        })
        .collect()
}

/// Returns where each piece begins, and where the last one ends.
fn ends(pieces: &[&str], start: usize) -> Vec<usize> {
    let mut at = start;
    let mut ends = vec![at];
    for piece in pieces {
        at += piece.len();
        ends.push(at);
    }
    ends
}

/// Returns how many bytes at the front and at the end are equal, in whole lines.
fn common(old: &str, new: &str) -> (usize, usize) {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let front = old.as_bytes().iter().zip(new.as_bytes()).take_while(same).count();
    // The line that the difference is in may begin in the part that is equal.
    let start = if front == old.len() && front == new.len() {
        front
    } else {
        breaks_in(&old[..floor(old, front)]).last().unwrap_or(0)
    };
    let (old_rest, new_rest) = (&old.as_bytes()[start..], &new.as_bytes()[start..]);
    let back = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let from = old.len() - back;
    let tail_max = ceil(old, from);
    let tail = breaks_in(&old[tail_max..])
        .map(|at| tail_max + at)
        .find(|at| *at > from || !cuts_a_break(old, new, back))
        .map_or(0, |at| old.len() - at);
    (start, tail)
}

/// Whether the common end begins with the line feed of a CR LF in either text.
fn cuts_a_break(old: &str, new: &str, back: usize) -> bool {
    [old, new].iter().any(|text| text.as_bytes()[..text.len() - back].ends_with(b"\r"))
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Returns where line breaks (LF or CR LF) begin.
fn breaks_in(text: &str) -> impl DoubleEndedIterator<Item = usize> + '_ {
    text.match_indices('\n').map(|(at, _)| if text[..at].ends_with('\r') { at - 1 } else { at })
}

/// Cuts before each line break.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    pieces(text, |rest| {
        let first = break_len(rest);
        breaks_in(&rest[first..]).next().map_or(rest.len(), |at| first + at)
    })
}

/// Cuts before each line break, and before white space that follows a word.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    pieces(text, |rest| {
        let mut in_word = false;
        for (at, c) in rest.char_indices().skip_while(|(at, _)| *at < break_len(rest)) {
            if c.is_whitespace() && (in_word || break_len(&rest[at..]) > 0) {
                return at;
            }
            in_word |= !c.is_whitespace();
        }
        rest.len()
    })
}

/// Returns the bytes of the line break that the text begins with, if it does.
fn break_len(text: &str) -> usize {
    match text.as_bytes() {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => 0,
    }
}

/// Cuts a text into pieces; `next` returns how long the first one is.
fn pieces<'a>(
    text: &'a str,
    next: impl Fn(&'a str) -> usize + 'a,
) -> impl Iterator<Item = &'a str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, left) = rest.split_at(next(rest));
        rest = left;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        tokens(text).collect()
    }

    #[test]
    fn a_token_is_a_word_with_the_white_space_before_it() {
        assert_eq!(cut("\na bc\n\n  d "), ["\na", " bc", "\n", "\n  d", " "]);
        assert_eq!(cut("\r\na\r\n\r\nb"), ["\r\na", "\r\n", "\r\nb"]);
        assert_eq!(cut("\n\u{feff}a\u{3000}b\r"), ["\n\u{feff}a", "\u{3000}b", "\r"]);
        assert_eq!(lines("\na b\r\n\nc").collect::<Vec<_>>(), ["\na b", "\r\n", "\nc"]);
    }

    #[test]
    fn only_the_changed_words_are_replaced() {
        let old = "\none two three\nfour\n";
        let hunk = |old, new| Hunk { old, new };
        assert_eq!(hunks(old, "\none 2 three\nfour\n"), [hunk(4..8, " 2")]);
        assert_eq!(hunks(old, "\none two three\nfour five\n"), [hunk(19..19, " five")]);
        assert_eq!(hunks(old, "\none two three\n"), [hunk(14..19, "")]);
        assert_eq!(hunks(old, old), []);
    }

    #[test]
    fn a_changed_line_end_is_a_change_of_the_break_only_where_it_is() {
        let hunk = |old, new| Hunk { old, new };
        assert_eq!(hunks("\na\nb", "\na\r\nb"), [hunk(2..4, "\r\nb")]);
        assert_eq!(hunks("\na\r\nb", "\na\nb"), [hunk(2..5, "\nb")]);
    }

    proptest! {
        /// Whatever the texts, the hunks are whole tokens and make the one out of the other.
        #[test]
        fn hunks_make_the_new_text(old in "[a\u{e9}\r\n ]{0,24}", new in "[a\u{e9}\r\n ]{0,24}") {
            let (old, new) = (format!("\n{old}"), format!("\n{new}"));
            let mut made = old.clone();
            for hunk in hunks(&old, &new).into_iter().rev() {
                prop_assert!(hunk.new.is_empty() || hunk.new.starts_with(char::is_whitespace));
                made.replace_range(hunk.old, hunk.new);
            }
            prop_assert_eq!(made, new);
        }
    }
}
