//! Sealed and signed broadcasts.
//!
//! An envelope is a random 24-byte nonce and XChaCha20-Poly1305 under the folder's gossip key,
//! with the folder's topic as associated data. Inside are the author's device id, a second
//! random nonce, a signature over (context, folder, device, nonce, body), and the body.
//!
//! Whoever lacks the folder's secret can neither read an envelope nor tell which folder or device
//! it belongs to, nor make one. Whoever has it cannot speak for another device. The author and
//! the inner nonce name a broadcast: [`Seen`] refuses one that has come before, even when another
//! member seals it afresh.

use std::collections::{HashSet, VecDeque};

use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Signature, open, seal};

use crate::limits::{BROADCAST_BYTES_MAX, ENVELOPE_OVERHEAD_BYTES, SEEN_MAX};

const CONTEXT: &[u8] = b"dunlin broadcast 1";
const OUTER_NONCE_BYTES: usize = 24;
const INNER_NONCE_BYTES: usize = 16;
const DEVICE_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
const SEAL_BYTES: usize = 16;

const _: () = assert!(
    OUTER_NONCE_BYTES + SEAL_BYTES + DEVICE_BYTES + INNER_NONCE_BYTES + SIGNATURE_BYTES
        == ENVELOPE_OVERHEAD_BYTES
);

/// The randomness of one envelope: the outer nonce and the inner one.
pub(crate) type Randomness = [u8; OUTER_NONCE_BYTES + INNER_NONCE_BYTES];

/// Names a broadcast, however it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BroadcastId {
    author: DeviceId,
    nonce: [u8; INNER_NONCE_BYTES],
}

/// An envelope that has been opened and checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) id: BroadcastId,
    pub(crate) author: DeviceId,
    pub(crate) body: Vec<u8>,
}

/// Why an envelope is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum EnvelopeError {
    /// Shorter or longer than any envelope.
    #[error("not the size of a broadcast")]
    Size,
    /// Not sealed with this folder's key, or altered.
    #[error("not sealed with this folder's key")]
    Sealed,
    /// Not signed by the device that it names.
    #[error("not signed by the device that it names")]
    Signature,
}

/// Seals and signs a body; gives the envelope and its name.
pub(crate) fn seal_broadcast(
    keys: &FolderKeys,
    author: &DeviceKey,
    random: &Randomness,
    body: &[u8],
) -> (Vec<u8>, BroadcastId) {
    let (outer, inner) = split(random);
    let device = author.device();
    let signature = author.sign(&signed(keys.folder(), device, &inner, body));
    let mut plain = Vec::with_capacity(ENVELOPE_OVERHEAD_BYTES + body.len());
    plain.extend_from_slice(device.as_bytes());
    plain.extend_from_slice(&inner);
    plain.extend_from_slice(&signature.0);
    plain.extend_from_slice(body);
    let mut envelope = outer.to_vec();
    envelope.extend(seal(&keys.gossip_key(), &outer, &keys.topic(), &plain));
    (envelope, BroadcastId { author: device, nonce: inner })
}

/// Opens an envelope and checks its signature.
///
/// # Errors
///
/// See [`EnvelopeError`].
pub(crate) fn open_broadcast(keys: &FolderKeys, envelope: &[u8]) -> Result<Opened, EnvelopeError> {
    if envelope.len() > BROADCAST_BYTES_MAX + ENVELOPE_OVERHEAD_BYTES {
        return Err(EnvelopeError::Size);
    }
    let (nonce, sealed) =
        envelope.split_first_chunk::<OUTER_NONCE_BYTES>().ok_or(EnvelopeError::Size)?;
    let plain = open(&keys.gossip_key(), nonce, &keys.topic(), sealed)
        .map_err(|_| EnvelopeError::Sealed)?;
    let (device, rest) = plain.split_first_chunk::<DEVICE_BYTES>().ok_or(EnvelopeError::Size)?;
    let (nonce, rest) = rest.split_first_chunk::<INNER_NONCE_BYTES>().ok_or(EnvelopeError::Size)?;
    let (signature, body) =
        rest.split_first_chunk::<SIGNATURE_BYTES>().ok_or(EnvelopeError::Size)?;
    let author = DeviceId::from_bytes(*device);
    if !author.verify(&signed(keys.folder(), author, nonce, body), &Signature(*signature)) {
        return Err(EnvelopeError::Signature);
    }
    Ok(Opened { id: BroadcastId { author, nonce: *nonce }, author, body: body.to_vec() })
}

