//! What every command knows: the home, and how to write.

use std::path::{Path, PathBuf};

use dunlin_api::{Client, Fault, select};
use dunlin_engine::types::Status;

use crate::cli::Global;
use crate::failure::Failure;
use crate::output::Output;

/// What every command knows.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The home, absolute.
    pub(crate) home: PathBuf,
    pub(crate) output: Output,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        // An empty variable is one that is not set.
        let home = match global.home.as_ref().filter(|home| !home.as_os_str().is_empty()) {
            Some(home) => home.clone(),
            None => directories::ProjectDirs::from("", "", "dunlin")
                .ok_or_else(|| {
                    Failure::new("cannot tell where your files are: no home directory is set")
                        .advise("--home DIR")
                })?
                .data_dir()
                .to_owned(),
        };
        Ok(Self { home: absolute(&home)?, output: Output::new(global) })
    }

    /// The node that runs for this home.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.home).await?)
    }
}

/// The path from the root on, as the node must be told it.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(format!("cannot use {}: {error}", path.display())))
}

/// The exact name of the folder that an argument means, of those in the node's status.
pub(crate) fn folder_name(status: &Status, argument: &str) -> Result<String, Failure> {
    let folders: Vec<_> =
        status.folders.iter().map(|f| (f.name.as_str(), Path::new(&f.path))).collect();
    folder_among(&folders, argument).map_err(Failure::from)
}

/// The exact name of the folder that an argument means: a name, else a path from here or the root.
pub(crate) fn folder_among(folders: &[(&str, &Path)], argument: &str) -> Result<String, Fault> {
    let unknown = match select::folder(folders, argument) {
        Ok(name) => return Ok(name),
        Err(unknown) => unknown,
    };
    // Folders know their paths without symbolic links; what is not there is taken as written.
    let real = std::fs::canonicalize(argument).or_else(|_| std::path::absolute(argument));
    let path = real.ok().and_then(|path| path.into_os_string().into_string().ok());
    path.and_then(|path| select::folder(folders, &path).ok()).ok_or(unknown)
}

/// The folder that holds what a path names, and the path in it. What it names need not be there;
/// symbolic links are followed above it alone.
pub(crate) fn path_in_folder(status: &Status, path: &Path) -> Result<(String, String), Failure> {
    let written = absolute(path)?;
    let (Some(parent), Some(name)) = (written.parent(), written.file_name()) else {
        return Err(Failure::new(format!("{} is no path in a folder", path.display())));
    };
    // Folders know their paths without symbolic links; what is not there is taken as written.
    let full = parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name);
    let text = full.to_string_lossy().into_owned();
    let folder = select::folder_of(status, &text).map_err(Failure::from)?;
    let root = status.folders.iter().find(|known| known.name == folder).map(|known| &known.path);
    let below = root.and_then(|root| full.strip_prefix(root).ok()).and_then(Path::to_str);
    match below {
        Some(below) if !below.is_empty() => Ok((folder, below.to_owned())),
        _ => Err(Failure::new(format!("{} is no path in the folder {folder}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_through_a_symbolic_link() {
        let base = tempfile::tempdir().unwrap();
        let real = base.path().canonicalize().unwrap().join("real");
        std::fs::create_dir_all(real.join("sub")).unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let folders = [("Sync", real.as_path())];
        let inside = link.join("sub").display().to_string();
        assert_eq!(folder_among(&folders, &inside).unwrap(), "Sync");
        assert_eq!(folder_among(&folders, "Sync").unwrap(), "Sync");
        let gone = real.join("gone").display().to_string();
        assert_eq!(folder_among(&folders, &gone).unwrap(), "Sync");
        let beside = base.path().display().to_string();
        assert!(folder_among(&folders, &beside).is_err());
    }
}
