//! An open file in memory.

use std::any::Any;

use super::Memory;
use super::state::failure;
use crate::fs::{FsError, FsErrorKind as Kind, ReadAt, Stat, WriteAt};

/// An open file: it leads to its inode, wherever the name goes.
pub(super) struct MemFile {
    memory: Memory,
    ino: u64,
    shown: String,
}

impl MemFile {
    /// Opens an inode; the caller holds no lock.
    pub(super) fn new(memory: &Memory, ino: u64, shown: String) -> Self {
        Self { memory: memory.clone(), ino, shown }
    }

    fn change(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut super::State, u64) -> Result<(), Kind>,
    ) -> Result<(), FsError> {
        let mut state = self.memory.state();
        state
            .enter(true)
            .and_then(|()| change(&mut state, self.ino))
            .map_err(|kind| failure(operation, &self.shown, kind))
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.memory.state().node_mut(self.ino).open -= 1;
    }
}

/// A length that was checked to fit into memory.
fn index(offset: u64) -> Result<usize, Kind> {
    usize::try_from(offset).map_err(|_| Kind::Unsupported)
}

impl ReadAt for MemFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let mut state = self.memory.state();
        state.enter(false).map_err(|kind| failure("read", &self.shown, kind))?;
        let data = &state.node(self.ino).data;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(data.len());
        let len = buffer.len().min(data.len() - start);
        buffer[..len].copy_from_slice(&data[start..start + len]);
        Ok(len)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        let mut state = self.memory.state();
        state.enter(false).map_err(|kind| failure("look at", &self.shown, kind))?;
        Ok(state.stat(self.ino))
    }

    fn sync(&self) -> Result<(), FsError> {
        self.change("make durable", |state, ino| {
            state.sync_file(ino);
            Ok(())
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl WriteAt for MemFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FsError> {
        self.change("write", |state, ino| {
            let mut data = state.node(ino).data.to_vec();
            let start = index(offset)?;
            let end = start.checked_add(bytes.len()).ok_or(Kind::Unsupported)?;
            // As on a disk: zeros where nothing is leave the length alone.
            if start >= data.len() && bytes.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            if end as u64 > state.capacity() {
                return Err(Kind::NoSpace);
            }
            data.resize(data.len().max(end), 0);
            data[start..end].copy_from_slice(bytes);
            state.set_data(ino, data)
        })
    }

    fn set_len(&self, len: u64) -> Result<(), FsError> {
        self.change("set the length of", |state, ino| {
            if len > state.capacity() {
                return Err(Kind::NoSpace);
            }
            let mut data = state.node(ino).data.to_vec();
            data.resize(index(len)?, 0);
            state.set_data(ino, data)
        })
    }

    fn copy_from(
        &self,
        source: &dyn ReadAt,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<u64, FsError> {
        // A stretch is copied at once, or fails as a whole.
        let available = source.stat()?.size.saturating_sub(source_offset);
        let mut buffer = vec![0; usize::try_from(len.min(available)).unwrap_or(usize::MAX)];
        let got = source.read_at(&mut buffer, source_offset)?;
        self.write_at(&buffer[..got], offset)?;
        Ok(got as u64)
    }

    fn set_mode(&self, mode: u32) -> Result<(), FsError> {
        self.change("set the mode of", |state, ino| {
            state.set_attributes(ino, Some(mode), None);
            Ok(())
        })
    }

    fn set_mtime(&self, mtime_ns: i64) -> Result<(), FsError> {
        self.change("set the time of", |state, ino| {
            state.set_attributes(ino, None, Some(mtime_ns));
            Ok(())
        })
    }
}
