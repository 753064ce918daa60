//! Finding the folder or the device that a person means.
//!
//! A folder is its name, its path or a path inside it; a device is its name or an unambiguous
//! beginning of its PeerId.

use std::path::{Component, Path, PathBuf};

use dunlin_engine::types::Status;

use crate::control::{Fault, FaultKind};
use crate::wire;

/// The name of the folder that is meant.
///
/// Names come before paths. A path must be absolute, for nobody but the caller knows where it
/// stands; of nested folders the innermost is meant.
pub fn folder(folders: &[(&str, &Path)], wanted: &str) -> Result<String, Fault> {
    if let Some((name, _)) = folders.iter().find(|(name, _)| *name == wanted) {
        return Ok((*name).to_owned());
    }
    let path = lexically_normal(Path::new(wanted));
    let inside = folders.iter().filter(|(_, root)| path.is_absolute() && path.starts_with(root));
    if let Some((name, _)) = inside.max_by_key(|(_, root)| root.components().count()) {
        return Ok((*name).to_owned());
    }
    let advice = if folders.is_empty() {
        "dunlin up DIR, which makes a folder, or dunlin join CODE DIR".to_owned()
    } else {
        let names: Vec<_> = folders.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", "))
    };
    let message = format!("no folder {wanted:?}: it is neither a folder's name nor a path in one");
    Err(Fault::new(FaultKind::NotFound, message).advise(advice))
}

/// The name of the folder that is meant, of those in a node's status.
pub fn folder_of(status: &Status, wanted: &str) -> Result<String, Fault> {
    let folders: Vec<_> =
        status.folders.iter().map(|f| (f.name.as_str(), Path::new(&f.path))).collect();
    folder(&folders, wanted)
}

/// The PeerId of the device that is meant, of those in a node's status.
pub fn device_of(status: &Status, wanted: &str) -> Result<String, Fault> {
    let devices = wire::devices(status);
    if let Some(device) = devices.iter().find(|device| device.device == wanted) {
        return Ok(device.device.clone());
    }
    let mut matching: Vec<_> = devices.iter().filter(|device| device.name == wanted).collect();
    if matching.is_empty() && !wanted.is_empty() {
        matching = devices.iter().filter(|device| device.device.starts_with(wanted)).collect();
    }
    match matching.as_slice() {
        [device] => Ok(device.device.clone()),
        [] => {
            let message =
                format!("no device {wanted:?}: it is neither a name nor a beginning of a PeerId");
            Err(Fault::new(FaultKind::NotFound, message)
                .advise("dunlin device ls, which lists them"))
        }
        several => {
            let ids: Vec<_> = several.iter().map(|device| device.device.as_str()).collect();
            let message = format!("{wanted:?} means {} devices", several.len());
            Err(Fault::new(FaultKind::Conflict, message)
                .advise(format!("more of the PeerId: {}", ids.join(", "))))
        }
    }
}

/// The path without `.` and `..`, as text alone says; symbolic links are not looked at.
fn lexically_normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use dunlin_engine::types::{DeviceStatus, FolderStatus};

    use super::*;

    fn folders() -> Vec<(&'static str, &'static Path)> {
        vec![
            ("Sync", Path::new("/home/me/Sync")),
            ("inner", Path::new("/home/me/Sync/inner")),
            ("/odd", Path::new("/srv/odd")),
        ]
    }

    #[test]
    fn a_folder_is_its_name_its_path_or_a_path_inside() {
        let find = |wanted| folder(&folders(), wanted).unwrap();
        assert_eq!(find("Sync"), "Sync");
        assert_eq!(find("/home/me/Sync"), "Sync");
        assert_eq!(find("/home/me/Sync/a/b.txt"), "Sync");
        assert_eq!(find("/home/me/Sync/inner/b"), "inner");
        assert_eq!(find("/home/me/Sync/inner/../a"), "Sync");
        assert_eq!(find("/odd"), "/odd");
    }

    #[test]
    fn a_path_beside_a_folder_is_not_in_it() {
        for wanted in ["/home/me/Sync2", "/home/me", "/home/me/Sync/../x", "Syn", "", "inner/x"] {
            let fault = folder(&folders(), wanted).unwrap_err();
            assert_eq!(fault.kind, FaultKind::NotFound, "{wanted}");
            assert!(fault.advice.unwrap().contains("Sync"));
        }
    }

    fn status() -> Status {
        let device = |device: &str, name: &str, connected| DeviceStatus {
            device: device.into(),
            name: name.into(),
            connected,
            in_sync: connected,
            path: connected.then(|| "lan".into()),
            last_seen: None,
        };
        let folder = |name: &str, devices| FolderStatus {
            name: name.into(),
            path: format!("/{name}"),
            tier: "write".into(),
            devices,
            ..FolderStatus::default()
        };
        Status {
            device: "12Own".into(),
            name: "laptop".into(),
            folders: vec![
                folder("a", vec![device("12Abc", "nas", true), device("12Abd", "phone", false)]),
                folder("b", vec![device("12Abc", "nas", false), device("12Xyz", "phone", true)]),
            ],
            ..Status::default()
        }
    }

    #[test]
    fn a_device_is_its_name_or_an_unambiguous_beginning() {
        let status = status();
        assert_eq!(device_of(&status, "nas").unwrap(), "12Abc");
        assert_eq!(device_of(&status, "laptop").unwrap(), "12Own");
        assert_eq!(device_of(&status, "12X").unwrap(), "12Xyz");
        assert_eq!(device_of(&status, "12Abd").unwrap(), "12Abd");
        assert_eq!(device_of(&status, "phone").unwrap_err().kind, FaultKind::Conflict);
        assert_eq!(device_of(&status, "12A").unwrap_err().kind, FaultKind::Conflict);
        assert_eq!(device_of(&status, "").unwrap_err().kind, FaultKind::NotFound);
        assert_eq!(device_of(&status, "tablet").unwrap_err().kind, FaultKind::NotFound);
    }

    #[test]
    fn a_device_in_two_folders_is_told_once() {
        let devices = wire::devices(&status());
        let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["laptop", "nas", "phone", "phone"]);
        assert!(devices[0].this);
        assert_eq!(devices[1].folders, ["a", "b"]);
        assert!(devices[1].connected && !devices[1].in_sync);
        assert_eq!(devices[1].path.as_deref(), Some("lan"));
    }
}
