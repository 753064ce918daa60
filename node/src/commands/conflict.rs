//! `dunlin conflict …`.

use std::io::Write;
use std::path::{Path, PathBuf};

use dunlin_api::wire::Resolve;
use dunlin_api::{Client, Content};
use dunlin_engine::conflict::{ConflictInfo, ConflictSide, Keep};
use dunlin_engine::types::Status;
use jiff::tz::TimeZone;

use super::mergetool;
use crate::cli::{self, Conflict, KeepName};
use crate::context::{self, Context};
use crate::failure::{Exit, Failure};
use crate::offline;
use crate::output::{self, Cell, Look, head};
use crate::when;

pub(crate) async fn run(context: &Context, command: Conflict) -> Result<Exit, Failure> {
    match command {
        Conflict::Ls { folder } => list(context, folder.as_deref()).await,
        Conflict::Show { path, base } => show(context, &path, base.as_deref()).await,
        Conflict::Resolve(arguments) => resolve(context, arguments).await,
    }
}

async fn list(context: &Context, folder: Option<&str>) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let status = client.status().await?;
    let wanted = folder.map(|folder| context::folder_name(&status, folder)).transpose()?;
    let mut conflicts = Vec::new();
    for folder in &status.folders {
        if wanted.as_ref().is_none_or(|wanted| *wanted == folder.name) {
            conflicts.extend(client.conflicts(&folder.name, None).await?);
        }
    }
    if context.output.json {
        context.output.document(&conflicts)?;
    } else if conflicts.is_empty() {
        context.output.note("no conflicts");
    } else {
        let here = std::env::current_dir().unwrap_or_default();
        context.output.table(&rows(&status, &conflicts, &here, &TimeZone::system()))?;
    }
    Ok(Exit::Done)
}

async fn show(context: &Context, path: &Path, base: Option<&Path>) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let status = client.status().await?;
    let conflict = find(&client, &status, path).await?;
    if let Some(to) = base {
        let content = client.conflict_base(&conflict.folder, &conflict.path).await;
        let content = content.map_err(|error| Failure::from(error).during("no base"))?;
        write_new(content, to).await?;
    }
    if context.output.json {
        context.output.document(&conflict)?;
        return Ok(Exit::Done);
    }
    let (here, zone) = (std::env::current_dir().unwrap_or_default(), TimeZone::system());
    context.output.table(&rows(&status, std::slice::from_ref(&conflict), &here, &zone))?;
    context.output.text(&match &conflict.base {
        Some(base) => {
            let modified = base.modified.as_deref().map(|time| when::show_in(time, &zone));
            let of = modified.map(|time| format!(", of {time}")).unwrap_or_default();
            format!("All versions came from one of {}{of}.", output::bytes(base.size))
        }
        None => "What the versions came from is not known: they were made apart, or too long ago."
            .to_owned(),
    })?;
    Ok(Exit::Done)
}

async fn resolve(context: &Context, arguments: cli::Resolve) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let status = client.status().await?;
    let tool = match &arguments.with_tool {
        Some(named) => Some(tool(context, named.clone())?),
        None => None,
    };
    let mut resolved = Vec::new();
    for path in &arguments.paths {
        let conflict = find(&client, &status, path).await?;
        let (_, below) = context::path_in_folder(&status, path)?;
        let during =
            |failure: Failure| failure.during(format_args!("{} is not resolved", path.display()));
        match (&tool, arguments.keep) {
            (Some(tool), _) => merge(&client, &status, &conflict, tool).await.map_err(during)?,
            (None, keep) => {
                let expect = Some(ids(&conflict));
                let keep = Some(kept(keep.unwrap_or(KeepName::Both)));
                let body = Resolve { path: below, keep, merged: None, expect };
                let done = client.resolve_conflict(&conflict.folder, &body).await;
                done.map_err(|error| during(error.into()))?;
            }
        }
        context.output.note(&format!(
            "{}: resolved on all devices; what did not stay is kept in the version store",
            conflict.path
        ));
        resolved.push(conflict);
    }
    if context.output.json {
        context.output.document(&resolved)?;
    }
    Ok(Exit::Done)
}

