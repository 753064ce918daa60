//! The local control API of a Dunlin node: HTTP with JSON over a Unix socket and, on request, TCP.
//!
//! Goals: one API for the command line, the web page and other programs; nobody but the node's
//! user gets in; nothing that a caller sends makes the node hold more than a bounded amount.
//! Non-goals: reaching a node from another machine (TLS and accounts belong to a proxy), and any
//! knowledge of networks, indexes or disks: the server is generic over [`Control`].
//!
//! Who may ask: on the socket, processes of the node's own user (checked by the kernel's word on
//! the peer, besides the file's mode); on TCP, whoever presents the token that only that user can
//! read. The requests and their limits are listed in `docs/api.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
pub mod client;
pub mod control;
mod endpoint;
mod events;
mod guard;
mod routes;
pub mod select;
pub mod server;
mod token;
pub mod wire;

pub use address::ApiAddress;
pub use client::{Client, ClientError, Content, EventStream};
pub use control::{Control, Ending, Fault, FaultKind};
pub use server::{ServeError, Server};
