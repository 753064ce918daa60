//! The local control API of a Dunlin node: HTTP with JSON over a Unix socket and, on request, TCP.
//!
//! The server is generic over [`Control`], so that it knows nothing of networks, indexes or disks.

pub mod control;

pub use control::{Control, Fault, FaultKind};
