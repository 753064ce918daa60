//! What the outside may ask about the past of a folder's files.

use std::path::{Path, PathBuf};

use dunlin_identity::DeviceId;
use dunlin_index::{Kind, Millis, RelPath};
use dunlin_tree::disk::Row;
use tokio::sync::oneshot;

use super::{Node, NodeError, rfc3339};
use crate::folder::Wanted;
use crate::history::{How, Place, Record};
use crate::home;
use crate::restore::Outside;
use crate::runner::{Command, Runner};
use crate::settings::{DeviceNames, device_names};
use crate::types::{PathHistory, RestoreReport, VerifyReport, VersionInfo, kind_name};

/// What to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The file or directory, absolute; the folder's own directory for all of it.
    pub path: PathBuf,
    /// As of when, in milliseconds since 1970.
    pub at: Option<Millis>,
    /// Which version.
    pub version: Option<u64>,
    /// Where to write it instead, absolute.
    pub to: Option<PathBuf>,
    /// Whether to put it in place of what is newer.
    pub force: bool,
}

impl Node {
    /// The versions of a file or directory, given by its absolute path: at most `limit`.
    ///
    /// # Errors
    /// When the path is in no folder, or the folder cannot answer.
    pub async fn history(&self, path: &Path, limit: usize) -> Result<PathHistory, NodeError> {
        let located = self.locate(path)?;
        let (answer, answered) = oneshot::channel();
        let command = Command::Past(located.path.clone(), limit, answer);
        let past = ask(&located.runner, command, answered).await?;
        let snapshot = located.runner.snapshot();
        let names = device_names(&snapshot.members, &snapshot.settings);
        let mut versions = Vec::new();
        if let Some((row, path, since)) = &past.present {
            versions.push(present(row, path, *since, &names));
        }
        versions.extend(past.records.iter().map(|record| version(record, &names)));
        let path = located.path.to_string();
        Ok(PathHistory { folder: located.name, path, versions, more: past.more })
    }

    /// Restores a file, a directory or a whole folder.
    ///
    /// # Errors
    /// When the path is in no folder, or nothing is known of what is wanted. What could not be
    /// restored of much that could is told in the report.
    pub async fn restore(&self, request: RestoreRequest) -> Result<RestoreReport, NodeError> {
        let located = self.locate(&request.path)?;
        let wanted = Wanted {
            path: located.path.clone(),
            at: request.at,
            version: request.version,
            force: request.force,
            elsewhere: request.to.is_some(),
        };
        let outside =
            request.to.map(|to| Outside { to, from: located.path.clone(), force: request.force });
        let (answer, answered) = oneshot::channel();
        let command = Command::Restore(wanted, outside, answer);
        let report = ask(&located.runner, command, answered).await?;
        Ok(RestoreReport { folder: located.name, ..report })
    }

    /// Reads a folder back, and repairs what has rotted.
    ///
    /// # Errors
    /// When there is no such folder, or it cannot be read now.
    pub async fn verify(&self, folder: &str) -> Result<VerifyReport, NodeError> {
        let config = self.0.home.config()?;
        let found = home::find_folder(&config, folder)?;
        let runner = self.runner(home::folder_id(found)?)?;
        let (answer, answered) = oneshot::channel();
        let report = ask(&runner, Command::Verify(answer), answered).await?;
        Ok(VerifyReport { folder: found.name.clone(), ..report })
    }
}

/// Tells a folder's thread something and waits for its answer.
async fn ask<T>(
    runner: &Runner,
    command: Command,
    answered: oneshot::Receiver<Result<T, String>>,
) -> Result<T, NodeError> {
    let gone = || {
        let reason = runner.snapshot().error;
        NodeError::Refused(reason.unwrap_or_else(|| "the folder is being closed".to_owned()))
    };
    runner.commands().send(command).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?.map_err(NodeError::Refused)
}

fn present(row: &Row, path: &RelPath, since: Millis, names: &DeviceNames) -> VersionInfo {
    let by = row.item.dot.map(|dot| dot.author.device);
    VersionInfo {
        version: None,
        path: path.to_string(),
        kind: kind_name(row.kind).to_owned(),
        size: if row.kind == Kind::File { row.stat.size } else { 0 },
        modified: modified(row.stat.mtime_ns),
        by: by.map(|by| by.to_string()),
        by_name: by.and_then(|by| names.get(&by).cloned()),
        since: rfc3339(since),
        until: None,
        change: None,
        changed_by: None,
        changed_by_name: None,
        place: "present".to_owned(),
    }
}

fn version(record: &Record, names: &DeviceNames) -> VersionInfo {
    let name = |device: Option<DeviceId>| device.and_then(|device| names.get(&device).cloned());
    let change = match record.how {
        How::Edited => "edited",
        How::Deleted => "deleted",
        How::Merged => "merged",
        How::Restored => "restored",
        How::WrittenLate => "written-late",
        How::Found => "found",
    };
    let place = if record.place == Place::Elsewhere { "elsewhere" } else { "here" };
    VersionInfo {
        version: Some(record.id),
        path: record.path.to_string(),
        kind: kind_name(record.what.kind()).to_owned(),
        size: record.size(),
        modified: modified(record.mtime_ns),
        by: record.by.map(|by| by.to_string()),
        by_name: name(record.by),
        since: rfc3339(record.since),
        until: rfc3339(record.until),
        change: Some(change.to_owned()),
        changed_by: record.ended_by.map(|by| by.to_string()),
        changed_by_name: name(record.ended_by),
        place: place.to_owned(),
    }
}

fn modified(mtime_ns: i64) -> Option<String> {
    rfc3339(u64::try_from(mtime_ns / 1_000_000).ok()?)
}
