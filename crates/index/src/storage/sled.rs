//! The storage on disk: sled, and the only module that names it.
//!
//! Three of sled 0.34's habits shape this module. Batches are atomic within one tree only, so all
//! spaces share one tree under key prefixes. An I/O error is remembered until the database is
//! opened again, so it sits behind a lock where [`SledStore::reopen`] can exchange it. And its own
//! flush ends in `sync_file_range`, which flushes neither the disk's cache nor the file's length,
//! so [`Storage::flush`] adds an `fdatasync`.

use std::{
    fs::File,
    ops::Bound,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Batch, Pair, Storage, StorageError};

/// The page cache that a node gives sled unless it is told otherwise: a limit, and not reserved.
///
/// It is large on purpose. A database that outgrows its cache makes sled evict and read pages all
/// the time, and memory grows far beyond the limit: filling 200,000 entries of 210 bytes in random
/// order left 784 MB resident with 4 MiB, 574 MB with 16 MiB, and 103 MB with 64 MiB or more.
pub const DEFAULT_CACHE_BYTES: u64 = 256 * 1024 * 1024;
/// The longest name of a space.
pub const SPACE_PREFIX_BYTES_MAX: usize = 255;
/// The file inside the database's directory that holds its log.
const LOG_FILE: &str = "db";
/// How often a reopening waits for the old instance's workers to let go of the lock, and how long.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A database on disk with any number of spaces. Cheap to clone; closed with its last clone and
/// space.
#[derive(Clone, Debug)]
pub struct SledStore {
    shared: Arc<Shared>,
}

/// One key space of a [`SledStore`]. Cheap to clone; clones are handles of the same space.
#[derive(Clone, Debug)]
pub struct SledSpace {
    shared: Arc<Shared>,
    /// Length byte and name: no space's prefix is the beginning of another's.
    prefix: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    cache_bytes: u64,
    /// None after a reopening that failed.
    open: RwLock<Option<Open>>,
    /// Commits so far, and how many of them were there at the last flush.
    committed: AtomicU64,
    flushed: Mutex<u64>,
}

#[derive(Debug)]
struct Open {
    database: sled::Db,
    log: File,
}

impl SledStore {
    /// Opens the database in the directory `path`, and makes it if it is missing.
    ///
    /// The cache is meant to hold at most about `cache_bytes`. One smaller than the database costs
    /// both time and memory, see [`DEFAULT_CACHE_BYTES`].
    ///
    /// # Errors
    ///
    /// [`StorageError::Locked`] while another store has it open, [`StorageError::Damaged`] for
    /// files that sled cannot read, or any fault of the file system.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StorageError> {
        let open = Open::new(path, cache_bytes)?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.to_owned(),
                cache_bytes,
                open: RwLock::new(Some(open)),
                committed: AtomicU64::new(0),
                flushed: Mutex::new(0),
            }),
        })
    }

    /// Returns the space with this name. The same name always gives the same space.
    ///
    /// # Panics
    ///
    /// When `prefix` is longer than [`SPACE_PREFIX_BYTES_MAX`].
    #[must_use]
    pub fn space(&self, prefix: &[u8]) -> SledSpace {
        let length = u8::try_from(prefix.len()).expect("a space's name has at most 255 bytes");
        let mut own = Vec::with_capacity(1 + prefix.len());
        own.push(length);
        own.extend_from_slice(prefix);
        SledSpace { shared: Arc::clone(&self.shared), prefix: own }
    }

    /// Closes the database and opens it again under all its spaces, which is how sled forgets an
    /// I/O error. What was committed and not flushed may be lost.
    ///
    /// # Errors
    ///
    /// As [`SledStore::open`]; the spaces then answer [`StorageError::Closed`] until a later
    /// reopening succeeds.
    pub fn reopen(&self) -> Result<(), StorageError> {
        self.shared.reopen()
    }

    /// Returns the bytes that the database takes on disk.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the files cannot be looked at.
    pub fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.shared.with(|open| open.database.size_on_disk())
    }
}

impl Open {
    fn new(path: &Path, cache_bytes: u64) -> Result<Self, StorageError> {
        let database = guarded(|| {
            sled::Config::new()
                .path(path)
                .cache_capacity(cache_bytes)
                // Durable is what was flushed by a caller who waited for it; a timer would only
                // add writes in between.
                .flush_every_ms(None)
                .open()
        })?;
        let log = File::open(path.join(LOG_FILE))?;
        Ok(Self { database, log })
    }
}

impl Shared {
    /// Runs `operation` on the open database.
    fn with<T>(&self, operation: impl FnOnce(&Open) -> sled::Result<T>) -> Result<T, StorageError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or(StorageError::Closed)?;
        guarded(|| operation(open))
    }

    fn flush(&self) -> Result<(), StorageError> {
        let target = self.committed.load(Ordering::Acquire);
        // One flush at a time: who waited here often finds that the one before did its work too.
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if *flushed >= target {
            return Ok(());
        }
        let covered = self.committed.load(Ordering::Acquire);
        self.with(|open| {
            open.database.flush()?;
            Ok(open.log.sync_data()?)
        })?;
        *flushed = covered;
        Ok(())
    }

    fn reopen(&self) -> Result<(), StorageError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Dropping it flushes, which may fail again, or panic: it is gone all the same.
        let old = open.take();
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(old)));
        let mut attempt = 1;
        loop {
            match Open::new(&self.path, self.cache_bytes) {
                Ok(new) => {
                    *open = Some(new);
                    return Ok(());
                }
                // The old instance's worker threads hold the lock until their last write ends.
                Err(StorageError::Locked) if attempt < LOCK_ATTEMPTS => {
                    attempt += 1;
                    thread::sleep(LOCK_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Runs a call into sled and turns its panics, which damaged files can cause, into errors.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, StorageError> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(StorageError::from),
        Err(payload) => {
            let message = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("it made its reader panic");
            Err(StorageError::Damaged { message: message.to_owned() })
        }
    }
}

impl From<sled::Error> for StorageError {
    fn from(error: sled::Error) -> Self {
        match error {
            // sled gives the operating system's error in its text only.
            sled::Error::Io(io) if io.to_string().starts_with("could not acquire lock") => {
                Self::Locked
            }
            sled::Error::Io(io) => Self::from(io),
            other => Self::Damaged { message: other.to_string() },
        }
    }
}

impl SledSpace {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }
}

impl Storage for SledSpace {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let key = self.key(key);
        self.shared.with(|open| Ok(open.database.get(&key)?.map(|value| value.to_vec())))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StorageError> {
        let own = self.prefix.len();
        let prefix = self.key(prefix);
        let start = match after.map(|after| self.key(after)) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix.clone()),
        };
        self.shared.with(|open| {
            let mut page = Vec::new();
            for pair in open.database.range((start, Bound::Unbounded)).take(limit) {
                let (key, value) = pair?;
                if !key.starts_with(&prefix) {
                    break;
                }
                page.push((key[own..].to_vec(), value.to_vec()));
            }
            Ok(page)
        })
    }

    fn commit(&self, batch: Batch) -> Result<(), StorageError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut changes = sled::Batch::default();
        for (key, value) in batch.into_changes() {
            let key = self.key(&key);
            match value {
                Some(value) => changes.insert(key, value),
                None => changes.remove(key),
            }
        }
        self.shared.with(|open| open.database.apply_batch(changes))?;
        self.shared.committed.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.shared.flush()
    }

    fn recover(&self) -> Result<(), StorageError> {
        self.shared.reopen()
    }
}
