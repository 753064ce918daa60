//! The settings of the node's folders, shared and local.

use std::sync::{Arc, PoisonError};

use dunlin_identity::{DeviceId, FolderId};

use super::find::gone;
use super::{Node, NodeError, lock_of};
use crate::home::{self, FolderConfig};
use crate::runner::Request;
use crate::settings::{
    self, DEVICE, FolderSetting, HOLD, How, NAME, PRIORITY, SettingChange, SettingError,
};

impl Node {
    /// The settings of a folder as they hold on this device, and where each comes from.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn settings(&self, folder: &str) -> Result<Vec<FolderSetting>, NodeError> {
        let id = self.find(folder)?;
        let folders = lock_of(&self.0.folders);
        let running = folders.get(&id).ok_or_else(gone)?;
        Ok(settings::list(&running.config, &running.runner.snapshot().settings))
    }

    /// Changes a setting of a folder: for all its members, or for this device alone.
    ///
    /// # Errors
    /// When there is no such folder or setting, or the value cannot be one.
    pub async fn set(
        &self,
        folder: &str,
        key: &str,
        change: SettingChange,
    ) -> Result<(), NodeError> {
        let id = self.find(folder)?;
        if !settings::is_local(key, change.local)? {
            // What is wrong with it is told before the folder's thread, which may be at work.
            let shared = self.runner(id)?.snapshot().settings;
            settings::change_shared(&mut (*shared).clone(), key, &change)?;
            return self.ask(id, Request::Setting(key.to_owned(), change)).await;
        }
        if change.how != How::Set {
            return Err(SettingError::NoList(key.to_owned()).into());
        }
        match key {
            NAME => self.rename_folder(id, &change.value),
            HOLD => {
                let hold = on_or_off(&change.value)?;
                self.change_config(id, |folder| folder.hold = hold)?;
                self.ask(id, Request::Hold(hold)).await
            }
            PRIORITY => {
                let priority = settings::folder_priority(&change.value)?;
                self.change_config(id, |folder| folder.priority = priority)?;
                self.0.transfer.set_folder_priority(id, priority);
                Ok(())
            }
            _ => self.set_own_versions(id, key, &change).await,
        }
    }

    fn rename_folder(&self, id: FolderId, name: &str) -> Result<(), NodeError> {
        let name = home::check_name(name)?.to_owned();
        let config = self.0.home.config()?;
        if config.folders.iter().any(|folder| folder.name == name && folder.id != id.to_string()) {
            return Err(NodeError::Refused(format!("another folder has the name {name:?}")));
        }
        self.change_config(id, |folder| folder.name.clone_from(&name))
    }

    async fn set_own_versions(
        &self,
        id: FolderId,
        key: &str,
        change: &SettingChange,
    ) -> Result<(), NodeError> {
        let running = lock_of(&self.0.folders)
            .get(&id)
            .map(|running| (running.config.versions.clone(), Arc::clone(&running.own_versions)));
        let (mut versions, shown) = running.ok_or_else(gone)?;
        settings::change_local(&mut versions, key, change)?;
        self.change_config(id, |folder| folder.versions.clone_from(&versions))?;
        shown.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&versions);
        self.ask(id, Request::OwnVersions(versions)).await
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

    /// Gives another device a name in all folders that are shared with it.
    pub(super) async fn name_device(&self, device: DeviceId, name: &str) -> Result<(), NodeError> {
        let name = home::check_name(name)?;
        let key = format!("{DEVICE}{device}");
        let change = SettingChange { value: name.to_owned(), ..SettingChange::default() };
        let mut named = false;
        for (id, running) in self.runners() {
            let snapshot = running.snapshot();
            if snapshot.members.iter().any(|member| member.device == device && !member.removed) {
                self.ask(id, Request::Setting(key.clone(), change.clone())).await?;
                named = true;
            }
        }
        match named {
            true => Ok(()),
            false => Err(NodeError::NotFound(format!("no folder is shared with {device}"))),
        }
    }

    /// This device has another name: where the members have named it, that name goes along.
    pub(super) async fn follow_own_name(&self, name: &str) -> Result<(), NodeError> {
        let key = format!("{DEVICE}{}", self.0.key.device());
        let change = SettingChange { value: name.to_owned(), ..SettingChange::default() };
        for (id, running) in self.runners() {
            if running.snapshot().settings.values.contains_key(&key) {
                self.ask(id, Request::Setting(key.clone(), change.clone())).await?;
            }
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
