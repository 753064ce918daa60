//! An open regular file.

use std::any::Any;
use std::fmt;
use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, Timespec, Timestamps};
use rustix::io::Errno;

use super::{failure, mode_bits, stat_fd};
use crate::fs::{FsError, ReadAt, Stat, WriteAt};

/// Most bytes that go through memory at once where the kernel cannot copy.
const COPY_BUFFER: usize = 256 * 1024;

/// Most bytes of one write. For larger ones Linux takes larger folios into its cache, and in a
/// virtual machine (kernel 6.18, ext4) those are dearer: 1 GiB took 0.2 to 0.4 s of system time in
/// pieces of 32 KiB, and 0.9 to 2.2 s in pieces of 1 MiB.
const WRITE_MAX: usize = 32 * 1024;

/// File systems that share blocks between files do so from multiples of this on.
const SHARED_FROM: u64 = 4096;

/// An open regular file on a real disk.
pub(super) struct RealFile {
    fd: OwnedFd,
    /// Its path when it was opened, for messages.
    shown: String,
}

impl RealFile {
    pub(super) fn new(fd: OwnedFd, shown: impl fmt::Display) -> Self {
        Self { fd, shown: shown.to_string() }
    }

    fn failed(&self, operation: &'static str) -> impl Fn(Errno) -> FsError + '_ {
        move |errno| failure(operation, &self.shown, errno)
    }

    /// Whether the file has no data of its own in that range: it reads as zeros, or ends before it.
    fn is_hole(&self, offset: u64, len: u64) -> bool {
        match rustix::fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(data) => data >= offset.saturating_add(len),
            Err(errno) => errno == Errno::NXIO,
        }
    }

    /// Lets the kernel copy as much as it can; what it does not take goes through memory.
    fn copy_in_kernel(&self, source: &Self, from: u64, to: u64, len: u64) -> Result<u64, Errno> {
        let mut copied = 0;
        while copied < len {
            let (mut from, mut to) = (from + copied, to + copied);
            let before_shared = (SHARED_FROM - from % SHARED_FROM) % SHARED_FROM;
            // What comes before the first block that can be shared is copied by itself.
            let at_once = match before_shared {
                1.. if from % SHARED_FROM == to % SHARED_FROM => before_shared,
                _ => 1 << 30,
            };
            // The kernel takes at most 2 GiB at once; that fits every `usize`.
            let most = usize::try_from((len - copied).min(at_once)).unwrap_or(1 << 30);
            match rustix::fs::copy_file_range(
                &source.fd,
                Some(&mut from),
                &self.fd,
                Some(&mut to),
                most,
            ) {
                Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => break,
                Err(Errno::INTR) => {}
                Ok(more) => copied += more as u64,
                Err(errno) => return Err(errno),
            }
        }
        Ok(copied)
    }
}

impl ReadAt for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, FsError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match rustix::io::pread(&self.fd, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failure("read", &self.shown, errno)),
            }
        }
        Ok(filled)
    }

    fn next_data(&self, offset: u64) -> Result<Option<u64>, FsError> {
        match rustix::fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
            Err(errno) => Err(failure("look for data in", &self.shown, errno)),
        }
    }

    fn stat(&self) -> Result<Stat, FsError> {
        stat_fd(&self.fd).map(|(stat, _)| stat).map_err(self.failed("look at"))
    }

    fn sync(&self) -> Result<(), FsError> {
        rustix::fs::fsync(&self.fd).map_err(self.failed("make durable"))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl WriteAt for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FsError> {
        if bytes.iter().all(|byte| *byte == 0) && self.is_hole(offset, bytes.len() as u64) {
            return Ok(());
        }
        let mut written = 0;
        while written < bytes.len() {
            let end = bytes.len().min(written + WRITE_MAX);
            match rustix::io::pwrite(&self.fd, &bytes[written..end], offset + written as u64) {
                Ok(0) => return Err(failure("write", &self.shown, Errno::NOSPC)),
                Ok(more) => written += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failure("write", &self.shown, errno)),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), FsError> {
        rustix::fs::ftruncate(&self.fd, len).map_err(self.failed("set the length of"))
    }

    fn copy_from(
        &self,
        source: &dyn ReadAt,
        source_offset: u64,
        offset: u64,
        len: u64,
    ) -> Result<u64, FsError> {
        let mut copied = match source.as_any().downcast_ref::<RealFile>() {
            Some(source) => self
                .copy_in_kernel(source, source_offset, offset, len)
                .map_err(self.failed("copy into"))?,
            None => 0,
        };
        if copied == len {
            return Ok(copied);
        }
        let most = (len - copied).min(COPY_BUFFER as u64);
        let mut buffer = vec![0; usize::try_from(most).unwrap_or(COPY_BUFFER)];
        while copied < len {
            let wanted =
                usize::try_from(len - copied).map_or(buffer.len(), |w| w.min(buffer.len()));
            let got = source.read_at(&mut buffer[..wanted], source_offset + copied)?;
            self.write_at(&buffer[..got], offset + copied)?;
            copied += got as u64;
            if got < wanted {
                break;
            }
        }
        Ok(copied)
    }

    fn set_mode(&self, mode: u32) -> Result<(), FsError> {
        rustix::fs::fchmod(&self.fd, mode_bits(mode)).map_err(self.failed("set the mode of"))
    }

    fn set_mtime(&self, mtime_ns: i64) -> Result<(), FsError> {
        rustix::fs::futimens(&self.fd, &timestamps(mtime_ns))
            .map_err(self.failed("set the time of"))
    }
}

/// An mtime as the kernel takes it; the time of the last access stays.
pub(super) fn timestamps(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}
