//! A folder in memory: deterministic, with a user who changes it, a disk that fails and a power cut.
//!
//! It keeps to what POSIX promises and to what ext4 does after a power cut: names survive as a prefix of
//! the order in which they were changed since the last sync, content that was not synced is old, cut off
//! or new. One seed gives one run.

mod file;
mod state;
mod volume;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_index::RelPath;

use super::{Folder, FsErrorKind};
use state::State;

/// A folder in memory.
pub type MemFs = Folder<Memory>;

/// A file system in memory. Clones share it: one can be kept aside to act as the user.
#[derive(Debug, Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
}

/// What a user does to the folder, past [`Fs`](super::Fs). What cannot be done is left undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserOp {
    /// Writes a file in place, making it and its directories if they are missing.
    Write(RelPath, Vec<u8>),
    /// Saves as editors do: writes a new file and renames it over the old one.
    Replace(RelPath, Vec<u8>),
    /// Makes a directory and those above it.
    Mkdir(RelPath),
    /// Makes a symlink, in place of whatever is there.
    Symlink(RelPath, String),
    /// Makes a FIFO.
    Fifo(RelPath),
    /// Renames, over whatever file is there.
    Rename(RelPath, RelPath),
    /// Removes a file, or a directory with all that is in it.
    Remove(RelPath),
    /// Sets the permission bits.
    Chmod(RelPath, u32),
}

/// The contents of files by their paths from the root, as [`Memory::all_contents`] gives them.
pub type Contents = Vec<(String, Arc<Vec<u8>>)>;

/// Something that the user was to do at a certain moment, and has done.
#[derive(Debug)]
pub struct Acted {
    /// What was there just before.
    pub before: Contents,
    /// What was there just after.
    pub after: Contents,
}

/// A failure to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation with this number from now on (0: the next) fails, once.
    Once(u64, FsErrorKind),
    /// From the operation with this number from now on, all fail with `Io`: the process was killed.
    Halt(u64),
    /// Nothing can be changed.
    ReadOnly,
    /// No more than this many bytes fit.
    Capacity(u64),
    /// The file system does not know `RENAME_EXCHANGE`.
    NoExchange,
    /// The file system does not know `RENAME_NOREPLACE` either.
    NoNoReplace,
    /// The file system has no hard links.
    NoLinks,
    /// The root's path leads nowhere.
    Unmounted,
    /// The root's path leads to another, empty directory.
    MountedOver,
}

/// A change that a watcher of the folder would have been told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// What was changed: the name that appeared or went, or the file that was written.
    pub path: RelPath,
    /// Whether the name is gone.
    pub gone: bool,
}

impl MemFs {
    /// An empty folder; all that is left to chance follows the seed.
    pub fn new(seed: u64) -> Self {
        Folder::on(Memory::new(seed)).expect("a new file system has a root")
    }
}

impl Memory {
    /// An empty file system.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in one test thread must not hide behind a poisoned lock in another.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock, in nanoseconds since 1970. Each operation takes 1,000 ns more.
    pub fn set_time(&self, now_ns: i64) {
        self.state().now_ns = now_ns;
    }

    /// Rounds all times down to this many nanoseconds, as old file systems do.
    pub fn set_time_grain(&self, grain_ns: i64) {
        self.state().grain_ns = grain_ns.max(1);
    }

    /// Lets the user do something now.
    pub fn user(&self, op: &UserOp) {
        self.state().user(op);
    }

    /// Lets the user do something just before the operation with that number from now on (0: the next).
    pub fn user_before(&self, operation: u64, op: UserOp) {
        let mut state = self.state();
        let at = state.operations + operation;
        state.scheduled.entry(at).or_default().push(op);
    }

    /// Takes what has come of [`Self::user_before`] since the last call, oldest first.
    pub fn take_acted(&self) -> Vec<Acted> {
        std::mem::take(&mut self.state().acted)
    }

    /// Number of operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Injects a failure.
    pub fn inject(&self, fault: Fault) {
        self.state().inject(fault);
    }

    /// Takes back all injected failures and everything that the user was about to do. After
    /// [`Fault::Halt`] this is the restart after `kill -9`: nothing is lost.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults = state::Faults::default();
        state.scheduled.clear();
    }

    /// Cuts the power and starts again: what was not synced may be lost.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// The content of a file, as the user sees it.
    pub fn content(&self, path: &RelPath) -> Option<Vec<u8>> {
        self.state().content(path)
    }

    /// The contents of all files, those in `.dunlin` included, by their paths from the root. As long
    /// as one is held, nothing else is shown in its allocation: what is the same there is unchanged.
    pub fn all_contents(&self) -> Contents {
        self.state().all_contents()
    }

    /// Takes what a watcher would have been told since the last call, oldest first. At most
    /// [`TOUCHED_MAX`] are kept; `None` when there were more.
    pub fn take_touched(&self) -> Option<Vec<Touched>> {
        self.state().take_touched()
    }
}

/// Most changes that are kept for [`Memory::take_touched`].
pub const TOUCHED_MAX: usize = 16 * 1024;
