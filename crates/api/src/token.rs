//! The secret that opens the API on TCP.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The token's file in the home.
pub(crate) const TOKEN_FILE: &str = "api-token";
/// Random bytes in a token; it is written as twice as many hexadecimal digits.
const TOKEN_BYTES: usize = 32;
/// More than this is no token file.
const TOKEN_FILE_MAX: u64 = 1024;

/// The secret that opens the API on TCP. Neither shown nor logged.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// Reads the home's token, or makes it, readable by its user alone.
    ///
    /// # Errors
    /// Besides those of the disk: `PermissionDenied` when others can read or write the file, for
    /// then it is no secret, and `InvalidData` when it holds something else than a token.
    pub(crate) fn load_or_make(home: &Path) -> io::Result<Self> {
        let path = home.join(TOKEN_FILE);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Self::make(file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(&path),
            Err(error) => Err(error),
        }
    }

    fn make(mut file: fs::File) -> io::Result<Self> {
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        Ok(Self(token))
    }

    fn load(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "other users can read or change it; remove it, and a new one is made",
            ));
        }
        let mut text = String::new();
        file.take(TOKEN_FILE_MAX).read_to_string(&mut text)?;
        let token = text.trim_end();
        if token.len() != 2 * TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it holds no token; remove it, and a new one is made",
            ));
        }
        Ok(Self(token.to_owned()))
    }

    /// Whether this is the token, in a time that does not tell where it differs.
    pub(crate) fn matches(&self, presented: &[u8]) -> bool {
        // Digests are compared in constant time, and have one length whatever was presented.
        blake3::hash(self.0.as_bytes()) == blake3::hash(presented)
    }

    /// The token itself, for tests that present it.
    #[cfg(test)]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_private() {
        let home = tempfile::tempdir().unwrap();
        let first = Token::load_or_make(home.path()).unwrap();
        let second = Token::load_or_make(home.path()).unwrap();
        assert!(second.matches(first.expose().as_bytes()));
        assert!(!second.matches(b""));
        assert!(!second.matches(&first.expose().as_bytes()[1..]));
        let mode = fs::metadata(home.path().join(TOKEN_FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        Token::load_or_make(home.path()).unwrap();
        let path = home.path().join(TOKEN_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Token::load_or_make(home.path()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn an_empty_token_file_opens_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(TOKEN_FILE);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = Token::load_or_make(home.path()).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
