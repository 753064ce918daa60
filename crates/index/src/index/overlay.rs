//! Staged changes over a storage: seen at once by reads, written back as one atomic batch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::entry::EntryRec;
use super::keys;
use crate::error::IndexError;
use crate::ids::EntryId;
use crate::storage::{Batch, Storage};

/// The most decoded entries that are kept besides the changed ones; some 0.5 KiB each.
const CACHE_ENTRIES_MAX: usize = 4096;

type Cached = Option<Arc<EntryRec>>;
type Pair = (Vec<u8>, Vec<u8>);

/// A storage with changes that are not written back yet.
pub(super) struct Overlay<S> {
    storage: S,
    staged: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Changed entries, encoded only when they are written back.
    entries: BTreeMap<EntryId, Arc<EntryRec>>,
    cache: RefCell<BTreeMap<EntryId, Cached>>,
}

impl<S: Storage> Overlay<S> {
    pub(super) fn new(storage: S) -> Self {
        Self {
            storage,
            staged: BTreeMap::new(),
            entries: BTreeMap::new(),
            cache: RefCell::new(BTreeMap::new()),
        }
    }

    pub(super) fn entry(&self, id: &EntryId) -> Result<Cached, IndexError> {
        if let Some(rec) = self.entries.get(id) {
            return Ok(Some(rec.clone()));
        }
        if let Some(cached) = self.cache.borrow().get(id) {
            return Ok(cached.clone());
        }
        let stored = self.get(&keys::entry(id))?;
        let rec = stored.map(|bytes| EntryRec::decode(&bytes)).transpose()?.map(Arc::new);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHE_ENTRIES_MAX {
            // Dropping all is crude but bounded and the same in every run.
            cache.clear();
        }
        cache.insert(*id, rec.clone());
        Ok(rec)
    }

    pub(super) fn put_entry(&mut self, id: EntryId, rec: Arc<EntryRec>) {
        self.cache.get_mut().remove(&id);
        self.entries.insert(id, rec);
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.staged.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.storage.get(key)?),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.staged.insert(key, Some(value));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.staged.insert(key, None);
    }

    /// Gives at most `limit` pairs under a prefix, sorted, strictly after `after`.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, IndexError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let mut staged = self
            .staged
            .range((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        if staged.peek().is_none() {
            return Ok(self.storage.scan(prefix, after, limit)?);
        }
        let mut found = Vec::new();
        let mut position = after.map(<[u8]>::to_vec);
        loop {
            // Staged deletions may hide stored pairs, so more than one page may be needed.
            let page_len = limit.saturating_sub(found.len()).min(1024);
            let page = self.storage.scan(prefix, position.as_deref(), page_len)?;
            let last_page = page.len() < page_len;
            position = page.last().map(|(key, _)| key.clone()).or(position);
            for (key, value) in page {
                while let Some((other, change)) = staged.next_if(|(other, _)| **other < key) {
                    found.extend(change.as_ref().map(|change| (other.clone(), change.clone())));
                }
                match staged.next_if(|(other, _)| **other == key) {
                    Some((_, change)) => {
                        found.extend(change.as_ref().map(|change| (key, change.clone())));
                    }
                    None => found.push((key, value)),
                }
                if found.len() >= limit {
                    found.truncate(limit);
                    return Ok(found);
                }
            }
            if last_page {
                for (key, change) in staged.by_ref() {
                    found.extend(change.as_ref().map(|change| (key.clone(), change.clone())));
                    if found.len() >= limit {
                        break;
                    }
                }
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    /// Visits all pairs under a prefix, sorted; they are read some at a time.
    pub(super) fn each(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(prefix, after.as_deref(), 1024)?;
            for (key, value) in &page {
                visit(key, value)?;
            }
            let Some((last, _)) = page.into_iter().next_back() else { return Ok(()) };
            after = Some(last);
        }
    }

    /// Encodes the changed entries, so that a scan of the entries sees them too.
    pub(super) fn stage_entries(&mut self) {
        for (id, rec) in std::mem::take(&mut self.entries) {
            self.staged.insert(keys::entry(&id), Some(rec.encode()));
            let cache = self.cache.get_mut();
            if cache.len() < CACHE_ENTRIES_MAX {
                cache.insert(id, Some(rec));
            }
        }
    }

    pub(super) fn write_back(&mut self, durable: bool) -> Result<(), IndexError> {
        self.stage_entries();
        if !self.staged.is_empty() {
            let mut batch = Batch::default();
            for (key, value) in &self.staged {
                match value {
                    Some(value) => batch.put(key.clone(), value.clone()),
                    None => batch.delete(key.clone()),
                }
            }
            self.storage.commit(batch)?;
            self.staged.clear();
        }
        if durable {
            self.storage.flush()?;
        }
        Ok(())
    }

    /// Deletes everything under a prefix.
    pub(super) fn wipe(&mut self, prefix: &[u8]) -> Result<(), IndexError> {
        self.stage_entries();
        self.cache.get_mut().clear();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(prefix, after.as_deref(), 1024)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, _) in page {
                self.staged.insert(key, None);
            }
        }
    }

    /// Tells whether nothing is staged.
    pub(super) fn is_clean(&self) -> bool {
        self.staged.is_empty() && self.entries.is_empty()
    }
}
