//! What can go wrong.

use dunlin_identity::DeviceId;

/// Why the mesh could not start or a stream could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// A multiaddr in the configuration cannot be read.
    #[error("{addr:?} is not a network address: {reason}")]
    Address {
        /// The text that was given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address that was named in the configuration cannot be listened on.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// The address.
        addr: String,
        /// What the system said.
        reason: String,
    },
    /// A transport or a behaviour of libp2p could not be set up.
    #[error("cannot set up the network: {0}")]
    Setup(String),
    /// The peer is not connected, or is no member of the folder.
    #[error("{0} is not connected as a member of this folder")]
    NotMember(DeviceId),
    /// The peer was reached but no stream could be opened.
    #[error("cannot open a stream to {peer}: {reason}")]
    Stream {
        /// The peer.
        peer: DeviceId,
        /// What went wrong.
        reason: String,
    },
    /// The mesh has been shut down.
    #[error("the network has been shut down")]
    Closed,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The queue to this peer is full; the message comes back, to be sent again a little later.
    #[error("the queue to this peer is full")]
    Full(Vec<u8>),
    /// The peer is not up as a member of this folder.
    #[error("the peer is not connected as a member of this folder")]
    NotMember,
    /// The message is larger than the limit.
    #[error("a message of {len} bytes is larger than the limit of {max}")]
    TooLarge {
        /// The message's size in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The folder has not been added, or has been removed.
    #[error("this folder is not open here")]
    UnknownFolder,
    /// The mesh has been shut down.
    #[error("the network has been shut down")]
    Closed,
}
