//! Finding the members of a folder through the DHT.
//!
//! Each device provides under each folder's key of the day, and looks for others under the keys
//! of yesterday, today and tomorrow, so that clocks a day apart still meet. The keys of two days
//! cannot be linked by anyone without the folder's secret.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::PeerId;
use libp2p::kad::{self, QueryId, RecordKey};

use crate::peering::Folders;

type Kad = kad::Behaviour<kad::store::MemoryStore>;

/// Time between two rounds when nothing happens.
const ROUND_INTERVAL: Duration = Duration::from_secs(600);
/// Time between news (a folder, a new neighbour in the DHT) and the round that it causes.
const NEWS_DELAY: Duration = Duration::from_millis(150);
/// The shortest time between two rounds.
const ROUND_INTERVAL_MIN: Duration = Duration::from_secs(3);
/// Lookups that may run at once; a lookup is three queries for a folder.
const QUERIES_MAX: usize = 192;
const DAY_SECONDS: u64 = 86_400;

/// The state of the search.
#[derive(Debug)]
pub(crate) struct Discovery {
    provided: BTreeSet<[u8; 32]>,
    queries: HashMap<QueryId, Instant>,
    /// Where the next round goes on, when there are more folders than one round may ask for.
    cursor: usize,
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Discovery {
    pub(crate) fn new() -> Self {
        Self {
            provided: BTreeSet::new(),
            queries: HashMap::new(),
            cursor: 0,
            last: None,
            due: None,
        }
    }

    /// Returns when the next round is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes that a round may find something new.
    pub(crate) fn news(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| (last + ROUND_INTERVAL_MIN).max(now));
        let due = earliest + NEWS_DELAY;
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// Provides and looks up, if a round is due.
    pub(crate) fn round(&mut self, kad: &mut Kad, folders: &Folders, day: u64, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.last = Some(now);
        self.due = Some(now + ROUND_INTERVAL);
        let today: BTreeSet<[u8; 32]> =
            folders.values().map(|access| access.keys.rendezvous(day)).collect();
        for gone in self.provided.difference(&today) {
            kad.stop_providing(&RecordKey::new(gone));
        }
        for key in &today {
            // Again each round: the neighbours may be others than last time.
            if let Err(reason) = kad.start_providing(RecordKey::new(key)) {
                tracing::debug!(%reason, "cannot provide in the DHT");
            }
        }
        self.provided = today;
        self.queries.retain(|_, since| now.duration_since(*since) < Duration::from_secs(60));
        let room = (QUERIES_MAX.saturating_sub(self.queries.len()) / 3).min(folders.len());
        for access in folders.values().cycle().skip(self.cursor).take(room) {
            let keys = &access.keys;
            for day in [day, day.saturating_sub(1), day + 1] {
                let query = kad.get_providers(RecordKey::new(&keys.rendezvous(day)));
                self.queries.insert(query, now);
            }
        }
        self.cursor = if folders.is_empty() { 0 } else { (self.cursor + room) % folders.len() };
    }

    /// Takes a result; gives the peers that it names.
    pub(crate) fn on_result(
        &mut self,
        id: QueryId,
        result: kad::QueryResult,
        last: bool,
    ) -> Vec<PeerId> {
        if last && self.queries.remove(&id).is_none() {
            return Vec::new();
        }
        match result {
            kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders {
                providers,
                ..
            })) => providers.into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// Returns the days since 1970.
pub(crate) fn day_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY_SECONDS)
}
