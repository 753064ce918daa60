//! Where a node's API is found: the socket, and the file in the home that tells of it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file in the home that tells where the API is.
const ENDPOINT_FILE: &str = "api.json";
/// The lock that the one server of a home holds.
const LOCK_FILE: &str = "api.lock";
/// The socket's name in the home.
const SOCKET_FILE: &str = "api.sock";
/// The longest path that every system takes as a socket's name: macOS has 104 bytes, NUL included.
const SOCKET_PATH_MAX: usize = 103;
/// More than this is no endpoint file.
const ENDPOINT_FILE_MAX: u64 = 64 * 1024;

/// What `api.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The Unix socket.
    pub(crate) socket: PathBuf,
    /// Where the API listens on TCP, if it does.
    pub(crate) url: Option<String>,
    /// The process that serves it.
    pub(crate) pid: u32,
}

impl Endpoint {
    /// Reads the home's endpoint; `None` when no node has left one.
    pub(crate) fn read(home: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(home.join(ENDPOINT_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(ENDPOINT_FILE_MAX).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Writes it into the home, whole or not at all.
    pub(crate) fn publish(&self, home: &Path) -> io::Result<()> {
        let temporary = home.join(format!("{ENDPOINT_FILE}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.write_all(b"\n")?;
        fs::rename(&temporary, home.join(ENDPOINT_FILE))
    }

    /// Takes the endpoint and its socket away; what is gone already is no matter.
    pub(crate) fn withdraw(&self, home: &Path) {
        for path in [&home.join(ENDPOINT_FILE), &self.socket] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(path = %path.display(), %error, "cannot remove");
                }
                _ => {}
            }
        }
    }
}

/// The lock of a home's one server; `None` when another process holds it.
///
/// The system lets go of it when the process ends, however it ends.
pub(crate) fn lock(home: &Path) -> io::Result<Option<File>> {
    let path = home.join(LOCK_FILE);
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The path for a home's socket: in the home, or, when that is too long for a socket's name, in a
/// private directory of the user's below `runtime`, which is made.
///
/// # Errors
/// `PermissionDenied` when that directory is not the user's own alone; `InvalidInput` when even
/// that path is too long.
pub(crate) fn socket_path(home: &Path, runtime: &Path) -> io::Result<PathBuf> {
    let inside = home.join(SOCKET_FILE);
    if inside.as_os_str().len() <= SOCKET_PATH_MAX {
        return Ok(inside);
    }
    let user = rustix::process::geteuid().as_raw();
    let directory = runtime.join(format!("dunlin-{user}"));
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The place may be shared with others, who could have made the directory first.
    let found = fs::symlink_metadata(&directory)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not a private directory of this user", directory.display()),
        ));
    }
    let hash = blake3::hash(home.as_os_str().as_bytes()).to_hex();
    let path = directory.join(format!("{}.sock", &hash[..16]));
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is too long for a socket's name", path.display()),
        ));
    }
    Ok(path)
}

/// The user's directory for sockets, or the one for temporary files.
pub(crate) fn runtime_directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(path) if path.is_absolute() => path,
        _ => std::env::temp_dir(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_long_home_has_a_short_socket_of_its_own() {
        let runtime = tempfile::tempdir().unwrap();
        let home = Path::new("/home/me/.dunlin");
        assert_eq!(socket_path(home, runtime.path()).unwrap(), home.join("api.sock"));
        let long = |tail: &str| PathBuf::from(format!("/{}/{tail}", "x".repeat(120)));
        let first = socket_path(&long("a"), runtime.path()).unwrap();
        let second = socket_path(&long("b"), runtime.path()).unwrap();
        assert!(first.starts_with(runtime.path()) && first.as_os_str().len() <= SOCKET_PATH_MAX);
        assert_ne!(first, second);
        assert_eq!(first, socket_path(&long("a"), runtime.path()).unwrap());
    }

    #[test]
    fn a_directory_that_others_can_enter_is_not_used() {
        let runtime = tempfile::tempdir().unwrap();
        let home = PathBuf::from(format!("/{}", "x".repeat(120)));
        let made = socket_path(&home, runtime.path()).unwrap();
        let directory = made.parent().unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        let error = socket_path(&home, runtime.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn an_endpoint_is_read_as_it_was_written() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Endpoint::read(home.path()).unwrap(), None);
        let endpoint =
            Endpoint { socket: home.path().join("s"), url: Some("http://x".into()), pid: 7 };
        endpoint.publish(home.path()).unwrap();
        assert_eq!(Endpoint::read(home.path()).unwrap(), Some(endpoint.clone()));
        endpoint.withdraw(home.path());
        assert_eq!(Endpoint::read(home.path()).unwrap(), None);
    }
}