fn kept(keep: KeepName) -> Keep {
    match keep {
        KeepName::This => Keep::This,
        KeepName::That => Keep::That,
        KeepName::Both => Keep::Both,
        KeepName::Newest => Keep::Newest,
    }
}

/// The conflict that a path on this machine is a side of.
async fn find(client: &Client, status: &Status, path: &Path) -> Result<ConflictInfo, Failure> {
    let (folder, below) = context::path_in_folder(status, path)?;
    let found = client.conflicts(&folder, Some(&below)).await?;
    found.into_iter().next().ok_or_else(|| {
        Failure::new(format!("{} is in no conflict", path.display())).advise("dunlin conflict ls")
    })
}

/// The tool that is meant: the one that was named, else that of the environment or the settings.
fn tool(context: &Context, named: Option<String>) -> Result<String, Failure> {
    let environment = || std::env::var("DUNLIN_MERGETOOL").ok();
    let tool = match named.or_else(environment).filter(|tool| !tool.trim().is_empty()) {
        Some(tool) => Some(tool),
        None => offline::mergetool(&context.home)?,
    };
    tool.ok_or_else(|| {
        Failure::new("no merge tool is named")
            .advise("--with-tool=meld, or another of those in docs/conflicts.md")
            .advise("DUNLIN_MERGETOOL=TOOL, or mergetool = \"TOOL\" in config.toml")
    })
}

/// Merges the versions with a tool, two at a time, and puts the result in their place.
async fn merge(
    client: &Client,
    status: &Status,
    conflict: &ConflictInfo,
    tool: &str,
) -> Result<(), Failure> {
    let root = status.folders.iter().find(|folder| folder.name == conflict.folder);
    let root = root.map(|folder| PathBuf::from(&folder.path)).unwrap_or_default();
    if conflict.sides.iter().any(|side| side.kind != "file") || !conflict.sides[0].winner {
        return Err(Failure::new("only files can be merged").advise("--keep this|that|both"));
    }
    let sides: Vec<PathBuf> = conflict.sides.iter().map(|side| root.join(&side.path)).collect();
    let mut work = mergetool::Work::begin(Path::new(&conflict.path), &sides[0])?;
    if conflict.base.is_some() {
        match client.conflict_base(&conflict.folder, &conflict.path).await {
            Ok(content) => write_new(content, &work.base()).await?,
            // Tools can do without.
            Err(error) => tracing::warn!(%error, "the base of the conflict cannot be had"),
        }
    }
    let tool = tool.to_owned();
    let copies = sides[1..].to_vec();
    let merged = tokio::task::spawn_blocking(move || {
        copies.iter().try_for_each(|copy| work.merge(&tool, copy)).map(|()| work)
    });
    let work = merged.await.map_err(|error| Failure::new(error.to_string()))??;
    let body = Resolve {
        path: conflict.path.clone(),
        keep: None,
        merged: Some(work.merged().to_string_lossy().into_owned()),
        expect: Some(ids(conflict)),
    };
    let done = client.resolve_conflict(&conflict.folder, &body).await;
    done.map_err(|error| work.keep(Failure::from(error)))
}

fn ids(conflict: &ConflictInfo) -> Vec<String> {
    conflict.sides.iter().map(|side| side.id.clone()).collect()
}

/// Writes a content into a file that is not there yet; what is incomplete does not stay.
async fn write_new(mut content: Content, to: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("cannot write {}: {error}", to.display()));
    let mut file = std::fs::File::create_new(to).map_err(failed)?;
    let mut written = Ok(());
    while written.is_ok() {
        match content.next().await {
            Ok(Some(piece)) => written = file.write_all(&piece).map_err(failed),
            Ok(None) => return Ok(()),
            Err(error) => written = Err(error.into()),
        }
    }
    // What cannot be removed is empty or cut short, as its user is told.
    let _ = std::fs::remove_file(to);
    written
}

