//! What a running node tells a person, in words.

use dunlin_engine::types::{Event, FolderInfo, FolderState};

/// The first lines of `dunlin up`.
pub(crate) fn ready(
    device: &str,
    listen: &[String],
    api: Option<&str>,
    folders: &[FolderInfo],
) -> String {
    let mut text = format!("Device     {device}\n");
    for address in listen {
        text.push_str(&format!("Listening  {address}\n"));
    }
    if let Some(api) = api {
        text.push_str(&format!("API        {api}\n"));
    }
    for folder in folders {
        text.push_str(&format!("Folder     {} at {}\n", folder.name, folder.path));
        text.push_str(&format!("Join code  {}\n", folder.join));
    }
    match folders {
        [] => text.push_str("No folder yet: dunlin up DIR makes one.\n"),
        [only] => {
            text.push_str(&format!("\nOn another device:\n  dunlin join {} DIR --up\n", only.join));
        }
        _ => text.push_str("\nOn another device:\n  dunlin join CODE DIR --up\n"),
    }
    text
}

/// A line about an event; `None` when there is nothing to say about it.
pub(crate) fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::DeviceConnected { folder, device } => format!("{folder}: {device} is here"),
        Event::DeviceDisconnected { folder, device } => format!("{folder}: {device} is away"),
        Event::FolderState { folder, state, error } => {
            let state = match state {
                FolderState::Idle => "up to date",
                FolderState::Scanning => "looking at the disk",
                FolderState::Syncing => "syncing",
                FolderState::Paused => "paused",
                FolderState::Held => "held",
                FolderState::Error => "stopped",
            };
            match error {
                Some(error) => format!("{folder}: {state}: {error}"),
                None => format!("{folder}: {state}"),
            }
        }
        Event::LocalChange { folder, path, change } => {
            format!("{folder}: {path} {}", word(change))
        }
        Event::Applied { folder, path, change } => {
            format!("{folder}: {path} {} by another device", word(change))
        }
        Event::Conflict { folder, path } => {
            format!("{folder}: changed on two devices at once; the other version is {path}")
        }
        Event::ConflictResolved { folder, path } => {
            format!("{folder}: the conflict with {path} is over")
        }
        Event::Warning { folder: Some(folder), message } => format!("{folder}: {message}"),
        Event::Warning { folder: None, message } => message.clone(),
        Event::Lagged { missed } => format!("({missed} more events were not shown)"),
        Event::Ready { .. } => return None,
    })
}

fn word(change: &str) -> &str {
    match change {
        "mode" => "given other permissions",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> FolderInfo {
        FolderInfo { name: name.into(), path: format!("/{name}"), join: format!("dunlin1{name}") }
    }

    #[test]
    fn the_first_lines_say_how_to_join() {
        let listen = ["/ip4/192.168.1.2/udp/4001/quic-v1".to_owned()];
        let text = ready("12D3", &listen, None, &[folder("Sync")]);
        let expected = "\
Device     12D3
Listening  /ip4/192.168.1.2/udp/4001/quic-v1
Folder     Sync at /Sync
Join code  dunlin1Sync

On another device:
  dunlin join dunlin1Sync DIR --up
";
        assert_eq!(text, expected);
        let two = ready("12D3", &[], Some("http://127.0.0.1:1"), &[folder("a"), folder("b")]);
        assert!(two.contains("API        http://127.0.0.1:1\n"));
        assert!(two.ends_with("dunlin join CODE DIR --up\n"));
        assert!(ready("12D3", &[], None, &[]).contains("dunlin up DIR"));
    }

    #[test]
    fn events_are_told_in_a_line() {
        let (folder, path) = ("Sync".to_owned(), "a/b.txt".to_owned());
        let applied = Event::Applied { folder: folder.clone(), path, change: "written".into() };
        assert_eq!(event(&applied).unwrap(), "Sync: a/b.txt written by another device");
        let error = Some("the disk is full: make room".to_owned());
        let state = Event::FolderState { folder, state: FolderState::Error, error };
        assert_eq!(event(&state).unwrap(), "Sync: stopped: the disk is full: make room");
        let ready = Event::Ready {
            device: String::new(),
            listen: Vec::new(),
            api: None,
            folders: Vec::new(),
        };
        assert_eq!(event(&ready), None);
    }
}
