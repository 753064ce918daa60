//! The history of a folder: what its files held before, who ended that, and where the bytes are.
//!
//! # Goals
//! - Every content that a change replaces or deletes gets a [`Record`], be the change a peer's or
//!   this device's own. The bytes of what a peer's change ends are moved aside whole (`tree`'s
//!   version store, one rename), and packed later: cut into the blocks of the file's own list,
//!   compressed, each stored once under its hash.
//! - The records survive the database: each is written to a journal in the folder first, from
//!   which they are read again ([`journal`]).
//! - Old versions go by a pure [`policy`]; what no record names any more is swept.
//!
//! # Non-goals
//! - The history is this device's own: it is not synced. What only others have kept is fetched from
//!   them by hash when it is restored.
//!
//! # Limits
//! - A record is at most [`RECORD_BYTES_MAX`] long; lists of blocks are cut into pieces that
//!   versions of one file share.

pub mod journal;
pub mod lists;
mod log;
pub mod object;
pub mod policy;
mod record;
mod store;

pub(crate) use log::HistoryLog;
pub use record::{How, Place, RECORD_BYTES_MAX, Record, What};
pub use store::{History, HistoryError};
