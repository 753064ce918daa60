//! Settings of a folder on this device.

use dunlin_identity::FolderId;

use super::{Node, NodeError, lock_of};
use crate::home::{self, FolderConfig};
use crate::runner::Request;

impl Node {
    /// Changes a setting of a folder: `name`, or `hold` (`on` or `off`), which says whether mass
    /// deletions and mass overwrites wait for the user's word.
    ///
    /// # Errors
    /// When there is no such folder or setting, or the value is none for it.
    pub async fn set(&self, folder: &str, key: &str, value: &str) -> Result<(), NodeError> {
        let id = self.find(folder)?;
        match key {
            "name" => self.set_name(id, value),
            "hold" => {
                let hold = on_or_off(value)?;
                self.change_config(id, |config| config.hold = hold)?;
                self.ask(id, Request::Hold(hold)).await
            }
            _ if key.starts_with("versions") => self.set_versions(id, key, value).await,
            _ => {
                let text = format!(
                    "a folder has no setting {key:?}: there are `name`, `hold`, `versions`, \
                     `versions-size` and `versions-delay`"
                );
                Err(NodeError::NotFound(text))
            }
        }
    }

    fn set_name(&self, id: FolderId, value: &str) -> Result<(), NodeError> {
        let value = home::check_name(value)?.to_owned();
        let config = self.0.home.config()?;
        if config.folders.iter().any(|folder| folder.name == value && folder.id != id.to_string()) {
            return Err(NodeError::Refused(format!("another folder has the name {value:?}")));
        }
        self.change_config(id, |config| config.name.clone_from(&value))
    }

    /// Changes what `config.toml` says of a folder, and what the running one knows of it.
    pub(super) fn change_config(
        &self,
        id: FolderId,
        change: impl Fn(&mut FolderConfig),
    ) -> Result<(), NodeError> {
        let mut config = self.0.home.config()?;
        config.folders.iter_mut().filter(|folder| folder.id == id.to_string()).for_each(&change);
        self.0.home.save(&config)?;
        if let Some(running) = lock_of(&self.0.folders).get_mut(&id) {
            change(&mut running.config);
        }
        Ok(())
    }
}

fn on_or_off(value: &str) -> Result<bool, NodeError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(NodeError::Refused(format!("{value:?} is neither `on` nor `off`"))),
    }
}
