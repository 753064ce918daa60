//! `dunlin status`.

use dunlin_engine::types::{DeviceStatus, FolderState, FolderStatus, Status, WaitOutcome};
use jiff::Timestamp;

use crate::cli;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Cell, Look, head};

pub(crate) async fn run(context: &Context, arguments: cli::Status) -> Result<Exit, Failure> {
    let client = context.client().await?;
    let outcome = match arguments.wait {
        Some(timeout_s) => client.wait(timeout_s).await?,
        None => WaitOutcome::InSync,
    };
    // How a wait ended is told together with how things stand then.
    let status = client.status().await?;
    if context.output.json {
        context.output.document(&status)?;
    } else {
        context.output.text(&output::printable(&title(&status)))?;
        context.output.table(&rows(&status, Timestamp::now()))?;
        // They are too long for columns, and stand below the table.
        let remarks: Vec<_> = status.folders.iter().flat_map(remarks).map(|r| vec![r]).collect();
        if !remarks.is_empty() {
            context.output.table(&remarks)?;
        }
    }
    match outcome {
        WaitOutcome::InSync => Ok(Exit::Done),
        WaitOutcome::TimedOut => Err(Failure::timed_out("not in sync yet: the wait ran out")),
        WaitOutcome::Stopped { folder, reason } => {
            Err(Failure::new(format!("{folder} will not come into sync: {reason}")))
        }
    }
}

fn title(status: &Status) -> String {
    let Status { name, device, version, uptime_s, .. } = status;
    format!("{name}  {device}  dunlin {version}, up {}", output::span(*uptime_s))
}

/// The name of a state, and how it looks.
pub(crate) fn state(state: FolderState) -> Cell {
    match state {
        FolderState::Idle => Cell::new("idle", Look::Good),
        FolderState::Scanning => Cell::new("scanning", Look::Busy),
        FolderState::Syncing => Cell::new("syncing", Look::Busy),
        FolderState::Paused => Cell::new("paused", Look::Busy),
        FolderState::Held => Cell::new("held", Look::Bad),
        FolderState::Error => Cell::new("error", Look::Bad),
    }
}

fn rows(status: &Status, now: Timestamp) -> Vec<Vec<Cell>> {
    if status.folders.is_empty() {
        return vec![vec![Cell::plain(
            "no folder yet: dunlin up DIR makes one, dunlin join CODE DIR joins one",
        )]];
    }
    let mut rows = vec![head(&["FOLDER", "STATE", "FILES", "SIZE", "LEFT", "PATH"])];
    for folder in &status.folders {
        rows.push(vec![
            Cell::plain(&folder.name),
            state(folder.state),
            Cell::plain(&folder.files.to_string()),
            Cell::plain(&output::bytes(folder.bytes)),
            Cell::plain(&left(folder)),
            Cell::plain(&folder.path),
        ]);
        rows.extend(folder.devices.iter().map(|device| {
            let (text, look) = device_state(device, now);
            vec![Cell::plain(&format!("  {}", device_name(device))), Cell::new(&text, look)]
        }));
    }
    rows
}

fn left(folder: &FolderStatus) -> String {
    match (folder.need_files, folder.need_bytes) {
        (0, 0) => "-".to_owned(),
        (files, bytes) => format!("{}, {}", output::count(files, "file"), output::bytes(bytes)),
    }
}

fn device_name(device: &DeviceStatus) -> &str {
    match device.name.as_str() {
        "" => &device.device,
        name => name,
    }
}

fn device_state(device: &DeviceStatus, now: Timestamp) -> (String, Look) {
    if device.connected {
        let path = device.path.as_deref().map(|path| format!(" ({path})")).unwrap_or_default();
        return match device.in_sync {
            true => (format!("in sync{path}"), Look::Good),
            false => (format!("syncing{path}"), Look::Busy),
        };
    }
    let seen = device.last_seen.as_deref().and_then(|seen| seen.parse::<Timestamp>().ok());
    let text = match seen {
        Some(seen) => {
            // A clock that went back shows as just now.
            let seconds = u64::try_from(now.duration_since(seen).as_secs()).unwrap_or(0);
            format!("away, seen {} ago", output::span(seconds))
        }
        None => "away".to_owned(),
    };
    (text, Look::Plain)
}

/// What a person should know about a folder, a line each.
fn remarks(folder: &FolderStatus) -> Vec<Cell> {
    let name = &folder.name;
    let mut remarks = Vec::new();
    if let Some(error) = &folder.error {
        remarks.push(Cell::new(&format!("{name}: {error}"), Look::Bad));
    }
    if folder.conflicts > 0 {
        let copies = match folder.conflicts {
            1 => "1 conflict copy".to_owned(),
            number => format!("{number} conflict copies"),
        };
        remarks.push(Cell::new(&format!("{name}: {copies} to look at"), Look::Busy));
    }
    for problem in &folder.problems {
        let text = format!("{name}: {}: {}", problem.path, problem.reason);
        remarks.push(Cell::new(&text, Look::Busy));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use dunlin_engine::types::Problem;

    use super::*;

    fn status() -> Status {
        let device = |name: &str, connected, in_sync, seen: Option<&str>| DeviceStatus {
            device: format!("12D3KooW{name}"),
            name: name.into(),
            connected,
            in_sync,
            path: connected.then(|| "lan".into()),
            last_seen: seen.map(str::to_owned),
        };
        let folder = FolderStatus {
            name: "Sync".into(),
            path: "/home/me/Sync".into(),
            tier: "write".into(),
            state: FolderState::Syncing,
            error: Some("the disk is full: make room".into()),
            files: 10_000,
            dirs: 100,
            bytes: 85_000_000,
            need_files: 1,
            need_bytes: 4_096,
            conflicts: 2,
            devices: vec![
                device("nas", true, true, None),
                device("", true, false, None),
                device("phone", false, false, Some("2026-11-21T08:00:00Z")),
            ],
            problems: vec![Problem { path: "a\nb".into(), reason: "a line break".into() }],
            ..FolderStatus::default()
        };
        Status {
            device: "12D3KooWOwn".into(),
            name: "laptop".into(),
            version: "0.1.0".into(),
            uptime_s: 7_300,
            folders: vec![folder],
            ..Status::default()
        }
    }

    #[test]
    fn the_table_is_tidy() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        assert_eq!(title(&status()), "laptop  12D3KooWOwn  dunlin 0.1.0, up 2 h");
        let text = output::table(&rows(&status(), now), false);
        let expected = "\
FOLDER      STATE               FILES  SIZE      LEFT             PATH
Sync        syncing             10000  81.1 MiB  1 file, 4.0 KiB  /home/me/Sync
  nas       in sync (lan)
  12D3KooW  syncing (lan)
  phone     away, seen 2 h ago
";
        assert_eq!(text, expected);
        let remarks: Vec<_> = remarks(&status().folders[0]).into_iter().map(|r| vec![r]).collect();
        let expected = "\
Sync: the disk is full: make room
Sync: 2 conflict copies to look at
Sync: a\u{fffd}b: a line break
";
        assert_eq!(output::table(&remarks, false), expected);
        let alone = Status { folders: Vec::new(), ..status() };
        assert!(output::table(&rows(&alone, now), false).starts_with("no folder yet"));
    }
}
