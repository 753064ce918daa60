//! The numbers that bound the mesh: sizes, queues, tables and times.

/// The largest message that [`Mesh::send`](crate::Mesh::send) takes, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest message that [`Mesh::broadcast`](crate::Mesh::broadcast) takes, in bytes.
pub const BROADCAST_BYTES_MAX: usize = 31 * 1024;

/// Messages that may wait to be sent to one peer.
pub const QUEUE_MESSAGES_MAX: usize = 4096;

/// Bytes that may wait to be sent to one peer.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Folders that one device may offer to one peer.
pub const FOLDERS_MAX: usize = 1024;

/// Events that may wait for the consumer of [`MeshEvent`](crate::MeshEvent). Each may hold a
/// message of [`MESSAGE_BYTES_MAX`].
pub const EVENTS_MAX: usize = 64;

/// Broadcasts and other events of the swarm's task that may wait for a place among these.
pub const OUTBOX_MAX: usize = 1024;

/// Connected members of a folder up to which broadcasts go to them directly, unless
/// [`MeshConfig::direct_members_max`](crate::MeshConfig::direct_members_max) says otherwise.
pub const DIRECT_MEMBERS_MAX: usize = 8;

/// Commands that may wait for the swarm's task.
pub(crate) const COMMANDS_MAX: usize = 1024;

/// Bytes that sealing and signing add to a broadcast.
pub(crate) const ENVELOPE_OVERHEAD_BYTES: usize = 152;

/// The largest gossip message on the wire, in bytes. Messages within some 136 bytes of it would
/// be taken and never arrive, so it lies far above the largest envelope.
pub(crate) const GOSSIP_TRANSMIT_MAX: usize = 64 * 1024;

const _: () = assert!(BROADCAST_BYTES_MAX + ENVELOPE_OVERHEAD_BYTES + 1024 <= GOSSIP_TRANSMIT_MAX);

/// Broadcasts that are remembered, so that none is delivered twice.
pub(crate) const SEEN_MAX: usize = 16 * 1024;
