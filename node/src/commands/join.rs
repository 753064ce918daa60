//! `dunlin join`.

use dunlin_api::{Client, ClientError};
use dunlin_engine::types::FolderInfo;

use crate::cli::{Join, NodeFlags};
use crate::commands::up;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::offline;

pub(crate) async fn run(context: &Context, join: Join) -> Result<Exit, Failure> {
    if !join.up && join.node != NodeFlags::default() {
        // The parser cannot tell: the flags are those of `up`, where they need no `--up`.
        return Err(Failure::usage("the flags of a node are of use only with --up")
            .advise("add --up, or leave the flags out"));
    }
    let path = absolute(&join.dir)?;
    match Client::connect(&context.home).await {
        Ok(client) => {
            let info = client
                .join(&join.code, &path)
                .await
                .map_err(|error| Failure::from(error).during("cannot join"))?;
            tell(context, &info)?;
            if join.up {
                context.output.note("a node is running already, and has taken the folder up");
            }
            Ok(Exit::Done)
        }
        Err(ClientError::NotRunning(_)) if join.up => {
            up::node(context, &[], &join.node, Some((&join.code, &path))).await
        }
        Err(ClientError::NotRunning(_)) => {
            tell(context, &offline::join(&context.home, &join.code, &path)?)?;
            context.output.note("No node is running yet. Start it: dunlin up");
            Ok(Exit::Done)
        }
        Err(other) => Err(other.into()),
    }
}

fn tell(context: &Context, info: &FolderInfo) -> Result<(), Failure> {
    if context.output.json {
        context.output.document(info)?;
    } else {
        let line = format!("Joined {} at {}", info.name, info.path);
        context.output.text(&crate::output::printable(&line))?;
    }
    Ok(())
}
