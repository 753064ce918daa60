//! Who may do what in Dunlin: device keys, sync-ids, tiers, join codes and every derived key.
//!
//! Goals: one place from which every key of the system comes, each for one purpose only; codes
//! that a person can paste, scan and mistype without harm; admissions that any tier can check.
//!
//! Non-goals: randomness, clocks, files and sockets. Seeds and nonces come in from outside, so
//! that every function here is pure and can be repeated in a simulation.
//!
//! The same things in prose, with every context string, are in `docs/protocol.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod code;
mod contexts;
mod device;
mod folder;
mod generation;
mod hash;
mod hex;
mod hint;
mod seal;
mod wire;

pub use admission::Admission;
pub use code::{
    HINT_BYTES_MAX, HINTS_MAX, JOIN_CODE_CHARS_MAX, JoinCode, JoinCodeError, LABEL_BYTES_MAX, Typo,
};
pub use device::{DeviceId, DeviceKey, ParseDeviceIdError, Signature};
pub use folder::{FolderId, FolderKeys, KeysError, ParseTierError, Role, Tier};
pub use generation::{Generation, GenerationError, UnwrapError};
pub use hash::Hash;
pub use hex::ParseHexError;
pub use seal::{NONCE_BYTES, OpenError, SEAL_OVERHEAD_BYTES, open, seal};
