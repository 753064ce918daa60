//! `dunlin device …`.

use dunlin_api::wire::DeviceSummary;

use crate::cli::Device;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Look, head};

pub(crate) async fn run(context: &Context, command: Device) -> Result<Exit, Failure> {
    let client = context.client().await?;
    match command {
        Device::Ls => {
            let devices = client.devices().await?;
            match context.output.json {
                true => context.output.document(&devices)?,
                false => context.output.table(&rows(&devices))?,
            }
        }
        Device::Rename { device, name } => {
            client
                .rename_device(&device.device, &name)
                .await
                .map_err(|error| Failure::from(error).during("cannot rename"))?;
            context.output.note(&format!("{} is called {name} now", device.device));
        }
        Device::Remove { device, folder } => {
            client
                .remove_device(&device.device, folder.as_deref())
                .await
                .map_err(|error| Failure::from(error).during("cannot remove"))?;
            context.output.note(&format!(
                "{} is no member any more; the copies that it has stay with it. Old join codes let \
                 nobody in any more: `dunlin share` prints a new one",
                device.device
            ));
        }
    }
    Ok(Exit::Done)
}

fn rows(devices: &[DeviceSummary]) -> Vec<Vec<Cell>> {
    let mut rows = vec![head(&["NAME", "STATE", "FOLDERS", "DEVICE"])];
    rows.extend(devices.iter().map(|device| {
        let state = match device {
            DeviceSummary { this: true, .. } => Cell::plain("this device"),
            DeviceSummary { connected: true, in_sync: true, .. } => {
                Cell::new("in sync", Look::Good)
            }
            DeviceSummary { connected: true, .. } => Cell::new("syncing", Look::Busy),
            _ => Cell::plain("away"),
        };
        let folders = Cell::plain(&device.folders.join(", "));
        vec![Cell::plain(&device.name), state, folders, Cell::plain(&device.device)]
    }));
    rows
}
