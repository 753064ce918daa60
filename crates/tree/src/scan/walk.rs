//! Comparing whole directory trees: several threads list directories, one compares.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use dunlin_index::{RelPath, Storage};

use super::{Enter, Observed, ScanError, diff_dir};
use crate::disk::{DiskTable, RowId};
use crate::fs::{Fs, FsError, FsErrorKind, Listing};
use crate::ignore::IgnoreRules;

/// Directories that are given out for each thread, so that none waits for the comparing one.
const AHEAD: usize = 4;
/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 16;

/// How much a walk has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalkStats {
    /// Directories listed.
    pub directories: u64,
    /// Names found in them.
    pub entries: u64,
}

type Listed = (Enter, Result<Listing, FsError>);

/// Compares the whole folder with its rows and gives every difference to `sink`, directories in
/// no particular order. The ignore rules are read again where their files have changed.
///
/// With one thread all happens on the calling one, in a fixed order.
///
/// # Errors
/// Fails when the folder's root or the disk as a whole cannot be read; what was reported before
/// must not be acted on then. A single unreadable directory is an [`Observed::Unreadable`].
pub fn walk<S: Storage>(
    fs: &dyn Fs,
    table: &DiskTable<S>,
    ignore: &mut IgnoreRules,
    threads: NonZeroUsize,
    sink: &mut dyn FnMut(Observed),
) -> Result<WalkStats, ScanError> {
    let root = Enter { path: RelPath::root(), row: Some(RowId::ROOT), replaced: false };
    walk_from(fs, table, ignore, vec![root], threads, sink)
}

/// Compares the given directories and all below them.
pub(super) fn walk_from<S: Storage>(
    fs: &dyn Fs,
    table: &DiskTable<S>,
    ignore: &mut IgnoreRules,
    starts: Vec<Enter>,
    threads: NonZeroUsize,
    sink: &mut dyn FnMut(Observed),
) -> Result<WalkStats, ScanError> {
    let mut comparer =
        Comparer { fs, table, ignore, sink, stack: starts, stats: WalkStats::default() };
    let threads = threads.get().min(THREADS_MAX);
    if threads == 1 {
        while let Some(dir) = comparer.stack.pop() {
            let listing = fs.list(&dir.path);
            comparer.take((dir, listing))?;
        }
        return Ok(comparer.stats);
    }
    let ahead = threads * AHEAD;
    let (work, todo) = sync_channel::<Enter>(ahead);
    let (give, done) = sync_channel::<Listed>(ahead);
    let todo = Mutex::new(todo);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let give = give.clone();
            let todo = &todo;
            scope.spawn(move || list_all(fs, todo, &give));
        }
        drop(give);
        // The sender is dropped when this returns, which ends the threads.
        comparer.drive(work, &done, ahead)
    })?;
    Ok(comparer.stats)
}

/// A listing thread: takes directories until there are no more.
fn list_all(fs: &dyn Fs, todo: &Mutex<Receiver<Enter>>, give: &SyncSender<Listed>) {
    loop {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(dir) = next else { return };
        let listing = fs.list(&dir.path);
        if give.send((dir, listing)).is_err() {
            return;
        }
    }
}

struct Comparer<'a, S: Storage> {
    fs: &'a dyn Fs,
    table: &'a DiskTable<S>,
    ignore: &'a mut IgnoreRules,
    sink: &'a mut dyn FnMut(Observed),
    /// Directories to be listed. Last in, first out keeps it short: the siblings along one path.
    stack: Vec<Enter>,
    stats: WalkStats,
}

impl<S: Storage> Comparer<'_, S> {
    /// Keeps at most `ahead` directories with the threads, so that neither channel ever blocks
    /// both sides at once.
    #[allow(clippy::needless_pass_by_value)] // Dropping the sender is what ends the threads.
    fn drive(
        &mut self,
        work: SyncSender<Enter>,
        done: &Receiver<Listed>,
        ahead: usize,
    ) -> Result<(), ScanError> {
        let mut under_way = 0;
        loop {
            while under_way < ahead
                && let Some(dir) = self.stack.pop()
            {
                work.send(dir).map_err(|_| ScanError::Thread)?;
                under_way += 1;
            }
            if under_way == 0 {
                return Ok(());
            }
            let listed = done.recv().map_err(|_| ScanError::Thread)?;
            under_way -= 1;
            self.take(listed)?;
        }
    }

    fn take(&mut self, (dir, listing): Listed) -> Result<(), ScanError> {
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) if dir.path.is_root() || fails_everywhere(error.kind()) => {
                return Err(error.into());
            }
            Err(error) => {
                (self.sink)(Observed::Unreadable { path: dir.path, error });
                return Ok(());
            }
        };
        self.stats.directories += 1;
        self.stats.entries += listing.entries.len() as u64;
        self.ignore.refresh(self.fs, &dir.path, &listing);
        let diff = match dir.row {
            Some(row) => diff_dir(&dir, self.table.children(row), &listing, self.ignore)?,
            None => {
                diff_dir(&dir, std::iter::empty::<Result<_, ScanError>>(), &listing, self.ignore)?
            }
        };
        diff.observed.into_iter().for_each(&mut self.sink);
        self.stack.extend(diff.enter);
        Ok(())
    }
}

/// Whether going on would make a whole folder look empty.
pub(super) fn fails_everywhere(kind: FsErrorKind) -> bool {
    kind.pauses_folder() || kind == FsErrorKind::TooManyOpen
}
