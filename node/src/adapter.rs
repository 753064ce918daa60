//! The engine's node as the API's [`Control`].

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use dunlin_api::{Control, Ending, Fault, FaultKind};
use dunlin_engine::conflict::{ConflictError, ConflictInfo};
use dunlin_engine::limits::{LimitChange, LimitStatus};
use dunlin_engine::settings::{FolderSetting, SettingChange, SettingError};
use dunlin_engine::types::{
    Check, Event, FolderInfo, PathHistory, RestoreReport, Status, VerifyReport, WaitOutcome,
};
use dunlin_engine::{HomeError, Node, NodeError, RestoreRequest};
use dunlin_identity::Tier;
use tokio::sync::{broadcast, watch};

/// A running node, and the wish that it stop.
#[derive(Clone)]
pub(crate) struct Adapter {
    node: Node,
    stop: watch::Sender<bool>,
}

impl Adapter {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, stop: watch::Sender::new(false) }
    }

    /// Returns once somebody has asked over the API for the node to stop.
    pub(crate) async fn stop_requested(&self) {
        // This value holds a sender, so the channel stays open.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

/// A node's error as the API tells it.
pub(crate) fn fault(error: &NodeError) -> Fault {
    let kind = match error {
        NodeError::Home(error) => home_kind(error),
        NodeError::Conflict(error) => conflict_kind(error),
        NodeError::Setting(SettingError::Unknown(_) | SettingError::NotThere { .. }) => {
            FaultKind::NotFound
        }
        NodeError::Code(_) | NodeError::Limit(_) | NodeError::Setting(_) => FaultKind::Invalid,
        NodeError::Root { .. } | NodeError::Refused(_) => FaultKind::Conflict,
        NodeError::NotFound(_) => FaultKind::NotFound,
        NodeError::Unsupported(_) => FaultKind::Unsupported,
        _ => FaultKind::Internal,
    };
    Fault::new(kind, error.to_string())
}

fn conflict_kind(error: &ConflictError) -> FaultKind {
    match error {
        ConflictError::NoConflict(_) | ConflictError::NoBase(_) | ConflictError::BaseGone(_) => {
            FaultKind::NotFound
        }
        ConflictError::ManySides(..)
        | ConflictError::Directory(_)
        | ConflictError::NotFiles(_)
        | ConflictError::Merged(_) => FaultKind::Invalid,
        ConflictError::Fs(_) | ConflictError::Index(_) => FaultKind::Internal,
        _ => FaultKind::Conflict,
    }
}

fn home_kind(error: &HomeError) -> FaultKind {
    match error {
        HomeError::NoFolder(_) => FaultKind::NotFound,
        HomeError::Locked(_) | HomeError::AlreadyJoined(_) => FaultKind::Conflict,
        HomeError::BadDirectory { .. } | HomeError::Tier(..) | HomeError::BadName(_) => {
            FaultKind::Invalid
        }
        _ => FaultKind::Internal,
    }
}

/// What a node gave, with its error as the API tells it.
fn told<T>(result: Result<T, NodeError>) -> Result<T, Fault> {
    result.map_err(|error| fault(&error))
}

impl Control for Adapter {
    async fn status(&self) -> Result<Status, Fault> {
        Ok(self.node.status())
    }

    async fn add_folder(&self, path: PathBuf, label: Option<String>) -> Result<FolderInfo, Fault> {
        told(self.node.add_folder(&path, label.as_deref()).await)
    }

    async fn join(&self, code: String, path: PathBuf) -> Result<FolderInfo, Fault> {
        told(self.node.join(code.trim(), &path).await)
    }

    async fn share(&self, folder: String, tier: Option<String>) -> Result<String, Fault> {
        let tier = match tier.as_deref().map(str::parse::<Tier>) {
            Some(Ok(tier)) => Some(tier),
            Some(Err(_)) => {
                let message = "there is no such tier: it is write, read or store";
                return Err(Fault::new(FaultKind::Invalid, message));
            }
            None => None,
        };
        told(self.node.share(&folder, tier))
    }

    async fn wait(&self, timeout_s: Option<f64>) -> Result<WaitOutcome, Fault> {
        let timeout = match timeout_s.map(Duration::try_from_secs_f64) {
            Some(Ok(timeout)) => Some(timeout),
            Some(Err(error)) => return Err(Fault::new(FaultKind::Invalid, error.to_string())),
            None => None,
        };
        Ok(self.node.wait_in_sync(timeout).await)
    }

    async fn scan(&self, folder: Option<String>) -> Result<(), Fault> {
        told(self.node.scan(folder.as_deref()).await)
    }

    async fn fetch(&self, path: PathBuf) -> Result<(), Fault> {
        told(self.node.fetch(&path).await)
    }

    async fn pause(&self, folder: String) -> Result<(), Fault> {
        told(self.node.set_paused(&folder, true).await)
    }

    async fn resume(&self, folder: String) -> Result<(), Fault> {
        told(self.node.set_paused(&folder, false).await)
    }

    async fn remove(&self, folder: String) -> Result<(), Fault> {
        told(self.node.remove(&folder).await)
    }

    async fn approve(&self, folder: String) -> Result<(), Fault> {
        told(self.node.approve(&folder).await)
    }

    async fn undo(&self, folder: String) -> Result<(), Fault> {
        told(self.node.undo(&folder).await)
    }

    async fn settings(&self, folder: String) -> Result<Vec<FolderSetting>, Fault> {
        told(self.node.settings(&folder))
    }

    async fn set(&self, folder: String, key: String, change: SettingChange) -> Result<(), Fault> {
        told(self.node.set(&folder, &key, change).await)
    }

    async fn conflicts(
        &self,
        folder: String,
        path: Option<String>,
    ) -> Result<Vec<ConflictInfo>, Fault> {
        told(self.node.conflicts(&folder, path.as_deref()).await)
    }

    async fn conflict_base(
        &self,
        folder: String,
        path: String,
    ) -> Result<Box<dyn Read + Send>, Fault> {
        let content = told(self.node.conflict_base(&folder, &path).await)?;
        Ok(Box::new(content))
    }

    async fn resolve_conflict(
        &self,
        folder: String,
        path: String,
        ending: Ending,
        expect: Option<Vec<String>>,
    ) -> Result<(), Fault> {
        told(match ending {
            Ending::Keep(keep) => self.node.resolve_conflict(&folder, &path, keep, expect).await,
            Ending::Merged(merged) => {
                self.node.merge_conflict(&folder, &path, &merged, expect).await
            }
        })
    }

    async fn history(&self, path: PathBuf, limit: usize) -> Result<PathHistory, Fault> {
        told(self.node.history(&path, limit).await)
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreReport, Fault> {
        told(self.node.restore(request).await)
    }

    async fn verify(&self, folder: String) -> Result<VerifyReport, Fault> {
        told(self.node.verify(&folder).await)
    }

    async fn rename_device(&self, device: String, name: String) -> Result<(), Fault> {
        told(self.node.rename_device(&device, &name).await)
    }

    async fn remove_device(&self, device: String, folder: Option<String>) -> Result<(), Fault> {
        told(self.node.remove_device(&device, folder.as_deref()).await)
    }

    async fn limits(&self) -> Result<LimitStatus, Fault> {
        told(self.node.limits())
    }

    async fn set_limits(&self, change: LimitChange) -> Result<(), Fault> {
        told(self.node.set_limits(&change))
    }

    async fn doctor(&self) -> Result<Vec<Check>, Fault> {
        Ok(self.node.doctor())
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.node.subscribe()
    }

    async fn shutdown(&self) {
        self.stop.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind_and_words() {
        for (error, kind) in [
            (NodeError::Home(HomeError::NoFolder("x".into())), FaultKind::NotFound),
            (NodeError::Home(HomeError::Locked("/h".into())), FaultKind::Conflict),
            (NodeError::Home(HomeError::BadName(String::new())), FaultKind::Invalid),
            (NodeError::Refused("no".into()), FaultKind::Conflict),
            (NodeError::Unsupported("later".into()), FaultKind::Unsupported),
            (ConflictError::NoBase("f".into()).into(), FaultKind::NotFound),
            (ConflictError::Changed("f".into()).into(), FaultKind::Conflict),
            (ConflictError::ManySides("f".into(), 3).into(), FaultKind::Invalid),
            (NodeError::Io(std::io::Error::other("disk")), FaultKind::Internal),
        ] {
            let told = fault(&error);
            assert_eq!(told.kind, kind, "{error}");
            assert_eq!(told.message, error.to_string());
        }
    }
}
