//! Removal of devices: the next generation's keys are made, given to those that stay, and taken up.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use dunlin_identity::{DeviceId, FolderId, FolderKeys, Generation, Tier};
use dunlin_index::WrappedKey;
use dunlin_mesh::FolderAccess;

use super::{Node, NodeError, lock_of, random};
use crate::folder::{Grant, Membership};
use crate::home;
use crate::runner::Request;
use crate::types::Event;

/// A removal is answered after this time at the latest; its keys are then taken up later.
const KEYS_WAIT: Duration = Duration::from_secs(10);

impl Node {
    /// Removes a device from all folders that are shared with it, or from one of them. What it has
    /// on its disk stays there; old codes of these folders let nobody in any more.
    ///
    /// # Errors
    /// When no folder is shared with the device, or this device may not write in one of them.
    pub async fn remove_device(&self, device: &str, folder: Option<&str>) -> Result<(), NodeError> {
        let only = folder.map(|folder| self.find(folder)).transpose()?;
        let device = self.find_device(device)?;
        if device == self.0.key.device() {
            let how = "a device cannot remove itself: to take a folder off this device, use \
                       `dunlin folder rm`; to remove this device for all, do it on another one";
            return Err(NodeError::Refused(how.to_owned()));
        }
        let mut shared = Vec::new();
        for (id, running) in self.runners() {
            let members = running.snapshot().members;
            let here = members.iter().any(|member| member.device == device && !member.removed);
            if here && only.is_none_or(|only| only == id) {
                shared.push((id, running));
            }
        }
        if shared.is_empty() {
            return Err(NodeError::NotFound(format!("no folder is shared with {device}")));
        }
        for (id, _) in &shared {
            let (name, keys) = self.name_and_keys(*id)?;
            if keys.tier() != Tier::Write {
                let why = format!(
                    "{name}: this device may not change who takes part in it: remove the device \
                     on one that has joined with a write code"
                );
                return Err(NodeError::Refused(why));
            }
        }
        for (id, running) in shared {
            let membership = running.membership();
            let stay = membership.active.iter().filter(|member| **member != device).copied();
            let (generation, keys) = self.next_keys(id, &membership, stay.collect())?;
            let request = Request::RemoveDevice { device, generation, keys };
            running.ask(request).await.map_err(NodeError::Refused)?;
            // The join code that is asked for next is to be a new one. If somebody else has removed a
            // device at the same time, that takes until all agree.
            let _ = tokio::time::timeout(KEYS_WAIT, self.wait_for_keys(id, generation)).await;
        }
        Ok(())
    }

