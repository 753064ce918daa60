//! A node that only remembers what it was asked.

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dunlin_api::{Control, Ending, Fault, FaultKind};
use dunlin_engine::RestoreRequest;
use dunlin_engine::conflict::ConflictInfo;
use dunlin_engine::limits::{DeviceLimit, LimitChange, LimitStatus};
use dunlin_engine::settings::{FolderSetting, Origin, SettingChange, SettingValue};
use dunlin_engine::types::{
    Check, DeviceStatus, Event, FolderInfo, FolderStatus, PathHistory, RestoreReport, Status,
    VerifyReport, WaitOutcome,
};
use tokio::sync::{broadcast, watch};

/// The PeerId of the fake node's other device.
pub(crate) const NAS: &str = "12D3KooWNas";
/// The PeerId of a device that is gone and still has limits.
pub(crate) const GONE: &str = "12D3KooWGone";

/// The size of a conflict's base.
pub(crate) const BASE_BYTES: u64 = 1_000_000;

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) stopped: watch::Sender<bool>,
    /// Waits that are under way now.
    pub(crate) waiting: watch::Sender<usize>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            asked: Arc::default(),
            events: broadcast::channel(4).0,
            stopped: watch::channel(false).0,
            waiting: watch::channel(0).0,
        }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn note(&self, what: String) -> Result<(), Fault> {
        self.asked.lock().unwrap().push(what);
        Ok(())
    }
}

