//! What an interrupted download need not look at again: which blocks of a temporary file were
//! checked and are durable.
//!
//! The record lies in the database, beside the manifests. It is written only after the file was
//! made durable, so that it is never ahead of the disk, whether the process is killed or the power
//! fails. What it does not name is found by reading and hashing, as ever; so it may lag behind, and
//! is left out for files of more than 2,097,152 blocks.

use std::sync::Arc;

use bincode::{Decode, Encode};
use dunlin_index::{Storage, StorageError};
use dunlin_tree::fs::{FsError, Stat, TempName, WriteAt};

use crate::manifests::ManifestStore;

/// Blocks of a file of which a record is kept: a bit each, 256 KiB in all.
pub(crate) const BLOCKS_MAX: usize = 1 << 21;
/// A stored record is at most so long.
const RECORD_BYTES_MAX: usize = BLOCKS_MAX / 8 + 64;

/// A set of blocks of one file, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BlockSet(Vec<u8>);

impl BlockSet {
    pub(crate) fn insert(&mut self, block: usize) {
        if self.0.len() <= block / 8 {
            self.0.resize(block / 8 + 1, 0);
        }
        self.0[block / 8] |= 1 << (block % 8);
    }

    pub(crate) fn contains(&self, block: usize) -> bool {
        self.0.get(block / 8).is_some_and(|byte| byte & (1 << (block % 8)) != 0)
    }
}

/// What is stored of an unfinished file.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
enum Record {
    V1 {
        /// The temporary file's inode: another file of that name has another one.
        ino: u64,
        size: u64,
        /// When it was last written to before it was made durable. A file with an earlier time is
        /// not the one that was recorded.
        mtime_ns: i64,
        blocks: BlockSet,
    },
}

/// The blocks that a temporary file holds at one moment, checked, to be made durable.
pub struct Checkpoint {
    pub(crate) file: Arc<dyn WriteAt>,
    pub(crate) temp: TempName,
    pub(crate) blocks: BlockSet,
}

impl Checkpoint {
    /// Makes the file durable, and then notes that it is. Blocks may go on being written meanwhile.
    ///
    /// # Errors
    /// Whatever the disk reports. That the note could not be kept is no error: the blocks are
    /// hashed again should this be interrupted.
    pub fn save<S: Storage>(&self, manifests: &ManifestStore<S>) -> Result<(), FsError> {
        let Stat { ino, size, mtime_ns, .. } = self.file.stat()?;
        self.file.sync()?;
        if self.blocks.0.len() <= BLOCKS_MAX / 8 {
            let record = Record::V1 { ino, size, mtime_ns, blocks: self.blocks.clone() };
            let bytes = bincode::encode_to_vec(&record, bincode::config::standard())
                .expect("encoding into memory cannot fail");
            if let Err(error) = manifests.put_checkpoint(&self.temp, bytes) {
                tracing::debug!(%error, "an interruption would have blocks hashed again");
            }
        }
        Ok(())
    }
}

/// The blocks that are known to be in the temporary file `temp`, which looks like `stat`.
///
/// # Errors
/// Fails when the storage does.
pub(crate) fn recall<S: Storage>(
    manifests: &ManifestStore<S>,
    temp: &TempName,
    stat: &Stat,
) -> Result<BlockSet, StorageError> {
    let stored = manifests.checkpoint(temp)?;
    let Some(Record::V1 { ino, size, mtime_ns, blocks }) = stored.as_deref().and_then(decode)
    else {
        return Ok(BlockSet::default());
    };
    let same = (ino, size) == (stat.ino, stat.size) && stat.mtime_ns >= mtime_ns;
    Ok(if same { blocks } else { BlockSet::default() })
}

/// What does not decode is as if it were not there.
fn decode(bytes: &[u8]) -> Option<Record> {
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    let (record, read) = bincode::decode_from_slice(bytes, config).ok()?;
    (read == bytes.len()).then_some(record)
}

#[cfg(test)]
mod tests {
    use dunlin_index::storage::MemStore;
    use dunlin_tree::fs::{Fs, MemFs};
    use proptest::prelude::*;

    use super::*;

    fn temp() -> TempName {
        TempName::parse("file-x").expect("a legal name")
    }

    /// A file of 100 bytes with some blocks, of which a checkpoint was saved.
    fn saved() -> (MemFs, ManifestStore<MemStore>) {
        let (fs, manifests) = (MemFs::new(1), ManifestStore::new(MemStore::default()));
        let file: Arc<dyn WriteAt> = Arc::from(fs.temp_create(&temp(), 100).expect("a file"));
        file.set_len(100).expect("long enough");
        file.set_mtime(5_000).expect("dated");
        let mut blocks = BlockSet::default();
        blocks.insert(0);
        blocks.insert(9);
        Checkpoint { file, temp: temp(), blocks }.save(&manifests).expect("saved");
        (fs, manifests)
    }

    fn recalled(fs: &MemFs, manifests: &ManifestStore<MemStore>) -> BlockSet {
        let stat = fs.temp_create(&temp(), 0).expect("a file").stat().expect("looked at");
        recall(manifests, &temp(), &stat).expect("read")
    }

    #[test]
    fn what_was_saved_is_recalled_of_the_same_file_until_it_is_forgotten() {
        let (fs, manifests) = saved();
        let blocks = recalled(&fs, &manifests);
        let there: Vec<usize> = (0..100).filter(|block| blocks.contains(*block)).collect();
        assert_eq!(there, [0, 9]);
        fs.temp_create(&temp(), 0).expect("a file").set_mtime(5_001).expect("written later");
        assert_eq!(recalled(&fs, &manifests), blocks, "later writes are of other blocks");
        manifests.forget_checkpoint(&temp()).expect("forgotten");
        assert_eq!(recalled(&fs, &manifests), BlockSet::default());
    }

    #[test]
    fn a_file_that_is_not_the_one_that_was_saved_is_not_believed() {
        let (fs, manifests) = saved();
        fs.temp_create(&temp(), 0).expect("a file").set_mtime(4_999).expect("older");
        assert_eq!(recalled(&fs, &manifests), BlockSet::default(), "it was rolled back");
        let (fs, manifests) = saved();
        fs.temp_create(&temp(), 0).expect("a file").set_len(99).expect("shorter");
        assert_eq!(recalled(&fs, &manifests), BlockSet::default(), "it has another length");
        let (fs, manifests) = saved();
        fs.temp_remove(&temp()).expect("gone");
        fs.temp_create(&temp(), 100).expect("a new one").set_len(100).expect("as long");
        assert_eq!(recalled(&fs, &manifests), BlockSet::default(), "it is another file");
    }

    proptest! {
        #[test]
        fn a_damaged_record_is_refused_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = decode(&bytes);
        }
    }
}
