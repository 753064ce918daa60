//! What an asker watches for on one stream: blocks of which it is told whether they are here, and
//! when they come.
//!
//! Without I/O and clock. The last [`WATCHES_MAX`] watches are kept; each is looked up once, and
//! then waits until it is said to have come. News of what comes are held back for [`NEWS_EVERY`].

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use dunlin_identity::Hash;

use crate::protocol::News;
use crate::scheduler::{Micros, WATCHES_MAX};

/// News of blocks that have come go out this often at most.
pub(crate) const NEWS_EVERY: Duration = Duration::from_millis(250);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// The number of the next watch.
    next: u64,
    /// Those that are kept, the oldest first.
    kept: VecDeque<Hash>,
    /// The numbers of those that were not seen here.
    waiting: HashMap<Hash, u64>,
    /// So many watches have been looked up, and so many were when news went out last.
    looked_up: u64,
    told_up: u64,
    /// Those that are here, of which no news said so.
    here: Vec<u64>,
    told_at: Option<Micros>,
}

impl Watches {
    /// Takes more watches; the oldest are forgotten.
    pub(crate) fn watch(&mut self, hashes: &[Hash]) {
        for hash in hashes {
            self.waiting.insert(*hash, self.next);
            self.kept.push_back(*hash);
            self.next += 1;
        }
        while self.kept.len() > WATCHES_MAX {
            let number = self.next - self.kept.len() as u64;
            if let Some(hash) = self.kept.pop_front()
                && self.waiting.get(&hash) == Some(&number)
            {
                self.waiting.remove(&hash);
            }
        }
    }

    /// Returns what is to be looked up next, at most so many.
    pub(crate) fn next_to_look_up(&mut self, count_max: usize) -> Vec<Hash> {
        let oldest = self.next - self.kept.len() as u64;
        self.looked_up = self.looked_up.max(oldest);
        let skip = (self.looked_up - oldest) as usize;
        self.kept.iter().skip(skip).take(count_max).copied().collect()
    }

    /// Notes which of the blocks that were to be looked up are here.
    pub(crate) fn looked_up(&mut self, found: &[(Hash, bool)]) {
        self.looked_up = (self.looked_up + found.len() as u64).min(self.next);
        for (hash, _) in found.iter().filter(|(_, here)| *here) {
            self.came(hash);
        }
    }

    /// Notes that a block is here now.
    pub(crate) fn came(&mut self, hash: &Hash) {
        if let Some(number) = self.waiting.remove(hash) {
            if self.here.len() == WATCHES_MAX {
                // Only who watches for the same over and over loses news.
                self.here.clear();
            }
            self.here.push(number);
        }
    }

    /// Returns after how long there are news to tell: none without any.
    pub(crate) fn due(&self, now: Micros) -> Option<Duration> {
        if self.looked_up > self.told_up {
            return Some(Duration::ZERO);
        }
        if self.here.is_empty() {
            return None;
        }
        let since =
            self.told_at.map_or(Duration::MAX, |at| Duration::from_micros(now.saturating_sub(at)));
        Some(NEWS_EVERY.saturating_sub(since))
    }

    /// Takes the news that are to be told now.
    pub(crate) fn news(&mut self, now: Micros) -> News {
        self.told_at = Some(now);
        self.told_up = self.looked_up;
        News { looked_up: self.looked_up, here: std::mem::take(&mut self.here) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(range: std::ops::Range<u64>) -> Vec<Hash> {
        range.map(|number| Hash::of(&number.to_le_bytes())).collect()
    }

    fn look_up(watches: &mut Watches, here: impl Fn(&Hash) -> bool) {
        loop {
            let next = watches.next_to_look_up(100);
            if next.is_empty() {
                return;
            }
            let found: Vec<_> = next.into_iter().map(|hash| (hash, here(&hash))).collect();
            watches.looked_up(&found);
        }
    }

    #[test]
    fn what_is_here_is_told_at_once_and_what_comes_a_little_later() {
        let (mut watches, all) = (Watches::default(), hashes(0..300));
        assert_eq!(watches.due(0), None);
        watches.watch(&all);
        look_up(&mut watches, |hash| *hash == all[7]);
        assert_eq!(watches.due(0), Some(Duration::ZERO));
        assert_eq!(watches.news(0), News { looked_up: 300, here: vec![7] });
        assert_eq!(watches.due(1), None);
        watches.came(&all[7]);
        assert_eq!(watches.due(1), None, "it is told once");
        watches.came(&all[299]);
        watches.came(&Hash([0; 32]));
        assert_eq!(watches.due(50_000), Some(Duration::from_millis(200)));
        assert_eq!(watches.due(250_000), Some(Duration::ZERO));
        assert_eq!(watches.news(250_000), News { looked_up: 300, here: vec![299] });
    }

    #[test]
    fn what_comes_while_it_is_looked_up_is_told() {
        let (mut watches, all) = (Watches::default(), hashes(0..2));
        watches.watch(&all);
        let asked = watches.next_to_look_up(100);
        watches.came(&all[1]);
        let found: Vec<_> = asked.into_iter().map(|hash| (hash, false)).collect();
        watches.looked_up(&found);
        assert_eq!(watches.news(0), News { looked_up: 2, here: vec![1] });
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let (mut watches, many) = (Watches::default(), 3 * WATCHES_MAX as u64);
        let all = hashes(0..many);
        all.chunks(256).for_each(|batch| watches.watch(batch));
        assert!(watches.kept.len() == WATCHES_MAX && watches.waiting.len() == WATCHES_MAX);
        look_up(&mut watches, |_| true);
        let news = watches.news(0);
        assert_eq!((news.looked_up, news.here.len()), (many, WATCHES_MAX));
        assert!(news.here.iter().all(|number| *number >= many - WATCHES_MAX as u64));
        // The same over and over.
        (0..3 * WATCHES_MAX).for_each(|_| watches.watch(&all[..1]));
        assert_eq!((watches.kept.len(), watches.waiting.len()), (WATCHES_MAX, 1));
        for _ in 0..3 * WATCHES_MAX {
            watches.came(&all[0]);
            watches.watch(&all[..1]);
        }
        assert!(watches.news(1).here.len() <= WATCHES_MAX);
    }
}
