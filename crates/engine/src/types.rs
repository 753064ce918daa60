//! What a node tells the outside: the JSON of the command line and of the API.
//!
//! Field names are a promise to scripts: more may come, none goes or changes its meaning.

mod history;

use dunlin_index::Kind;
pub use history::{
    FailedPath, PATHS_MAX, PathHistory, RestoreReport, RottenFile, VerifyReport, VersionInfo,
};
use serde::{Deserialize, Serialize};

/// What `dunlin status --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// This device's PeerId.
    pub device: String,
    /// This device's name.
    pub name: String,
    /// The version of the running program.
    pub version: String,
    /// Seconds since the node started.
    pub uptime_s: u64,
    /// The multiaddresses at which this node can be reached.
    pub listen: Vec<String>,
    /// Where the HTTP API listens, if it does.
    pub api: Option<String>,
    /// Every folder of this node, by name.
    pub folders: Vec<FolderStatus>,
}

/// One folder in [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FolderStatus {
    /// The folder's name on this device.
    pub name: String,
    /// Its directory, absolute.
    pub path: String,
    /// What this device may do in it: `write`, `read` or `store`.
    pub tier: String,
    /// What it is doing.
    pub state: FolderState,
    /// Why it is held or in error, and what to do.
    pub error: Option<String>,
    /// Files and symbolic links in the folder.
    pub files: u64,
    /// Directories in the folder, its root apart.
    pub dirs: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that are not yet on this disk as the index says.
    pub need_files: u64,
    /// Bytes that are still to be fetched.
    pub need_bytes: u64,
    /// Conflict copies.
    pub conflicts: u64,
    /// Bytes of blocks sent for this folder since the start.
    pub sent_bytes: u64,
    /// Bytes of blocks received for this folder since the start.
    pub received_bytes: u64,
    /// The other devices of the folder.
    pub devices: Vec<DeviceStatus>,
    /// Names on this disk that cannot be synced, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// What a folder is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FolderState {
    /// Nothing to do.
    #[default]
    Idle,
    /// Looking at the disk.
    Scanning,
    /// Bringing the disk to the state of the index.
    Syncing,
    /// Paused by its user.
    Paused,
    /// A mass deletion or mass overwrite waits for its user's word.
    Held,
    /// Stopped by a fault; resumes by itself once that is gone.
    Error,
}

/// Another device of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Its PeerId.
    pub device: String,
    /// Its name.
    pub name: String,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Whether it and this device hold the same, disks included.
    pub in_sync: bool,
    /// How it is reached: `lan`, `direct` or `relayed`.
    pub path: Option<String>,
    /// When it was last connected, RFC 3339 in UTC.
    pub last_seen: Option<String>,
}

/// A file that cannot be synced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Its path in the folder; bytes that are not UTF-8 are shown as U+FFFD.
    pub path: String,
    /// Why, and what to do.
    pub reason: String,
}

/// A folder as `up`, `join` and `folder ls` name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderInfo {
    /// Its name on this device.
    pub name: String,
    /// Its directory, absolute.
    pub path: String,
    /// The join code of this device's own tier.
    pub join: String,
}

/// A line of `dunlin events`, and of `dunlin up --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The node runs. The first line that `up --json` prints.
    Ready {
        /// This device's PeerId.
        device: String,
        /// Where it listens.
        listen: Vec<String>,
        /// Where the HTTP API listens, if it does.
        api: Option<String>,
        /// Its folders.
        folders: Vec<FolderInfo>,
    },
    /// A device of a folder is connected and has proved its membership.
    DeviceConnected {
        /// The folder's name.
        folder: String,
        /// The device's PeerId.
        device: String,
    },
    /// A device of a folder went away.
    DeviceDisconnected {
        /// The folder's name.
        folder: String,
        /// The device's PeerId.
        device: String,
    },
    /// A folder's state changed.
    FolderState {
        /// The folder's name.
        folder: String,
        /// Its new state.
        state: FolderState,
        /// Why it is held or in error.
        error: Option<String>,
    },
    /// A change made here went into the index.
    LocalChange {
        /// The folder's name.
        folder: String,
        /// The path in the folder.
        path: String,
        /// `created`, `written`, `moved`, `mode` or `deleted`.
        change: String,
    },
    /// A change made elsewhere is on this disk.
    Applied {
        /// The folder's name.
        folder: String,
        /// The path in the folder.
        path: String,
        /// `created`, `written`, `moved`, `mode` or `deleted`.
        change: String,
    },
    /// Two devices changed one thing apart; both versions are kept.
    Conflict {
        /// The folder's name.
        folder: String,
        /// Where the copy is shown.
        path: String,
    },
    /// A conflict is over, whoever ended it and however.
    ConflictResolved {
        /// The folder's name.
        folder: String,
        /// Where the copy was shown.
        path: String,
    },
    /// Something that the user should know.
    Warning {
        /// The folder's name, if it is about one.
        folder: Option<String>,
        /// What, why, and what to do.
        message: String,
    },
    /// Events were lost, because the reader was too slow.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// One line of `dunlin doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How a wait for sync ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "wait", rename_all = "snake_case")]
pub enum WaitOutcome {
    /// Every folder is in sync with every connected device.
    InSync,
    /// The time ran out first.
    TimedOut,
    /// A folder is held or in error.
    Stopped {
        /// Its name.
        folder: String,
        /// Why.
        reason: String,
    },
}

/// The name of a kind, as the API and the command line have it.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
    }
}
