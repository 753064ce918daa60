//! A folder on a real disk, through Linux's system calls.
//!
//! The root stays open as a directory descriptor. The parent of each path is opened beneath it by
//! `openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV`, and the operation itself
//! takes that descriptor and one name: so no symlink that is swapped in meanwhile leads anywhere else.
//! Kernels before 5.6 lack `openat2`; there the path is walked one directory at a time.

mod dir;
mod file;
mod volume;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::Folder;
use super::error::{FsError, FsErrorKind};
use super::types::{FileKind, Stat};
use super::volume::Place;
use crate::marker::RootError;

/// A folder on a real disk.
pub type RealFs = Folder<Kernel>;

/// How often a resolution that a concurrent rename disturbed (`EAGAIN`) is tried again.
const RESOLVE_ATTEMPTS_MAX: usize = 64;

/// The flags of every path resolution.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// The operating system's file system below one directory.
#[derive(Debug)]
pub struct Kernel {
    root: OwnedFd,
    path: PathBuf,
    /// Where the private area is, if not in `.dunlin` below the root.
    apart: Option<OwnedFd>,
    /// `st_dev` of the root.
    dev: u64,
    /// Whether the kernel has `openat2`.
    has_openat2: bool,
}

impl RealFs {
    /// Opens the folder at `path`, which must be an existing directory. A symlink at `path` itself is
    /// the user's own choice and is followed.
    ///
    /// # Errors
    /// [`RootError::Missing`], [`RootError::NotADirectory`], or what the disk reports.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RootError> {
        Folder::on(Kernel::open(path.as_ref())?)
    }

    /// Opens the folder at `path` with its private area in the directory `private`, so that nothing
    /// of Dunlin's stands in the folder. Both must be on one file system, since files are put in
    /// place by renaming; where they are not, the private area is in the folder after all.
    ///
    /// # Errors
    /// As [`RealFs::open`].
    pub fn open_apart(path: &Path, private: &Path) -> Result<Self, RootError> {
        let mut kernel = Kernel::open(path)?;
        let own = Kernel::open(private)?;
        if own.dev == kernel.dev {
            kernel.apart = Some(own.root);
        }
        Folder::on(kernel)
    }
}

/// An open directory that a name is looked up in.
enum Dir<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Dir<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

impl Kernel {
    fn open(path: &Path) -> Result<Self, RootError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => RootError::Missing,
            Errno::NOTDIR => RootError::NotADirectory,
            errno => RootError::Fs(failure("open", "", errno)),
        })?;
        let (stat, _) = stat_fd(&root).map_err(|errno| failure("open", "", errno))?;
        // A sandbox may answer EPERM for a system call that it does not know.
        let probe = rustix::fs::openat2(&root, ".", flags, Mode::empty(), BENEATH);
        let has_openat2 = !matches!(probe, Err(Errno::NOSYS | Errno::PERM));
        Ok(Self { root, path: path.to_owned(), apart: None, dev: stat.dev, has_openat2 })
    }

    /// The path that the root was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the volume walk paths itself, as on kernels without `openat2`.
    #[cfg(test)]
    pub(crate) fn without_openat2(mut self) -> Self {
        self.has_openat2 = false;
        self
    }

    #[cfg(test)]
    pub(crate) fn open_for_test(path: &Path) -> Self {
        Self::open(path).expect("the test's directory is there")
    }

    /// Opens the directory that these names lead to, never through a symlink, nor onto another mount.
    fn open_dir(
        &self,
        base: BorrowedFd<'_>,
        names: &[&str],
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if !self.has_openat2 {
            return self.walk_to(base, names, flags | OFlags::NOFOLLOW);
        }
        // `NO_SYMLINKS` refuses the last name too; `NOFOLLOW` would only hide why (`ENOTDIR`).
        let path = if names.is_empty() { ".".to_owned() } else { names.join("/") };
        for _ in 0..RESOLVE_ATTEMPTS_MAX {
            match rustix::fs::openat2(base, &path, flags, Mode::empty(), BENEATH) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::BUSY)
    }

    /// [`Self::open_dir`] for kernels without `openat2`.
    fn walk_to(
        &self,
        base: BorrowedFd<'_>,
        names: &[&str],
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some((last, above)) = names.split_last() else {
            return rustix::fs::openat(base, ".", flags, Mode::empty());
        };
        let mut dir = Dir::Root(base);
        for (name, flags) in above.iter().map(|name| (name, step)).chain([(last, flags)]) {
            let below = match rustix::fs::openat(&dir, *name, flags, Mode::empty()) {
                Err(Errno::NOTDIR) => {
                    let symlink = stat_in(&dir, *name)?.0.kind == FileKind::Symlink;
                    return Err(if symlink { Errno::LOOP } else { Errno::NOTDIR });
                }
                other => other?,
            };
            let (stat, mounted) = stat_fd(&below)?;
            if stat.dev != self.dev || mounted {
                return Err(Errno::XDEV);
            }
            dir = Dir::Below(below);
        }
        match dir {
            Dir::Below(fd) => Ok(fd),
            Dir::Root(_) => Err(Errno::INVAL),
        }
    }

    /// Where to start from, and the names from there on.
    fn resolve<'a>(&self, place: Place<'a>) -> (BorrowedFd<'_>, Vec<&'a str>) {
        let mut names = place.components();
        match &self.apart {
            Some(apart) if place.is_private() => {
                names.remove(0);
                (apart.as_fd(), names)
            }
            _ => (self.root.as_fd(), names),
        }
    }

    /// Opens the parent directory of a place; its name comes with it. The root has none.
    fn parent<'a>(&self, place: Place<'a>) -> Result<(Dir<'_>, &'a str), Errno> {
        let (base, names) = self.resolve(place);
        // The private area itself, where it is apart, is always there.
        let none = if place.is_root() { Errno::BUSY } else { Errno::EXIST };
        let (name, above) = names.split_last().ok_or(none)?;
        let dir = if above.is_empty() {
            Dir::Root(base)
        } else {
            Dir::Below(self.open_dir(base, above, OFlags::PATH)?)
        };
        Ok((dir, name))
    }

    /// Whether a thing with that stat is another file system's root. Only directories are judged by
    /// their device: overlay file systems give files the device of the layer that they are in.
    fn is_foreign(&self, stat: &Stat, mounted: bool) -> bool {
        mounted || (stat.kind == FileKind::Directory && stat.dev != self.dev)
    }
}

