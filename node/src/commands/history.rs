//! `dunlin fetch`, `dunlin history` and `dunlin restore`.

use std::path::{Path, PathBuf};

use dunlin_api::Client;
use dunlin_api::wire::Restore;
use dunlin_engine::types::{PathHistory, RestoreReport, VersionInfo};

use crate::cli;
use crate::context::{self, Context};
use crate::failure::{Exit, Failure};
use crate::output::{Cell, bytes, count, head};
use crate::when;

/// Paths of one kind that are listed for a person.
const SHOWN_MAX: usize = 20;

/// Has a path's contents fetched before all else.
pub(crate) async fn fetch(context: &Context, fetch: cli::Fetch) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let path = locate(&client, &fetch.path).await?;
    client.fetch(&path).await.map_err(|error| Failure::from(error).during("cannot fetch it"))?;
    context.output.note(&format!("{} comes before all else", fetch.path));
    Ok(Exit::Done)
}

/// Prints the versions of a path.
pub(crate) async fn history(context: &Context, history: cli::History) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let path = locate(&client, &history.path).await?;
    let found = client
        .history(&path, history.limit)
        .await
        .map_err(|error| Failure::from(error).during("cannot tell the history"))?;
    if context.output.json {
        context.output.document(&found)?;
        return Ok(Exit::Done);
    }
    if found.versions.is_empty() {
        context.output.note(&format!("nothing is kept of {}", history.path));
        return Ok(Exit::Done);
    }
    context.output.table(&rows(&found))?;
    if found.more > 0 {
        let older = count(found.more, "older version");
        context.output.note(&format!("{older} not shown: --limit shows more"));
    }
    Ok(Exit::Done)
}

fn rows(history: &PathHistory) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["VERSION", "UNTIL", "BY", "SIZE", "WHAT BECAME OF IT", "PATH"])];
    rows.extend(history.versions.iter().map(|version| {
        let number = version.version.map_or_else(|| "now".to_owned(), |id| id.to_string());
        let until = version.until.as_deref().map(when::show).unwrap_or_default();
        let by = version.by_name.as_deref().or(version.by.as_deref()).unwrap_or("");
        let size = match version.kind.as_str() {
            "file" => bytes(version.size),
            kind => kind.to_owned(),
        };
        [number, until, by.to_owned(), size, became(version), version.path.clone()]
            .iter()
            .map(|text| Cell::plain(text))
            .collect()
    }));
    rows
}

/// What became of a version, in words.
fn became(version: &VersionInfo) -> String {
    let mut words = match version.change.as_deref() {
        None => return "present".to_owned(),
        Some("written-late") => "written to after it was replaced".to_owned(),
        Some("found") => "found without a record".to_owned(),
        Some("restored") => "replaced by a restore".to_owned(),
        Some(change) => change.to_owned(),
    };
    let by = version.changed_by_name.as_deref().or(version.changed_by.as_deref());
    if let Some(by) = by {
        words.push_str(&format!(" on {by}"));
    }
    if version.place == "elsewhere" {
        words.push_str(", kept elsewhere");
    }
    words
}

/// Restores a path.
pub(crate) async fn restore(context: &Context, restore: cli::Restore) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let path = locate(&client, &restore.path).await?;
    let to = restore.to.as_deref().map(context::absolute).transpose()?;
    let body = Restore {
        path: text(&path)?,
        at_ms: restore.at,
        version: restore.version,
        to: to.as_deref().map(text).transpose()?,
        force: restore.force,
    };
    let report = client
        .restore(&body)
        .await
        .map_err(|error| Failure::from(error).during(format!("cannot restore {}", restore.path)))?;
    if context.output.json {
        context.output.document(&report)?;
    } else {
        tell(context, &report);
    }
    outcome(&report, &restore.path)
}

fn text(path: &Path) -> Result<String, Failure> {
    let no_text = || Failure::new(format!("{} is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(no_text)
}

fn tell(context: &Context, report: &RestoreReport) {
    let output = &context.output;
    let restored = count(report.restored, "thing");
    output.note(&format!("restored {restored}, {}", bytes(report.bytes)));
    if report.unchanged > 0 {
        output.note(&format!("{} as wanted already", report.unchanged));
    }
    if report.stayed > 0 {
        output.note(&format!("{} made since then stay", count(report.stayed, "file")));
    }
    if report.newer_count > 0 && report.restored > 0 {
        output.note(&format!(
            "{} newer, left alone: --force puts the older ones in their place and keeps these",
            report.newer_count
        ));
        report.newer.iter().take(SHOWN_MAX).for_each(|path| output.note(&format!("  {path}")));
    }
    for failed in report.failed.iter().take(SHOWN_MAX) {
        output.note(&format!("not restored: {}: {}", failed.path, failed.reason));
    }
}

/// A restore that left something undone that was asked for has failed.
fn outcome(report: &RestoreReport, path: &str) -> Result<Exit, Failure> {
    if report.failed_count > 0 {
        let what = count(report.failed_count, "thing");
        let first = report.failed.first();
        let why = first.map(|one| format!(": {}: {}", one.path, one.reason)).unwrap_or_default();
        return Err(Failure::new(format!("cannot restore {what}{why}")));
    }
    if report.newer_count > 0 && report.restored == 0 && report.unchanged == 0 {
        return Err(Failure::new(format!("{path} is newer than what would be restored"))
            .advise("--force, which keeps what it replaces as a version")
            .advise("--to FILE, which writes it elsewhere"));
    }
    Ok(Exit::Done)
}

/// The absolute path that an argument means: a folder's name, or a path, whether something is
/// there or not.
async fn locate(client: &Client, argument: &str) -> Result<PathBuf, Failure> {
    let status = client.status().await?;
    let is_there = std::fs::symlink_metadata(argument).is_ok();
    let named = status.folders.iter().find(|folder| folder.name == argument);
    if let Some(folder) = named.filter(|_| !is_there) {
        return Ok(PathBuf::from(&folder.path));
    }
    real(&context::absolute(Path::new(argument))?)
}

/// The path with the symbolic links above it followed, as folders know theirs; not the last name,
/// which may itself be a link that is synced.
fn real(path: &Path) -> Result<PathBuf, Failure> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    };
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    }
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        // It is gone with what was around it.
        Err(_) => Ok(real(parent)?.join(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_found_through_links_above_it() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&dir).unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        assert_eq!(real(&link.join("gone/too/file")).unwrap(), dir.join("gone/too/file"));
        std::os::unix::fs::symlink("nowhere", dir.join("dangling")).unwrap();
        assert_eq!(real(&link.join("dangling")).unwrap(), dir.join("dangling"));
    }

    #[test]
    fn what_was_not_restored_is_a_failure() {
        let mut report = RestoreReport { restored: 1, newer_count: 3, ..RestoreReport::default() };
        assert_eq!(outcome(&report, "p").unwrap(), Exit::Done);
        report.restored = 0;
        assert_eq!(outcome(&report, "p").unwrap_err().exit, Exit::Failed);
        let failed = RestoreReport { restored: 5, failed_count: 1, ..RestoreReport::default() };
        assert_eq!(outcome(&failed, "p").unwrap_err().exit, Exit::Failed);
    }
}
