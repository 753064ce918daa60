//! Whole contents as readers: from this disk, from the version store, or from peers.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::{BlockRef, SMALL_MAX};
use dunlin_identity::Hash;
use dunlin_index::Storage;
use dunlin_transfer::Priority;
use dunlin_tree::fs::{Fs, ReadAt, TempName};

use crate::download::{self, DownloadError};
use crate::folder::LargeFile;
use crate::runner::Shell;
use crate::serve::{read_block, read_kept};

/// Removes what a reader has read from.
type Cleanup = Box<dyn FnOnce() + Send>;

/// A content, open for reading at any place.
pub struct ContentReader {
    source: Source,
    size: u64,
}

enum Source {
    Memory(Cursor<Bytes>),
    File { file: Box<dyn ReadAt>, at: u64, cleanup: Option<Cleanup> },
}

impl ContentReader {
    /// Reads from memory.
    pub(crate) fn memory(data: Bytes) -> Self {
        Self { size: data.len() as u64, source: Source::Memory(Cursor::new(data)) }
    }

    /// Reads the first `size` bytes of a file.
    pub(crate) fn file(file: Box<dyn ReadAt>, size: u64) -> Self {
        Self { source: Source::File { file, at: 0, cleanup: None }, size }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Memory(data) => data.read(buffer),
            Source::File { file, at, .. } => {
                let left = usize::try_from(self.size.saturating_sub(*at)).unwrap_or(usize::MAX);
                let len = left.min(buffer.len());
                if len == 0 {
                    return Ok(0);
                }
                let read = file.read_at(&mut buffer[..len], *at)?;
                if read == 0 {
                    let message = "the file has become shorter while it was read";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.source {
            Source::Memory(data) => data.seek(to),
            Source::File { at, .. } => {
                let target = match to {
                    SeekFrom::Start(offset) => Some(offset),
                    SeekFrom::End(offset) => self.size.checked_add_signed(offset),
                    SeekFrom::Current(offset) => at.checked_add_signed(offset),
                };
                let before = || io::Error::new(io::ErrorKind::InvalidInput, "before the start");
                *at = target.ok_or_else(before)?;
                Ok(*at)
            }
        }
    }
}

impl Drop for ContentReader {
    fn drop(&mut self) {
        if let Source::File { cleanup, .. } = &mut self.source
            && let Some(cleanup) = cleanup.take()
        {
            cleanup();
        }
    }
}

/// Opens a content wherever it is: a file of the folder, a kept version, or a peer's. `temp` is
/// used for a large one, and removed with the reader.
///
/// # Errors
/// [`DownloadError::Unavailable`] when nobody who is connected has it.
pub(crate) async fn open<F, S>(
    shell: &Arc<Shell<F, S>>,
    root: Hash,
    size: u64,
    temp: TempName,
) -> Result<ContentReader, DownloadError>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    if size == 0 {
        return Ok(ContentReader::memory(Bytes::new()));
    }
    if size <= SMALL_MAX {
        return Ok(ContentReader::memory(small(shell, root, size).await?));
    }
    let (temp, _) = download::fetch(shell, LargeFile { root, size, temp, urgent: true }).await?;
    let shell = Arc::clone(shell);
    download::blocking(move || {
        let file: Box<dyn ReadAt> = shell.fs.temp_create(&temp, 0)?;
        let cleanup: Cleanup = Box::new(move || {
            // What stays is removed at the next start.
            let _ = shell.fs.temp_remove(&temp);
        });
        let source = Source::File { file, at: 0, cleanup: Some(cleanup) };
        Ok(ContentReader { source, size })
    })
    .await?
}

async fn small<F, S>(
    shell: &Arc<Shell<F, S>>,
    root: Hash,
    size: u64,
) -> Result<Bytes, DownloadError>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let here = Arc::clone(shell);
    let found = download::blocking(move || {
        // A table that cannot be read only means that others are asked.
        let block = read_block(&*here.fs, &here.rows, &root).ok().flatten();
        block.or_else(|| read_kept(&*here.fs, &here.manifests, &root).ok().flatten())
    })
    .await?;
    if let Some(data) = found.filter(|data| data.len() as u64 == size) {
        return Ok(data);
    }
    let len = u32::try_from(size).expect("a small content is below 4 GiB");
    let data = download::fetch_block(shell, BlockRef { hash: root, len }, Priority::High).await;
    data.filter(|data| data.len() as u64 == size).ok_or(DownloadError::Unavailable)
}

#[cfg(test)]
mod tests {
    use dunlin_index::RelPath;
    use dunlin_tree::fs::{MemFs, UserOp};

    use super::*;

    #[test]
    fn a_reader_reads_and_seeks_within_its_size() {
        let fs = MemFs::new(1);
        let path = RelPath::parse("f").expect("a plain path");
        fs.volume().user(&UserOp::Write(path.clone(), b"0123456789".to_vec()));
        let file = fs.open(&path).expect("a file");
        let readers =
            [ContentReader::memory(Bytes::from_static(b"01234567")), ContentReader::file(file, 8)];
        for mut reader in readers {
            assert_eq!(reader.size(), 8);
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("read");
            assert_eq!(text, "01234567");
            assert_eq!(reader.seek(SeekFrom::End(-2)).expect("sought"), 6);
            text.clear();
            reader.read_to_string(&mut text).expect("read");
            assert_eq!(text, "67");
            assert!(reader.seek(SeekFrom::Current(-9)).is_err());
        }
    }
}
