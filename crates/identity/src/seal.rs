//! Sealing of bytes with XChaCha20-Poly1305.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use thiserror::Error;

/// Bytes of a nonce. 24 are enough to draw them at random without a counter.
pub const NONCE_BYTES: usize = 24;
/// How many bytes longer than its plain text a sealed text is: the Poly1305 tag.
pub const SEAL_OVERHEAD_BYTES: usize = 16;

/// Why a sealed text did not open.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// Shorter than the tag, so it was never sealed or was cut.
    #[error("the sealed text has only {found} bytes, fewer than its tag")]
    TooShort {
        /// How many bytes it has.
        found: usize,
    },
    /// Another key, nonce or associated data than it was sealed with, or altered bytes.
    #[error("the seal does not fit: it was made with another key, or the bytes were altered")]
    Forged,
}

/// Seals `plain` so that only holders of `key` can read it, and binds it to `aad`.
///
/// A nonce must never be used twice with one key: draw it at random or derive it from what is
/// sealed. The result is [`SEAL_OVERHEAD_BYTES`] longer than `plain`; the nonce is not part of it.
#[must_use]
pub fn seal(key: &[u8; 32], nonce: &[u8; NONCE_BYTES], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    XChaCha20Poly1305::new(key.into())
        .encrypt(nonce.into(), Payload { msg: plain, aad })
        .expect("only texts above 256 GiB are refused, and none fits in memory here")
}

/// Opens what [`seal`] made with the same key, nonce and associated data.
///
/// # Errors
///
/// [`OpenError`] when anything differs from what was sealed; nothing is then returned of the text.
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, OpenError> {
    if sealed.len() < SEAL_OVERHEAD_BYTES {
        return Err(OpenError::TooShort { found: sealed.len() });
    }
    XChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), Payload { msg: sealed, aad })
        .map_err(|_| OpenError::Forged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [7; 32];
    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_sealed_opens_and_any_altered_byte_is_found(
            plain in prop::collection::vec(any::<u8>(), 0..200),
            aad in prop::collection::vec(any::<u8>(), 0..40),
            place in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let mut sealed = seal(&KEY, &NONCE, &aad, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + SEAL_OVERHEAD_BYTES);
            prop_assert_eq!(open(&KEY, &NONCE, &aad, &sealed), Ok(plain));
            let place = place.index(sealed.len());
            sealed[place] ^= flip;
            prop_assert_eq!(open(&KEY, &NONCE, &aad, &sealed), Err(OpenError::Forged));
        }
    }

    #[test]
    fn another_key_nonce_or_associated_data_does_not_open() {
        let sealed = seal(&KEY, &NONCE, b"folder", b"words");
        assert_eq!(open(&[8; 32], &NONCE, b"folder", &sealed), Err(OpenError::Forged));
        assert_eq!(open(&KEY, &[8; 24], b"folder", &sealed), Err(OpenError::Forged));
        assert_eq!(open(&KEY, &NONCE, b"other", &sealed), Err(OpenError::Forged));
        let cut = &sealed[..SEAL_OVERHEAD_BYTES - 1];
        assert_eq!(open(&KEY, &NONCE, b"folder", cut), Err(OpenError::TooShort { found: 15 }));
    }
}
