//! Lower-case hexadecimal for 32-byte values.

use std::fmt;

use thiserror::Error;

/// Why a text is not the hexadecimal form of 32 bytes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseHexError {
    /// The text does not have 64 characters.
    #[error("expected 64 hexadecimal digits, found {found} characters")]
    Length {
        /// How many bytes the text has.
        found: usize,
    },
    /// A character is no hexadecimal digit.
    #[error("character {position} is not a hexadecimal digit")]
    Digit {
        /// Counted from one.
        position: usize,
    },
}

pub(crate) fn write(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(crate) fn parse(text: &str) -> Result<[u8; 32], ParseHexError> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(ParseHexError::Length { found: digits.len() });
    }
    let mut bytes = [0; 32];
    for (index, &digit) in digits.iter().enumerate() {
        let value = char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
            .ok_or(ParseHexError::Digit { position: index + 1 })?;
        bytes[index / 2] = bytes[index / 2] << 4 | value;
    }
    Ok(bytes)
}
