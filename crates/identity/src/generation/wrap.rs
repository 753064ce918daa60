//! A generation on its way to one member: sealed so that only this member can open it.
//!
//! The key is agreed upon by X25519 between the two devices' own keys (an Ed25519 key and an X25519
//! key are two forms of one point), so that a record in a log can carry it to a device that is away.

use ed25519_dalek::VerifyingKey;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Generation;
use crate::{
    contexts,
    device::{DeviceId, DeviceKey},
    folder::FolderId,
    seal::{NONCE_BYTES, OpenError, open, seal},
};

/// What a decoded generation may take in memory, in bytes.
const DECODE_BYTES_MAX: usize = 1024;

/// Why a wrapped generation did not open.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum UnwrapError {
    /// No key can be agreed upon with the device that is said to have wrapped it.
    #[error("the device that wrapped the generation has no key that can be used")]
    Key,
    /// It is not for this device, not of that one, or altered.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// What was sealed is no generation.
    #[error("what was wrapped is no generation")]
    Malformed,
}

impl Generation {
    /// Seals the generation for one member. None when nobody can have that member's key.
    ///
    /// `nonce` must be drawn at random.
    #[must_use]
    pub fn wrap(
        &self,
        folder: FolderId,
        from: &DeviceKey,
        to: &DeviceId,
        nonce: [u8; NONCE_BYTES],
    ) -> Option<Vec<u8>> {
        let key = agree(folder, from, to, (&from.device(), to))?;
        let plain = bincode::encode_to_vec(self, bincode::config::standard()).ok();
        let plain = Zeroizing::new(plain?);
        let mut wrapped = nonce.to_vec();
        wrapped.extend(seal(&key, &nonce, &[], &plain));
        Some(wrapped)
    }

    /// Opens what [`Generation::wrap`] made for this device. That a writer of the folder made it is
    /// checked by [`FolderKeys::at_generation`](crate::FolderKeys::at_generation).
    ///
    /// # Errors
    /// [`UnwrapError`]; any input is safe.
    pub fn unwrap(
        folder: FolderId,
        wrapped: &[u8],
        from: &DeviceId,
        to: &DeviceKey,
    ) -> Result<Self, UnwrapError> {
        let (nonce, sealed) =
            wrapped.split_first_chunk().ok_or(OpenError::TooShort { found: wrapped.len() })?;
        let key = agree(folder, to, from, (from, &to.device())).ok_or(UnwrapError::Key)?;
        let plain = Zeroizing::new(open(&key, nonce, &[], sealed)?);
        let config = bincode::config::standard().with_limit::<DECODE_BYTES_MAX>();
        match bincode::decode_from_slice(&plain, config) {
            Ok((generation, read)) if read == plain.len() => Ok(generation),
            _ => Err(UnwrapError::Malformed),
        }
    }
}

/// Agrees on a key between a device and another one; both ends are in it, with their roles.
fn agree(
    folder: FolderId,
    own: &DeviceKey,
    other: &DeviceId,
    (from, to): (&DeviceId, &DeviceId),
) -> Option<Zeroizing<[u8; 32]>> {
    let point = VerifyingKey::from_bytes(other.as_bytes()).ok()?.to_montgomery();
    let shared = Zeroizing::new(point.mul_clamped(*own.scalar_bytes()).to_bytes());
    // A point of small order gives a secret that everybody knows.
    if *shared == [0; 32] {
        return None;
    }
    let mut hasher = blake3::Hasher::new_derive_key(contexts::GENERATION_WRAP);
    hasher.update(&*shared).update(folder.as_bytes());
    hasher.update(from.as_bytes()).update(to.as_bytes());
    Some(Zeroizing::new(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FolderKeys, Tier};

    fn device(seed: u8) -> DeviceKey {
        DeviceKey::from_seed([seed; 32])
    }

    #[test]
    fn only_the_member_that_it_was_wrapped_for_opens_a_generation() {
        let keys = FolderKeys::create([5; 32]);
        let next = keys.next_generation([8; 32]).unwrap();
        let (writer, member, other) = (device(1), device(2), device(3));
        let folder = keys.folder();
        let wrapped = next.wrap(folder, &writer, &member.device(), [4; 24]).unwrap();
        let opened = Generation::unwrap(folder, &wrapped, &writer.device(), &member).unwrap();
        let reader = keys.weaken(Tier::Read).unwrap().at_generation(&opened).unwrap();
        assert_eq!(reader.topic(), keys.at_generation(&next).unwrap().topic());
        let refused = |wrapped: &[u8], from: &DeviceKey, to| {
            Generation::unwrap(folder, wrapped, &from.device(), to).unwrap_err()
        };
        let forged = UnwrapError::Sealed(OpenError::Forged);
        assert_eq!(refused(&wrapped, &writer, &other), forged);
        assert_eq!(refused(&wrapped, &other, &member), forged);
        let short = UnwrapError::Sealed(OpenError::TooShort { found: 23 });
        assert_eq!(refused(&wrapped[..23], &writer, &member), short);
        let elsewhere = Generation::unwrap(FolderId([1; 32]), &wrapped, &writer.device(), &member);
        assert_eq!(elsewhere.unwrap_err(), forged);
        // The writer keeps it by a copy for itself.
        let own = next.wrap(folder, &writer, &writer.device(), [4; 24]).unwrap();
        assert!(Generation::unwrap(folder, &own, &writer.device(), &writer).is_ok());
    }

    #[test]
    fn keys_that_everybody_could_know_are_not_agreed_upon() {
        let next = FolderKeys::create([5; 32]).next_generation([8; 32]).unwrap();
        // The neutral element, and bytes that are no point.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        for bytes in [neutral, [2; 32]] {
            let to = DeviceId::from_bytes(bytes);
            assert_eq!(next.wrap(FolderId([1; 32]), &device(1), &to, [0; 24]), None);
        }
    }
}