/// The permission bits of a mode.
fn mode_bits(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

/// What is at a name in an open directory, and whether another file system is mounted there.
fn stat_in(dir: impl AsFd, name: impl rustix::path::Arg + Copy) -> Result<(Stat, bool), Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(&dir, name, flags, StatxFlags::BASIC_STATS) {
        Ok(found) => Ok(from_statx(&found)),
        Err(Errno::NOSYS) => rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|s| (from_stat(&s), false)),
        Err(errno) => Err(errno),
    }
}

/// What an open file is, and whether it is the root of a mounted file system.
fn stat_fd(fd: impl AsFd) -> Result<(Stat, bool), Errno> {
    match rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS) {
        Ok(found) => Ok(from_statx(&found)),
        Err(Errno::NOSYS) => rustix::fs::fstat(&fd).map(|found| (from_stat(&found), false)),
        Err(errno) => Err(errno),
    }
}

/// Nanoseconds since 1970, held at the ends of the range (years 1677 and 2262).
fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn kind_of(mode: u32) -> FileKind {
    match rustix::fs::FileType::from_raw_mode(mode) {
        rustix::fs::FileType::RegularFile => FileKind::File,
        rustix::fs::FileType::Directory => FileKind::Directory,
        rustix::fs::FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

fn from_statx(found: &rustix::fs::Statx) -> (Stat, bool) {
    let stat = Stat {
        kind: kind_of(u32::from(found.stx_mode)),
        size: found.stx_size,
        mtime_ns: nanoseconds(found.stx_mtime.tv_sec, i64::from(found.stx_mtime.tv_nsec)),
        ctime_ns: nanoseconds(found.stx_ctime.tv_sec, i64::from(found.stx_ctime.tv_nsec)),
        ino: found.stx_ino,
        dev: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        mode: u32::from(found.stx_mode) & 0o7777,
        nlink: u64::from(found.stx_nlink),
    };
    (stat, found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // Widths differ between architectures.
fn from_stat(found: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: kind_of(found.st_mode),
        size: found.st_size as u64,
        mtime_ns: nanoseconds(found.st_mtime as i64, found.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(found.st_ctime as i64, found.st_ctime_nsec as i64),
        ino: found.st_ino as u64,
        dev: found.st_dev as u64,
        mode: found.st_mode & 0o7777,
        nlink: found.st_nlink as u64,
    }
}

/// Names the failure of a system call.
fn failure(operation: &'static str, place: impl std::fmt::Display, errno: Errno) -> FsError {
    FsError::new(kind_of_errno(errno), operation, place).with_errno(errno.raw_os_error())
}

fn kind_of_errno(errno: Errno) -> FsErrorKind {
    match errno {
        Errno::NOENT => FsErrorKind::NotFound,
        Errno::EXIST => FsErrorKind::Exists,
        Errno::NOTDIR => FsErrorKind::NotADirectory,
        Errno::ISDIR => FsErrorKind::IsADirectory,
        Errno::NOTEMPTY => FsErrorKind::NotEmpty,
        Errno::NOSPC | Errno::DQUOT => FsErrorKind::NoSpace,
        Errno::ROFS => FsErrorKind::ReadOnly,
        Errno::ACCESS | Errno::PERM => FsErrorKind::Permission,
        Errno::LOOP => FsErrorKind::Escapes,
        Errno::XDEV => FsErrorKind::CrossDevice,
        Errno::NAMETOOLONG => FsErrorKind::TooLong,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => FsErrorKind::TooManyOpen,
        Errno::BUSY | Errno::TXTBSY | Errno::AGAIN => FsErrorKind::Busy,
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::FBIG => FsErrorKind::Unsupported,
        Errno::STALE | Errno::NODEV | Errno::SHUTDOWN => FsErrorKind::Unmounted,
        Errno::ILSEQ => FsErrorKind::Unrepresentable,
        _ => FsErrorKind::Io,
    }
}
