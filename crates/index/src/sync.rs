//! Anti-entropy and gossip for one folder, sans-IO.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use dunlin_identity::{DeviceId, Hash};

use crate::context::Context;
use crate::error::{IndexError, MergeError};
use crate::ids::{Author, EntryId, Millis};
use crate::index::{Committed, Index};
use crate::storage::Storage;

/// The most bytes of a [`SyncMessage::Push`] when encoded: it must fit a gossip message.
pub const PUSH_BYTES_MAX: usize = 30 * 1024;

/// The most bytes of any encoded message.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What two members of a folder tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SyncMessage {
    /// What the sender knows and still needs: sent on connecting, now and then, and after merging.
    State {
        /// What the sender's index knows.
        context: Context,
        /// The fingerprint of the sender's state.
        fingerprint: Hash,
        /// The number of files whose content the sender still lacks on its disk.
        need_files: u64,
        /// Their bytes.
        need_bytes: u64,
    },
    /// Segments that the receiver lacks, ordered by author and sequence number.
    Segments {
        /// The encoded segments.
        segments: Vec<Vec<u8>>,
        /// Whether more follow in other messages.
        more: bool,
    },
    /// Fresh segments, broadcast at once.
    Push {
        /// The encoded segments.
        segments: Vec<Vec<u8>>,
        /// Small contents, each addressed by its BLAKE3 hash.
        blobs: Vec<Vec<u8>>,
    },
    /// How far the sender's own log reaches, when a push would be too large.
    Head {
        /// Whose log.
        author: Author,
        /// The last sequence number.
        seq: u64,
        /// The hash of the log's chain up to it.
        chain: Hash,
    },
}

/// Why a message could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are no message.
    #[error("malformed message")]
    Malformed,
    /// The message was sent by a newer version of Dunlin.
    #[error("message of an unknown version")]
    Version,
    /// The message is larger than [`MESSAGE_BYTES_MAX`].
    #[error("message too large")]
    TooLarge,
}

/// Why a message could not be handled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A segment was refused for a reason that the person must know (a fork, a lost epoch).
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// To one connected member.
    Send(DeviceId, SyncMessage),
    /// To all members, by gossip.
    Broadcast(SyncMessage),
}

/// What handling a message led to.
#[derive(Debug, Default)]
pub struct Handled {
    /// Messages to send.
    pub out: Vec<Out>,
    /// Every entry whose items may differ from before.
    pub changed: BTreeSet<EntryId>,
    /// Small contents that came along, not yet checked against any hash.
    pub blobs: Vec<Vec<u8>>,
    /// The first segment that was refused, when any was; the others were still taken.
    pub refused: Option<MergeError>,
}

/// Keeps one folder's index and those of the connected members the same.
pub struct Replicator {}

impl SyncMessage {
    /// Encodes.
    pub fn encode(&self) -> Vec<u8> { unimplemented!() }
    /// Decodes.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> { unimplemented!() }
}

impl Replicator {
    /// New.
    pub fn new(me: DeviceId, seed: u64) -> Self { unimplemented!() }
    /// Up.
    pub fn peer_up<S: Storage>(&mut self, peer: DeviceId, index: &Index<S>, now: Millis) -> Vec<Out> { unimplemented!() }
    /// Down.
    pub fn peer_down(&mut self, peer: &DeviceId) { unimplemented!() }
    /// Message.
    pub fn on_message<S: Storage>(&mut self, from: DeviceId, message: SyncMessage, index: &mut Index<S>, now: Millis) -> Result<Handled, SyncError> { unimplemented!() }
    /// Local.
    pub fn local<S: Storage>(&mut self, committed: &Committed, blobs: Vec<Vec<u8>>, index: &Index<S>) -> Vec<Out> { unimplemented!() }
    /// Applied.
    pub fn applied(&mut self, need_files: u64, need_bytes: u64, now: Millis) { unimplemented!() }
    /// Tick.
    pub fn tick<S: Storage>(&mut self, index: &Index<S>, now: Millis) -> Vec<Out> { unimplemented!() }
    /// Next tick.
    pub fn next_tick(&self, now: Millis) -> Millis { unimplemented!() }
    /// In sync.
    pub fn in_sync<S: Storage>(&self, peer: &DeviceId, index: &Index<S>) -> bool { unimplemented!() }
}
