//! Names and paths that are safe to use, checked once where they enter.

use std::fmt;

use bincode::de::{BorrowDecode, BorrowDecoder, Decode, Decoder};
use bincode::enc::{Encode, Encoder};
use bincode::error::{DecodeError, EncodeError};

/// The longest name of an entry, in bytes: what common file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// The directory at a folder's root that belongs to Dunlin and is never synced.
pub const PRIVATE_NAME: &str = ".dunlin";

/// Says why a string is no name for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("a name cannot be empty")]
    Empty,
    /// The name is longer than [`NAME_BYTES_MAX`] bytes.
    #[error("a name cannot be longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// The name contains a slash or a NUL byte.
    #[error("a name cannot contain '/' or NUL")]
    Forbidden,
    /// The name is "." or "..", which mean other directories.
    #[error("\".\" and \"..\" are no names")]
    Dots,
}

/// Says why a string is no path inside a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// One of the path's parts is no name; absolute paths have an empty first part.
    #[error("in a path: {0}")]
    Name(#[from] NameError),
    /// The path leads into the private directory at the folder's root.
    #[error("{PRIVATE_NAME} at the root of a folder is private to Dunlin")]
    Private,
}

/// The name of one entry: 1 to 255 bytes of UTF-8 without '/' and NUL, neither "." nor "..".
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeName(Box<str>);

impl SafeName {
    /// Checks a string and gives it as a name.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
        if name.bytes().any(|byte| byte == b'/' || byte == 0) {
            return Err(NameError::Forbidden);
        }
        if name == "." || name == ".." {
            return Err(NameError::Dots);
        }
        Ok(Self(name.into()))
    }

    /// Gives the name as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SafeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for SafeName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

impl Encode for SafeName {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

fn decoded(name: &str) -> Result<SafeName, DecodeError> {
    SafeName::parse(name).map_err(|error| DecodeError::OtherString(error.to_string()))
}

impl<C> Decode<C> for SafeName {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        decoded(&String::decode(decoder)?)
    }
}

impl<'de, C> BorrowDecode<'de, C> for SafeName {
    fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
        decoder: &mut D,
    ) -> Result<Self, DecodeError> {
        decoded(<&str>::borrow_decode(decoder)?)
    }
}

/// A path below a folder's root, of safe names; the root itself has none.
///
/// Never leads out of the folder, nor into the private directory at its root.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<SafeName>);

impl RelPath {
    /// Gives the folder's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks a path with '/' between its names; "" is the root.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let mut parsed = Self::root();
        if !path.is_empty() {
            for part in path.split('/') {
                parsed.push(SafeName::parse(part)?)?;
            }
        }
        Ok(parsed)
    }

    /// Goes down by one name; refuses the private directory at the root.
    pub fn push(&mut self, name: SafeName) -> Result<(), PathError> {
        if self.0.is_empty() && name.as_str() == PRIVATE_NAME {
            return Err(PathError::Private);
        }
        self.0.push(name);
        Ok(())
    }

    /// Gives the path of a child; refuses the private directory at the root.
    pub fn join(&self, name: &SafeName) -> Result<Self, PathError> {
        let mut path = self.clone();
        path.push(name.clone())?;
        Ok(path)
    }

    /// Gives the path of the directory that this path is in; the root is in none.
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }

    /// Gives the last name; the root has none.
    pub fn name(&self) -> Option<&SafeName> {
        self.0.last()
    }

    /// Gives the names from the root downwards.
    pub fn names(&self) -> &[SafeName] {
        &self.0
    }

    /// Tells whether this is the folder's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether this path is `other` or lies below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl std::str::FromStr for RelPath {
    type Err = PathError;
    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_lead_elsewhere() {
        assert_eq!(SafeName::parse(""), Err(NameError::Empty));
        assert_eq!(SafeName::parse(".."), Err(NameError::Dots));
        assert_eq!(SafeName::parse("."), Err(NameError::Dots));
        assert_eq!(SafeName::parse("a/b"), Err(NameError::Forbidden));
        assert_eq!(SafeName::parse("a\0b"), Err(NameError::Forbidden));
        assert_eq!(SafeName::parse(&"x".repeat(256)), Err(NameError::TooLong));
        assert!(SafeName::parse(&"x".repeat(255)).is_ok());
        assert!(SafeName::parse("...").is_ok());
    }

    #[test]
    fn refuses_paths_that_lead_out_or_into_the_private_directory() {
        assert!(RelPath::parse("/etc").is_err());
        assert!(RelPath::parse("a/../b").is_err());
        assert!(RelPath::parse("a//b").is_err());
        assert_eq!(RelPath::parse(".dunlin/tmp"), Err(PathError::Private));
        assert_eq!(
            RelPath::parse("a/.dunlin").map(|path| path.to_string()),
            Ok("a/.dunlin".into())
        );
        assert!(RelPath::parse("").is_ok_and(|path| path.is_root()));
    }

    #[test]
    fn decoding_checks_the_name() {
        let config = bincode::config::standard().with_limit::<1024>();
        let bytes = bincode::encode_to_vec("a/b", config).unwrap();
        assert!(bincode::decode_from_slice::<SafeName, _>(&bytes, config).is_err());
    }
}