fn split(random: &Randomness) -> ([u8; OUTER_NONCE_BYTES], [u8; INNER_NONCE_BYTES]) {
    let (mut outer, mut inner) = ([0; OUTER_NONCE_BYTES], [0; INNER_NONCE_BYTES]);
    outer.copy_from_slice(&random[..OUTER_NONCE_BYTES]);
    inner.copy_from_slice(&random[OUTER_NONCE_BYTES..]);
    (outer, inner)
}

fn signed(
    folder: FolderId,
    device: DeviceId,
    nonce: &[u8; INNER_NONCE_BYTES],
    body: &[u8],
) -> Vec<u8> {
    // All parts but the last are of fixed length, so that the parts cannot be shifted.
    [CONTEXT, &folder.0, device.as_bytes(), nonce, body].concat()
}

/// Remembers which broadcasts have come, the last [`SEEN_MAX`] of them.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashSet<BroadcastId>,
    order: VecDeque<BroadcastId>,
}

impl Seen {
    /// Notes a broadcast, and tells whether it is new.
    pub(crate) fn insert(&mut self, id: BroadcastId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(secret: u8) -> FolderKeys {
        FolderKeys::create([secret; 32])
    }

    fn device(seed: u8) -> DeviceKey {
        DeviceKey::from_seed([seed; 32])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_was_sealed_is_opened(body: Vec<u8>, random: [u8; 40]) {
            let (envelope, id) = seal_broadcast(&keys(1), &device(1), &random, &body);
            prop_assert_eq!(envelope.len(), body.len() + ENVELOPE_OVERHEAD_BYTES);
            let opened = open_broadcast(&keys(1), &envelope).unwrap();
            prop_assert_eq!(opened, Opened { id, author: device(1).device(), body });
        }

        #[test]
        fn an_altered_envelope_is_refused(body: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let (mut envelope, _) = seal_broadcast(&keys(1), &device(1), &[3; 40], &body);
            let at = at.index(envelope.len());
            envelope[at] ^= 1 << bit;
            prop_assert_eq!(open_broadcast(&keys(1), &envelope), Err(EnvelopeError::Sealed));
        }

        #[test]
        fn noise_is_refused(bytes: Vec<u8>) {
            prop_assert!(open_broadcast(&keys(1), &bytes).is_err());
        }
    }

    #[test]
    fn another_folders_key_does_not_open() {
        let (envelope, _) = seal_broadcast(&keys(1), &device(1), &[3; 40], b"body");
        assert_eq!(open_broadcast(&keys(2), &envelope), Err(EnvelopeError::Sealed));
    }

    #[test]
    fn a_member_cannot_speak_for_another_device() {
        let keys = keys(1);
        let (outer, inner) = split(&[3; 40]);
        let victim = device(2).device();
        let signature = device(1).sign(&signed(keys.folder(), victim, &inner, b"body"));
        let plain =
            [victim.as_bytes().as_slice(), &inner, &signature.0, b"body".as_slice()].concat();
        let mut envelope = outer.to_vec();
        envelope.extend(seal(&keys.gossip_key(), &outer, &keys.topic(), &plain));
        assert_eq!(open_broadcast(&keys, &envelope), Err(EnvelopeError::Signature));
    }

    #[test]
    fn a_replay_is_noticed_even_when_sealed_afresh() {
        let (first, again) = ([3; 40], {
            let mut other = [3; 40];
            other[..OUTER_NONCE_BYTES].fill(9);
            other
        });
        let (a, _) = seal_broadcast(&keys(1), &device(1), &first, b"body");
        let (b, _) = seal_broadcast(&keys(1), &device(1), &again, b"body");
        assert_ne!(a, b);
        let mut seen = Seen::default();
        assert!(seen.insert(open_broadcast(&keys(1), &a).unwrap().id));
        assert!(!seen.insert(open_broadcast(&keys(1), &b).unwrap().id));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seen = Seen::default();
        let author = device(1).device();
        for n in 0..(SEEN_MAX as u128 + 10) {
            assert!(seen.insert(BroadcastId { author, nonce: n.to_be_bytes() }));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(!seen.insert(BroadcastId { author, nonce: 10_u128.to_be_bytes() }));
        assert!(seen.insert(BroadcastId { author, nonce: 9_u128.to_be_bytes() }));
    }
}
