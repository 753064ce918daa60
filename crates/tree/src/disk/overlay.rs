//! Staged changes in front of a [`Storage`]: visible to reads at once, written in one batch.

use std::collections::BTreeMap;
use std::ops::Bound;

use dunlin_index::{Batch, Storage, StorageError};

/// Key and value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

#[derive(Debug)]
pub(super) struct Overlay<S> {
    storage: S,
    /// `None` stands for a key that is to be deleted.
    staged: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<S: Storage> Overlay<S> {
    pub(super) fn new(storage: S) -> Self {
        Self { storage, staged: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.staged.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.staged.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.storage.get(key),
        }
    }

    /// Gives what is staged; no value stands for a key that is to be deleted.
    pub(super) fn staged(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.staged
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.staged.insert(key, Some(value));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.staged.insert(key, None);
    }

    /// Merges what is stored with what is staged, as [`Storage::scan`] would return it.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let from = match after {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix),
        };
        let mut staged = self
            .staged
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let mut out: Vec<Pair> = Vec::new();
        let mut cursor = after.map(<[u8]>::to_vec);
        loop {
            let wanted = limit.saturating_sub(out.len()).clamp(1, SCAN_KEYS_MAX);
            let page = self.storage.scan(prefix, cursor.as_deref(), wanted)?;
            let last = page.len() < wanted;
            cursor = page.last().map(|(key, _)| key.clone()).or(cursor);
            for (key, value) in page {
                while let Some((staged_key, staged_value)) =
                    staged.next_if(|(staged_key, _)| **staged_key < key)
                {
                    push(&mut out, staged_key, staged_value.as_ref());
                }
                match staged.next_if(|(staged_key, _)| **staged_key == key) {
                    Some((_, staged_value)) => push(&mut out, &key, staged_value.as_ref()),
                    None => out.push((key, value)),
                }
                if out.len() >= limit {
                    break;
                }
            }
            if last && out.len() < limit {
                for (key, value) in staged.by_ref() {
                    push(&mut out, key, value.as_ref());
                    if out.len() >= limit {
                        break;
                    }
                }
            }
            if last || out.len() >= limit {
                out.truncate(limit);
                return Ok(out);
            }
        }
    }

    pub(super) fn write_back(&mut self, durable: bool) -> Result<(), StorageError> {
        if !self.staged.is_empty() {
            let mut batch = Batch::default();
            for (key, value) in &self.staged {
                match value {
                    Some(value) => batch.put(key.clone(), value.clone()),
                    None => batch.delete(key.clone()),
                }
            }
            self.storage.commit(batch)?;
            // Only now: a failed commit must not lose what was staged.
            self.staged.clear();
        }
        if durable { self.storage.flush() } else { Ok(()) }
    }
}

/// Keys that are asked of the storage at once.
const SCAN_KEYS_MAX: usize = 1024;

fn push(out: &mut Vec<Pair>, key: &[u8], value: Option<&Vec<u8>>) {
    if let Some(value) = value {
        out.push((key.to_vec(), value.clone()));
    }
}
