//! Contents on their way to the disk: into temporary files, and durable there, before any of them
//! is put in place.
//!
//! A first sync is mostly this: making a small file takes the kernel longer than all that is
//! computed about it. So they are written from several threads, and while one half of many is made
//! durable, which is waiting for the disk, the other one is written or put in place.

use std::num::NonZeroUsize;

use bytes::Bytes;
use dunlin_blocks::FileHash;
use dunlin_index::{Content, EntryId, Item};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::{Fs, FsError, TempName};

use super::error::Blocked;
use crate::texts::Base;

/// Up to this many files are made durable one by one; more, all at once.
pub(crate) const SYNC_EACH_MAX: usize = 4;
/// Bytes that wait in memory to be written.
pub(super) const UNWRITTEN_BYTES_MAX: usize = 8 << 20;
/// Fewer files than this are not worth another thread.
const FILES_PER_THREAD_MIN: usize = 32;
/// So many files or more are worth being made durable in two halves.
const HALVED_MIN: usize = 256;

/// A content that waits to be put in place.
pub(super) struct Staged {
    pub(super) item: Item,
    /// What it takes the place of.
    pub(super) row: Option<Row>,
    pub(super) temp: TempName,
    /// The content, until it is in the temporary file.
    pub(super) data: Option<Bytes>,
    /// The blocks of a file that is not small.
    pub(super) hash: Option<FileHash>,
    /// What a text is made of.
    pub(super) base: Option<Base>,
}

impl Staged {
    /// Writes the content that is in memory, if one is.
    fn write<F: Fs>(&mut self, fs: &F) -> Result<(), FsError> {
        if let (Some(data), Content::File { mtime_ns, .. }) = (&self.data, &self.item.content) {
            fs.temp_write(&self.temp, data, self.item.mode, *mtime_ns)?;
            self.data = None;
        }
        Ok(())
    }
}

/// Writes what is in memory into the temporary files; returns what could not be written, and why.
pub(super) fn write_all<F: Fs>(
    fs: &F,
    staged: &mut [Staged],
    threads: NonZeroUsize,
) -> Vec<(EntryId, FsError)> {
    let write = |part: &mut [Staged]| -> Vec<(EntryId, FsError)> {
        let tried = part.iter_mut().map(|one| (one.item.key.entry, one.write(fs)));
        tried.filter_map(|(entry, written)| Some((entry, written.err()?))).collect()
    };
    let part = staged.len().div_ceil(threads.get()).max(FILES_PER_THREAD_MIN);
    let mut parts = staged.chunks_mut(part);
    let own = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(|| write(part))).collect();
        let mut failed = write(own);
        for other in others {
            failed.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        failed
    })
}

/// Splits off the second half of what is staged, if it is worth it. With a single thread nothing
/// goes on beside what waits for the disk.
pub(super) fn second_half(staged: &mut Vec<Staged>, threads: NonZeroUsize) -> Vec<Staged> {
    if threads.get() > 1 && staged.len() >= HALVED_MIN {
        staged.split_off(staged.len() / 2)
    } else {
        Vec::new()
    }
}

/// Makes temporary files durable while something else is done.
pub(super) fn make_durable_beside<F: Fs, T>(
    fs: &F,
    staged: &[Staged],
    work: impl FnOnce() -> Result<T, Blocked>,
) -> Result<T, Blocked> {
    std::thread::scope(|scope| {
        let durable = scope.spawn(|| make_durable(fs, staged));
        let done = work();
        durable.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        done
    })
}

/// Makes temporary files durable. Those that came block by block get their mode and time first.
pub(super) fn make_durable<F: Fs>(fs: &F, staged: &[Staged]) -> Result<(), FsError> {
    let one_by_one = staged.len() <= SYNC_EACH_MAX;
    for staged in staged {
        let by_blocks = staged.hash.is_some();
        let Content::File { mtime_ns, .. } = staged.item.content else { continue };
        if !by_blocks && !one_by_one {
            continue;
        }
        let file = fs.temp_create(&staged.temp, 0)?;
        if by_blocks {
            file.set_mode(staged.item.mode)?;
            file.set_mtime(mtime_ns)?;
        }
        if one_by_one {
            file.sync()?;
        }
    }
    if one_by_one { Ok(()) } else { fs.sync_all() }
}
