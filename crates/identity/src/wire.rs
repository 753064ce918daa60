//! The binary form of a folder's keys, in the home and inside join codes.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 1 | header: bits 0–1 tier (0 store, 1 read, 2 write), bit 7 a generation above 0 |
//! | 32 | the tier's secret |
//! | 32 | write public key (below the write tier) |
//! | 4 + 32 | number (little-endian) and secret of the generation (if above 0) |
//! | 64 | certificate of the store tier's admission key (below the write tier) |
//! | 64 | certificate of the read tier's admission key (read tier) |

use zeroize::Zeroizing;

use crate::{
    device::Signature,
    folder::{Certificates, FolderKeys, KeysError, Parts, Tier},
};

const VERSION: u8 = 1;
const TIER_BITS: u8 = 0b0000_0011;
const LATER_BIT: u8 = 0b1000_0000;
/// The longest form: a reader's keys in a later generation.
pub(crate) const KEYS_BYTES_MAX: usize = 2 + 32 + 32 + 36 + 64 + 64;

pub(crate) fn encode_keys(keys: &FolderKeys) -> Zeroizing<Vec<u8>> {
    let parts = keys.parts();
    // The capacity suffices from the start: growing would leave copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEYS_BYTES_MAX));
    let later_bit = if parts.later.is_some() { LATER_BIT } else { 0 };
    bytes.extend_from_slice(&[VERSION, parts.tier.byte() | later_bit]);
    bytes.extend_from_slice(&*parts.secret);
    bytes.extend_from_slice(parts.write_key.as_ref().map_or(&[], |key| &key[..]));
    if let Some((number, secret)) = &parts.later {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&**secret);
    }
    for certificate in [parts.certificates.store, parts.certificates.read].into_iter().flatten() {
        bytes.extend_from_slice(&certificate.0);
    }
    debug_assert!(bytes.len() <= KEYS_BYTES_MAX);
    bytes
}

pub(crate) fn decode_keys(bytes: &[u8]) -> Result<FolderKeys, KeysError> {
    let mut reader = Reader(bytes);
    let keys = read_keys(&mut reader)?;
    match reader.0.len() {
        0 => Ok(keys),
        count => Err(KeysError::Trailing { count }),
    }
}

/// Reads keys from the front of `reader` and leaves what follows.
pub(crate) fn read_keys(reader: &mut Reader<'_>) -> Result<FolderKeys, KeysError> {
    FolderKeys::from_parts(&read_parts(reader)?)
}

/// The same without checking that the parts belong together.
pub(crate) fn read_parts(reader: &mut Reader<'_>) -> Result<Parts, KeysError> {
    let version = reader.byte()?;
    if version != VERSION {
        return Err(KeysError::Version { found: version });
    }
    let header = reader.byte()?;
    let tier = match header & TIER_BITS {
        0 => Tier::Store,
        1 => Tier::Read,
        2 => Tier::Write,
        _ => return Err(KeysError::Header { found: header }),
    };
    if header & !(TIER_BITS | LATER_BIT) != 0 {
        return Err(KeysError::Header { found: header });
    }
    let secret = Zeroizing::new(reader.array()?);
    let write_key = if tier < Tier::Write { Some(reader.array()?) } else { None };
    let later = if header & LATER_BIT == 0 {
        None
    } else {
        let number = u32::from_le_bytes(reader.array()?);
        if number == 0 {
            return Err(KeysError::Header { found: header });
        }
        Some((number, Zeroizing::new(reader.array()?)))
    };
    let store = if tier < Tier::Write { Some(Signature(reader.array()?)) } else { None };
    let read = if tier == Tier::Read { Some(Signature(reader.array()?)) } else { None };
    Ok(Parts { tier, secret, write_key, later, certificates: Certificates { store, read } })
}

/// Takes fields from the front of a slice; every step is checked, so no input can do harm.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn slice(&mut self, count: usize) -> Result<&'a [u8], KeysError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(KeysError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], KeysError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(KeysError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, KeysError> {
        self.array::<1>().map(|[byte]| byte)
    }
}
