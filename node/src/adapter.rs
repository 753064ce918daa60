//! The engine's node as the API's [`Control`].

use std::path::PathBuf;

use dunlin_api::{Control, Fault, FaultKind};
use dunlin_engine::types::{Check, Event, FolderInfo, Status, WaitOutcome};
use dunlin_engine::{Node, NodeError};
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
    Fault::new(FaultKind::Internal, error.to_string())
}

impl Control for Adapter {
    async fn status(&self) -> Result<Status, Fault> {
        self.node.status().await.map_err(|error| fault(&error))
    }

    async fn add_folder(&self, path: PathBuf, label: Option<String>) -> Result<FolderInfo, Fault> {
        self.node.add_folder(path, label).await.map_err(|error| fault(&error))
    }

    async fn join(&self, code: String, path: PathBuf) -> Result<FolderInfo, Fault> {
        self.node.join(code, path).await.map_err(|error| fault(&error))
    }

    async fn share(&self, folder: String, tier: Option<String>) -> Result<String, Fault> {
        self.node.share(folder, tier).await.map_err(|error| fault(&error))
    }

    async fn wait(&self, timeout_s: Option<f64>) -> Result<WaitOutcome, Fault> {
        self.node.wait(timeout_s).await.map_err(|error| fault(&error))
    }

    async fn scan(&self, folder: Option<String>) -> Result<(), Fault> {
        self.node.scan(folder).await.map_err(|error| fault(&error))
    }

    async fn pause(&self, folder: String) -> Result<(), Fault> {
        self.node.pause(folder).await.map_err(|error| fault(&error))
    }

    async fn resume(&self, folder: String) -> Result<(), Fault> {
        self.node.resume(folder).await.map_err(|error| fault(&error))
    }

    async fn remove(&self, folder: String) -> Result<(), Fault> {
        self.node.remove(folder).await.map_err(|error| fault(&error))
    }

    async fn approve(&self, folder: String) -> Result<(), Fault> {
        self.node.approve(folder).await.map_err(|error| fault(&error))
    }

    async fn undo(&self, folder: String) -> Result<(), Fault> {
        self.node.undo(folder).await.map_err(|error| fault(&error))
    }

    async fn set(&self, folder: String, key: String, value: String) -> Result<(), Fault> {
        self.node.set(folder, key, value).await.map_err(|error| fault(&error))
    }

    async fn rename_device(&self, device: String, name: String) -> Result<(), Fault> {
        self.node.rename_device(device, name).await.map_err(|error| fault(&error))
    }

    async fn remove_device(&self, device: String) -> Result<(), Fault> {
        self.node.remove_device(device).await.map_err(|error| fault(&error))
    }

    async fn doctor(&self) -> Result<Vec<Check>, Fault> {
        self.node.doctor().await.map_err(|error| fault(&error))
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.node.subscribe()
    }

    async fn shutdown(&self) {
        self.stop.send_replace(true);
    }
}
