//! What the rest of Dunlin sees of block transfer: the traits it fills and the types it gets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Hash};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

/// Where this device's own blocks are read from. Called on a pool of blocking threads.
pub trait BlockSource: Send + Sync + 'static {
    /// Returns the block, or `None` when this device does not have it whole.
    ///
    /// What comes out is checked by its receiver; a wrong block costs this device its reputation
    /// there, so a source that reads from files that may have changed should check first.
    fn read(&self, folder: FolderId, hash: &Hash) -> Option<Bytes>;

    /// Returns many blocks at once, one answer for each hash, in the same order.
    ///
    /// Override this when several blocks can be read more cheaply together.
    fn read_many(&self, folder: FolderId, hashes: &[Hash]) -> Vec<Option<Bytes>> {
        hashes.iter().map(|hash| self.read(folder, hash)).collect()
    }

    /// Returns which of the blocks are here, one answer for each hash, in the same order.
    ///
    /// Override this when that can be told without reading them; it may be wrong now and then.
    fn has_many(&self, folder: FolderId, hashes: &[Hash]) -> Vec<bool> {
        self.read_many(folder, hashes).iter().map(Option::is_some).collect()
    }
}

/// Says who may ask for the blocks of a folder. Called often: both answers should come from memory.
pub trait Gate: Send + Sync + 'static {
    /// Returns the folder's keys, or `None` when this device does not have (or serve) the folder.
    fn keys(&self, folder: FolderId) -> Option<FolderKeys>;

    /// Returns whether the device is a member of the folder now.
    fn is_member(&self, folder: FolderId, device: &DeviceId) -> bool;
}

/// A byte stream that can carry the block protocol.
pub trait BlockIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> BlockIo for T {}

/// A future in a box, as traits need it that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens another way to a device, for when QUIC does not reach it.
///
/// The stream must already prove that the other end is that device (libp2p's does); the proof of
/// membership is made inside it.
pub trait OpenStream: Send + Sync + 'static {
    /// Opens a stream to the device for blocks of the folder.
    fn open(
        &self,
        device: DeviceId,
        folder: FolderId,
    ) -> BoxFuture<'_, io::Result<Box<dyn BlockIo>>>;
}

/// In which order blocks are asked for; within one priority, folders take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Manifests, small files, and what a person waits for: also asked for when bytes cost money
    /// ([`set_metered`](crate::Transfer::set_metered)).
    High,
    /// Larger files in the ordinary course of syncing.
    Normal,
    /// Repair and prefetching.
    Low,
}

/// Which folders' blocks are asked for before others'.
///
/// Large files of a folder wait while anything is under way for one that goes before it. Manifests,
/// small files and what a person waits for ([`Priority::High`]) do not wait.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum FolderPriority {
    /// Before all others.
    High,
    /// In turn with others.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl FolderPriority {
    /// Returns whether it is the usual one.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }

    /// Returns its name, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// The answer for one wanted block.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The block that was asked for.
    pub hash: Hash,
    /// Its bytes, whose hash has been checked, or why there are none.
    pub data: Result<Bytes, FetchError>,
}

/// Why a block did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// For some seconds no reachable member had the block; asking again later may help.
    #[error("no reachable device has this block")]
    Unavailable,
    /// The wanted length is above what the block protocol carries.
    #[error("the block is longer than the protocol allows")]
    TooLarge,
    /// The transfer has been shut down.
    #[error("the transfer is shut down")]
    Closed,
}

/// Payload bytes that went over the network: blocks without framing, compressed where they went so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of blocks sent.
    pub sent: u64,
    /// Bytes of blocks received and found to be right.
    pub received: u64,
}

/// Limits that a person can set, in bytes a second; `None` is without limit. Limits below 16 KiB a
/// second are taken for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What this device sends.
    pub up: Option<u64>,
    /// What this device receives.
    pub down: Option<u64>,
}

/// What a [`Transfer`](crate::Transfer) needs to start.
pub struct TransferConfig<'a> {
    /// The device's key: it is the TLS identity.
    pub key: &'a DeviceKey,
    /// Where to listen; the first address that can be bound is used. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Where blocks are read from for others.
    pub source: Arc<dyn BlockSource>,
    /// Who may ask.
    pub gate: Arc<dyn Gate>,
}

/// What can go wrong when a transfer starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// None of the addresses could be bound.
    #[error("cannot listen on {addr}: {error}")]
    Bind {
        /// The last address tried.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The configuration names no address to listen on.
    #[error("no address to listen on")]
    NoAddress,
    /// The device key could not be used for TLS.
    #[error("the device key cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
}
