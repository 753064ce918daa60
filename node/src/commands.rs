//! The commands, one module each.

mod conflict;
mod device;
mod doctor;
mod folder;
mod history;
mod join;
mod limit;
mod mergetool;
mod narrate;
mod narrator;
mod paper;
mod settings;
mod share;
mod status;
mod sync;
mod up;
mod verify;

use crate::cli::Command;
use crate::context::{self, Context};
use crate::failure::{Exit, Failure};

/// Runs a command to its end.
pub(crate) async fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Up(up) => up::run(context, up).await,
        Command::Share(share) => share::run(context, share).await,
        Command::Join(join) => join::run(context, join).await,
        Command::Sync(sync) => sync::run(context, sync).await,
        Command::Status(status) => status::run(context, status).await,
        Command::Scan(scan) => self::scan(context, scan.folder).await,
        Command::Fetch(command) => history::fetch(context, command).await,
        Command::Folder(folder) => folder::run(context, folder).await,
        Command::Device(device) => device::run(context, device).await,
        Command::Limit(limit) => limit::run(context, limit).await,
        Command::Conflict(conflict) => conflict::run(context, conflict).await,
        Command::History(command) => history::history(context, command).await,
        Command::Restore(command) => history::restore(context, command).await,
        Command::Events => events(context).await,
        Command::Doctor => doctor::run(context).await,
        Command::Completions { shell } => paper::completions(context, shell),
        Command::Man { dir } => paper::manual(context, dir.as_deref()),
    }
}

async fn scan(context: &Context, folder: Option<String>) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let folder = match folder {
        Some(argument) => Some(context::folder_name(&client.status().await?, &argument)?),
        None => None,
    };
    client
        .scan(folder.as_deref())
        .await
        .map_err(|error| Failure::from(error).during("cannot scan"))?;
    match folder {
        Some(folder) => context.output.note(&format!("{folder} has been looked at")),
        None => context.output.note("every folder has been looked at"),
    }
    Ok(Exit::Done)
}

/// Prints events as the node writes them, so that those of a newer node pass, too.
async fn events(context: &Context) -> Result<Exit, Failure> {
    let mut events = context.client().await?.events().await?;
    while let Some(line) = events.next_line().await? {
        context.output.text(&line)?;
    }
    Ok(Exit::Done)
}
