//! What a session asked its source to tell of, by the numbers that both sides count.

use std::collections::VecDeque;

use dunlin_identity::Hash;

use crate::protocol::{News, ProtocolError};
use crate::scheduler::WATCHES_MAX;

/// Watches in order; the last [`WATCHES_MAX`] are known.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The number of the first that is known.
    first: u64,
    /// Their blocks, and whether the source has said that they are there.
    known: VecDeque<(Hash, bool)>,
    /// So many have been looked up, as the source said.
    looked_up: u64,
}

impl Watched {
    /// Notes that the source is asked to tell of these, too.
    pub(super) fn watch(&mut self, hashes: &[Hash]) {
        self.known.extend(hashes.iter().map(|hash| (*hash, false)));
        let surplus = self.known.len().saturating_sub(WATCHES_MAX);
        self.known.drain(..surplus);
        self.first += surplus as u64;
    }

    /// Takes news. Returns what the source has, and what it lacks so far.
    pub(super) fn news(&mut self, news: &News) -> Result<(Vec<Hash>, Vec<Hash>), ProtocolError> {
        let next = self.first + self.known.len() as u64;
        if news.looked_up > next || news.here.iter().any(|number| *number >= next) {
            return Err(ProtocolError::Breach("news of what was not asked"));
        }
        let mut has = Vec::new();
        for number in news.here.iter().filter(|number| **number >= self.first) {
            let (hash, here) = &mut self.known[(number - self.first) as usize];
            *here = true;
            has.push(*hash);
        }
        let from = self.looked_up.max(self.first);
        self.looked_up = self.looked_up.max(news.looked_up);
        let lacks = (from..self.looked_up)
            .map(|number| self.known[(number - self.first) as usize])
            .filter(|(_, here)| !here)
            .map(|(hash, _)| hash)
            .collect();
        Ok((has, lacks))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(number: u64) -> Hash {
        Hash::of(&number.to_le_bytes())
    }

    #[test]
    fn news_name_what_is_there_and_what_is_not() {
        let mut watched = Watched::default();
        watched.watch(&[hash(0), hash(1), hash(2)]);
        let news = watched.news(&News { looked_up: 0, here: vec![1] }).unwrap();
        assert_eq!(news, (vec![hash(1)], vec![]));
        let news = watched.news(&News { looked_up: 3, here: vec![2] }).unwrap();
        assert_eq!(news, (vec![hash(2)], vec![hash(0)]));
        let news = watched.news(&News { looked_up: 1, here: vec![0] }).unwrap();
        assert_eq!(news, (vec![hash(0)], vec![]), "it came later");
    }

    proptest! {
        #[test]
        fn hostile_news_are_refused_without_panic_and_memory_is_bounded(
            steps in prop::collection::vec(
                (0u64..3_000, 0u64..20_000, prop::collection::vec(0u64..20_000, 0..20)),
                1..20,
            ),
        ) {
            let (mut watched, mut next) = (Watched::default(), 0);
            for (more, looked_up, here) in steps {
                let hashes: Vec<Hash> = (next..next + more).map(hash).collect();
                next += more;
                watched.watch(&hashes);
                prop_assert!(watched.known.len() <= WATCHES_MAX);
                let honest = looked_up <= next && here.iter().all(|number| *number < next);
                let news = watched.news(&News { looked_up, here });
                prop_assert_eq!(news.is_ok(), honest);
            }
        }
    }
}
