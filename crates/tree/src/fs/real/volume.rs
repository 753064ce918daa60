//! The kernel's operations as a [`Volume`].

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::file::{RealFile, timestamps};
use super::{Kernel, failure, mode_bits, stat_fd, stat_in};
use crate::fs::{
    FileKind, FsError, FsErrorKind, Listing, Place, ReadAt, RenameHow, Space, Stat, Volume, WriteAt,
};

/// The flags by which regular files are opened: nothing blocks, and nothing is followed.
const OPEN: OFlags =
    OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

impl Kernel {
    /// Looks at a name and fails unless it is a regular file, without opening it.
    fn check_regular(
        stat: &Stat,
        operation: &'static str,
        place: Place<'_>,
    ) -> Result<(), FsError> {
        match stat.kind {
            FileKind::File => Ok(()),
            FileKind::Directory => Err(FsError::new(FsErrorKind::IsADirectory, operation, place)),
            _ => Err(FsError::new(FsErrorKind::NotAFile, operation, place)),
        }
    }

    /// Opens a regular file that exists.
    fn open_regular(
        &self,
        operation: &'static str,
        place: Place<'_>,
        flags: OFlags,
    ) -> Result<RealFile, FsError> {
        let failed = |errno| failure(operation, place, errno);
        let (dir, name) = self.parent(place).map_err(failed)?;
        // Opening a FIFO or a device can have effects, so it is looked at first; what is swapped in
        // between is noticed after, and `NONBLOCK` keeps it from blocking.
        let (stat, _) = stat_in(&dir, name).map_err(failed)?;
        Self::check_regular(&stat, operation, place)?;
        let fd = rustix::fs::openat(&dir, name, flags | OPEN, Mode::empty()).map_err(failed)?;
        let (stat, _) = stat_fd(&fd).map_err(failed)?;
        Self::check_regular(&stat, operation, place)?;
        Ok(RealFile::new(fd, place))
    }

    fn open_for_list(&self, place: Place<'_>) -> Result<OwnedFd, Errno> {
        let (base, names) = self.resolve(place);
        self.open_dir(base, &names, OFlags::RDONLY)
    }
}

/// Sets the mode of what a path descriptor holds. `fchmod` refuses such descriptors and `fchmodat`
/// would follow a symlink; the descriptor's name in `/proc` leads to exactly that inode.
fn chmod_path_fd(fd: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::chmod(name, mode)
}

impl Volume for Kernel {
    fn stat_by_path(&self) -> Result<Option<Stat>, FsError> {
        let found = rustix::fs::stat(&self.path);
        match found {
            Ok(found) => Ok(Some(super::from_stat(&found))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failure("look at", "", errno)),
        }
    }

    fn file_system_id(&self) -> Result<u64, FsError> {
        let found = rustix::fs::fstatvfs(&self.root);
        found.map(|found| found.f_fsid).map_err(|errno| failure("look at", "", errno))
    }

