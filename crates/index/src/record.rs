//! Records: the changes that authors log, each named by its dot.
//!
//! A record is a bincode-encoded [`Op`]; its first byte is the type. Types that this version does
//! not know, and records that break a rule below, are carried and passed on but have no effect, the
//! same on every device. Every record commutes with every other, also when one names what has not
//! arrived yet.

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId};

use crate::context::Context;
use crate::ids::{Author, Dot, EntryId, Millis};
use crate::item::{Content, Kind};
use crate::name::SafeName;

/// The most bytes of an encoded record.
pub(crate) const RECORD_BYTES_MAX: usize = 8 * 1024;

/// The longest target of a symbolic link, in bytes: what Linux takes.
pub(crate) const TARGET_BYTES_MAX: usize = 4095;

/// The most bytes of a folder's settings as one device writes them.
pub(crate) const SETTINGS_BYTES_MAX: usize = 6 * 1024;

/// The most bytes of a key that is wrapped for one member.
pub(crate) const SEALED_BYTES_MAX: usize = 512;

/// The permission bits that a mode may have.
pub(crate) const MODE_MASK: u32 = 0o7777;

/// Decoding may claim this much memory: some types are larger in memory than encoded.
const DECODE_BYTES_MAX: usize = 64 * 1024;

/// Where an entry is: in which directory, under which name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Place {
    pub(crate) parent: EntryId,
    pub(crate) name: SafeName,
}

/// Orders the writes of a register whose last writer wins (rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Stamp {
    /// One above the highest that the author saw for this register.
    pub(crate) moves: u64,
    /// The author's hybrid logical clock.
    pub(crate) hlc: u64,
    pub(crate) device: DeviceId,
}

/// Up to which of an author's records something holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Cutoff {
    pub(crate) author: Author,
    pub(crate) seq: u64,
}

/// How far one log of a removed device counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct LogEnd {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// The next generation's key, wrapped for one member that stays.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WrappedKey {
    /// For whom.
    pub device: DeviceId,
    /// The key as only this device can open it; at most 512 bytes.
    pub sealed: Vec<u8>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Op {
    /// This device takes part from now on; the first record of every log.
    /// Said again, it gives the device another name: the latest by `named_ms` counts.
    Member { admission: Admission, name: String, named_ms: Millis },
    /// A new entry; its identity follows from its first place (`first`) or from the dot.
    Create { kind: Kind, first: bool, place: Place, content: Content, mode: u32 },
    /// New content; replaces exactly the values named.
    Write { entry: EntryId, content: Content, replaces: Vec<Dot>, enables: Vec<Dot> },
    /// A new place.
    Move { entry: EntryId, place: Place, stamp: Stamp, from: Place, enables: Vec<Dot> },
    /// New permission bits.
    Mode { entry: EntryId, mode: u32, stamp: Stamp },
    /// Disables the presence dots named.
    Delete { entry: EntryId, presence: Vec<Dot> },
    /// Disables the presence dots in `context` of what lies below `top` by places in `context`;
    /// void while the place of `top` has a stamp above `seen`.
    DeleteTree { top: EntryId, seen: Option<Stamp>, context: Context },
    /// Makes a losing value an entry of its own.
    Promote { entry: EntryId, dot: Dot, place: Place, content: Content, mode: u32 },
    /// Enables an entry that was deleted but is shown for the sake of what is in it.
    Enable { entry: EntryId, enables: Vec<Dot> },
    /// Releases a mass deletion by a device, up to a sequence number (rule 10).
    Approve { author: Author, until: u64 },
    /// Removes a device: what it has logged past the ends no longer counts, nor do logs without one.
    Remove { device: DeviceId, ends: Vec<LogEnd>, generation: u32, keys: Vec<WrappedKey> },
    /// The folder's settings as this device has them; replaces exactly the values named.
    Settings { value: Vec<u8>, replaces: Vec<Dot> },
    /// Takes out values whose contents no member has any more, as if something had replaced them.
    Withdraw { entry: EntryId, values: Vec<Dot> },
}

