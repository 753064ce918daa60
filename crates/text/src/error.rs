//! Why a text does not merge.

use crate::{BLOCKS_MAX, CLIENTS_MAX, STATE_BYTES_MAX, STATES_MAX, TEXT_BYTES_MAX};

/// Why a state is refused, or texts cannot be merged. The caller then keeps both versions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text, or what merging makes of it, is longer than [`TEXT_BYTES_MAX`].
    #[error("a text of {0} bytes is too long to merge (at most {TEXT_BYTES_MAX})")]
    TextTooLong(usize),
    /// The state is longer than [`STATE_BYTES_MAX`]; [`crate::Doc::compact`] makes it short.
    #[error("a state of {0} bytes is too long (at most {STATE_BYTES_MAX})")]
    StateTooLong(usize),
    /// The state has more than [`BLOCKS_MAX`] blocks or [`CLIENTS_MAX`] clients.
    #[error("the state has more than {BLOCKS_MAX} blocks or {CLIENTS_MAX} clients")]
    StateTooComplex,
    /// The bytes are no state that this crate makes; the reason is for a log.
    #[error("the state of a text is malformed: {0}")]
    Malformed(&'static str),
    /// The texts were begun apart, so their operations have nothing in common.
    #[error("the texts were begun apart")]
    Lineage,
    /// One client has used a number twice, for different operations.
    #[error("two states have different operations under one number")]
    Clash,
    /// None, or more than [`STATES_MAX`], states were given.
    #[error("{0} states to merge (1 to {STATES_MAX} can be)")]
    Count(usize),
    /// `yrs` panicked, or its document is not what was asked for.
    #[error("the merging library failed: {0}")]
    Library(&'static str),
}
