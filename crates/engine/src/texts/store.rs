//! Where bases are kept: in the database, since the file itself is the user's.
//!
//! | key | value |
//! | --- | --- |
//! | `b` row | up to two bases: of what is on the disk, and of what is being put there |
//! | `d` hash row | a version's data, zstd |

use bincode::{Decode, Encode};
use bytes::Bytes;
use dunlin_identity::Hash;
use dunlin_index::{Batch, Content, Dot, Storage, StorageError};
use dunlin_text::STATE_BYTES_MAX;
use dunlin_tree::disk::RowId;

use super::{Base, Version, address_of};

const BASES: &[u8] = b"b";
const DATA: &[u8] = b"d";
/// Bases of one row: what is on the disk, and what comes next, in case that a crash falls between.
const BASES_MAX: usize = 2;
/// A record of bases is some hundred bytes for each version.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Fast, and halves what texts need.
const ZSTD_LEVEL: i32 = 1;
/// Rows that are looked at together when sweeping.
const SWEEP_PAGE: usize = 500;

/// A base as it is stored: the data stand apart.
#[derive(Encode, Decode, PartialEq, Eq)]
struct Stored {
    root: Hash,
    versions: Vec<(Dot, Content)>,
}

/// The bases of one folder's texts.
#[derive(Clone, Debug)]
pub struct TextStore<S> {
    storage: S,
}

impl<S: Storage> TextStore<S> {
    /// Keeps bases in `storage`, whose key space must be its own.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// Keeps what a row's file is, or will be, made of. The base that it had last stays, since a
    /// crash may fall before the file is changed.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn put(&self, row: RowId, base: &Base) -> Result<(), StorageError> {
        let mut bases = self.stored(row)?;
        let versions =
            base.versions.iter().map(|version| (version.dot, version.content.clone())).collect();
        let new = Stored { root: base.root, versions };
        if bases.first() == Some(&new) {
            return Ok(());
        }
        bases.retain(|old| *old != new);
        bases.insert(0, new);
        let dropped = bases.split_off(bases.len().min(BASES_MAX));
        let mut batch = Batch::new();
        for version in &base.versions {
            let needless = version.is_fresh() && base.versions.len() > 1;
            if let Some((hash, _)) = address_of(&version.content).filter(|_| !needless) {
                let data = zstd::bulk::compress(&version.data, ZSTD_LEVEL)
                    .expect("compressing into memory cannot fail");
                batch.put(data_key(&hash, row), data);
            }
        }
        let kept: Vec<Hash> = addresses(&bases).collect();
        for hash in addresses(&dropped).filter(|hash| !kept.contains(hash)) {
            batch.delete(data_key(&hash, row));
        }
        let config = bincode::config::standard();
        let bytes =
            bincode::encode_to_vec(&bases, config).expect("encoding into memory cannot fail");
        batch.put(base_key(row), bytes);
        self.storage.commit(batch)
    }

    /// The base by which a row's file has this content.
    ///
    /// # Errors
    /// Fails when the storage does. What is damaged is as if it were not there.
    pub fn get(&self, row: RowId, root: &Hash) -> Result<Option<Base>, StorageError> {
        let stored = self.stored(row)?.into_iter().find(|base| base.root == *root);
        let Some(stored) = stored else { return Ok(None) };
        let several = stored.versions.len() > 1;
        let mut versions = Vec::with_capacity(stored.versions.len());
        for (dot, content) in stored.versions {
            let Some((hash, _)) = address_of(&content) else { return Ok(None) };
            let data = self.data(&data_key(&hash, row))?;
            let version = Version { dot, content, data: data.clone().unwrap_or_default() };
            if data.is_none() && !(several && version.is_fresh()) {
                return Ok(None);
            }
            versions.push(version);
        }
        Ok(Some(Base { root: stored.root, versions }))
    }

    /// The dots of the versions by which a row's file has this content, the shown one first.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn dots(&self, row: RowId, root: &Hash) -> Result<Vec<Dot>, StorageError> {
        let stored = self.stored(row)?.into_iter().find(|base| base.root == *root);
        Ok(stored.into_iter().flat_map(|base| base.versions).map(|(dot, _)| dot).collect())
    }

    /// The data with this address, from whatever row has it.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn find(&self, hash: &Hash) -> Result<Option<Bytes>, StorageError> {
        let found = self.storage.scan(&[DATA, &hash.0].concat(), None, 1)?;
        Ok(found.first().and_then(|(_, data)| unpack(data)))
    }

    /// Makes durable what was kept.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.storage.flush()
    }

    /// Forgets the bases of rows that are gone.
    ///
    /// # Errors
    /// Fails when the storage or `is_gone` does.
    pub fn sweep<E: From<StorageError>>(
        &self,
        is_gone: impl Fn(RowId) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.storage.scan(BASES, after.as_deref(), SWEEP_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in page {
                let id = key.get(BASES.len()..).and_then(|id| id.try_into().ok());
                let Some(row) = id.map(u64::from_be_bytes).map(RowId) else { continue };
                if is_gone(row)? {
                    let mut batch = Batch::new();
                    for hash in addresses(&decode(&value)) {
                        batch.delete(data_key(&hash, row));
                    }
                    batch.delete(key);
                    self.storage.commit(batch)?;
                }
            }
        }
    }

    fn stored(&self, row: RowId) -> Result<Vec<Stored>, StorageError> {
        Ok(self.storage.get(&base_key(row))?.map(|bytes| decode(&bytes)).unwrap_or_default())
    }

    fn data(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.storage.get(key)?.as_deref().and_then(unpack))
    }
}

fn addresses(bases: &[Stored]) -> impl Iterator<Item = Hash> {
    let versions = bases.iter().flat_map(|base| &base.versions);
    versions.filter_map(|(_, content)| address_of(content)).map(|(hash, _)| hash)
}

/// What does not decode is as if it were not there: the text then begins a new lineage.
fn decode(bytes: &[u8]) -> Vec<Stored> {
    let config = bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();
    match bincode::decode_from_slice(bytes, config) {
        Ok((bases, read)) if read == bytes.len() => bases,
        _ => Vec::new(),
    }
}

fn unpack(data: &[u8]) -> Option<Bytes> {
    zstd::bulk::decompress(data, STATE_BYTES_MAX).ok().map(Bytes::from)
}

fn base_key(row: RowId) -> Vec<u8> {
    [BASES, &row.0.to_be_bytes()].concat()
}

fn data_key(hash: &Hash, row: RowId) -> Vec<u8> {
    [DATA, &hash.0, &row.0.to_be_bytes()].concat()
}
