//! Text that merges: what two devices wrote in one text apart becomes one text, on all devices the
//! same, with every word that either inserted in it.
//!
//! Each version of a text carries a *state*: a document of the sequence CRDT YATA (Nicolaescu and
//! others, 2016) as the crate `yrs` implements it, which this crate alone uses. A state is made of
//! operations, and merging unites those of several states; an edit made by any editor becomes
//! operations by comparing the text before with the text after.
//!
//! # Goals
//! - Merging is commutative, associative and idempotent, with no further round of changes.
//! - What an edit leaves is to the byte what was written: line ends, byte order mark and all.
//! - No two words ever grow together, and no word is torn: see [`Doc::edit`] for how.
//! - A state from a peer or a disk is checked completely before `yrs` sees a byte of it.
//!
//! # Non-goals
//! - Rich text. Character by character cursors. Meaning: two edits of one sentence both stand in
//!   it, and it may read oddly; what is machine-read is checked by [`breaks`].
//!
//! # Limits
//! A text has at most [`TEXT_BYTES_MAX`] bytes, a state at most [`STATE_BYTES_MAX`] bytes in
//! [`BLOCKS_MAX`] blocks by [`CLIENTS_MAX`] clients, and at most [`STATES_MAX`] states are merged
//! at once.

mod check;
mod client;
mod diff;
mod doc;
mod error;
mod kind;
mod merge;
pub mod settings;
mod state;

pub use check::breaks;
pub use client::{Client, Lineage};
pub use doc::{Doc, may_compact, must_compact};
pub use error::TextError;
pub use kind::{PATTERN_BYTES_MAX, PATTERNS_MAX, PatternError, Patterns, is_text};
pub use merge::merge;

/// The version of the rules by which texts are cut into tokens, compared, and merged. A version of
/// a file names the rules that its state was made by, so that all devices merge it alike.
pub const RULES: u8 = 1;

/// The same rules, but that what is merged need not parse: a folder may choose so.
pub const RULES_UNCHECKED: u8 = 2;

/// A text that is longer, in bytes, does not merge.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// No state is longer, in bytes (3.5 MiB): it travels as one block, which is at most 4 MiB.
pub const STATE_BYTES_MAX: usize = 7 << 19;

/// No state has more blocks (runs of inserted or deleted text): each costs some 200 bytes of
/// memory, whatever its length.
pub const BLOCKS_MAX: usize = 1 << 17;

/// No state has operations of more clients, which are devices in one of their epochs.
pub const CLIENTS_MAX: usize = 4096;

/// At most so many states are merged at once; more concurrent versions of one file stay apart.
pub const STATES_MAX: usize = 16;