    fn stat(&self, place: Place<'_>) -> Result<Option<Stat>, FsError> {
        let failed = |errno| failure("look at", place, errno);
        if place.is_root() {
            return stat_fd(&self.root).map(|(stat, _)| Some(stat)).map_err(failed);
        }
        let found = self.parent(place).and_then(|(dir, name)| stat_in(&dir, name));
        match found {
            Ok((stat, mounted)) if self.is_foreign(&stat, mounted) => Err(failed(Errno::XDEV)),
            Ok((stat, _)) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn list(&self, place: Place<'_>) -> Result<Listing, FsError> {
        let listed =
            self.open_for_list(place).and_then(|dir| self.list_open(&dir, place.is_root()));
        listed.map_err(|errno| failure("list", place, errno))
    }

    fn open(&self, place: Place<'_>) -> Result<Box<dyn ReadAt>, FsError> {
        Ok(Box::new(self.open_regular("open", place, OFlags::RDONLY)?))
    }

    fn open_write(&self, place: Place<'_>) -> Result<(Box<dyn WriteAt>, bool), FsError> {
        let failed = |errno| failure("open for writing", place, errno);
        let (dir, name) = self.parent(place).map_err(failed)?;
        let make = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OPEN;
        match rustix::fs::openat(&dir, name, make, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok((Box::new(RealFile::new(fd, place)), true)),
            Err(Errno::EXIST) => {
                let file = self.open_regular("open for writing", place, OFlags::RDWR)?;
                Ok((Box::new(file), false))
            }
            Err(errno) => Err(failed(errno)),
        }
    }

    fn read_link(&self, place: Place<'_>) -> Result<String, FsError> {
        let read = self
            .parent(place)
            .and_then(|(dir, name)| rustix::fs::readlinkat(&dir, name, Vec::new()));
        let target = read.map_err(|errno| failure("read the link", place, errno))?;
        target
            .into_string()
            .map_err(|_| FsError::new(FsErrorKind::Unrepresentable, "read the link", place))
    }

    fn symlink(&self, target: &str, place: Place<'_>) -> Result<(), FsError> {
        let made =
            self.parent(place).and_then(|(dir, name)| rustix::fs::symlinkat(target, &dir, name));
        made.map_err(|errno| failure("make the link", place, errno))
    }

    fn mkdir(&self, place: Place<'_>, mode: u32) -> Result<(), FsError> {
        let made = self
            .parent(place)
            .and_then(|(dir, name)| rustix::fs::mkdirat(&dir, name, mode_bits(mode)));
        made.map_err(|errno| failure("make the directory", place, errno))
    }

    fn rmdir(&self, place: Place<'_>) -> Result<(), FsError> {
        let removed = self
            .parent(place)
            .and_then(|(dir, name)| rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR));
        removed.map_err(|errno| failure("remove the directory", place, errno))
    }

    fn unlink(&self, place: Place<'_>) -> Result<(), FsError> {
        let removed = self
            .parent(place)
            .and_then(|(dir, name)| rustix::fs::unlinkat(&dir, name, AtFlags::empty()));
        removed.map_err(|errno| failure("remove", place, errno))
    }

    fn link(&self, from: Place<'_>, to: Place<'_>) -> Result<(), FsError> {
        let linked = self.parent(from).and_then(|(from_dir, from_name)| {
            let (to_dir, to_name) = self.parent(to)?;
            rustix::fs::linkat(&from_dir, from_name, &to_dir, to_name, AtFlags::empty())
        });
        linked.map_err(|errno| failure("link to", to, errno))
    }

    fn rename(&self, from: Place<'_>, to: Place<'_>, how: RenameHow) -> Result<(), FsError> {
        let flags = match how {
            RenameHow::NoReplace => RenameFlags::NOREPLACE,
            RenameHow::Exchange => RenameFlags::EXCHANGE,
            RenameHow::Replace => RenameFlags::empty(),
        };
        let renamed = self.parent(from).and_then(|(from_dir, from_name)| {
            let (to_dir, to_name) = self.parent(to)?;
            rustix::fs::renameat_with(&from_dir, from_name, &to_dir, to_name, flags)
        });
        renamed.map_err(|errno| failure("move to", to, errno))
    }

    fn set_mode(&self, place: Place<'_>, mode: u32) -> Result<(), FsError> {
        let failed = |errno| failure("set the mode of", place, errno);
        let (dir, name) = self.parent(place).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, name, flags, Mode::empty()).map_err(failed)?;
        let (stat, mounted) = stat_fd(&fd).map_err(failed)?;
        if self.is_foreign(&stat, mounted) {
            return Err(failed(Errno::XDEV));
        }
        if !matches!(stat.kind, FileKind::File | FileKind::Directory) {
            return Err(FsError::new(FsErrorKind::NotAFile, "set the mode of", place));
        }
        chmod_path_fd(&fd, mode_bits(mode)).map_err(failed)
    }

    fn set_mtime(&self, place: Place<'_>, mtime_ns: i64) -> Result<(), FsError> {
        let times = timestamps(mtime_ns);
        let set = self.parent(place).and_then(|(dir, name)| {
            rustix::fs::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        });
        set.map_err(|errno| failure("set the time of", place, errno))
    }

    fn measure(&self, place: Place<'_>) -> Result<u64, FsError> {
        let measured = self.open_for_list(place).and_then(|dir| self.measure_open(&dir, 0));
        measured.map_err(|errno| failure("measure", place, errno))
    }

    fn remove_tree(&self, place: Place<'_>) -> Result<(), FsError> {
        if !place.is_private() {
            // Nothing of the user's is ever removed by us.
            return Err(FsError::new(FsErrorKind::Permission, "remove", place));
        }
        let cleared = self.open_for_list(place).and_then(|dir| self.clear_open(&dir, 0));
        cleared.map_err(|errno| failure("remove", place, errno))?;
        self.rmdir(place)
    }

    fn sync_dir(&self, place: Place<'_>) -> Result<(), FsError> {
        let synced = self.open_for_list(place).and_then(|dir| rustix::fs::fsync(&dir));
        synced.map_err(|errno| failure("make durable", place, errno))
    }

    fn sync_all(&self) -> Result<(), FsError> {
        rustix::fs::syncfs(&self.root).map_err(|errno| failure("make durable", "", errno))
    }

    fn space(&self) -> Result<Space, FsError> {
        let found = rustix::fs::fstatvfs(&self.root);
        let found = found.map_err(|errno| failure("look for room on", "", errno))?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}
