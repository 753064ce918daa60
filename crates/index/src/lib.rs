//! The versioned index of one folder: what every device agrees on.
//!
//! A folder is a set of *entries* with identities of their own. Devices change entries by signed
//! records, numbered by their author; every record commutes with every other, so that devices which
//! hold the same records hold the same state, whatever the order, loss or repetition on the way.
//! [`Index`] keeps the state, [`view`](Index::children) maps it to one file tree by a pure function,
//! and [`sync`] exchanges what devices lack.
//!
//! Nothing here opens a socket, reads a clock or draws randomness: time comes in as [`Millis`],
//! randomness as seeds, the disk through [`Storage`].

// A test that unwraps says by failing what it expected.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod context;
mod error;
mod ids;
pub mod index;
mod item;
mod name;
pub mod planted;
mod record;
mod segment;
pub mod storage;
pub mod sync;
#[cfg(test)]
mod testing;

pub use context::{Context, Heads};
pub use error::{IndexError, MergeError};
pub use ids::{Author, Dot, EntryId, Millis};
pub use index::{
    Committed, Config, Counts, Granted, Head, Index, KeyVerifier, Member, Merged, Signer, Verifier,
};
pub use item::{Conflict, Content, Item, ItemKey, Kind, NewEntry, Resolution, Text};
pub use name::{NAME_BYTES_MAX, NameError, PRIVATE_NAME, PathError, RelPath, SafeName};
pub use record::WrappedKey;
pub use segment::SegmentError;
pub use storage::{Batch, MemStore, SledStore, Storage, StorageError};
