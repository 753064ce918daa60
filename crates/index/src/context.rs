//! Causal contexts: how far each author's log is known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bincode::{Decode, Encode};

use crate::ids::{Author, Dot};

/// What is known of a folder: for each author the highest sequence number, all before it included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Context(pub(crate) BTreeMap<Author, u64>);

impl Context {
    /// Gives the highest sequence number known of an author; 0 when there is none.
    pub fn get(&self, author: &Author) -> u64 {
        self.0.get(author).copied().unwrap_or(0)
    }

    /// Tells whether this one change is known.
    pub fn covers(&self, dot: &Dot) -> bool {
        dot.seq <= self.get(&dot.author)
    }

    /// Tells whether everything in `other` is known here.
    pub fn covers_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(author, seq)| *seq <= self.get(author))
    }

    /// Adds everything that `other` knows.
    pub fn merge(&mut self, other: &Self) {
        for (author, seq) in &other.0 {
            self.raise(*author, *seq);
        }
    }

    /// Raises one author's number to at least `seq`.
    pub fn raise(&mut self, author: Author, seq: u64) {
        if seq > 0 {
            let known = self.0.entry(author).or_default();
            *known = (*known).max(seq);
        }
    }

    /// Gives authors and numbers in the authors' order.
    pub fn iter(&self) -> impl Iterator<Item = (&Author, u64)> {
        self.0.iter().map(|(author, seq)| (author, *seq))
    }

    /// Gives the number of authors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the names of logs in [`Heads`] are hashed for.
const LOG_TAG: &str = "dunlin index log tag v1";

/// The name of a log in [`Heads`]: the first eight bytes of a BLAKE3 hash of its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
struct LogTag([u8; 8]);

impl LogTag {
    fn of(author: &Author) -> Self {
        // The key of the purpose is derived once: every head that is told or heard needs a name.
        static HASHER: LazyLock<blake3::Hasher> =
            LazyLock::new(|| blake3::Hasher::new_derive_key(LOG_TAG));
        let mut hasher = HASHER.clone();
        hasher.update(author.device.as_bytes()).update(&author.epoch.to_le_bytes());
        let mut tag = [0; 8];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(tag)
    }
}

/// A context as members tell it to each other: logs by short names, so that it is a quarter as long.
///
/// Two logs have one name by chance only, once in 2^64 pairs; a member who looks for a log with
/// another's name has as much to try. What comes of it is that one of them is not repaired between
/// two devices, which differ then, and find that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Heads(BTreeMap<LogTag, u64>);

impl From<&Context> for Heads {
    fn from(context: &Context) -> Self {
        Self(context.0.iter().map(|(author, seq)| (LogTag::of(author), *seq)).collect())
    }
}

impl Heads {
    fn get(&self, tag: &LogTag) -> u64 {
        self.0.get(tag).copied().unwrap_or(0)
    }

    /// Tells whether this one change is known.
    pub fn covers(&self, dot: &Dot) -> bool {
        dot.seq <= self.get(&LogTag::of(&dot.author))
    }

    /// Tells whether everything in `other` is known here.
    pub fn covers_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(tag, seq)| *seq <= self.get(tag))
    }

    /// Gives how far each log is known, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.values().copied()
    }

    /// What is known here of the logs of `authors`.
    pub fn of_authors(&self, authors: &Context) -> Context {
        let mut known = Context::default();
        for author in authors.0.keys() {
            known.raise(*author, self.get(&LogTag::of(author)));
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use dunlin_identity::DeviceId;
    use proptest::prelude::*;

    use super::*;

    /// Few logs, so that contexts have some in common.
    fn any_context() -> impl Strategy<Value = Context> {
        prop::collection::btree_map((0..6_u8, 0..2_u64), 1..5_u64, 0..8).prop_map(|logs| {
            let author =
                |(device, epoch)| Author { device: DeviceId::from_bytes([device; 32]), epoch };
            Context(logs.into_iter().map(|(log, seq)| (author(log), seq)).collect())
        })
    }

    proptest! {
        #[test]
        fn heads_compare_as_their_contexts_do(one in any_context(), other in any_context()) {
            let (heads, others) = (Heads::from(&one), Heads::from(&other));
            prop_assert_eq!(heads.covers_all(&others), one.covers_all(&other));
            prop_assert_eq!(heads == others, one == other);
            for (author, seq) in other.iter() {
                let dot = Dot { author: *author, seq };
                prop_assert_eq!(heads.covers(&dot), one.covers(&dot));
            }
            // Of what is known there, all that can be named here.
            let mut known = heads.of_authors(&other);
            prop_assert!(one.covers_all(&known));
            known.merge(&other);
            let mut both = one;
            both.merge(&other);
            both.0.retain(|author, _| other.0.contains_key(author));
            prop_assert_eq!(known, both);
        }
    }
}
