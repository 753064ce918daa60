//! A storage in memory that can crash, roll back and fail on purpose.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Batch, Pair, Storage, StorageError};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A storage in memory for tests and simulations. Clones share one content, as handles of one
/// database do.
#[derive(Clone, Debug, Default)]
pub struct MemStore {
    medium: Arc<Mutex<Medium>>,
}

#[derive(Debug, Default)]
struct Medium {
    content: Map,
    /// What each key held at the last flush, for the keys that were changed since.
    unflushed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    read_fault: Option<StorageError>,
    write_fault: Option<StorageError>,
}

/// The content of a [`MemStore`] at one moment, to be put back later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemSnapshot(Map);

impl MemStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        // Every change below leaves the maps whole, so a panic elsewhere harms nothing here.
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses all that was committed since the last flush, as a power cut does at worst.
    pub fn crash(&self) {
        let medium = &mut *self.medium();
        for (key, before) in std::mem::take(&mut medium.unflushed) {
            match before {
                Some(value) => medium.content.insert(key, value),
                None => medium.content.remove(&key),
            };
        }
    }

    /// Returns how many keys a [`crash`](Self::crash) would take back now.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.medium().unflushed.len()
    }

    /// Returns a copy of all that is visible now.
    #[must_use]
    pub fn snapshot(&self) -> MemSnapshot {
        MemSnapshot(self.medium().content.clone())
    }

    /// Returns a copy of all that is durable now, as a backup holds it at least.
    #[must_use]
    pub fn durable_snapshot(&self) -> MemSnapshot {
        let medium = self.medium();
        let mut content = medium.content.clone();
        for (key, before) in &medium.unflushed {
            match before {
                Some(value) => content.insert(key.clone(), value.clone()),
                None => content.remove(key),
            };
        }
        MemSnapshot(content)
    }

    /// Puts a snapshot in place of the content, durably, as restoring a backup does.
    pub fn restore(&self, snapshot: &MemSnapshot) {
        let medium = &mut *self.medium();
        medium.content.clone_from(&snapshot.0);
        medium.unflushed.clear();
    }

    /// Lets every commit and flush fail with `fault`, without any effect, until called with none.
    pub fn fail_writes(&self, fault: Option<StorageError>) {
        self.medium().write_fault = fault;
    }

    /// Lets every get and scan fail with `fault` until called with none.
    pub fn fail_reads(&self, fault: Option<StorageError>) {
        self.medium().read_fault = fault;
    }

    /// Returns how many keys the store holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.medium().content.len()
    }

    /// Tells whether the store holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.medium().content.is_empty()
    }
}

impl Storage for MemStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let medium = self.medium();
        medium.read_fault.clone().map_or(Ok(()), Err)?;
        Ok(medium.content.get(key).cloned())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let medium = self.medium();
        medium.read_fault.clone().map_or(Ok(()), Err)?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(medium
            .content
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        let medium = &mut *self.medium();
        medium.write_fault.clone().map_or(Ok(()), Err)?;
        for (key, value) in batch.into_changes() {
            let before = match value {
                Some(value) => medium.content.insert(key.clone(), value),
                None => medium.content.remove(&key),
            };
            // The first change since the flush is the one that knows the flushed value.
            medium.unflushed.entry(key).or_insert(before);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        let medium = &mut *self.medium();
        medium.write_fault.clone().map_or(Ok(()), Err)?;
        medium.unflushed.clear();
        Ok(())
    }
}
