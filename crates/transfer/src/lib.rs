//! Moving blocks between devices: QUIC, the block protocol, and the scheduler of many sources.
//!
//! [`Transfer`] is the handle. It asks all connected members that may have a block, checks every
//! block against its BLAKE3 address before anybody sees it, and serves other members' requests
//! out of a [`BlockSource`]. Who may ask is the [`Gate`]'s word.
//!
//! The decisions are in [`scheduler`], which does no I/O and runs in simulations as it is.

mod api;
mod congestion;
mod connect;
mod driver;
mod limits;
mod node;
mod packing;
mod protocol;
mod quic;
pub mod scheduler;
mod serve;
mod session;
mod shared;
mod tls;

pub use api::{
    BlockIo, BlockSource, BoxFuture, FetchError, Fetched, FolderPriority, Gate, Limits, OpenStream,
    Priority, Traffic, TransferConfig, TransferError,
};
pub use node::Transfer;
