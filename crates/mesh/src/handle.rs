//! The handle to a running mesh.

use dunlin_identity::{DeviceId, FolderId, FolderKeys};
use tokio::sync::mpsc;

use crate::{BlockStream, MeshConfig, MeshError, MeshEvent, SendError};

/// A handle to a running mesh; clones are cheap and mean the same mesh.
#[derive(Clone)]
pub struct Mesh {}

impl Mesh {
    /// Starts a mesh.
    ///
    /// # Errors
    ///
    /// An address that cannot be read or, when it was named, not be listened on.
    pub async fn start(
        _config: MeshConfig<'_>,
    ) -> Result<(Self, mpsc::Receiver<MeshEvent>), MeshError> {
        Err(MeshError::Closed)
    }

    /// Opens a folder: its members among the connected peers come up.
    pub fn add_folder(&self, _keys: FolderKeys) {}

    /// Closes a folder: its members go down.
    pub fn remove_folder(&self, _folder: FolderId) {}

    /// Dials an address now and keeps it connected.
    pub fn add_peer_addr(&self, _addr: String) {}

    /// Queues a message to a member, without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] gives the message back when too much waits for this peer.
    pub fn send(
        &self,
        _peer: DeviceId,
        _folder: FolderId,
        _message: Vec<u8>,
    ) -> Result<(), SendError> {
        Err(SendError::Closed)
    }

    /// Seals, signs and spreads a message to all members that can be reached.
    ///
    /// # Errors
    ///
    /// The folder is not open, or the message is larger than
    /// [`BROADCAST_BYTES_MAX`](crate::limits::BROADCAST_BYTES_MAX).
    pub fn broadcast(&self, _folder: FolderId, _message: Vec<u8>) -> Result<(), SendError> {
        Err(SendError::Closed)
    }

    /// Opens a stream for blocks of a folder to a member.
    ///
    /// # Errors
    ///
    /// The peer is not up in this folder, or the stream cannot be opened.
    pub async fn open_block_stream(
        &self,
        _peer: DeviceId,
        _folder: FolderId,
    ) -> Result<BlockStream, MeshError> {
        Err(MeshError::Closed)
    }

    /// Returns the multiaddrs that the mesh listens on, with `/p2p/…`.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns this device's id.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        unreachable!("start never gives a handle yet")
    }

    /// Closes all connections and ends all tasks.
    pub async fn shutdown(self) {}
}
