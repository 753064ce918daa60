//! The folder's marker: `.dunlin/folder`.
//!
//! It says whose folder this is and on which file system it was made, so that an empty mount point, a
//! copied folder or another disk in its place is never read as "everything was deleted". It also keeps a
//! copy of the author's epoch and sequence number, by which a database that was rolled back is noticed.
//!
//! The form is text, one `key value` a line, below a line with the version:
//!
//! ```text
//! dunlin folder 1
//! folder 6f1e…
//! device 12D3KooW…
//! device-number 2049
//! file-system 1181783497276652981
//! epoch 81985529216486895
//! sequence 42
//! ```

use std::fmt::Write as _;
use std::str::FromStr;

use dunlin_identity::{DeviceId, FolderId};

use crate::fs::FsError;

/// Greatest length of a marker in bytes.
pub const MARKER_MAX: usize = 2048;

/// The first line of a marker; the number is the version of its form.
const HEADER: &str = "dunlin folder 1";

/// What the marker of a folder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The folder that is synced here.
    pub folder: FolderId,
    /// The device that syncs it.
    pub device: DeviceId,
    /// `st_dev` of the root when the marker was written. Filled in when it is written.
    pub device_number: u64,
    /// The file system's own number, 0 when it has none. Filled in when it is written. On some systems
    /// `st_dev` changes with every boot and this does not.
    pub file_system: u64,
    /// The author's epoch.
    pub epoch: u64,
    /// The author's highest durable sequence number in that epoch.
    pub sequence: u64,
}

/// Why a folder cannot be used: each is shown to the user as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// Nothing is at the root's path.
    #[error(
        "the folder is not there: it was moved, deleted or is not mounted. Nothing is synced until it is back"
    )]
    Missing,
    /// The root's path leads to something that is no directory.
    #[error("the folder's path leads to something that is not a directory")]
    NotADirectory,
    /// The root's path leads to another directory than the one that was opened.
    #[error(
        "another directory is now at the folder's path: a disk was mounted or unmounted there, or it was replaced"
    )]
    Replaced,
    /// The directory carries no marker.
    #[error(
        "the folder has no marker (.dunlin/folder): its disk may not be mounted. If the folder is right, add it again"
    )]
    NoMarker,
    /// The marker cannot be read.
    #[error("the folder's marker (.dunlin/folder) is damaged: {reason}")]
    BadMarker {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder was copied from another device.
    #[error(
        "the folder belongs to another device ({found}): it was probably copied. Remove its .dunlin directory to sync it here as a folder of its own"
    )]
    OtherDevice {
        /// The device in the marker.
        found: DeviceId,
    },
    /// The directory is another folder's.
    #[error("the directory is already synced as another folder ({found})")]
    OtherFolder {
        /// The folder in the marker.
        found: FolderId,
    },
    /// The folder was made on another file system.
    #[error(
        "the folder is on another file system than the one that it was made on: it was copied or restored, or another disk is mounted. If this is intended, add it again"
    )]
    OtherFileSystem,
    /// The disk failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Marker {
    /// A marker for a folder that starts to be synced; the numbers are filled in when it is written.
    pub fn new(folder: FolderId, device: DeviceId) -> Self {
        Self { folder, device, device_number: 0, file_system: 0, epoch: 0, sequence: 0 }
    }

    /// The marker as it is stored.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(256);
        writeln!(
            text,
            "{HEADER}\nfolder {}\ndevice {}\ndevice-number {}\nfile-system {}\nepoch {}\nsequence {}",
            self.folder, self.device, self.device_number, self.file_system, self.epoch, self.sequence
        )
        .expect("writing to a string cannot fail");
        text
    }

    /// Reads a stored marker.
    ///
    /// # Errors
    /// [`RootError::BadMarker`] when it is too long, of another version, or not complete.
    pub fn decode(bytes: &[u8]) -> Result<Self, RootError> {
        let bad = |reason| RootError::BadMarker { reason };
        if bytes.len() > MARKER_MAX {
            return Err(bad("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(bad("it is empty or of another version"));
        }
        let marker = Self {
            folder: field(&mut lines, "folder")?,
            device: field(&mut lines, "device")?,
            device_number: field(&mut lines, "device-number")?,
            file_system: field(&mut lines, "file-system")?,
            epoch: field(&mut lines, "epoch")?,
            sequence: field(&mut lines, "sequence")?,
        };
        if lines.next().is_some() || !text.ends_with('\n') {
            return Err(bad("it does not end where it should"));
        }
        Ok(marker)
    }

    /// Whether this marker, found on a disk, is one of `expected`'s folder and device.
    ///
    /// # Errors
    /// [`RootError::OtherFolder`], [`RootError::OtherDevice`].
    pub fn check_owner(&self, expected: &Marker) -> Result<(), RootError> {
        if self.folder != expected.folder {
            return Err(RootError::OtherFolder { found: self.folder });
        }
        if self.device != expected.device {
            return Err(RootError::OtherDevice { found: self.device });
        }
        Ok(())
    }

    /// Whether the file system with these numbers is the one that the marker was made on: either number
    /// is enough, since `st_dev` may change with a boot and not every file system has the other.
    pub fn check_file_system(&self, device_number: u64, file_system: u64) -> Result<(), RootError> {
        let same_number = file_system != 0 && self.file_system == file_system;
        if self.device_number == device_number || same_number {
            Ok(())
        } else {
            Err(RootError::OtherFileSystem)
        }
    }
}

/// Reads the value of the next line, which must have that key.
fn field<T: FromStr>(lines: &mut std::str::Lines<'_>, key: &str) -> Result<T, RootError> {
    let line = lines.next().ok_or(RootError::BadMarker { reason: "it is cut off" })?;
    line.strip_prefix(key)
        .and_then(|rest| rest.strip_prefix(' '))
        .and_then(|value| value.parse().ok())
        .ok_or(RootError::BadMarker { reason: "a line is not what it should be" })
}
