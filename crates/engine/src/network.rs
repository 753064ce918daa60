//! What a folder needs of the world outside its device.

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};
use dunlin_index::sync::SyncMessage;
use dunlin_mesh::Mesh;
use dunlin_transfer::{BoxFuture, Fetched, Priority, Traffic, Transfer};
use tokio::sync::mpsc;

/// The way to a folder's other members: the mesh, or, for two directories of one machine, the
/// other folder in the same process.
pub trait Network: Send + Sync + 'static {
    /// Sends a message to a connected member. False when it cannot be taken now: then it is tried
    /// again later, in order.
    fn send(&self, folder: FolderId, peer: DeviceId, message: &SyncMessage) -> bool;

    /// Sends a message to all members that can be reached.
    fn broadcast(&self, folder: FolderId, message: &SyncMessage);

    /// Fetches blocks; each gets one answer in the sink.
    fn fetch(
        &self,
        folder: FolderId,
        blocks: Vec<BlockRef>,
        priority: Priority,
        sink: mpsc::Sender<Fetched>,
    ) -> BoxFuture<'_, ()>;

    /// Tells members that wait for them that blocks have come which can be had here from now on.
    fn came(&self, folder: FolderId, hashes: &[Hash]) {
        // Where there is one other member only, nobody waits.
        let _ = (folder, hashes);
    }

    /// Bytes of blocks sent and received for a folder.
    fn traffic(&self, folder: FolderId) -> Traffic;
}

/// The mesh and its block transfer.
#[derive(Clone)]
pub struct MeshNetwork {
    /// Messages.
    pub mesh: Mesh,
    /// Blocks.
    pub transfer: Transfer,
}

impl Network for MeshNetwork {
    fn send(&self, folder: FolderId, peer: DeviceId, message: &SyncMessage) -> bool {
        // A member that is gone gets everything anew when it comes back.
        !matches!(
            self.mesh.send(peer, folder, message.encode()),
            Err(dunlin_mesh::SendError::Full(_))
        )
    }

    fn broadcast(&self, folder: FolderId, message: &SyncMessage) {
        if let Err(error) = self.mesh.broadcast(folder, message.encode()) {
            tracing::debug!(%error, "a broadcast was not sent; repair carries it");
        }
    }

    fn fetch(
        &self,
        folder: FolderId,
        blocks: Vec<BlockRef>,
        priority: Priority,
        sink: mpsc::Sender<Fetched>,
    ) -> BoxFuture<'_, ()> {
        Box::pin(self.transfer.fetch(folder, blocks, priority, sink))
    }

    fn came(&self, folder: FolderId, hashes: &[Hash]) {
        self.transfer.came(folder, hashes);
    }

    fn traffic(&self, folder: FolderId) -> Traffic {
        self.transfer.stats(folder)
    }
}

/// Reads blocks of one folder from this disk.
pub trait ServeBlocks: Send + Sync {
    /// For each hash the block, if it is here and as it should be.
    fn read_many(&self, hashes: &[Hash]) -> Vec<Option<Bytes>>;

    /// For each hash whether the block is here, as far as can be told without reading it.
    fn has_many(&self, hashes: &[Hash]) -> Vec<bool>;

    /// The block, if it is here and as it should be.
    fn read(&self, hash: &Hash) -> Option<Bytes> {
        self.read_many(std::slice::from_ref(hash)).pop().flatten()
    }
}

/// The way for blocks when QUIC does not reach a device: a stream of the mesh.
pub struct Fallback(pub Mesh);

impl dunlin_transfer::OpenStream for Fallback {
    fn open(
        &self,
        device: DeviceId,
        folder: FolderId,
    ) -> BoxFuture<'_, std::io::Result<Box<dyn dunlin_transfer::BlockIo>>> {
        Box::pin(async move {
            let stream = self.0.open_block_stream(device, folder).await;
            let stream = stream.map_err(std::io::Error::other)?;
            Ok(Box::new(stream) as Box<dyn dunlin_transfer::BlockIo>)
        })
    }
}
