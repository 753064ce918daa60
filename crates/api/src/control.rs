//! What the API needs of a node: the seam between HTTP and the engine.

use std::future::Future;
use std::io::Read;
use std::path::PathBuf;

use dunlin_engine::RestoreRequest;
use dunlin_engine::conflict::{ConflictInfo, Keep};
use dunlin_engine::limits::{LimitChange, LimitStatus};
use dunlin_engine::settings::{FolderSetting, SettingChange};
use dunlin_engine::types::{
    Check, Event, FolderInfo, PathHistory, RestoreReport, Status, VerifyReport, WaitOutcome,
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// What kind of failure a [`Fault`] is; it decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// No such folder, device or address.
    NotFound,
    /// The request itself is wrong.
    Invalid,
    /// The caller has not proved that it may ask.
    Denied,
    /// The request contradicts the state that the node is in.
    Conflict,
    /// The node cannot do this (yet).
    Unsupported,
    /// The node failed: a disk, the database, or a fault of its own.
    Internal,
}

/// Why a request failed: what happened, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Fault {
    /// The kind of failure.
    pub kind: FaultKind,
    /// What failed and why, in one line for a person.
    pub message: String,
    /// What the person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Fault {
    /// A fault without advice.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None }
    }

    /// The same fault with a word on what to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// How a conflict is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Some of its sides stay as they are.
    Keep(Keep),
    /// The content of this file takes the place of all sides.
    Merged(PathBuf),
}

/// What the API needs of a running node.
///
/// Folders arrive by the exact name that [`Control::status`] gives them and devices by their whole
/// PeerId: the server has resolved paths and prefixes before. All paths are absolute. Cloning is
/// cheap and gives another handle on the same node.
pub trait Control: Clone + Send + Sync + 'static {
    /// What the node is doing, as `dunlin status --json` prints it.
    fn status(&self) -> impl Future<Output = Result<Status, Fault>> + Send;

    /// Makes the directory a folder with a fresh sync-id; a directory that is one already is told.
    fn add_folder(
        &self,
        path: PathBuf,
        label: Option<String>,
    ) -> impl Future<Output = Result<FolderInfo, Fault>> + Send;

    /// Joins the folder of a join code at a directory, which is made if it is missing.
    fn join(
        &self,
        code: String,
        path: PathBuf,
    ) -> impl Future<Output = Result<FolderInfo, Fault>> + Send;

    /// A join code of the folder, of this device's own tier or a weaker one.
    fn share(
        &self,
        folder: String,
        tier: Option<String>,
    ) -> impl Future<Output = Result<String, Fault>> + Send;

    /// Waits until all folders are in sync with every connected device; seconds at most, or
    /// for as long as it takes.
    fn wait(
        &self,
        timeout_s: Option<f64>,
    ) -> impl Future<Output = Result<WaitOutcome, Fault>> + Send;

    /// Looks at the disk now, in one folder or in all, and returns when that is done.
    fn scan(&self, folder: Option<String>) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Has what is lacking of a file, or below a directory, fetched before all else.
    fn fetch(&self, path: PathBuf) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Stops a folder until it is resumed.
    fn pause(&self, folder: String) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Takes a paused folder up again.
    fn resume(&self, folder: String) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Forgets a folder; its files stay where they are.
    fn remove(&self, folder: String) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Lets a held mass deletion or mass overwrite happen.
    fn approve(&self, folder: String) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Takes a held mass deletion or mass overwrite back.
    fn undo(&self, folder: String) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The settings of a folder, as they hold on this device.
    fn settings(
        &self,
        folder: String,
    ) -> impl Future<Output = Result<Vec<FolderSetting>, Fault>> + Send;

    /// Changes one setting of a folder.
    fn set(
        &self,
        folder: String,
        key: String,
        change: SettingChange,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The conflicts of a folder, or the one that the thing at a path in it is a side of.
    fn conflicts(
        &self,
        folder: String,
        path: Option<String>,
    ) -> impl Future<Output = Result<Vec<ConflictInfo>, Fault>> + Send;

    /// What all sides of a conflict replaced, to read on a thread that may block.
    fn conflict_base(
        &self,
        folder: String,
        path: String,
    ) -> impl Future<Output = Result<Box<dyn Read + Send>, Fault>> + Send;

    /// Ends a conflict; with `expect`, only while its sides have these ids.
    fn resolve_conflict(
        &self,
        folder: String,
        path: String,
        ending: Ending,
        expect: Option<Vec<String>>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The versions of a file or directory, newest first.
    fn history(
        &self,
        path: PathBuf,
        limit: usize,
    ) -> impl Future<Output = Result<PathHistory, Fault>> + Send;

    /// Brings back older versions, or what was deleted.
    fn restore(
        &self,
        request: RestoreRequest,
    ) -> impl Future<Output = Result<RestoreReport, Fault>> + Send;

    /// Reads a folder back, and repairs what has rotted.
    fn verify(&self, folder: String) -> impl Future<Output = Result<VerifyReport, Fault>> + Send;

    /// Gives a device another name.
    fn rename_device(
        &self,
        device: String,
        name: String,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Ends a device's membership in all folders of this node, or in one of them.
    fn remove_device(
        &self,
        device: String,
        folder: Option<String>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The limits of block transfer.
    fn limits(&self) -> impl Future<Output = Result<LimitStatus, Fault>> + Send;

    /// Changes the limits of block transfer.
    fn set_limits(&self, change: LimitChange) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Looks at key, database, folders, limits, ports and clock.
    fn doctor(&self) -> impl Future<Output = Result<Vec<Check>, Fault>> + Send;

    /// What happens from now on; a slow receiver loses the oldest and is told how many.
    fn subscribe(&self) -> broadcast::Receiver<Event>;

    /// Asks the node to stop; returns at once.
    fn shutdown(&self) -> impl Future<Output = ()> + Send;
}
