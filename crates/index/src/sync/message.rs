//! The messages of anti-entropy and gossip.

use bincode::{Decode, Encode};
use dunlin_identity::Hash;

use crate::context::Heads;
use crate::ids::Author;

/// The most bytes of a [`SyncMessage::Push`] when encoded: it must fit a gossip message.
pub const PUSH_BYTES_MAX: usize = 30 * 1024;

/// The most bytes of any encoded message.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

const VERSION: u8 = 2;

/// What two members of a folder tell each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SyncMessage {
    /// What the sender knows and still needs: sent on connecting, now and then, and after merging.
    State {
        /// What the sender's index knows.
        heads: Heads,
        /// The fingerprint of the sender's state; zero while it has uncommitted changes.
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
        /// Whether more follow once the receiver has told its new state.
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
    /// Asks who could still give these contents, of which the sender found no source.
    WantHave {
        /// Tells this question apart from the sender's earlier ones.
        round: u64,
        /// Each by its address, with its size in bytes.
        contents: Vec<(Hash, u64)>,
    },
    /// Answers that the sender has none of these on its disk, nor in its version store.
    DontHave {
        /// The question that this answers.
        round: u64,
        /// Their addresses.
        contents: Vec<Hash>,
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

impl SyncMessage {
    /// Encodes the message, its version first.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let body = bincode::encode_to_vec(self, bincode::config::standard())
            .expect("encoding into memory cannot fail");
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Decodes what a peer sent, within [`MESSAGE_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLarge);
        }
        let (version, body) = bytes.split_first().ok_or(MessageError::Malformed)?;
        if *version != VERSION {
            return Err(MessageError::Version);
        }
        let config = bincode::config::standard().with_limit::<{ 2 * MESSAGE_BYTES_MAX }>();
        match bincode::decode_from_slice(body, config) {
            Ok((message, read)) if read == body.len() => Ok(message),
            _ => Err(MessageError::Malformed),
        }
    }
}
