//! File operations that fail a test with the path in the message, and made-up contents.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How many files [`many`] makes, in how many directories.
pub(crate) const MANY_FILES: usize = 10_000;
pub(crate) const MANY_DIRS: usize = 100;

#[track_caller]
fn done<T, E: Display>(result: Result<T, E>, what: &str, path: &Path) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {what} {}: {error}", path.display()),
    }
}

/// Writes a whole file, in place when it is there already.
#[track_caller]
pub(crate) fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    done(fs::write(path.as_ref(), bytes), "write", path.as_ref());
}

/// Reads a whole file.
#[track_caller]
pub(crate) fn read(path: impl AsRef<Path>) -> Vec<u8> {
    done(fs::read(path.as_ref()), "read", path.as_ref())
}

/// Appends to a file.
#[track_caller]
pub(crate) fn append(path: impl AsRef<Path>, bytes: &[u8]) {
    let path = path.as_ref();
    let mut file = done(OpenOptions::new().append(true).open(path), "open", path);
    done(file.write_all(bytes), "append to", path);
}

/// Cuts a file to `len` bytes.
#[track_caller]
pub(crate) fn truncate(path: impl AsRef<Path>, len: u64) {
    let path = path.as_ref();
    let file = done(OpenOptions::new().write(true).open(path), "open", path);
    done(file.set_len(len), "truncate", path);
}

/// Makes a directory and its parents.
#[track_caller]
pub(crate) fn mkdir(path: impl AsRef<Path>) {
    done(fs::create_dir_all(path.as_ref()), "make directory", path.as_ref());
}

/// Renames a file or a directory.
#[track_caller]
pub(crate) fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    done(fs::rename(from.as_ref(), to), "rename", from.as_ref());
}

/// Deletes one file or symbolic link.
#[track_caller]
pub(crate) fn remove(path: impl AsRef<Path>) {
    done(fs::remove_file(path.as_ref()), "delete", path.as_ref());
}

/// Deletes a directory with all that is in it.
#[track_caller]
pub(crate) fn remove_tree(path: impl AsRef<Path>) {
    done(fs::remove_dir_all(path.as_ref()), "delete the tree", path.as_ref());
}

/// Sets the mode bits.
#[track_caller]
pub(crate) fn chmod(path: impl AsRef<Path>, mode: u32) {
    let path = path.as_ref();
    done(fs::set_permissions(path, Permissions::from_mode(mode)), "change the mode of", path);
}

/// Makes a symbolic link at `path` that points to `target`.
#[track_caller]
pub(crate) fn link(target: &str, path: impl AsRef<Path>) {
    done(symlink(target, path.as_ref()), "make the link", path.as_ref());
}

/// Sets a file's modification time, in nanoseconds since 1970.
#[track_caller]
pub(crate) fn touch(path: impl AsRef<Path>, mtime_ns: u64) {
    let path = path.as_ref();
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(mtime_ns);
    let file = done(File::open(path), "open", path);
    done(file.set_modified(time), "touch", path);
}

/// Whether something is there, a dangling link included.
pub(crate) fn exists(path: impl AsRef<Path>) -> bool {
    fs::symlink_metadata(path.as_ref()).is_ok()
}

/// The names in a directory, sorted, without Dunlin's own.
#[track_caller]
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let dir = dir.as_ref();
    let mut names: Vec<String> = done(fs::read_dir(dir), "list", dir)
        .map(|entry| done(entry, "list", dir).file_name().to_string_lossy().into_owned())
        .filter(|name| name != ".dunlin")
        .collect();
    names.sort();
    names
}

/// `len` bytes that depend on `seed` alone and that no compression shortens.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Makes [`MANY_FILES`] files of 1 to 4 KiB in [`MANY_DIRS`] directories below `root`.
#[track_caller]
pub(crate) fn many(root: impl AsRef<Path>, seed: u64) {
    for dir in 0..MANY_DIRS {
        let path = root.as_ref().join(format!("d{dir:03}"));
        mkdir(&path);
        for file in 0..MANY_FILES / MANY_DIRS {
            let number = (dir * MANY_FILES / MANY_DIRS + file) as u64;
            let len = 1024 + (number * 37 % 3072) as usize;
            let content = bytes(seed.wrapping_mul(1 << 20) + number, len);
            write(path.join(format!("f{file:03}.bin")), content);
        }
    }
}
