//! The secret that changes when a device is removed.

mod wrap;

use std::fmt;

use bincode::{Decode, Encode};
use thiserror::Error;
use zeroize::Zeroize;

use crate::device::Signature;

pub use wrap::UnwrapError;

/// A generation after the first, as a writer hands it to each member that stays.
///
/// Secret: it travels sealed to one member at a time. Erased from memory when dropped.
#[derive(Clone, Decode, Encode)]
pub struct Generation {
    /// Counted from 0; this one is at least 1.
    pub number: u32,
    /// The generation's secret, from which its topic and keys derive.
    pub secret: [u8; 32],
    /// The write key's certificate for the store tier's admission key.
    pub store: Signature,
    /// The write key's certificate for the read tier's admission key.
    pub read: Signature,
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}

/// Why a generation was not taken up.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum GenerationError {
    /// It is not after the one that is in use.
    #[error("generation {offered} is not later than the present {own}")]
    NotLater {
        /// The generation in use.
        own: u32,
        /// The generation that was offered.
        offered: u32,
    },
    /// Its certificates were not made by this folder's write key for this secret.
    #[error("no writer of this folder made that generation")]
    Forged,
}
