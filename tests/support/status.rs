//! The JSON of `dunlin status --json`, as the command line's contract fixes it.
//!
//! Written down a second time on purpose: every field here must be there, so
//! that a field that goes or changes its type fails the tests.

use serde::Deserialize;

/// The whole document.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) uptime_s: u64,
    pub(crate) listen: Vec<String>,
    pub(crate) api: Option<String>,
    pub(crate) folders: Vec<Folder>,
}

/// One folder.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) tier: String,
    pub(crate) state: State,
    pub(crate) error: Option<String>,
    pub(crate) files: u64,
    pub(crate) dirs: u64,
    pub(crate) bytes: u64,
    pub(crate) need_files: u64,
    pub(crate) need_bytes: u64,
    pub(crate) conflicts: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) devices: Vec<Device>,
}

/// What a folder is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Idle,
    Scanning,
    Syncing,
    Paused,
    Held,
    Error,
}

/// Another device of a folder.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Device {
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) connected: bool,
    pub(crate) in_sync: bool,
    pub(crate) path: Option<String>,
    pub(crate) last_seen: Option<String>,
}

/// The first line of `dunlin up --json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) event: String,
    pub(crate) device: String,
    pub(crate) listen: Vec<String>,
    pub(crate) api: Option<String>,
    pub(crate) folders: Vec<ReadyFolder>,
}

/// A folder in [`Ready`].
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReadyFolder {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) join: String,
}
