//! Device keys: one Ed25519 key names a device everywhere, in its libp2p `PeerId` form.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

/// What stands before an Ed25519 public key in a `PeerId`: the identity multihash (code 0x00,
/// length 36) of libp2p's protobuf `PublicKey` (field 1: key type 1, field 2: 32 bytes).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const PEER_ID_BYTES: usize = PEER_ID_PREFIX.len() + 32;
/// No base58 text of 38 bytes has more characters; longer input is refused unread.
const PEER_ID_CHARS_MAX: usize = 52;

/// A device's name: its Ed25519 public key.
///
/// The text form is the libp2p `PeerId` in base58btc (`12D3KooW…`). The bytes need not be a point
/// on the curve: for a name that is none, no signature verifies.
#[derive(Clone, Copy, Decode, Encode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeviceId([u8; 32]);

impl DeviceId {
    /// Takes the public key's bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the public key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells whether this device's key made `signature` over `message`.
    ///
    /// Strict verification (RFC 8032 with small-order keys and points refused), so that no key
    /// exists under which one signature fits many messages.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        verify(&self.0, message, signature)
    }
}

/// Verifies strictly under a public key that may be anything.
pub(crate) fn verify(public_key: &[u8; 32], message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(public_key).is_ok_and(|key| {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(message, &signature).is_ok()
    })
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; PEER_ID_BYTES];
        bytes[..PEER_ID_PREFIX.len()].copy_from_slice(&PEER_ID_PREFIX);
        bytes[PEER_ID_PREFIX.len()..].copy_from_slice(&self.0);
        f.pad(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({self})")
    }
}

/// Why a text is not a device's name.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum ParseDeviceIdError {
    /// The text is not base58btc or far too long.
    #[error("a device's name is base58 text such as 12D3KooW…, and this is not")]
    NotBase58,
    /// It is base58, but not a `PeerId` with an Ed25519 key.
    #[error("this is not the PeerId of an Ed25519 key (those begin with 12D3KooW)")]
    NotEd25519,
}

impl FromStr for DeviceId {
    type Err = ParseDeviceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > PEER_ID_CHARS_MAX {
            return Err(ParseDeviceIdError::NotBase58);
        }
        let mut bytes = [0; PEER_ID_BYTES];
        let length = match bs58::decode(text).onto(&mut bytes) {
            Ok(length) => length,
            Err(bs58::decode::Error::BufferTooSmall) => return Err(ParseDeviceIdError::NotEd25519),
            Err(_) => return Err(ParseDeviceIdError::NotBase58),
        };
        let (prefix, key) = bytes.split_at(PEER_ID_PREFIX.len());
        match <[u8; 32]>::try_from(key) {
            Ok(key) if length == PEER_ID_BYTES && prefix == PEER_ID_PREFIX => Ok(Self(key)),
            _ => Err(ParseDeviceIdError::NotEd25519),
        }
    }
}

/// An Ed25519 signature of 64 bytes.
#[derive(Clone, Copy, Decode, Encode, Eq, Hash, PartialEq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(f, "Signature({first:02x}{second:02x}{third:02x}{fourth:02x}…)")
    }
}

/// A device's secret key. Erased from memory when dropped; `Debug` shows the public name only.
#[derive(Clone)]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// Makes the key from 32 bytes that were drawn at random, once, by the caller.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = zeroize::Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// Returns the seed, to be stored where only its owner can read it.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns the device's public name.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    /// The scalar behind the public key, for an agreement on a key.
    pub(crate) fn scalar_bytes(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_scalar_bytes())
    }

    /// Signs `message`. Callers begin each kind of message with a context of its own.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({})", self.device())
    }
}

#[cfg(test)]
mod tests;
