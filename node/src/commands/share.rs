//! `dunlin share`.

use dunlin_api::{Client, ClientError};
use serde_json::json;

use crate::cli::Share;
use crate::context::{self, Context};
use crate::failure::{Exit, Failure};
use crate::{offline, qr};

pub(crate) async fn run(context: &Context, share: Share) -> Result<Exit, Failure> {
    let (folder, code) = match Client::connect(&context.home).await {
        Ok(client) => {
            let folder = context::folder_name(&client.status().await?, &share.folder)?;
            let tier = share.tier.map(|tier| tier.as_str().to_owned());
            let code = client.share(&folder, tier).await;
            (folder, code.map_err(|error| Failure::from(error).during("cannot share"))?)
        }
        Err(ClientError::NotRunning(_)) => offline::share(&context.home, &share.folder, share.tier)
            .map_err(|failure| failure.during("cannot share"))?,
        Err(other) => return Err(other.into()),
    };
    if context.output.json {
        context.output.document(&json!({ "folder": folder, "code": code }))?;
        return Ok(Exit::Done);
    }
    context.output.text(&code)?;
    if share.qr {
        match qr::picture(&code, qr::columns()) {
            Some(picture) => context.output.text(&picture)?,
            None => context.output.note("the terminal is too narrow for the QR code"),
        }
    }
    Ok(Exit::Done)
}
