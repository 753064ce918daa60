//! The history of files, and what came of restoring and verifying them, as JSON.

use serde::{Deserialize, Serialize};

/// What `dunlin history` prints: the versions of one path, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathHistory {
    /// The folder's name.
    pub folder: String,
    /// The path in the folder; empty for the folder itself.
    pub path: String,
    /// The versions. Of a file that is there, the first is the present one.
    pub versions: Vec<VersionInfo>,
    /// How many older ones were left out.
    pub more: u64,
}

/// One version of a file, symbolic link or directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Names it for `dunlin restore --version`; none for the present one.
    pub version: Option<u64>,
    /// Where it was when it ended, or is, in the folder.
    pub path: String,
    /// `file`, `directory` or `symlink`.
    pub kind: String,
    /// Its length in bytes; 0 for what is no file.
    pub size: u64,
    /// When its content was last changed, RFC 3339 in UTC.
    pub modified: Option<String>,
    /// The device that made it, by PeerId.
    pub by: Option<String>,
    /// That device's name.
    pub by_name: Option<String>,
    /// Since when it was there on this device.
    pub since: Option<String>,
    /// When it ended; none for the present one.
    pub until: Option<String>,
    /// How it ended: `edited`, `deleted`, `merged`, `restored`, `written-late` (a program wrote to
    /// it after it was moved aside) or `found` (in the version store, without a record).
    pub change: Option<String>,
    /// The device whose change ended it, if that is known.
    pub changed_by: Option<String>,
    /// That device's name.
    pub changed_by_name: Option<String>,
    /// Where its bytes are: `present`, `here` (on this device) or `elsewhere` (other devices may
    /// have kept them).
    pub place: String,
}

/// What `dunlin restore` did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The folder's name.
    pub folder: String,
    /// How many things were put in place.
    pub restored: u64,
    /// The bytes of the files among them.
    pub bytes: u64,
    /// How many were as wanted already.
    pub unchanged: u64,
    /// How many things that were made or changed since stay as they are, because nothing of them
    /// is older.
    pub stayed: u64,
    /// What is newer and was therefore left alone: their paths, at most [`PATHS_MAX`].
    pub newer: Vec<String>,
    /// How many of those there are.
    pub newer_count: u64,
    /// What could not be restored, and why; at most [`PATHS_MAX`].
    pub failed: Vec<FailedPath>,
    /// How many of those there are.
    pub failed_count: u64,
}

/// The most paths that a report lists of one kind.
pub const PATHS_MAX: usize = 1000;

/// A path for which something could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPath {
    /// The path in the folder.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl RestoreReport {
    pub(crate) fn add_newer(&mut self, path: String) {
        self.newer_count += 1;
        if self.newer.len() < PATHS_MAX {
            self.newer.push(path);
        }
    }

    pub(crate) fn add_failed(&mut self, path: String, reason: &str) {
        self.failed_count += 1;
        if self.failed.len() < PATHS_MAX {
            self.failed.push(FailedPath { path, reason: reason.to_owned() });
        }
    }
}

/// What `dunlin folder verify` found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The folder's name.
    pub folder: String,
    /// Files that were read back.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were left out because they were being changed.
    pub changing: u64,
    /// Files whose content differs from what it was, though nobody has changed them; at most
    /// [`PATHS_MAX`].
    pub rotten: Vec<RottenFile>,
    /// How many of those there are.
    pub rotten_count: u64,
    /// How many of those were repaired.
    pub repaired_count: u64,
    /// Stored blocks of old versions that were read back.
    pub objects: u64,
    /// How many of those were damaged.
    pub objects_damaged: u64,
    /// How many of the damaged ones were repaired.
    pub objects_repaired: u64,
}

/// A file that has rotted on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RottenFile {
    /// The path in the folder.
    pub path: String,
    /// Whether a good copy is in its place now; the rotten one is in the history then.
    pub repaired: bool,
    /// Why it was not repaired, and what to do.
    pub reason: Option<String>,
}
