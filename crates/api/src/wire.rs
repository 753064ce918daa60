//! The bodies of requests and answers that are not the engine's own types.

use std::collections::BTreeMap;

use dunlin_engine::conflict::Keep;
use dunlin_engine::types::Status;
use serde::{Deserialize, Serialize};

use crate::control::Fault;

/// The largest request body that is read, in bytes.
pub const BODY_MAX: usize = 64 * 1024;
/// The largest answer that a client reads, in bytes; event streams are bounded by the line.
pub const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// The longest event line that a client reads, in bytes.
pub const LINE_MAX: usize = 1024 * 1024;

/// Body of `POST /v1/folders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddFolder {
    /// The directory, absolute.
    pub path: String,
    /// The folder's name; the directory's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Body of `POST /v1/join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The join code.
    pub code: String,
    /// The directory, absolute.
    pub path: String,
}

/// Body of `POST /v1/folders/{folder}/share`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// `write`, `read` or `store`; this device's own tier when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
}

/// Answer of `POST /v1/folders/{folder}/share`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareCode {
    /// The join code.
    pub code: String,
}

/// Query of `GET /v1/folders/{folder}/conflicts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConflictPath {
    /// Only the conflict that the thing at this path, in the folder, is a side of.
    #[serde(default)]
    pub path: Option<String>,
}

/// Query of `GET /v1/folders/{folder}/conflicts/base`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneConflict {
    /// The path, in the folder, of one of its sides.
    pub path: String,
}

/// Body of `POST /v1/folders/{folder}/conflicts/resolve`; exactly one of `keep` and `merged`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolve {
    /// The path, in the folder, of one of its sides.
    pub path: String,
    /// Which sides stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// A file on the node's machine, absolute, whose content takes the place of all sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<String>,
    /// The ids of its sides: it is only resolved while it has these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Vec<String>>,
}

/// Body of `PATCH /v1/devices/{device}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenameDevice {
    /// The device's new name.
    pub name: String,
}

/// Query of `GET /v1/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryOf {
    /// The file or directory, absolute.
    pub path: String,
    /// How many versions at most; 100 when absent.
    #[serde(default = "usual_limit")]
    pub limit: usize,
}

fn usual_limit() -> usize {
    100
}

/// Body of `POST /v1/fetch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The file or directory, absolute; a folder's own directory for all of it.
    pub path: String,
}

/// Body of `POST /v1/restore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The file or directory, absolute; a folder's own directory for all of it.
    pub path: String,
    /// As of when, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// Which version, by its number in the history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Where to write it instead, absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether to put it in place of what is newer.
    #[serde(default)]
    pub force: bool,
}

/// Query of `GET /v1/wait`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Seconds after which the wait runs out; never when absent.
    #[serde(default)]
    pub timeout_s: Option<f64>,
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: Fault,
}

/// A device, over all folders of a node: an element of `GET /v1/devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSummary {
    /// Its PeerId.
    pub device: String,
    /// Its name.
    pub name: String,
    /// Whether it is the device that answers.
    pub this: bool,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Whether every folder that is shared with it is in sync with it.
    pub in_sync: bool,
    /// How it is reached: `lan`, `direct` or `relayed`.
    pub path: Option<String>,
    /// When it was last connected, RFC 3339 in UTC.
    pub last_seen: Option<String>,
    /// The names of the folders that are shared with it.
    pub folders: Vec<String>,
}

/// The devices of a node: the node's own first, then the others by name and PeerId.
pub fn devices(status: &Status) -> Vec<DeviceSummary> {
    let mut others: BTreeMap<&str, DeviceSummary> = BTreeMap::new();
    for folder in &status.folders {
        for device in folder.devices.iter().filter(|device| device.device != status.device) {
            let summary = others.entry(&device.device).or_insert_with(|| DeviceSummary {
                device: device.device.clone(),
                name: String::new(),
                this: false,
                connected: false,
                in_sync: true,
                path: None,
                last_seen: None,
                folders: Vec::new(),
            });
            if summary.name.is_empty() {
                summary.name.clone_from(&device.name);
            }
            summary.connected |= device.connected;
            summary.in_sync &= device.in_sync;
            if summary.path.is_none() {
                summary.path.clone_from(&device.path);
            }
            // RFC 3339 in UTC sorts as text.
            if device.last_seen > summary.last_seen {
                summary.last_seen.clone_from(&device.last_seen);
            }
            summary.folders.push(folder.name.clone());
        }
    }
    let own = DeviceSummary {
        device: status.device.clone(),
        name: status.name.clone(),
        this: true,
        connected: true,
        in_sync: true,
        path: None,
        last_seen: None,
        folders: status.folders.iter().map(|folder| folder.name.clone()).collect(),
    };
    let mut others: Vec<_> = others.into_values().collect();
    others.sort_by(|a, b| (&a.name, &a.device).cmp(&(&b.name, &b.device)));
    std::iter::once(own).chain(others).collect()
}
