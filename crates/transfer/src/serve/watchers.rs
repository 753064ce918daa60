//! The streams on which somebody watches for blocks: what is watched is looked up, and told of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dunlin_identity::{FolderId, Hash};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::watch::Watches;
use crate::protocol::News;
use crate::scheduler::Micros;

/// Streams on which watches are kept, at most; what is watched on others is not told of. Each takes
/// half a megabyte at most.
const WATCHERS_MAX: usize = 64;

/// All streams on which somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<HashMap<FolderId, Vec<Weak<Watcher>>>>);

impl Watchers {
    /// Takes up a stream. Returns whether there was room for it.
    pub(super) fn add(&self, folder: FolderId, watcher: &Arc<Watcher>) -> bool {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watchers in folders.values_mut() {
            watchers.retain(|watcher| watcher.strong_count() > 0);
        }
        folders.retain(|_, watchers| !watchers.is_empty());
        let room = folders.values().map(Vec::len).sum::<usize>() < WATCHERS_MAX;
        if room {
            folders.entry(folder).or_default().push(Arc::downgrade(watcher));
        }
        room
    }

    /// Tells all who watch for them that blocks of the folder have come.
    pub(crate) fn came(&self, folder: &FolderId, hashes: &[Hash]) {
        let watchers: Vec<Arc<Watcher>> = {
            let folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            folders.get(folder).into_iter().flatten().filter_map(Weak::upgrade).collect()
        };
        for watcher in watchers {
            let mut watches = watcher.watches();
            hashes.iter().for_each(|hash| watches.came(hash));
            drop(watches);
            watcher.told.notify_one();
        }
    }
}

/// What is watched on one stream.
#[derive(Debug)]
pub(super) struct Watcher {
    watches: Mutex<Watches>,
    /// Something is to be looked up.
    pub(super) asked: Notify,
    /// There may be something to tell.
    told: Notify,
    start: Instant,
}

impl Watcher {
    pub(super) fn new() -> Self {
        let (asked, told) = (Notify::new(), Notify::new());
        Self { watches: Mutex::default(), asked, told, start: Instant::now() }
    }

    pub(super) fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Micros {
        self.start.elapsed().as_micros() as Micros
    }

    /// Notes what was looked up.
    pub(super) fn looked_up(&self, found: &[(Hash, bool)]) {
        self.watches().looked_up(found);
        self.told.notify_one();
    }

    /// Returns when there are news to tell.
    pub(super) async fn due(&self) {
        loop {
            let wait = self.watches().due(self.now());
            match wait {
                Some(Duration::ZERO) => return,
                // Either way it is looked at again.
                Some(wait) => {
                    let _ = timeout(wait, self.told.notified()).await;
                }
                None => self.told.notified().await,
            }
        }
    }

    /// Takes the news that are to be told now.
    pub(super) fn news(&self) -> News {
        self.watches().news(self.now())
    }
}
