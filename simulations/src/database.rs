//! The database of a simulated device: the key spaces of one folder in one log, as in sled.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_engine::take_up::Spaces;
use dunlin_index::storage::{MemSnapshot, Pair};
use dunlin_index::{Batch, MemStore, Storage, StorageError};
use dunlin_tree::fs::{Fault, Memory};

/// How many key spaces a folder has.
const SPACES: usize = 6;

/// The database of one device; clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    spaces: Arc<[MemStore; SPACES]>,
    death: Arc<Mutex<Death>>,
}

/// When the process is to be killed.
#[derive(Debug, Default)]
struct Death {
    commits: u64,
    /// The commit or flush before which the process dies.
    at: Option<u64>,
    /// The disk of the same device, which then must not be written either.
    disk: Option<Memory>,
    /// The operation of the disk before which the process dies.
    disk_at: Option<u64>,
}

/// A copy of a database, as a backup holds it.
#[derive(Clone, Debug)]
pub struct Backup([MemSnapshot; SPACES]);

/// One key space.
#[derive(Clone, Debug)]
pub struct Space {
    database: Database,
    number: usize,
}

impl Database {
    /// An empty database.
    pub fn new() -> Self {
        let spaces = std::array::from_fn(|_| MemStore::new());
        Self { spaces: Arc::new(spaces), death: Arc::default() }
    }

    fn death(&self) -> MutexGuard<'_, Death> {
        // Every change leaves it whole, so a panic elsewhere harms nothing here.
        self.death.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key spaces of the folder.
    pub fn spaces(&self) -> Spaces<Space> {
        let space = |number| Space { database: self.clone(), number };
        Spaces {
            index: space(0),
            rows: space(1),
            manifests: space(2),
            meta: space(3),
            history: space(4),
            texts: space(5),
        }
    }

    /// Has the process die before its so-many-th write from now on, to the database or to the disk.
    pub fn die_before(&self, disk: &Memory, commit: Option<u64>, operation: Option<u64>) {
        let mut death = self.death();
        death.at = commit.map(|commit| death.commits + commit);
        death.disk_at = operation.map(|operation| disk.operations() + operation);
        if let Some(operation) = operation {
            disk.inject(Fault::Halt(operation));
        }
        death.disk = Some(disk.clone());
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.death().is_over()
    }

    /// Starts anew after a death. A power cut loses what was not flushed, unless it was `flushed`
    /// by another folder just before; the end of a process alone loses nothing.
    pub fn restart(&self, power_cut: bool, flushed: bool) {
        *self.death() = Death::default();
        if power_cut && !flushed {
            self.spaces.iter().for_each(MemStore::crash);
        }
        self.fail_writes(None);
    }

    /// Lets every write fail, until called with none.
    pub fn fail_writes(&self, fault: Option<&StorageError>) {
        self.spaces.iter().for_each(|space| space.fail_writes(fault.cloned()));
    }

    /// Copies everything that is durable now.
    pub fn backup(&self) -> Backup {
        Backup(std::array::from_fn(|number| self.spaces[number].durable_snapshot()))
    }

    /// Puts a copy in place.
    pub fn restore(&self, backup: &Backup) {
        for (space, snapshot) in self.spaces.iter().zip(&backup.0) {
            space.restore(snapshot);
        }
    }

    /// Loses everything.
    pub fn lose(&self) {
        let empty = MemStore::new().snapshot();
        self.spaces.iter().for_each(|space| space.restore(&empty));
    }

    fn write(&self) -> Result<(), StorageError> {
        let mut death = self.death();
        death.commits += 1;
        if death.is_over() {
            if let Some(disk) = &death.disk {
                disk.inject(Fault::Halt(0));
            }
            let message = "the process was killed".to_owned();
            return Err(StorageError::Io { kind: io::ErrorKind::Other, message });
        }
        Ok(())
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

impl Death {
    fn is_over(&self) -> bool {
        let by_commit = self.at.is_some_and(|at| self.commits > at);
        let operations = self.disk.as_ref().map_or(0, Memory::operations);
        by_commit || self.disk_at.is_some_and(|at| operations > at)
    }
}

impl Space {
    fn store(&self) -> &MemStore {
        &self.database.spaces[self.number]
    }
}

impl Storage for Space {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.store().get(key)
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        self.store().scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        self.database.write()?;
        self.store().commit(batch)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.database.write()?;
        // One log holds all spaces: what one of them makes durable, is durable for all.
        self.database.spaces.iter().try_for_each(MemStore::flush)
    }
}
