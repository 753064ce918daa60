//! What a mesh is started with.

use dunlin_identity::DeviceKey;

use crate::limits::DIRECT_MEMBERS_MAX;

/// How to start a [`Mesh`](crate::Mesh).
#[derive(Clone, Copy)]
pub struct MeshConfig<'a> {
    /// The device's key; it becomes the libp2p identity, so that the peer id is the device id.
    pub key: &'a DeviceKey,
    /// Multiaddrs to listen on. Empty means every interface, QUIC and TCP, IPv4 and IPv6, on
    /// ports that the system chooses; of those, what fails is only warned of.
    pub listen: &'a [String],
    /// Multiaddrs to dial and to keep dialling, with or without `/p2p/…`.
    pub peers: &'a [String],
    /// Multiaddrs that worked before. They are dialled like `peers`, but less eagerly.
    pub address_book: &'a [String],
    /// Whether to look for devices on the local network.
    pub mdns: bool,
    /// Whether to take part in the DHT.
    pub dht: bool,
    /// The agent string told to every connected peer, strangers included.
    pub agent: &'a str,
    /// Up to this many connected members of a folder get broadcasts directly, which is quicker
    /// and sends nothing twice; with more of them gossip carries broadcasts. 0 means always
    /// gossip.
    pub direct_members_max: usize,
    /// The UDP port of this device's block transfer, told to members only; 0 means none.
    pub transfer_port: u16,
}

impl<'a> MeshConfig<'a> {
    /// Returns the default configuration for a device: listening everywhere, with mDNS and the
    /// DHT, without any address to dial.
    #[must_use]
    pub fn new(key: &'a DeviceKey) -> Self {
        Self {
            key,
            listen: &[],
            peers: &[],
            address_book: &[],
            mdns: true,
            dht: true,
            agent: concat!("dunlin/", env!("CARGO_PKG_VERSION")),
            direct_members_max: DIRECT_MEMBERS_MAX,
            transfer_port: 0,
        }
    }
}
