//! Identifiers: of entries, of authors, and of single changes (dots).

use std::fmt;

use bincode::{Decode, Encode};
use dunlin_identity::DeviceId;

/// Wall-clock time in milliseconds since 1970; always passed in, never read here.
pub type Millis = u64;

/// Names an entry for all its life, whatever its place and content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct EntryId(pub [u8; 16]);

impl EntryId {
    /// The folder's root directory, which is always there.
    pub const ROOT: Self = Self([0; 16]);
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryId({self})")
    }
}

/// One device in one of its epochs: the author of one log.
///
/// A device opens a new epoch when it has lost its own log's end (a restored backup), so that it
/// never uses a number twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Author {
    /// The device that signs the log.
    pub device: DeviceId,
    /// A random number drawn when the log was begun.
    pub epoch: u64,
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.device, self.epoch)
    }
}

/// Names one change: the author's sequence number, counted from 1 without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Dot {
    /// The author of the change.
    pub author: Author,
    /// The change's number in its author's log; the first is 1.
    pub seq: u64,
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.author, self.seq)
    }
}