fn rows(
    status: &Status,
    conflicts: &[ConflictInfo],
    here: &Path,
    zone: &TimeZone,
) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["VERSION", "DEVICE", "CHANGED", "SIZE", "BASE"])];
    for conflict in conflicts {
        let root = status.folders.iter().find(|folder| folder.name == conflict.folder);
        let root = root.map_or("", |folder| folder.path.as_str());
        for (number, side) in conflict.sides.iter().enumerate() {
            let path = Path::new(root).join(&side.path);
            let path = path.strip_prefix(here).unwrap_or(&path).to_string_lossy().into_owned();
            let first = number == 0;
            let indent = if first { "" } else { "  " };
            let base = if conflict.base.is_some() { "known" } else { "unknown" };
            rows.push(vec![
                Cell::plain(&format!("{indent}{path}")),
                Cell::plain(&device(side)),
                Cell::plain(
                    &side.modified.as_deref().map(|t| when::show_in(t, zone)).unwrap_or_default(),
                ),
                size(side),
                Cell::plain(if first { base } else { "" }),
            ]);
        }
    }
    rows
}

fn device(side: &ConflictSide) -> String {
    let name = side.device_name.as_deref().filter(|name| !name.is_empty());
    name.or(side.device.as_deref()).unwrap_or("").to_owned()
}

fn size(side: &ConflictSide) -> Cell {
    let text = match (side.kind.as_str(), &side.target) {
        (_, Some(target)) => format!("-> {target}"),
        ("directory", None) => "directory".to_owned(),
        _ => output::bytes(side.size),
    };
    if side.here {
        Cell::plain(&text)
    } else {
        Cell::new(&format!("{text}, not here yet"), Look::Busy)
    }
}

#[cfg(test)]
mod tests {
    use dunlin_engine::conflict::ConflictBase;
    use dunlin_engine::types::FolderStatus;

    use super::*;

    fn side(path: &str, device: Option<&str>, size: u64) -> ConflictSide {
        ConflictSide {
            id: "1".into(),
            path: path.into(),
            winner: false,
            kind: "file".into(),
            size,
            modified: Some("2026-11-21T10:00:00.5Z".into()),
            target: None,
            device: Some("12D3KooW".into()),
            device_name: device.map(str::to_owned),
            here: true,
        }
    }

    #[test]
    fn the_table_names_every_version() {
        let folder = FolderStatus {
            name: "Sync".into(),
            path: "/home/me/Sync".into(),
            tier: "write".into(),
            conflicts: 2,
            ..FolderStatus::default()
        };
        let status = Status { folders: vec![folder], ..Status::default() };
        let link = ConflictSide {
            kind: "symlink".into(),
            target: Some("there".into()),
            modified: None,
            here: false,
            ..side("b (conflict 2).txt", None, 0)
        };
        let conflicts = [
            ConflictInfo {
                folder: "Sync".into(),
                path: "a.txt".into(),
                sides: vec![
                    side("a.txt", Some("laptop"), 12),
                    side("a (conflict 1).txt", Some("nas"), 5_000),
                ],
                base: Some(ConflictBase { size: 1, modified: None }),
            },
            ConflictInfo {
                folder: "Sync".into(),
                path: "b.txt".into(),
                sides: vec![side("b.txt", Some(""), 1), link],
                base: None,
            },
        ];
        let rows = rows(&status, &conflicts, Path::new("/home/me"), &TimeZone::UTC);
        let expected = "\
VERSION                    DEVICE    CHANGED              SIZE                    BASE
Sync/a.txt                 laptop    2026-11-21 10:00:00  12 B                    known
  Sync/a (conflict 1).txt  nas       2026-11-21 10:00:00  4.9 KiB
Sync/b.txt                 12D3KooW  2026-11-21 10:00:00  1 B                     unknown
  Sync/b (conflict 2).txt  12D3KooW                       -> there, not here yet
";
        assert_eq!(output::table(&rows, false), expected);
    }
}
