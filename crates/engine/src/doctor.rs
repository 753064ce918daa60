//! Looks for what keeps a device from syncing, and says what to do about it.

use std::path::Path;

use dunlin_tree::fs::{Fs, RealFs};
use dunlin_tree::marker::Marker;

use crate::home::{self, Home};
use crate::types::{Check, FolderState, Status};

/// Below this many bytes a disk is called nearly full.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// Fewer inotify watches than this are soon used up.
const WATCHES_MIN: u64 = 65_536;
/// 2026-01-01: a clock before this program was written is wrong.
const CLOCK_MS_MIN: u64 = 1_767_225_600_000;

fn check(name: &str, ok: bool, detail: impl Into<String>, advice: &str) -> Check {
    let advice = (!ok && !advice.is_empty()).then(|| advice.to_owned());
    Check { name: name.to_owned(), ok, detail: detail.into(), advice }
}

/// Looks at everything: the home and its folders, and what a running node says of itself.
pub fn run(home: &Home, status: Option<&Status>) -> Vec<Check> {
    let mut checks = vec![key(home), database(home), watches(), clock()];
    checks.extend(folders(home));
    match status {
        Some(status) => checks.extend(network(status)),
        None => {
            let detail = "none is running for this home; `dunlin up` starts one";
            checks.push(check("node", true, detail, ""));
        }
    }
    checks
}

fn key(home: &Home) -> Check {
    use std::os::unix::fs::PermissionsExt as _;
    let path = home.path().join("key");
    match std::fs::metadata(&path) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => check(
            "key",
            false,
            format!("{} can be read by others", path.display()),
            "take their rights away: chmod 600",
        ),
        Ok(_) => match home.key([0; 32]) {
            Ok(key) => check("key", true, format!("this device is {}", key.device()), ""),
            Err(error) => check("key", false, error.to_string(), "restore it from a backup"),
        },
        Err(_) => check("key", true, "none yet; `dunlin up` makes one", ""),
    }
}

fn database(home: &Home) -> Check {
    let path = home.database();
    let damaged = std::fs::read_dir(home.path())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("db.damaged-"))
        .count();
    if damaged > 0 {
        let detail = format!("{damaged} damaged database(s) were set aside in the home");
        return check("database", false, detail, "check the disk; remove them when all is in sync");
    }
    check("database", true, path.display().to_string(), "")
}

fn watches() -> Check {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    match limit.ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(limit) => check(
            "watcher",
            limit >= WATCHES_MIN,
            format!("{limit} directories can be watched"),
            "raise it: sysctl fs.inotify.max_user_watches=524288; until then, changes in \
             further directories are found by periodic scans",
        ),
        None => check("watcher", true, "this system has no limit that can be read", ""),
    }
}

fn clock() -> Check {
    use crate::clock::Clock as _;
    let now = crate::clock::SystemClock.now();
    let advice = "set the clock; it decides only which of two concurrent renames wins, and the \
                  times that you see";
    check("clock", now > CLOCK_MS_MIN, format!("{} seconds since 1970", now / 1000), advice)
}

fn folders(home: &Home) -> Vec<Check> {
    let config = match home.config() {
        Ok(config) => config,
        Err(error) => return vec![check("settings", false, error.to_string(), "mend the file")],
    };
    let device = home.key([0; 32]).map(|key| key.device());
    config
        .folders
        .iter()
        .map(|folder| {
            let name = format!("folder {}", folder.name);
            let (Ok(id), Ok(device)) = (home::folder_id(folder), &device) else {
                return check(&name, false, "its settings are damaged", "add it again");
            };
            match look_at(&folder.path, &Marker::new(id, *device)) {
                Ok(free) if free < FREE_BYTES_MIN => check(
                    &name,
                    false,
                    format!("only {} MiB are free", free >> 20),
                    "free some space",
                ),
                Ok(free) => {
                    let detail = format!("{}, {} MiB free", folder.path.display(), free >> 20);
                    check(&name, true, detail, "")
                }
                Err(reason) => check(&name, false, reason, "see the reason"),
            }
        })
        .collect()
}

fn look_at(path: &Path, marker: &Marker) -> Result<u64, String> {
    let fs = RealFs::open(path).map_err(|error| error.to_string())?;
    fs.root_check(marker).map_err(|error| error.to_string())?;
    fs.free_space().map(|space| space.free).map_err(|error| error.to_string())
}

fn network(status: &Status) -> Vec<Check> {
    let mut checks = vec![check(
        "ports",
        !status.listen.is_empty(),
        format!("listening on {} addresses", status.listen.len()),
        "no address could be listened on: see the log, or name one with --listen",
    )];
    for folder in &status.folders {
        let connected = folder.devices.iter().filter(|device| device.connected).count();
        let known = folder.devices.len();
        let name = format!("devices of {}", folder.name);
        let ok = connected > 0 || known == 0;
        let detail = format!("{connected} of {known} connected");
        let advice = "start dunlin there; if it runs, name its address with --peer, and open its \
                      UDP port in the firewall";
        checks.push(check(&name, ok, detail, advice));
        if folder.state == FolderState::Error || folder.state == FolderState::Held {
            let reason = folder.error.clone().unwrap_or_default();
            checks.push(check(&format!("state of {}", folder.name), false, reason, ""));
        }
    }
    checks
}
