//! Which folder is meant, and the way to its thread.

use std::path::Path;
use std::sync::Arc;

use dunlin_identity::FolderId;
use dunlin_index::RelPath;

use super::{Node, NodeError, lock_of};
use crate::home;
use crate::runner::{Request, Runner};

/// A path in a running folder.
pub(super) struct Located {
    pub(super) name: String,
    pub(super) path: RelPath,
    pub(super) runner: Arc<Runner>,
}

impl Node {
    /// Finds a folder by its name, path, or a path inside it.
    pub(super) fn find(&self, folder: &str) -> Result<FolderId, NodeError> {
        let config = self.0.home.config()?;
        Ok(home::folder_id(home::find_folder(&config, folder)?)?)
    }

    /// Finds the folder that an absolute path is in.
    pub(super) fn locate(&self, path: &Path) -> Result<Located, NodeError> {
        let config = self.0.home.config()?;
        let holds = |folder: &&home::FolderConfig| path.starts_with(&folder.path);
        let outside = || NodeError::NotFound(format!("{} is in no folder", path.display()));
        let folder = config.folders.iter().find(holds).ok_or_else(outside)?;
        let below = path.strip_prefix(&folder.path).map_err(|_| outside())?;
        let below = below.to_str().ok_or_else(|| {
            NodeError::NotFound(format!("{} is not UTF-8, and is not synced", path.display()))
        })?;
        let path = RelPath::parse(below).map_err(|error| NodeError::NotFound(error.to_string()))?;
        let runner = self.runner(home::folder_id(folder)?)?;
        Ok(Located { name: folder.name.clone(), path, runner })
    }

    /// What runs a folder.
    pub(super) fn runner(&self, id: FolderId) -> Result<Arc<Runner>, NodeError> {
        let folders = lock_of(&self.0.folders);
        folders.get(&id).map(|running| Arc::clone(&running.runner)).ok_or_else(gone)
    }

    /// What runs each folder.
    pub(super) fn runners(&self) -> Vec<(FolderId, Arc<Runner>)> {
        let folders = lock_of(&self.0.folders);
        folders.iter().map(|(id, running)| (*id, Arc::clone(&running.runner))).collect()
    }

    /// Tells a folder's thread something, and waits until it is done.
    pub(super) async fn ask(&self, id: FolderId, request: Request) -> Result<(), NodeError> {
        self.runner(id)?.ask(request).await.map_err(NodeError::Refused)
    }
}

pub(super) fn gone() -> NodeError {
    NodeError::NotFound("the folder is gone".to_owned())
}
