//! What can be done in a home while no node runs.

use std::path::Path;

use dunlin_engine::types::{Check, FolderInfo};
use dunlin_engine::{Home, HomeError, doctor};
use dunlin_identity::Tier;

use crate::adapter::fault;
use crate::cli::TierName;
use crate::context::folder_among;
use crate::failure::Failure;

/// The home, if a node has ever had it; looking does not make one.
fn existing(path: &Path) -> Result<Home, Failure> {
    if !path.is_dir() {
        let message = format!("there is no folder yet: {} does not exist", path.display());
        return Err(Failure::new(message).advise("dunlin up DIR, or dunlin join CODE DIR"));
    }
    open(path)
}

fn open(path: &Path) -> Result<Home, Failure> {
    Home::open(path).map_err(|error| Failure::new(error.to_string()))
}

/// The folders of the home.
pub(crate) fn folders(home: &Path) -> Result<Vec<FolderInfo>, Failure> {
    existing(home)?.folders().map_err(|error| Failure::new(error.to_string()))
}

/// The merge tool that the home's settings name.
pub(crate) fn mergetool(home: &Path) -> Result<Option<String>, Failure> {
    let config = existing(home)?.config().map_err(|error| Failure::new(error.to_string()))?;
    Ok(config.mergetool)
}

/// The folder that an argument means, and its join code of a tier.
pub(crate) fn share(
    home: &Path,
    argument: &str,
    tier: Option<TierName>,
) -> Result<(String, String), Failure> {
    let home = existing(home)?;
    let failed = |error: HomeError| Failure::new(error.to_string());
    let config = home.config().map_err(failed)?;
    let known: Vec<_> = config.folders.iter().map(|f| (f.name.as_str(), &*f.path)).collect();
    let name = folder_among(&known, argument)?;
    let tier = tier.map(|tier| match tier {
        TierName::Write => Tier::Write,
        TierName::Read => Tier::Read,
        TierName::Store => Tier::Store,
    });
    let code = home.share(&name, tier).map_err(failed)?;
    Ok((name, code))
}

/// Joins a folder, for the next node to take up. The path is absolute.
pub(crate) fn join(home: &Path, code: &str, path: &Path) -> Result<FolderInfo, Failure> {
    dunlin_engine::join_offline(home, code.trim(), path)
        .map_err(|error| Failure::from(fault(&error)).during("cannot join"))
}

/// What can be checked without a node.
pub(crate) fn checks(home: &Path) -> Result<Vec<Check>, Failure> {
    Ok(doctor::run(&existing(home)?, None))
}
