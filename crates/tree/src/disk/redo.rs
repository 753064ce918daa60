//! Changes of the table that must not be lost once others are told of what they say.
//!
//! What the user did is written to the index and to this table, which are two key spaces: a process
//! that ends between the two would know of a change that it has announced, and not of the file that
//! it was made of. A later edit of that file would be taken for a new file, and the announced content
//! would be on no disk. So the index keeps the table's changes beside its own, in one batch, and
//! whoever opens both makes up for what did not come to the table.

use bincode::{Decode, Encode};
use dunlin_index::Storage;

use super::{DiskError, DiskTable, codec};

/// Decoding what was kept may claim this much memory: some ten thousand keys are a few megabytes.
const REDO_BYTES_MAX: usize = 256 << 20;

/// Staged changes as they are kept elsewhere.
#[derive(Encode, Decode)]
struct Redo {
    number: u64,
    /// Keys and values; no value stands for a key that is to be deleted.
    changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl<S: Storage> DiskTable<S> {
    /// Gives all staged changes, for [`DiskTable::redo`]; nothing when none are staged. They must be
    /// written back before further ones are asked for.
    pub fn to_redo(&mut self) -> Option<Vec<u8>> {
        if self.overlay.staged().is_empty() && !self.meta_dirty {
            return None;
        }
        self.redo += 1;
        self.meta_dirty = true;
        self.stage_meta();
        let staged = self.overlay.staged().iter();
        let changes = staged.map(|(key, value)| (key.clone(), value.clone())).collect();
        Some(codec::encode(&Redo { number: self.redo, changes }))
    }

    /// Makes up for changes that were kept elsewhere and did not come to the table; tells whether
    /// they had not. To be called before anything else is changed.
    ///
    /// # Errors
    /// Fails when the storage does, or with [`DiskError::Damaged`] when they do not decode.
    pub fn redo(&mut self, bytes: &[u8]) -> Result<bool, DiskError> {
        let config = bincode::config::standard().with_limit::<REDO_BYTES_MAX>();
        let Ok((redo, used)) = bincode::decode_from_slice::<Redo, _>(bytes, config) else {
            return Err(DiskError::Damaged("changes that were kept do not decode"));
        };
        if used != bytes.len() {
            return Err(DiskError::Damaged("changes that were kept do not decode"));
        }
        // Of a table that was begun anew they are not the next ones.
        if redo.number != self.redo + 1 {
            return Ok(false);
        }
        for (key, value) in redo.changes {
            match value {
                Some(value) => self.overlay.put(key, value),
                None => self.overlay.delete(key),
            }
        }
        if let Some(meta) = self.overlay.get(codec::META_KEY)? {
            let codec::Meta { counts, next_id, redo } = codec::decode_meta(&meta)?;
            (self.counts, self.next_id, self.redo) = (counts, next_id, redo);
            self.unused_from = next_id;
        }
        self.write_back(false)?;
        Ok(true)
    }
}
