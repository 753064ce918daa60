//! Random edit sequences on two and three devices, through the diff and the merge that ship.
//!
//! A device knows nothing of the others until it merges; who merges when is random too. At the end
//! all have merged with all.

use std::collections::BTreeMap;

use dunlin_text::{Client, Doc, merge};
use proptest::prelude::*;
use proptest::sample::Index;

/// Edit sequences that the suite tries.
const CASES: u32 = 10_000;

/// What a device does to its own version.
#[derive(Clone, Debug)]
enum Act {
    /// Puts words that nobody has written before behind a word.
    Insert(Index, u8, &'static str),
    /// Puts a new word in the place of one.
    Replace(Index),
    /// Takes out words, with the white space before each.
    Delete(Index, u8),
    /// Moves a word, or a line, to another place.
    Move(Index, Index),
    /// Writes all white space in another way, as an editor might.
    Respace(&'static str),
    /// Adds or removes the white space at the end.
    EndWith(&'static str),
    /// Merges with what another device has now.
    Pull(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let space = prop::sample::select(vec![" ", "\n", "\r\n", "\n\n", "\t", "\u{3000}"]);
    prop_oneof![
        4 => (any::<Index>(), 1..4u8, space.clone()).prop_map(|(at, n, s)| Act::Insert(at, n, s)),
        4 => any::<Index>().prop_map(Act::Replace),
        3 => (any::<Index>(), 1..5u8).prop_map(|(at, n)| Act::Delete(at, n)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Act::Move(from, to)),
        1 => space.prop_map(Act::Respace),
        1 => prop::sample::select(vec!["", "\n", " ", "\r\n"]).prop_map(Act::EndWith),
        3 => (0..3usize).prop_map(Act::Pull),
    ]
}

/// A text as words, each with the white space before it; the last may be white space alone.
fn cut(text: &str) -> Vec<(String, String)> {
    let mut pieces = vec![(String::new(), String::new())];
    for c in text.chars() {
        let last = pieces.last_mut().expect("there is one");
        match (c.is_whitespace(), last.1.is_empty()) {
            (true, true) => last.0.push(c),
            (true, false) => pieces.push((c.to_string(), String::new())),
            (false, _) => last.1.push(c),
        }
    }
    pieces
}

struct Device {
    doc: Doc,
    client: Client,
    name: char,
    words: u32,
}

impl Device {
    fn word(&mut self) -> String {
        self.words += 1;
        // Longer than a byte a letter, one as wide as two units of UTF-16.
        format!("{}é𝄞{}", self.name, self.words)
    }

    /// Returns the text after the act.
    fn act(&mut self, act: &Act) -> String {
        let mut pieces = cut(self.doc.text());
        match act {
            Act::Insert(at, count, space) => {
                let at = at.index(pieces.len()) + 1;
                for _ in 0..*count {
                    let piece = ((*space).to_owned(), self.word());
                    pieces.insert(at, piece);
                }
            }
            Act::Replace(at) => {
                let at = at.index(pieces.len());
                pieces[at].1 = self.word();
            }
            Act::Delete(at, count) => {
                let at = at.index(pieces.len());
                let end = pieces.len().min(at + usize::from(*count));
                pieces.drain(at..end);
            }
            Act::Move(from, to) => {
                let piece = pieces.remove(from.index(pieces.len()));
                pieces.insert(to.index(pieces.len() + 1), piece);
            }
            Act::Respace(space) => {
                pieces.iter_mut().skip(1).for_each(|piece| piece.0 = (*space).to_owned());
            }
            Act::EndWith(space) => {
                pieces.retain(|piece| !piece.1.is_empty());
                pieces.push(((*space).to_owned(), String::new()));
            }
            Act::Pull(_) => {}
        }
        pieces.into_iter().flat_map(|(space, word)| [space, word]).collect()
    }

    fn edit(&mut self, text: &str) {
        self.doc.edit(self.client, text).expect("an edit of a small text");
        assert_eq!(self.doc.text(), text);
        assert_eq!(Doc::decode(self.doc.encode()).expect("its own state").text(), text);
    }

    fn pull(&mut self, other: &[u8]) {
        self.doc = merge(&[self.doc.encode(), other]).expect("honest states merge");
    }
}

/// Counts the words.
fn words(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// Returns, of the words that some device wrote itself, those in every text in which they may be
/// expected: nobody took them out since.
#[derive(Default)]
struct Written {
    alive: BTreeMap<String, bool>,
}

impl Written {
    fn note(&mut self, before: &str, after: &str) {
        let (before, after) = (words(before), words(after));
        for word in after.keys() {
            if !before.contains_key(word) {
                self.alive.entry((*word).to_owned()).or_insert(true);
            }
        }
        // Taken out, or written again elsewhere by a move: then one edit may undo another's.
        for (word, count) in &before {
            if after.get(word) != Some(count) {
                self.alive.insert((*word).to_owned(), false);
            }
        }
    }
}

fn run(base: &str, devices: usize, acts: &[(usize, Act)]) -> (Vec<Device>, Written) {
    let mut mesh: Vec<Device> = (0..devices)
        .map(|at| Device {
            doc: Doc::fresh(base).expect("a text"),
            client: Client::of(&[at as u8; 32], 9),
            name: ['x', 'y', 'z'][at],
            words: 0,
        })
        .collect();
    let mut written = Written::default();
    for (who, act) in acts {
        let who = who % devices;
        if let Act::Pull(from) = act {
            let state = mesh[from % devices].doc.encode().to_vec();
            mesh[who].pull(&state);
            continue;
        }
        let before = mesh[who].doc.text().to_owned();
        let after = mesh[who].act(act);
        mesh[who].edit(&after);
        if matches!(act, Act::Respace(_) | Act::Move(..)) {
            // Every word may have been taken out and put in again, at its old place or another.
            written.note(&before, "");
        }
        written.note(&before, &after);
    }
    (mesh, written)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    /// Any order of merging gives one text, and no word that nobody took out is missing or torn.
    #[test]
    fn all_devices_end_with_one_text(
        base in "([a-d]{1,2}[ \n]){0,8}[a-d]?",
        devices in 2..=3usize,
        acts in prop::collection::vec((0..3usize, act()), 1..8),
        order in any::<Index>(),
    ) {
        let (mesh, written) = run(&base, devices, &acts);
        let mut states: Vec<&[u8]> = mesh.iter().map(|device| device.doc.encode()).collect();
        let at_once = merge(&states).expect("honest states merge");
        let again = merge(&[at_once.encode(), states[0]]).expect("a merge of what is merged");
        prop_assert_eq!(again.text(), at_once.text());

        states.rotate_left(order.index(devices));
        let mut by_twos = Doc::decode(states[0]).expect("a state");
        for state in &states[1..] {
            by_twos = merge(&[state, by_twos.encode()]).expect("honest states merge");
        }
        prop_assert_eq!(by_twos.text(), at_once.text());

        let merged = words(at_once.text());
        for (word, alive) in &written.alive {
            prop_assert!(!alive || merged.contains_key(word.as_str()), "{word} of {merged:?}");
        }
        for word in merged.keys() {
            let known = base.split_whitespace().any(|old| old == *word);
            prop_assert!(known || written.alive.contains_key(*word), "{word} was torn or glued");
        }
    }

    /// Whatever stands before and after, the text is afterwards what was written.
    #[test]
    fn an_edit_gives_what_was_written(
        texts in prop::collection::vec("[ab \\r\\n\u{feff}\u{e9}\u{1d11e}]{0,20}", 2..5),
    ) {
        let mut doc = Doc::fresh(&texts[0]).expect("a text");
        prop_assert_eq!(doc.text(), texts[0].as_str());
        for text in &texts[1..] {
            doc.edit(Client::of(&[1; 32], 1), text).expect("an edit");
            prop_assert_eq!(doc.text(), text.as_str());
        }
        let compact = doc.compact().expect("compacts");
        prop_assert_eq!(compact.text(), doc.text());
    }
}
