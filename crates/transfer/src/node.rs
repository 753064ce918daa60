//! The handle.

use std::net::SocketAddr;
use std::sync::Arc;

use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId};
use tokio::sync::mpsc;

use crate::api::{
    BlockIo, Fetched, Limits, OpenStream, Priority, Traffic, TransferConfig, TransferError,
};

/// The handle to block transfer; cheap to clone.
#[derive(Clone)]
pub struct Transfer {}

#[allow(unused_variables, clippy::unused_async)]
impl Transfer {
    /// Binds the QUIC endpoint and starts serving.
    ///
    /// # Errors
    /// When no address can be bound or the key does not do for TLS.
    pub async fn bind(config: TransferConfig<'_>) -> Result<Self, TransferError> {
        Err(TransferError::NoAddress)
    }
    /// Returns the bound addresses; their port is what peers must be told.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    /// Sets where a device can be reached; replaces what was known.
    pub fn set_peer(&self, device: DeviceId, addrs: Vec<SocketAddr>) {}
    /// Forgets a device's addresses and closes connections to it.
    pub fn peer_gone(&self, device: &DeviceId) {}
    /// Sets which connected devices have this folder; replaces what was known.
    pub fn members(&self, folder: FolderId, peers: Vec<DeviceId>) {}
    /// Fetches blocks into the sink; each distinct hash gets exactly one answer.
    pub async fn fetch(
        &self,
        folder: FolderId,
        blocks: Vec<BlockRef>,
        priority: Priority,
        sink: mpsc::Sender<Fetched>,
    ) {
    }
    /// Returns the traffic of a folder.
    #[must_use]
    pub fn stats(&self, folder: FolderId) -> Traffic {
        Traffic::default()
    }
    /// Returns the traffic with a device.
    #[must_use]
    pub fn device_stats(&self, device: &DeviceId) -> Traffic {
        Traffic::default()
    }
    /// Sets the limits in bytes a second.
    pub fn set_limits(&self, limits: Limits) {}
    /// Serves the block protocol on a stream that the device opened.
    pub fn serve_stream(&self, device: DeviceId, stream: Box<dyn BlockIo>) {}
    /// Sets how to reach a device when QUIC does not.
    pub fn set_fallback(&self, fallback: Arc<dyn OpenStream>) {}
    /// Closes all connections and stops.
    pub async fn shutdown(&self) {}
}
