//! Keys and values of the table.
//!
//! | key | value |
//! | --- | --- |
//! | `m` | counts and the next row number |
//! | `c` parent name | the row (of a detached one: `c` DETACHED id) |
//! | `r` id | the `c` key under which the row stands |
//! | `e` entry id | nothing |
//! | `i` inode id | nothing |
//! | `b` id piece | up to 256 blocks of the row's file |
//! | `h` hash/16 id | offset and length of that block in the row's file |
//!
//! Numbers in keys are big-endian, so that keys sort as what they mean.

use bincode::{Decode, Encode};
use dunlin_identity::Hash;
use dunlin_index::{Dot, EntryId, ItemKey, Kind, SafeName};

use super::{DiskCounts, DiskError, Row, RowId};
use crate::fs::{FileKind, Stat};

pub(super) const META_KEY: &[u8] = b"m";
/// A row is some 150 bytes; a symlink's target may have 4 KiB.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What stands in a row's value; the key has the parent and the name.
#[derive(Encode, Decode)]
enum StoredRow {
    V1 {
        id: u64,
        /// Only for a detached row, whose key does not have it.
        name: Option<String>,
        entry: [u8; 16],
        dot: Option<Dot>,
        kind: u8,
        stat: StoredStat,
        root: Option<[u8; 32]>,
        target: Option<String>,
        created_ms: u64,
    },
}

#[derive(Encode, Decode)]
struct StoredStat {
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    ino: u64,
    dev: u64,
    mode: u32,
    nlink: u64,
}

#[derive(Encode, Decode)]
enum StoredMeta {
    V1 { files: u64, directories: u64, symlinks: u64, bytes: u64, next_id: u64 },
    V2 { files: u64, directories: u64, symlinks: u64, bytes: u64, next_id: u64, redo: u64 },
}

/// The header of a table.
pub(super) struct Meta {
    pub(super) counts: DiskCounts,
    pub(super) next_id: u64,
    /// The number of the last changes that were kept elsewhere, too.
    pub(super) redo: u64,
}

pub(super) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .expect("encoding plain values into memory has no way to fail")
}

pub(super) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DiskError> {
    let config = bincode::config::standard().with_limit::<VALUE_BYTES_MAX>();
    match bincode::decode_from_slice(bytes, config) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        _ => Err(DiskError::Damaged("a value does not decode")),
    }
}

