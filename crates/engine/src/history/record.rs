//! One version of one thing: what it was, until when, and where its bytes are.

use bincode::{Decode, Encode};
use dunlin_identity::{DeviceId, Hash};
use dunlin_index::{EntryId, Kind, Millis, RelPath, SafeName};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::VersionId;

/// The most bytes of an encoded record: the pieces of the list of a file of 4 TiB, a long path,
/// and room to spare.
pub const RECORD_BYTES_MAX: usize = 4 << 20;

/// A version that is no longer the present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Names it on this device; never used again. Later versions have higher numbers.
    pub id: u64,
    /// The entry that it was a version of; none when that is not known any more.
    pub entry: Option<EntryId>,
    /// Where it was when it ended.
    pub path: RelPath,
    /// What it was.
    pub what: What,
    /// The time of its last change, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Its permission bits.
    pub mode: u32,
    /// The device that made it.
    pub by: Option<DeviceId>,
    /// Since when it was the present one on this device, in milliseconds since 1970.
    pub since: Millis,
    /// When that ended.
    pub until: Millis,
    /// The device whose change ended it.
    pub ended_by: Option<DeviceId>,
    /// How it ended.
    pub how: How,
    /// Where its bytes are.
    pub place: Place,
}

/// What a version was.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// A regular file.
    File {
        /// The root of its content, as in the index.
        root: Hash,
        /// Its length in bytes.
        size: u64,
        /// The pieces of its list of blocks; none for a small file, which is its own only block,
        /// and where the list is not known.
        list: Vec<Hash>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it led.
        target: String,
    },
    /// A directory.
    Directory,
}

impl What {
    /// What a row shows; `list` are the pieces of a large file's list of blocks. None for a file
    /// that was never hashed: nobody ever knew what it was.
    pub(crate) fn of_row(row: &Row, list: Vec<Hash>) -> Option<Self> {
        match (&row.root, &row.target) {
            (Some(root), _) => Some(Self::File { root: *root, size: row.stat.size, list }),
            (None, Some(target)) => Some(Self::Symlink { target: target.clone() }),
            (None, None) => (row.kind == Kind::Directory).then_some(Self::Directory),
        }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Symlink { .. } => Kind::Symlink,
            Self::Directory => Kind::Directory,
        }
    }
}

/// How a version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum How {
    /// Another content took its place.
    Edited,
    /// It was deleted.
    Deleted,
    /// It was merged with another content into one text.
    Merged,
    /// It was moved aside to put an older version in place.
    Restored,
    /// A program went on writing to a file that had been moved aside already.
    WrittenLate,
    /// It was found in the version store without a record of it.
    Found,
}

/// Where the bytes of a version are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Moved aside whole.
    Staged(VersionId),
    /// In objects, but for blocks that the present file of the entry held when it was packed.
    Packed {
        /// Bytes that its packing added to the store.
        stored: u64,
    },
    /// Not on this device: its own user ended it. Other devices may have kept it.
    Elsewhere,
}

/// The encoded form.
#[derive(Encode, Decode)]
enum Stored {
    V1 {
        id: u64,
        entry: Option<EntryId>,
        path: Vec<SafeName>,
        what: What,
        mtime_ns: i64,
        mode: u32,
        by: Option<DeviceId>,
        since: Millis,
        until: Millis,
        ended_by: Option<DeviceId>,
        how: How,
        place: StoredPlace,
    },
}

#[derive(Encode, Decode)]
enum StoredPlace {
    Staged { batch: SafeName, path: Vec<SafeName> },
    Packed { stored: u64 },
    Elsewhere,
}

fn names(path: &RelPath) -> Vec<SafeName> {
    path.names().to_vec()
}

fn path(names: Vec<SafeName>) -> Option<RelPath> {
    let mut path = RelPath::root();
    for name in names {
        path.push(name).ok()?;
    }
    Some(path)
}

impl Record {
    /// Orders versions by when they ended.
    pub(crate) fn order(&self) -> (Millis, u64) {
        (self.until, self.id)
    }

    /// Encodes it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let place = match &self.place {
            Place::Staged(version) => {
                StoredPlace::Staged { batch: version.batch.clone(), path: names(&version.path) }
            }
            Place::Packed { stored } => StoredPlace::Packed { stored: *stored },
            Place::Elsewhere => StoredPlace::Elsewhere,
        };
        let stored = Stored::V1 {
            id: self.id,
            entry: self.entry,
            path: names(&self.path),
            what: self.what.clone(),
            mtime_ns: self.mtime_ns,
            mode: self.mode,
            by: self.by,
            since: self.since,
            until: self.until,
            ended_by: self.ended_by,
            how: self.how,
            place,
        };
        bincode::encode_to_vec(stored, bincode::config::standard())
            .expect("encoding into memory cannot fail")
    }

    /// Decodes what was stored; `None` when it is no record of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let config = bincode::config::standard().with_limit::<{ 2 * RECORD_BYTES_MAX }>();
        let (stored, read): (Stored, usize) = bincode::decode_from_slice(bytes, config).ok()?;
        if read != bytes.len() {
            return None;
        }
        let Stored::V1 {
            id,
            entry,
            path: names,
            what,
            mtime_ns,
            mode,
            by,
            since,
            until,
            ended_by,
            how,
            place,
        } = stored;
        let place = match place {
            StoredPlace::Staged { batch, path: at } => {
                Place::Staged(VersionId { batch, path: path(at)? })
            }
            StoredPlace::Packed { stored } => Place::Packed { stored },
            StoredPlace::Elsewhere => Place::Elsewhere,
        };
        let path = path(names)?;
        Some(Self { id, entry, path, what, mtime_ns, mode, by, since, until, ended_by, how, place })
    }

    /// What versions of one thing have in common: the entry, or where that is not known, the path.
    pub fn group(&self) -> [u8; 16] {
        self.entry.map_or_else(|| group_of_path(&self.path), |entry| entry.0)
    }

    /// The size of a file in bytes; 0 for others.
    pub fn size(&self) -> u64 {
        match self.what {
            What::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Whether it was the present one at that time.
    pub fn was_there(&self, at: Millis) -> bool {
        self.since <= at && at < self.until
    }
}

fn group_of_path(path: &RelPath) -> [u8; 16] {
    let hash = Hash::of(path.to_string().as_bytes());
    let mut group = [0; 16];
    group.copy_from_slice(&hash.0[..16]);
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn record(id: u64) -> Record {
        Record {
            id,
            entry: Some(EntryId([7; 16])),
            path: RelPath::parse("a/b c").expect("a path"),
            what: What::File { root: Hash::of(b"x"), size: 1, list: vec![Hash::of(b"l")] },
            mtime_ns: -5,
            mode: 0o640,
            by: None,
            since: 10,
            until: 20,
            ended_by: None,
            how: How::Edited,
            place: Place::Elsewhere,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let staged = Place::Staged(VersionId {
            batch: SafeName::parse("20261121-100254").expect("a name"),
            path: RelPath::parse("a/b").expect("a path"),
        });
        for place in [staged, Place::Packed { stored: 9 }, Place::Elsewhere] {
            let record = Record { place, ..record(3) };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn what_is_cut_or_longer_is_no_record() {
        let bytes = record(3).encode();
        for len in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..len]), None, "{len}");
        }
        assert_eq!(Record::decode(&[bytes, vec![0]].concat()), None);
    }

    #[test]
    fn a_version_was_there_until_it_ended() {
        let record = record(1);
        let there: Vec<_> = [9, 10, 19, 20].map(|at| record.was_there(at)).to_vec();
        assert_eq!(there, [false, true, true, false]);
    }
}
