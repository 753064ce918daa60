//! BLAKE3 digests.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};

use crate::hex::{self, ParseHexError};

/// A BLAKE3 digest of 32 bytes. Its text form is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Decode, Default, Encode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Returns the plain BLAKE3 hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::parse(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_the_digest_in_hexadecimal_and_back() {
        // The empty input's digest, from the BLAKE3 paper's test vectors.
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Hash::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Hash::of(b"")));
    }

    #[test]
    fn what_is_not_64_digits_is_refused_with_its_place() {
        assert_eq!("af13".parse::<Hash>(), Err(ParseHexError::Length { found: 4 }));
        let with_a_fault = format!("{}g{}", "0".repeat(10), "0".repeat(53));
        assert_eq!(with_a_fault.parse::<Hash>(), Err(ParseHexError::Digit { position: 11 }));
    }
}
