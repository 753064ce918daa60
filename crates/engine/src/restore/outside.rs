//! Writes what was restored to a place of the user's choice, which may be in no folder.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dunlin_tree::fs::{Fs, ReadAt};

use crate::gather::Gathered;
use crate::history::What;

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// Writes it, and removes its temporary file. Without `force`, nothing that is there is replaced.
///
/// # Errors
/// What, why, and what to do, for the user.
pub(crate) fn write<F: Fs>(fs: &F, one: &Gathered, to: &Path, force: bool) -> Result<(), String> {
    let written = write_one(fs, one, to, force);
    if let Some(temp) = &one.temp {
        // What stays is removed at the next start.
        let _ = fs.temp_remove(temp);
    }
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} is there already: choose another place, or --force", to.display())
        }
        _ => format!("{} cannot be written: {error}", to.display()),
    })
}

fn write_one<F: Fs>(fs: &F, one: &Gathered, to: &Path, force: bool) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let beside = beside(to);
    match (&one.target.what, &one.temp) {
        (What::File { .. }, Some(temp)) => {
            let content = fs.temp_create(temp, 0).map_err(io::Error::other)?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            let filled = fill(&*content, &mut file, one);
            let placed = filled.and_then(|()| place(&beside, to, force));
            if placed.is_err() {
                fs::remove_file(&beside)?;
            }
            placed
        }
        (What::Symlink { target }, _) => {
            symlink(target, &beside)?;
            let placed = place(&beside, to, force);
            if placed.is_err() {
                fs::remove_file(&beside)?;
            }
            placed
        }
        (What::Directory, _) | (What::File { .. }, None) => {
            fs::create_dir_all(to)?;
            fs::set_permissions(to, Permissions::from_mode(one.target.mode | 0o700))
        }
    }
}

/// The name under which it is written first.
fn beside(to: &Path) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(40).collect();
    to.with_file_name(format!(".{name}.dunlin-{}", std::process::id()))
}

fn fill(content: &dyn ReadAt, file: &mut File, one: &Gathered) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; COPY_BYTES], 0);
    loop {
        match content.read_at(&mut buffer, at).map_err(io::Error::other)? {
            0 => break,
            read => {
                file.write_all(&buffer[..read])?;
                at += read as u64;
            }
        }
    }
    file.set_permissions(Permissions::from_mode(one.target.mode & 0o777))?;
    let mtime = Duration::from_nanos(u64::try_from(one.target.mtime_ns).unwrap_or(0));
    file.set_modified(SystemTime::UNIX_EPOCH + mtime)?;
    file.sync_all()
}

/// Gives it its name: over what is there only with `force`.
fn place(beside: &Path, to: &Path, force: bool) -> io::Result<()> {
    if force {
        return fs::rename(beside, to);
    }
    // A second name is given only where nothing is; the first one goes then.
    fs::hard_link(beside, to)?;
    fs::remove_file(beside)
}
