//! Folders that a home takes up: made here, or joined.

use std::path::Path;

use dunlin_identity::{DeviceId, FolderKeys, JoinCode};

use super::{NodeError, random};
use crate::home::{FolderConfig, Home};
use crate::open;
use crate::types::FolderInfo;

/// Joins a folder at a directory while no node runs; the next one takes it up.
///
/// # Errors
/// When the code is wrong, the directory cannot be a folder, or a node does run.
pub fn join_offline(home: &Path, code: &str, path: &Path) -> Result<FolderInfo, NodeError> {
    let code: JoinCode = code.parse()?;
    let home = Home::open(home)?;
    let _lock = home.lock()?;
    let device = home.key(random())?.device();
    let folder = adopt_folder(&home, device, &code.keys, path, &code.label, code.hints)?;
    info(&home, &folder)
}

/// Adds a folder to the home and makes the directory this device's part of it.
pub(super) fn adopt_folder(
    home: &Home,
    device: DeviceId,
    keys: &FolderKeys,
    path: &Path,
    label: &str,
    hints: Vec<String>,
) -> Result<FolderConfig, NodeError> {
    let folder = home.add_folder(keys, path, label, hints)?;
    if let Err(reason) = open::adopt(&folder.path, None, keys.folder(), device) {
        home.remove_folder(&folder.name)?;
        return Err(NodeError::Root { path: folder.path, reason });
    }
    Ok(folder)
}

pub(super) fn info(home: &Home, folder: &FolderConfig) -> Result<FolderInfo, NodeError> {
    Ok(FolderInfo {
        name: folder.name.clone(),
        path: folder.path.display().to_string(),
        join: home.code(folder, None, None)?,
    })
}