impl Op {
    /// Encodes; `None` when the record would be larger than [`RECORD_BYTES_MAX`].
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let bytes = bincode::encode_to_vec(self, bincode::config::standard()).ok()?;
        (bytes.len() <= RECORD_BYTES_MAX).then_some(bytes)
    }

    /// Decodes what `author` has logged; `None` for what has no effect here.
    pub(crate) fn decode(bytes: &[u8], author: &Author) -> Option<Self> {
        if bytes.len() > RECORD_BYTES_MAX {
            return None;
        }
        let config = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
        let (op, read): (Self, usize) = bincode::decode_from_slice(bytes, config).ok()?;
        (read == bytes.len() && op.is_valid(author)).then_some(op)
    }

    fn is_valid(&self, author: &Author) -> bool {
        match self {
            Self::Member { admission, name, .. } => {
                admission.device == author.device && name.len() <= 255
            }
            Self::Create { kind, content, mode, .. } => {
                content.kind() == *kind && is_sound(content) && *mode <= MODE_MASK
            }
            Self::Write { entry, content, .. } => *entry != EntryId::ROOT && is_sound(content),
            Self::Move { entry, stamp, .. } => {
                *entry != EntryId::ROOT && stamp.device == author.device
            }
            Self::Mode { entry, mode, stamp } => {
                *entry != EntryId::ROOT && stamp.device == author.device && *mode <= MODE_MASK
            }
            Self::Delete { entry, .. }
            | Self::Enable { entry, .. }
            | Self::Withdraw { entry, .. } => *entry != EntryId::ROOT,
            Self::DeleteTree { top, .. } => *top != EntryId::ROOT,
            Self::Promote { entry, content, mode, .. } => {
                *entry != EntryId::ROOT
                    && content.kind() != Kind::Directory
                    && is_sound(content)
                    && *mode <= MODE_MASK
            }
            Self::Approve { .. } => true,
            Self::Remove { generation, keys, .. } => {
                *generation > 0 && keys.iter().all(|key| key.sealed.len() <= SEALED_BYTES_MAX)
            }
            Self::Settings { value, .. } => value.len() <= SETTINGS_BYTES_MAX,
        }
    }
}

/// Tells whether a content can be put on a disk at all.
pub(crate) fn is_sound(content: &Content) -> bool {
    match content {
        Content::Symlink { target } => {
            !target.is_empty() && target.len() <= TARGET_BYTES_MAX && !target.contains('\0')
        }
        Content::File { size, .. } => *size <= i64::MAX as u64,
        Content::Directory => true,
    }
}

/// Gives the identity of the first entry with this kind and content at this place (rule 2).
pub(crate) fn first_id(key: &[u8; 32], place: &Place, content: &Content) -> EntryId {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(b"first\0");
    hasher.update(&place.parent.0);
    hasher.update(&(place.name.as_str().len() as u64).to_le_bytes());
    hasher.update(place.name.as_str().as_bytes());
    match content {
        Content::File { root, .. } => hasher.update(b"f").update(&root.0),
        Content::Symlink { target } => hasher.update(b"l").update(target.as_bytes()),
        Content::Directory => hasher.update(b"d"),
    };
    truncated(&hasher)
}

/// Gives the identity of an entry made by this change, when the first identity was used up.
pub(crate) fn dot_id(key: &[u8; 32], dot: &Dot) -> EntryId {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(b"dot\0");
    update_dot(&mut hasher, dot);
    truncated(&hasher)
}

/// Gives the identity of the entry that a losing value becomes (rule 4). The kind is part of it,
/// so that a liar about the value's kind makes another entry.
pub(crate) fn promoted_id(key: &[u8; 32], entry: &EntryId, dot: &Dot, kind: Kind) -> EntryId {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(b"promoted\0");
    hasher.update(&entry.0);
    hasher.update(if kind == Kind::Symlink { b"l" } else { b"f" });
    update_dot(&mut hasher, dot);
    truncated(&hasher)
}

pub(crate) fn update_dot(hasher: &mut blake3::Hasher, dot: &Dot) {
    hasher.update(dot.author.device.as_bytes());
    hasher.update(&dot.author.epoch.to_le_bytes());
    hasher.update(&dot.seq.to_le_bytes());
}

fn truncated(hasher: &blake3::Hasher) -> EntryId {
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    EntryId(id)
}