/// Counts a wait for as long as it lives.
struct Waiting(watch::Sender<usize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Control for Fake {
    async fn status(&self) -> Result<Status, Fault> {
        let nas = DeviceStatus {
            device: NAS.into(),
            name: "nas".into(),
            connected: true,
            in_sync: true,
            path: Some("lan".into()),
            last_seen: None,
        };
        let folder = FolderStatus {
            name: "My files".into(),
            path: "/srv/my files".into(),
            tier: "write".into(),
            files: 3,
            dirs: 1,
            bytes: 12,
            devices: vec![nas],
            ..FolderStatus::default()
        };
        let device = "12D3KooWOwn".into();
        Ok(Status { device, name: "laptop".into(), folders: vec![folder], ..Status::default() })
    }

    async fn add_folder(&self, path: PathBuf, label: Option<String>) -> Result<FolderInfo, Fault> {
        let name = label.unwrap_or_else(|| "unnamed".into());
        Ok(FolderInfo { name, path: path.display().to_string(), join: "dunlin1x".into() })
    }

    async fn join(&self, code: String, path: PathBuf) -> Result<FolderInfo, Fault> {
        if code == "bad" {
            let fault = Fault::new(FaultKind::Invalid, "the join code is mistyped");
            return Err(fault.advise("copy it again"));
        }
        Ok(FolderInfo { name: "joined".into(), path: path.display().to_string(), join: code })
    }

    async fn share(&self, folder: String, tier: Option<String>) -> Result<String, Fault> {
        Ok(format!("{folder}/{}", tier.as_deref().unwrap_or("own")))
    }

    async fn wait(&self, timeout_s: Option<f64>) -> Result<WaitOutcome, Fault> {
        self.waiting.send_modify(|count| *count += 1);
        let _waiting = Waiting(self.waiting.clone());
        match timeout_s {
            Some(seconds) if seconds < 1.0 => Ok(WaitOutcome::TimedOut),
            Some(_) => Ok(WaitOutcome::InSync),
            None => std::future::pending().await,
        }
    }

    async fn scan(&self, folder: Option<String>) -> Result<(), Fault> {
        self.note(format!("scan {folder:?}"))
    }

    async fn pause(&self, folder: String) -> Result<(), Fault> {
        self.note(format!("pause {folder}"))
    }

    async fn resume(&self, folder: String) -> Result<(), Fault> {
        self.note(format!("resume {folder}"))
    }

    async fn remove(&self, folder: String) -> Result<(), Fault> {
        self.note(format!("remove {folder}"))
    }

    async fn approve(&self, folder: String) -> Result<(), Fault> {
        self.note(format!("approve {folder}"))
    }

    async fn undo(&self, folder: String) -> Result<(), Fault> {
        self.note(format!("undo {folder}"))
    }

    async fn settings(&self, folder: String) -> Result<Vec<FolderSetting>, Fault> {
        self.note(format!("settings {folder}"))?;
        let one = |key: &str, value, from| FolderSetting { key: key.to_owned(), value, from };
        Ok(vec![
            one("label", SettingValue::One(None), Origin::Default),
            one("ignore", SettingValue::Many(vec!["*.tmp".to_owned()]), Origin::Shared),
        ])
    }

    async fn set(&self, folder: String, key: String, change: SettingChange) -> Result<(), Fault> {
        let SettingChange { value, local, how } = change;
        self.note(format!("set {folder} {key}={value} {local} {how:?}"))
    }

    async fn conflicts(
        &self,
        folder: String,
        path: Option<String>,
    ) -> Result<Vec<ConflictInfo>, Fault> {
        let path = path.unwrap_or_else(|| "a/b c".into());
        Ok(vec![ConflictInfo { folder, path, sides: Vec::new(), base: None }])
    }

    async fn conflict_base(
        &self,
        _folder: String,
        path: String,
    ) -> Result<Box<dyn Read + Send>, Fault> {
        match path.as_str() {
            "made apart" => Err(Fault::new(FaultKind::NotFound, "they were made apart")),
            // More than what waits for a slow reader, and than what is read at a time.
            _ => Ok(Box::new(std::io::repeat(7).take(BASE_BYTES))),
        }
    }

    async fn resolve_conflict(
        &self,
        folder: String,
        path: String,
        ending: Ending,
        expect: Option<Vec<String>>,
    ) -> Result<(), Fault> {
        self.note(format!("resolve {folder} {path} {ending:?} {expect:?}"))
    }

    async fn fetch(&self, path: PathBuf) -> Result<(), Fault> {
        self.note(format!("fetch {}", path.display()))
    }

    async fn history(&self, path: PathBuf, limit: usize) -> Result<PathHistory, Fault> {
        self.note(format!("history {} {limit}", path.display()))?;
        let path = path.display().to_string();
        Ok(PathHistory { folder: "My files".into(), path, versions: Vec::new(), more: 0 })
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreReport, Fault> {
        self.note(format!("restore {request:?}"))?;
        Ok(RestoreReport { restored: 1, ..RestoreReport::default() })
    }

    async fn verify(&self, folder: String) -> Result<VerifyReport, Fault> {
        self.note(format!("verify {folder}"))?;
        Ok(VerifyReport { folder, ..VerifyReport::default() })
    }

    async fn rename_device(&self, device: String, name: String) -> Result<(), Fault> {
        self.note(format!("rename {device} {name}"))
    }

    async fn remove_device(&self, device: String, folder: Option<String>) -> Result<(), Fault> {
        match folder {
            Some(folder) => self.note(format!("remove {device} from {folder}")),
            None => Err(Fault::new(FaultKind::Unsupported, "cannot remove a device from all")),
        }
    }

    async fn limits(&self) -> Result<LimitStatus, Fault> {
        let gone = DeviceLimit { device: GONE.into(), up: Some(1), ..DeviceLimit::default() };
        Ok(LimitStatus { up: Some(5), devices: vec![gone], ..LimitStatus::default() })
    }

    async fn set_limits(&self, change: LimitChange) -> Result<(), Fault> {
        let LimitChange { device, up, down, schedule, metered } = change;
        self.note(format!("limit {device:?} {up:?} {down:?} {schedule:?} {metered:?}"))
    }

    async fn doctor(&self) -> Result<Vec<Check>, Fault> {
        let check = Check { name: "clock".into(), ok: true, detail: "right".into(), advice: None };
        Ok(vec![check])
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {
        self.stopped.send_replace(true);
    }
}