    /// Waits until the keys of a generation, or of a later one, are in use.
    async fn wait_for_keys(&self, id: FolderId, generation: u32) {
        let mut changed = self.0.changed.subscribe();
        loop {
            self.follow_members(id).await;
            let used = self.name_and_keys(id).map(|(_, keys)| keys.generation());
            if used.is_ok_and(|used| used >= generation) || changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Gives a device another name: this one, which the other devices see from its next start on,
    /// or another one, in all folders that are shared with it.
    ///
    /// # Errors
    /// When the name cannot be used, or no folder is shared with the device.
    pub async fn rename_device(&self, device: &str, name: &str) -> Result<(), NodeError> {
        let device = self.find_device(device)?;
        if device == self.0.key.device() {
            let mut config = self.0.home.config()?;
            home::check_name(name)?.clone_into(&mut config.name);
            self.0.home.save(&config)?;
            return self.follow_own_name(name).await;
        }
        self.name_device(device, name).await
    }

    /// Finds a device by its name or the beginning of its PeerId, this one included.
    pub(super) fn find_device(&self, device: &str) -> Result<DeviceId, NodeError> {
        let own = self.0.key.device();
        if device == self.0.name || own.to_string().starts_with(device) {
            return Ok(own);
        }
        let status = self.status();
        let known = status.folders.iter().flat_map(|folder| &folder.devices);
        let mut found: Vec<DeviceId> = known
            .filter(|known| known.name == device || known.device.starts_with(device))
            .filter_map(|known| known.device.parse().ok())
            .collect();
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(*one),
            [] => Err(NodeError::NotFound(format!("no folder is shared with one {device:?}"))),
            _ => Err(NodeError::NotFound(format!(
                "{device:?} names several devices: use more of the PeerId"
            ))),
        }
    }

    fn name_and_keys(&self, id: FolderId) -> Result<(String, FolderKeys), NodeError> {
        let folders = lock_of(&self.0.folders);
        let running = folders.get(&id).ok_or_else(super::find::gone)?;
        Ok((running.config.name.clone(), running.keys.get()))
    }

    /// Makes the generation after the one that a folder was raised to, for these members.
    fn next_keys(
        &self,
        id: FolderId,
        membership: &Membership,
        stay: Vec<DeviceId>,
    ) -> Result<(u32, Vec<WrappedKey>), NodeError> {
        let (_, keys) = self.name_and_keys(id)?;
        let number = membership.generation.max(keys.generation()).checked_add(1);
        let next = number.and_then(|number| keys.later_generation(number, random()));
        let Some(next) = next else {
            let why = "this device cannot make keys for the members that stay".to_owned();
            return Err(NodeError::Refused(why));
        };
        let wrap = |device: DeviceId| {
            let mut nonce = [0; 24];
            nonce.copy_from_slice(&random()[..24]);
            let sealed = next.wrap(id, &self.0.key, &device, nonce)?;
            Some(WrappedKey { device, sealed })
        };
        Ok((next.number, stay.into_iter().filter_map(wrap).collect()))
    }

    /// Follows what the indexes of all folders say of their members.
    pub(super) async fn keep_members(self) {
        let mut changed = self.0.changed.subscribe();
        loop {
            for (id, _) in self.runners() {
                self.follow_members(id).await;
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes up the keys of the generation that the members have agreed upon, and keeps out who was
    /// removed.
    async fn follow_members(&self, id: FolderId) {
        let Ok(running) = self.runner(id) else { return };
        let membership = running.membership();
        {
            let mut folders = lock_of(&self.0.folders);
            let Some(folder) = folders.get_mut(&id) else { return };
            if folder.membership == membership {
                return;
            }
            folder.membership = Arc::clone(&membership);
        }
        if let Err(error) = self.take_up_keys(id, &membership) {
            let message = format!("the folder's new keys cannot be used: {error}");
            tracing::error!(folder = %id, "{message}");
            let name = self.name_and_keys(id).map(|(name, _)| name).ok();
            // Without a listener there is nobody to tell.
            let _ = self.0.events.send(Event::Warning { folder: name, message });
            self.follow_again(id);
        }
        self.apply_access(id, &membership);
        if membership.must_raise {
            let stay = membership.active.iter().copied().collect();
            let raised = match self.next_keys(id, &membership, stay) {
                Ok((generation, keys)) => running.ask(Request::Raise { generation, keys }).await,
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = raised {
                tracing::warn!(folder = %id, %error, "the generation was not raised");
                self.follow_again(id);
            }
        }
    }

    /// What could not be done is tried again when something changes.
    fn follow_again(&self, id: FolderId) {
        if let Some(folder) = lock_of(&self.0.folders).get_mut(&id) {
            folder.membership = Arc::default();
        }
    }

    fn take_up_keys(&self, id: FolderId, membership: &Membership) -> Result<(), NodeError> {
        let (name, keys) = self.name_and_keys(id)?;
        let Some(Grant { generation, by, sealed: Some(sealed) }) = &membership.granted else {
            return Ok(());
        };
        if *generation <= keys.generation() {
            return Ok(());
        }
        let say = |why: &dyn std::fmt::Display| NodeError::Refused(why.to_string());
        let opened = Generation::unwrap(id, sealed, by, &self.0.key).map_err(|why| say(&why))?;
        if opened.number != *generation {
            return Err(say(&"they are of another generation than the record says"));
        }
        let next = keys.at_generation(&opened).map_err(|why| say(&why))?;
        let config = self.0.home.config()?;
        self.0.home.raise(home::find_folder(&config, &name)?, &next)?;
        if let Some(folder) = lock_of(&self.0.folders).get_mut(&id) {
            folder.keys.set(next);
            folder.outdated = false;
        }
        tracing::info!(folder = name, generation, "the folder has new keys");
        Ok(())
    }

    /// Tells mesh and transfer who is let in.
    fn apply_access(&self, id: FolderId, membership: &Membership) {
        let Ok((name, keys)) = self.name_and_keys(id) else { return };
        let config = self.0.home.config().ok();
        let folder = config.as_ref().and_then(|config| home::find_folder(config, &name).ok());
        let mut earlier = folder.map(|folder| self.0.home.earlier_keys(folder)).unwrap_or_default();
        if keys.generation() > 0 && earlier.iter().all(|keys| keys.generation() > 0) {
            earlier.extend(keys.first_generation());
        }
        // Until removals that were made apart have led to keys that all use, those that each side has
        // spared meet with the keys that both had before.
        let granted = membership.granted.as_ref().map(|grant| grant.generation);
        let late = match granted.is_none_or(|granted| granted == keys.generation()) {
            true => membership.late.clone(),
            false => Default::default(),
        };
        let removed = membership.removed.clone();
        {
            let mut door = self.0.door.0.write().unwrap_or_else(PoisonError::into_inner);
            if let Some((at_door, members)) = door.get_mut(&id) {
                *at_door = keys.clone();
                members.retain(|device| !removed.contains_key(device));
                self.0.transfer.members(id, members.iter().copied().collect());
            }
        }
        self.0.mesh.add_folder(FolderAccess { keys, earlier, late, removed });
    }

    /// A device says that this one is not let in with the keys that it has.
    pub(super) fn outdated(&self, id: FolderId, peer: DeviceId) {
        let mut folders = lock_of(&self.0.folders);
        let Some(folder) = folders.get_mut(&id) else { return };
        let members = folder.runner.snapshot().members;
        // Whoever has not heard anything of the folder yet has joined with an old code.
        let believed = members.iter().any(|member| member.device == peer && !member.removed);
        if (believed || members.len() <= 1) && !folder.outdated {
            folder.outdated = true;
            let name = folder.config.name.clone();
            let message = format!("{name}: {OUTDATED}");
            drop(folders);
            self.0.changed.send_modify(|count| *count += 1);
            // Without a listener there is nobody to tell.
            let _ = self.0.events.send(Event::Warning { folder: Some(name), message });
        }
    }
}

/// What a device shows that is not let in any more.
pub(super) const OUTDATED: &str = "the other devices do not let this one in: it was removed from \
    the folder, or its join code is from before another device was removed; the files here stay as \
    they are; to take part again, take the folder off this device (dunlin folder rm) and join with \
    a new code";
