//! Reading, measuring and removing directories.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use dunlin_index::{PRIVATE_NAME, SafeName};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::{Kernel, stat_in};
use crate::fs::{FileKind, Listing, SkipReason, Skipped};

/// Bytes for names that the kernel gives at once.
const NAMES_BUFFER: usize = 32 * 1024;
/// Deepest nesting below a batch that is measured or removed; each level holds a descriptor open.
const DEPTH_MAX: usize = 256;

/// Calls `each` with every name in an open directory but "." and "..".
fn for_each_name(
    dir: impl AsFd,
    mut each: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); NAMES_BUFFER];
    let mut names = RawDir::new(dir, &mut buffer);
    while let Some(entry) = names.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            each(entry.file_name())?;
        }
    }
    Ok(())
}

impl Kernel {
    /// All in an open directory; `root` when it is the volume's.
    pub(super) fn list_open(&self, dir: &OwnedFd, root: bool) -> Result<Listing, Errno> {
        let mut listing = Listing::default();
        for_each_name(dir, |name| {
            if root && name.to_bytes() == PRIVATE_NAME.as_bytes() {
                return Ok(());
            }
            let parsed = parse_name(name);
            let (stat, mounted) = match stat_in(dir, name) {
                // It was removed since the directory was read.
                Err(Errno::NOENT) => return Ok(()),
                other => other?,
            };
            let skipped =
                |name: Option<SafeName>, shown: String, reason| Skipped { shown, name, reason };
            match parsed {
                Ok(name) if self.is_foreign(&stat, mounted) => {
                    let shown = name.to_string();
                    listing.unrepresentable.push(skipped(
                        Some(name),
                        shown,
                        SkipReason::MountPoint,
                    ));
                }
                Ok(name) => listing.entries.push((name, stat)),
                Err(reason) => {
                    let shown = name.to_string_lossy().into_owned();
                    listing.unrepresentable.push(skipped(None, shown, reason));
                }
            }
            Ok(())
        })?;
        listing.entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        listing.unrepresentable.sort_unstable_by(|a, b| a.shown.cmp(&b.shown));
        Ok(listing)
    }

    /// Size of all files below an open directory.
    pub(super) fn measure_open(&self, dir: &OwnedFd, depth: usize) -> Result<u64, Errno> {
        let mut bytes = 0_u64;
        for name in self.own_names(dir, depth)? {
            let (stat, mounted) = stat_in(dir, name.as_c_str())?;
            if self.is_foreign(&stat, mounted) {
                continue;
            }
            bytes = bytes.saturating_add(match stat.kind {
                FileKind::Directory => self.measure_open(&open_below(dir, &name)?, depth + 1)?,
                _ => stat.size,
            });
        }
        Ok(bytes)
    }

    /// Removes all below an open directory, and fails at the first thing that another file system is
    /// mounted on.
    pub(super) fn clear_open(&self, dir: &OwnedFd, depth: usize) -> Result<(), Errno> {
        for name in self.own_names(dir, depth)? {
            let (stat, mounted) = stat_in(dir, name.as_c_str())?;
            if self.is_foreign(&stat, mounted) {
                return Err(Errno::XDEV);
            }
            let flags = if stat.kind == FileKind::Directory {
                // What the user made read-only would not let go of its children.
                let below = match open_below(dir, &name) {
                    Err(Errno::ACCESS) => {
                        rustix::fs::chmodat(dir, &name, Mode::RWXU, AtFlags::empty())?;
                        open_below(dir, &name)?
                    }
                    other => other?,
                };
                if stat.mode & 0o700 != 0o700 {
                    rustix::fs::fchmod(&below, Mode::RWXU)?;
                }
                self.clear_open(&below, depth + 1)?;
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            rustix::fs::unlinkat(dir, &name, flags)?;
        }
        Ok(())
    }

    fn own_names(&self, dir: &OwnedFd, depth: usize) -> Result<Vec<CString>, Errno> {
        if depth > DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut names = Vec::new();
        for_each_name(dir, |name| {
            names.push(name.to_owned());
            Ok(())
        })?;
        Ok(names)
    }
}

fn parse_name(name: &CStr) -> Result<SafeName, SkipReason> {
    let name = name.to_str().map_err(|_| SkipReason::NotUtf8)?;
    SafeName::parse(name).map_err(|_| SkipReason::BadName)
}

fn open_below(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}
