//! Causal contexts: how far each author's log is known.

use std::collections::BTreeMap;

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
