//! `dunlin limit`.

use dunlin_engine::limits::{LimitChange, LimitStatus};

use crate::cli::Limit;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Cell, Look, head};
use crate::rate;

pub(crate) async fn run(context: &Context, limit: Limit) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let mut status = client.limits().await?;
    for change in changes(limit, &status) {
        let changed = client.set_limits(&change).await;
        status = changed.map_err(|error| Failure::from(error).during("cannot set the limit"))?;
    }
    match context.output.json {
        true => context.output.document(&status)?,
        false => show(context, &status)?,
    }
    Ok(Exit::Done)
}

/// What was asked for, as changes; none when the limits are only to be shown.
fn changes(limit: Limit, status: &LimitStatus) -> Vec<LimitChange> {
    let nothing = LimitChange { up: Some(None), down: Some(None), ..LimitChange::default() };
    match (limit.off.is_some(), limit.device) {
        (true, Some(device)) => vec![LimitChange { device: Some(device), ..nothing }],
        (true, None) => {
            let of_device =
                |device: &str| LimitChange { device: Some(device.to_owned()), ..nothing.clone() };
            let all = LimitChange { schedule: Some(None), metered: Some(false), ..nothing.clone() };
            let devices = status.devices.iter().map(|limit| of_device(&limit.device));
            std::iter::once(all).chain(devices).collect()
        }
        (false, device) => {
            let change = LimitChange {
                up: limit.up.map(|rate| rate.0),
                down: limit.down.map(|rate| rate.0),
                schedule: limit.schedule.map(|text| (text != "off").then_some(text)),
                metered: limit.metered.map(|switch| switch.is_on()),
                device: None,
            };
            let asked = change != LimitChange::default();
            asked.then_some(LimitChange { device, ..change }).into_iter().collect()
        }
    }
}

fn show(context: &Context, status: &LimitStatus) -> std::io::Result<()> {
    let mut rows = vec![head(&["LIMIT", "UP", "DOWN"])];
    let mut row = |name: &str, up, down| {
        rows.push(vec![
            Cell::plain(name),
            Cell::plain(&rate::show(up)),
            Cell::plain(&rate::show(down)),
        ]);
    };
    row("all devices", status.up, status.down);
    for limit in &status.devices {
        let name = if limit.name.is_empty() { &limit.device } else { &limit.name };
        row(name, limit.up, limit.down);
    }
    if let Some(schedule) = &status.schedule {
        let now = match status.active {
            true => Cell::new("in force now", Look::Busy),
            false => Cell::plain("not in force now"),
        };
        rows.push(vec![Cell::plain("schedule"), Cell::plain(schedule), now]);
    }
    if status.metered {
        rows.push(vec![Cell::plain("metered"), Cell::new("large files wait", Look::Busy)]);
    }
    context.output.table(&rows)
}

#[cfg(test)]
mod tests {
    use dunlin_engine::limits::DeviceLimit;

    use super::*;
    use crate::cli::parse_limit;

    #[test]
    fn only_what_is_named_is_changed() {
        let status = LimitStatus::default();
        assert!(changes(parse_limit("limit"), &status).is_empty());
        let change = changes(parse_limit("limit --up 5MB/s --device nas"), &status);
        let device = Some("nas".to_owned());
        let up = Some(Some(5_000_000));
        assert_eq!(change, [LimitChange { device, up, ..LimitChange::default() }]);
        let change = changes(parse_limit("limit --down off --schedule off --metered on"), &status);
        let (down, schedule) = (Some(None), Some(None));
        let metered = Some(true);
        assert_eq!(change, [LimitChange { down, schedule, metered, ..LimitChange::default() }]);
    }

    #[test]
    fn off_takes_everything_away_or_one_device_alone() {
        let limit = DeviceLimit { device: "12D3".into(), ..DeviceLimit::default() };
        let status = LimitStatus { devices: vec![limit], ..LimitStatus::default() };
        let all = changes(parse_limit("limit off"), &status);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].schedule.clone(), all[0].metered), (Some(None), Some(false)));
        assert_eq!(all[1].device.as_deref(), Some("12D3"));
        let one = changes(parse_limit("limit off --device nas"), &status);
        assert_eq!(one.len(), 1);
        assert_eq!((one[0].up, one[0].schedule.clone()), (Some(None), None));
    }
}
