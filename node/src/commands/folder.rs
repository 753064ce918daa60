//! `dunlin folder …`.

use dunlin_api::{Client, ClientError};
use dunlin_engine::types::{FolderInfo, FolderStatus};

use crate::cli::{Folder, FolderArg};
use crate::commands::{settings, status, verify};
use crate::context::{self, Context};
use crate::failure::{Exit, Failure};
use crate::offline;
use crate::output::{Cell, head};

pub(crate) async fn run(context: &Context, command: Folder) -> Result<Exit, Failure> {
    match command {
        Folder::Ls => list(context).await,
        Folder::Rm(folder) => {
            let (client, name) = find(context, &folder).await?;
            let done = client.remove(&name).await;
            told(context, done, "rm", &format!("{name} is forgotten; its files stay"))
        }
        Folder::Pause(folder) => {
            let (client, name) = find(context, &folder).await?;
            told(context, client.pause(&name).await, "pause", &format!("{name} is paused"))
        }
        Folder::Resume(folder) => {
            let (client, name) = find(context, &folder).await?;
            told(context, client.resume(&name).await, "resume", &format!("{name} goes on"))
        }
        Folder::Show(folder) => settings::show(context, &folder).await,
        Folder::Set(set) => settings::set(context, set).await,
        Folder::Verify(folder) => {
            let (client, name) = find(context, &folder).await?;
            verify::run(context, &client, &name).await
        }
        Folder::Approve(folder) => {
            let (client, name) = find(context, &folder).await?;
            let done = client.approve(&name).await;
            told(context, done, "approve", &format!("{name}: what was held goes ahead everywhere"))
        }
        Folder::Undo(folder) => {
            let (client, name) = find(context, &folder).await?;
            let done = client.undo(&name).await;
            told(
                context,
                done,
                "undo",
                &format!("{name}: what was held is undone, and the files come back"),
            )
        }
    }
}

/// The running node, and the exact name of the folder that is meant.
pub(super) async fn find(
    context: &Context,
    argument: &FolderArg,
) -> Result<(Client, String), Failure> {
    let client = context.client().await?;
    let name = context::folder_name(&client.status().await?, &argument.folder)?;
    Ok((client, name))
}

/// Says that an order was carried out, or why not.
pub(super) fn told(
    context: &Context,
    done: Result<(), ClientError>,
    command: &str,
    note: &str,
) -> Result<Exit, Failure> {
    done.map_err(|error| Failure::from(error).during(format_args!("cannot {command}")))?;
    context.output.note(note);
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    match Client::connect(&context.home).await {
        Ok(client) => {
            let folders = client.status().await?.folders;
            match context.output.json {
                true => context.output.document(&folders)?,
                false => context.output.table(&running_rows(&folders))?,
            }
        }
        Err(ClientError::NotRunning(_)) => {
            let folders = offline::folders(&context.home)?;
            match context.output.json {
                true => context.output.document(&folders)?,
                false => context.output.table(&stopped_rows(&folders))?,
            }
        }
        Err(other) => return Err(other.into()),
    }
    Ok(Exit::Done)
}

fn running_rows(folders: &[FolderStatus]) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["FOLDER", "STATE", "TIER", "PATH"])];
    rows.extend(folders.iter().map(|folder| {
        let (name, tier) = (Cell::plain(&folder.name), Cell::plain(&folder.tier));
        vec![name, status::state(folder.state), tier, Cell::plain(&folder.path)]
    }));
    rows
}

fn stopped_rows(folders: &[FolderInfo]) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["FOLDER", "PATH"])];
    rows.extend(
        folders.iter().map(|folder| vec![Cell::plain(&folder.name), Cell::plain(&folder.path)]),
    );
    rows
}
