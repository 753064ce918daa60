//! Join codes.
use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::folder::FolderKeys;

/// The most address hints that a code carries.
pub const HINTS_MAX: usize = 8;
/// The most bytes of one hint.
pub const HINT_BYTES_MAX: usize = 200;
/// The most bytes of a folder's label.
pub const LABEL_BYTES_MAX: usize = 64;
/// The most characters of a code: as far as the checksum reaches.
pub const JOIN_CODE_CHARS_MAX: usize = 1023;

/// What one person hands to another, or one device to the next, to share a folder.
#[derive(Clone, Debug)]
pub struct JoinCode {
    /// The tier's secret and what belongs to it.
    pub keys: FolderKeys,
    /// The folder's name as its sharer calls it; may be empty.
    pub label: String,
    /// Multiaddrs, each with its `/p2p/…`, where a member may be found.
    pub hints: Vec<String>,
}

/// Why a text is not a join code.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinCodeError {
    /// The text does not begin as a join code does.
    #[error("this is not a Dunlin join code: those begin with dunlin1")]
    NotDunlin,
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dunlin1")
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    fn from_str(_text: &str) -> Result<Self, Self::Err> {
        Err(JoinCodeError::NotDunlin)
    }
}
