//! What a packed version store holds: contents put together again from the files of a disk.

use std::any::Any;
use std::collections::BTreeMap;

use dunlin_blocks::{SMALL_MAX, address};
use dunlin_engine::history::journal::{Entry, HEAD_BYTES, Reader};
use dunlin_engine::history::{What, lists, object};
use dunlin_identity::Hash;
use dunlin_tree::fs::{FileKind, FsError, ReadAt, Stat};

/// The files of a version store that are not moved aside whole.
#[derive(Default)]
pub struct Packed {
    objects: BTreeMap<Hash, Vec<u8>>,
    journal: Vec<u8>,
}

impl Packed {
    /// Takes a file by its path in the version store; false when it is none of these.
    pub fn take(&mut self, path: &str, bytes: &[u8]) -> bool {
        if path == "journal" {
            self.journal = bytes.to_vec();
            return true;
        }
        let Some((_, name)) = path.strip_prefix("objects/").and_then(|name| name.split_once('/'))
        else {
            return false;
        };
        if let Ok(hash) = name.parse()
            && let Some(block) = object::decode(bytes, &hash)
        {
            self.objects.insert(hash, block.to_vec());
        }
        true
    }

    /// All contents that are whole. (What a text says at the border of two blocks is in neither.)
    pub fn contents(&self) -> Vec<Vec<u8>> {
        // A small content is one object.
        let mut found: Vec<Vec<u8>> = self.objects.values().cloned().collect();
        let journal = InMemory(self.journal.clone());
        let mut reader = Reader::new(&journal, HEAD_BYTES);
        let mut pieces = BTreeMap::new();
        while let Ok(Some(entry)) = reader.read_next() {
            match entry {
                Entry::Piece(piece) => {
                    pieces.insert(address(&piece), piece);
                }
                Entry::Version(record) => {
                    if let What::File { size, list, .. } = &record.what
                        && *size > SMALL_MAX
                    {
                        found.extend(self.whole(list, &pieces));
                    }
                }
                Entry::Forget(_) => {}
            }
        }
        found
    }

    fn whole(&self, list: &[Hash], pieces: &BTreeMap<Hash, Vec<u8>>) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        for piece in list {
            for block in lists::parse(pieces.get(piece)?)? {
                content.extend_from_slice(self.objects.get(&block.hash)?);
            }
        }
        Some(content)
    }
}

/// A file that is only bytes.
struct InMemory(Vec<u8>);

impl ReadAt for InMemory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let len = buffer.len().min(self.0.len() - from);
        buffer[..len].copy_from_slice(&self.0[from..from + len]);
        Ok(len)
    }

    fn stat(&self) -> Result<Stat, FsError> {
        let size = self.0.len() as u64;
        let (kind, mode, nlink) = (FileKind::File, 0o600, 1);
        Ok(Stat { kind, size, mtime_ns: 0, ctime_ns: 0, ino: 0, dev: 0, mode, nlink })
    }

    fn sync(&self) -> Result<(), FsError> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
