//! The network side of Dunlin: finding devices, proving membership, and carrying messages.
//!
//! # Goals
//!
//! - Devices find each other by mDNS, by Kademlia under a private protocol name, by addresses
//!   that the user gives, and by addresses that worked before.
//! - Before anything about a folder is said, both sides prove that they hold its secret. A
//!   stranger learns neither a folder's name nor its topic, nor how many folders there are.
//! - Messages between two members are reliable and ordered while both are up; fresh changes
//!   spread by gossip, sealed and signed.
//!
//! # Non-goals
//!
//! The mesh does not know what a message means: it carries bytes. It stores nothing on disk.
//! Gossip may lose messages; repair over direct messages is the business of the layer above.
//!
//! # Limits
//!
//! Every queue, table and message is bounded; the numbers are constants in [`limits`]. The wire
//! protocol is described in `docs/mesh.md`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail by panicking"))]

mod access;
mod addr;
mod behaviour;
mod blocks;
mod config;
mod dialer;
mod discovery;
mod driver;
mod envelope;
mod error;
mod event;
mod gate;
mod handle;
pub mod limits;
mod peering;
mod session;
mod shared;
mod wire;

pub use access::FolderAccess;
pub use config::MeshConfig;
pub use error::{MeshError, SendError};
pub use event::{BlockStream, MeshEvent, PathKind};
pub use handle::Mesh;
