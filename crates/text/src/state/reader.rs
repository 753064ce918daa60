//! Reads numbers and strings of lib0's encoding, and believes no length.

use crate::TextError;
use crate::client::is_id;

/// Bytes that are left to read.
pub(super) struct Reader<'a>(&'a [u8]);

const CUT_OFF: TextError = TextError::Malformed("it ends too early");

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, TextError> {
        let (first, rest) = self.0.split_first().ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(*first)
    }

    /// Reads how many things follow, of which each takes at least so many bytes.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<usize, TextError> {
        let count = self.number()? as usize;
        if count > self.0.len() / bytes_each {
            return Err(TextError::Malformed("a count of more than is there"));
        }
        Ok(count)
    }

    /// Reads the id of a client or a lineage.
    pub(super) fn id(&mut self) -> Result<u64, TextError> {
        let id = self.varint()?;
        if is_id(id) { Ok(id) } else { Err(TextError::Malformed("an id of more than 53 bits")) }
    }

    pub(super) fn number(&mut self) -> Result<u32, TextError> {
        u32::try_from(self.varint()?).map_err(|_| TextError::Malformed("a number above 32 bits"))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, TextError> {
        let len = self.count(1)?;
        let (string, rest) = self.0.split_at(len);
        self.0 = rest;
        std::str::from_utf8(string).map_err(|_| TextError::Malformed("a string that is no UTF-8"))
    }

    /// Reads seven bits a byte, the lowest first; the highest bit says that more follow.
    fn varint(&mut self) -> Result<u64, TextError> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(TextError::Malformed("a number above 63 bits"))
    }
}
