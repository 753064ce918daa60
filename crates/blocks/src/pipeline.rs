//! Cutting and hashing a large file on several cores.
//!
//! One thread reads ahead, the caller's thread cuts, and a small pool hashes what is cut. Buffers
//! go round between them, so memory is bounded by their number: (threads + 2) times some 4 MiB, or
//! 8 MiB for files above 8 GiB.

use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::address;
use crate::chunking::{Chunking, chunking_for};
use crate::hasher::{FileHash, HashError, Hasher, READ_LEN, assemble};
use crate::manifest::BlockRef;

/// Bytes that are read into a buffer at a time.
const FILL: usize = 4 << 20;
/// Below this size threads cost more than they bring.
const PARALLEL_MIN: u64 = 8 << 20;
/// More threads than this hash faster than one thread can cut.
const THREADS_MAX: usize = 4;

/// Bytes of the file behind `head` bytes of room, into which what the buffer before left uncut is
/// copied, so that every block lies in one piece.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

/// A buffer whose blocks are to be hashed, with its number in the file's order.
struct Job {
    number: usize,
    buffer: Buffer,
    blocks: Vec<Range<usize>>,
}

/// Reads, cuts and hashes a file with up to `threads` hashing threads; the result is the same as
/// [`hash_reader`](crate::hash_reader)'s.
///
/// `read_at` fills a part of the buffer from an offset and returns how much, 0 at the end of the
/// file, like `pread`. `size` is the file's size as far as known. Memory: at most some
/// (`threads` + 2) times 4.25 MiB, 8 MiB for files above 8 GiB.
///
/// # Errors
/// What `read_at` gives; [`io::ErrorKind::InvalidData`] around a [`HashError`] when the file
/// changed its size meanwhile so much that it must be hashed again.
pub fn hash_file<R>(read_at: R, size: u64, threads: usize) -> io::Result<FileHash>
where
    R: Fn(&mut [u8], u64) -> io::Result<usize> + Sync,
{
    if size < PARALLEL_MIN || threads < 2 {
        return hash_in_order(&read_at, size);
    }
    let threads = threads.min(THREADS_MAX);
    let chunking = chunking_for(size);
    let head = chunking.max as usize;
    let (free_send, free) = sync_channel(threads + 2);
    for _ in 0..threads + 2 {
        let buffer = Buffer { bytes: vec![0; head + FILL], filled: 0 };
        free_send.send(buffer).expect("the channel has room for all buffers");
    }
    let (full_send, full) = sync_channel(1);
    let (jobs_send, jobs) = sync_channel(threads);
    let jobs = Mutex::new(jobs);
    let hashed = Mutex::new(Vec::new());
    let found = thread::scope(|scope| {
        scope.spawn(|| read_ahead(&read_at, head, free, full_send));
        for _ in 0..threads {
            let free_send = free_send.clone();
            scope.spawn(|| hash_jobs(&jobs, &hashed, free_send));
        }
        drop(free_send);
        cut_all(chunking, &full, jobs_send)
    })?;
    if chunking_for(found) != chunking {
        return Err(HashError::SizeChanged { expected: size, found }.into());
    }
    let mut hashed = hashed.into_inner().unwrap_or_else(PoisonError::into_inner);
    hashed.sort_unstable_by_key(|(number, _)| *number);
    Ok(assemble(found, hashed.into_iter().flat_map(|(_, blocks)| blocks).collect())?)
}

fn hash_in_order<R>(read_at: &R, size: u64) -> io::Result<FileHash>
where
    R: Fn(&mut [u8], u64) -> io::Result<usize>,
{
    let mut hasher = Hasher::new(size);
    // One byte more than the size, so that the end is seen without growing the buffer.
    let len = usize::try_from(size.saturating_add(1)).unwrap_or(READ_LEN).min(READ_LEN);
    let mut buffer = vec![0; len];
    let mut offset = 0;
    loop {
        let read = read_some(read_at, &mut buffer, offset)?;
        if read == 0 {
            return Ok(hasher.finish()?);
        }
        hasher.push(&buffer[..read]);
        offset += read as u64;
    }
}

/// Reads once, again when a signal interrupted it.
fn read_some<R>(read_at: &R, buffer: &mut [u8], offset: u64) -> io::Result<usize>
where
    R: Fn(&mut [u8], u64) -> io::Result<usize>,
{
    loop {
        match read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Fills buffers in the file's order until its end, an error, or nobody wants more.
#[allow(clippy::needless_pass_by_value)] // Dropping the channels' ends is what ends the others.
fn read_ahead<R>(
    read_at: &R,
    head: usize,
    free: Receiver<Buffer>,
    full: SyncSender<io::Result<Buffer>>,
) where
    R: Fn(&mut [u8], u64) -> io::Result<usize>,
{
    let mut offset = 0;
    while let Ok(mut buffer) = free.recv() {
        buffer.filled = 0;
        let mut at_end = false;
        while buffer.filled < FILL && !at_end {
            let rest = &mut buffer.bytes[head + buffer.filled..];
            match read_some(read_at, rest, offset) {
                Ok(read) => {
                    at_end = read == 0;
                    buffer.filled += read;
                    offset += read as u64;
                }
                Err(error) => {
                    // When nobody listens any more, there is nobody to tell.
                    let _ = full.send(Err(error));
                    return;
                }
            }
        }
        if full.send(Ok(buffer)).is_err() || at_end {
            return;
        }
    }
}

/// Cuts buffer after buffer and passes each on; returns the bytes of the whole file.
#[allow(clippy::needless_pass_by_value)] // As in `read_ahead`.
fn cut_all(
    chunking: Chunking,
    full: &Receiver<io::Result<Buffer>>,
    jobs: SyncSender<Job>,
) -> io::Result<u64> {
    let (head, max) = (chunking.max as usize, chunking.max as usize);
    let mut left_over = Vec::with_capacity(head);
    let mut size = 0;
    let mut number = 0;
    while let Ok(buffer) = full.recv() {
        let mut buffer = buffer?;
        let at_end = buffer.filled < FILL;
        size += buffer.filled as u64;
        let end = head + buffer.filled;
        let mut start = head - left_over.len();
        buffer.bytes[start..head].copy_from_slice(&left_over);
        let mut blocks = Vec::with_capacity(2 * FILL / chunking.avg as usize);
        while end - start >= max || (at_end && start < end) {
            let len = chunking.first_block(&buffer.bytes[start..end]);
            blocks.push(start..start + len);
            start += len;
        }
        left_over.clear();
        left_over.extend_from_slice(&buffer.bytes[start..end]);
        if jobs.send(Job { number, buffer, blocks }).is_err() {
            return Err(io::Error::other("the hashing threads have ended early"));
        }
        number += 1;
    }
    Ok(size)
}

/// Hashes buffers until there are no more, and gives them back.
#[allow(clippy::needless_pass_by_value)] // As in `read_ahead`.
fn hash_jobs(
    jobs: &Mutex<Receiver<Job>>,
    hashed: &Mutex<Vec<(usize, Vec<BlockRef>)>>,
    free: SyncSender<Buffer>,
) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { number, buffer, blocks }) = job else { return };
        let hash = |range: Range<usize>| {
            let block = &buffer.bytes[range];
            BlockRef { hash: address(block), len: block.len() as u32 }
        };
        let blocks = blocks.into_iter().map(hash).collect();
        hashed.lock().unwrap_or_else(PoisonError::into_inner).push((number, blocks));
        // The reader has gone when the file has ended.
        let _ = free.send(buffer);
    }
}