fn key(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(tag);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(super) fn row_key(id: RowId) -> Vec<u8> {
    key(b'r', &[&id.0.to_be_bytes()])
}

pub(super) fn child_prefix(parent: RowId) -> Vec<u8> {
    key(b'c', &[&parent.0.to_be_bytes()])
}

pub(super) fn child_key(parent: RowId, name: &SafeName) -> Vec<u8> {
    key(b'c', &[&parent.0.to_be_bytes(), name.as_str().as_bytes()])
}

/// Two detached rows may have one name, so their keys take the row's number instead.
pub(super) fn place_key(row: &Row) -> Vec<u8> {
    if row.parent == RowId::DETACHED {
        key(b'c', &[&row.parent.0.to_be_bytes(), &row.id.0.to_be_bytes()])
    } else {
        child_key(row.parent, &row.name)
    }
}

pub(super) fn entry_prefix(entry: EntryId) -> Vec<u8> {
    key(b'e', &[&entry.0])
}

pub(super) fn entry_key(entry: EntryId, id: RowId) -> Vec<u8> {
    key(b'e', &[&entry.0, &id.0.to_be_bytes()])
}

pub(super) fn inode_prefix(ino: u64) -> Vec<u8> {
    key(b'i', &[&ino.to_be_bytes()])
}

pub(super) fn inode_key(ino: u64, id: RowId) -> Vec<u8> {
    key(b'i', &[&ino.to_be_bytes(), &id.0.to_be_bytes()])
}

pub(super) fn blocks_prefix(id: RowId) -> Vec<u8> {
    key(b'b', &[&id.0.to_be_bytes()])
}

pub(super) fn blocks_key(id: RowId, piece: u32) -> Vec<u8> {
    key(b'b', &[&id.0.to_be_bytes(), &piece.to_be_bytes()])
}

/// Half a hash is enough to find a block: whoever reads it compares the whole hash anyway.
pub(super) fn hash_prefix(hash: &Hash) -> Vec<u8> {
    key(b'h', &[&hash.0[..16]])
}

pub(super) fn hash_key(hash: &Hash, id: RowId) -> Vec<u8> {
    key(b'h', &[&hash.0[..16], &id.0.to_be_bytes()])
}

pub(super) fn id_at_end(key: &[u8]) -> Result<RowId, DiskError> {
    match key.last_chunk::<8>() {
        Some(bytes) => Ok(RowId(u64::from_be_bytes(*bytes))),
        None => Err(DiskError::Damaged("a key is too short")),
    }
}

pub(super) fn encode_meta(meta: &Meta) -> Vec<u8> {
    let DiskCounts { files, directories, symlinks, bytes } = meta.counts;
    let (next_id, redo) = (meta.next_id, meta.redo);
    encode(&StoredMeta::V2 { files, directories, symlinks, bytes, next_id, redo })
}

pub(super) fn decode_meta(bytes: &[u8]) -> Result<Meta, DiskError> {
    let (files, directories, symlinks, bytes, next_id, redo) = match decode(bytes)? {
        StoredMeta::V1 { files, directories, symlinks, bytes, next_id } => {
            (files, directories, symlinks, bytes, next_id, 0)
        }
        StoredMeta::V2 { files, directories, symlinks, bytes, next_id, redo } => {
            (files, directories, symlinks, bytes, next_id, redo)
        }
    };
    Ok(Meta { counts: DiskCounts { files, directories, symlinks, bytes }, next_id, redo })
}

pub(super) fn encode_row(row: &Row) -> Result<Vec<u8>, DiskError> {
    let stat = &row.stat;
    let detached = row.parent == RowId::DETACHED;
    let bytes = encode(&StoredRow::V1 {
        id: row.id.0,
        name: detached.then(|| row.name.as_str().to_owned()),
        entry: row.item.entry.0,
        dot: row.item.dot,
        kind: match row.kind {
            Kind::File => 0,
            Kind::Directory => 1,
            Kind::Symlink => 2,
        },
        stat: StoredStat {
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            ino: stat.ino,
            dev: stat.dev,
            mode: stat.mode,
            nlink: stat.nlink,
        },
        root: row.root.map(|root| root.0),
        target: row.target.clone(),
        created_ms: row.created_ms,
    });
    match bytes.len() <= VALUE_BYTES_MAX {
        true => Ok(bytes),
        false => Err(DiskError::Damaged("a row is too large to be stored")),
    }
}

pub(super) fn decode_row(place: &[u8], value: &[u8]) -> Result<Row, DiskError> {
    let damaged = DiskError::Damaged("a row does not decode");
    let Some((parent, name_in_key)) = place.get(1..).and_then(|rest| rest.split_first_chunk::<8>())
    else {
        return Err(damaged);
    };
    let StoredRow::V1 { id, name, entry, dot, kind, stat, root, target, created_ms } =
        decode(value)?;
    let parsed = match &name {
        Some(name) => SafeName::parse(name),
        None => match std::str::from_utf8(name_in_key) {
            Ok(name) => SafeName::parse(name),
            Err(_) => return Err(damaged),
        },
    };
    let (kind, file_kind) = match kind {
        0 => (Kind::File, FileKind::File),
        1 => (Kind::Directory, FileKind::Directory),
        2 => (Kind::Symlink, FileKind::Symlink),
        _ => return Err(damaged),
    };
    Ok(Row {
        id: RowId(id),
        parent: RowId(u64::from_be_bytes(*parent)),
        name: parsed.map_err(|_| damaged)?,
        item: ItemKey { entry: EntryId(entry), dot },
        kind,
        stat: Stat {
            kind: file_kind,
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            ino: stat.ino,
            dev: stat.dev,
            mode: stat.mode,
            nlink: stat.nlink,
        },
        root: root.map(Hash),
        target,
        created_ms,
    })
}
