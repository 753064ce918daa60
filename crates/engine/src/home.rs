//! The home of a device: its key, its settings, its folders' secrets, and its database.
//!
//! ```text
//! key             the device's Ed25519 seed, 64 hexadecimal digits (0600)
//! config.toml     the device's name, its folders and its limits
//! secrets/ID      what this device holds of the folder ID's secrets (0600)
//! db/             the sled database
//! listen.json     where the node listened last: the hints of join codes
//! lock            locked while a node runs
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dunlin_identity::{DeviceKey, FolderId, FolderKeys, JoinCode, Tier};
use dunlin_transfer::FolderPriority;
use serde::{Deserialize, Serialize};

use crate::folder::Announce;
use crate::history::policy::{Keep, Policy};
use crate::limits::LimitSettings;
use crate::types::FolderInfo;
use crate::units;

/// Longest name of a device or folder in bytes.
const NAME_MAX: usize = 64;
/// Address hints in a join code.
const HINTS_MAX: usize = 3;
/// Keys of earlier generations that are kept for a folder.
const EARLIER_MAX: usize = 4;
/// How often, and how far apart, a lock that another process holds is tried for.
const LOCK_ATTEMPTS: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Why the home cannot be used, in words for the user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The operating system refused.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// A file of the home is damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another node runs on this home.
    #[error("another dunlin is running with the home {}: use it, stop it, or choose another --home", .0.display())]
    Locked(PathBuf),
    /// No folder fits.
    #[error("there is no folder {0:?} here: `dunlin folder ls` lists them")]
    NoFolder(String),
    /// The directory cannot be a folder.
    #[error("{}: {reason}", path.display())]
    BadDirectory {
        /// The directory.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The join code names a folder that is here already.
    #[error("this folder is already at {}: nothing to join", .0.display())]
    AlreadyJoined(PathBuf),
    /// This device cannot hand out codes of that tier.
    #[error("this device holds only the {0} tier of the folder and cannot give {1} codes")]
    Tier(Tier, Tier),
    /// The name cannot be used.
    #[error("{0:?} cannot be a name: 1 to {NAME_MAX} bytes without line breaks, please")]
    BadName(String),
}

/// One folder in `config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderConfig {
    /// The folder's id, hexadecimal.
    pub id: String,
    /// Its name on this device.
    pub name: String,
    /// Its directory, absolute.
    pub path: PathBuf,
    /// Whether its user has paused it.
    #[serde(default)]
    pub paused: bool,
    /// When others are told of what the user has written.
    #[serde(default)]
    pub announce: Announce,
    /// The addresses that its join code carried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Whether mass deletions and mass overwrites wait for a word.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub hold: bool,
    /// Whether its blocks are fetched before those of other folders, or after them.
    #[serde(default, skip_serializing_if = "FolderPriority::is_normal")]
    pub priority: FolderPriority,
    /// What is kept of old versions on this device.
    #[serde(default, skip_serializing_if = "VersionSettings::is_empty")]
    pub versions: VersionSettings,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

/// What a folder's user has set about its old versions; what is not set is as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionSettings {
    /// Which versions are kept, as [`Keep`] is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<String>,
    /// How many bytes they may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How long they are left as they are before they are packed, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl VersionSettings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Changes one setting, as its user writes it: `versions`, `versions-size` or
    /// `versions-delay`; `default` makes it as usual.
    ///
    /// # Errors
    /// What is wrong, for the user.
    pub fn change(&mut self, key: &str, value: &str) -> Result<(), String> {
        let given = (value != "default").then_some(value);
        match key {
            "versions" => {
                let keep = given.map(str::parse::<Keep>).transpose();
                self.keep = keep.map_err(|error| error.to_string())?.map(|keep| keep.to_string());
            }
            "versions-size" => self.size = given.map(units::parse_size).transpose()?,
            "versions-delay" => self.delay_ms = given.map(units::parse_span).transpose()?,
            _ => {
                return Err(format!(
                    "a folder has no setting {key:?}: these are versions, versions-size and \
                     versions-delay"
                ));
            }
        }
        Ok(())
    }

    /// These settings, and where they say nothing, `shared` ones.
    #[must_use]
    pub fn or(self, shared: Self) -> Self {
        Self {
            keep: self.keep.or(shared.keep),
            size: self.size.or(shared.size),
            delay_ms: self.delay_ms.or(shared.delay_ms),
        }
    }

    /// The policy that follows. A text that is no policy, from a newer version or a hand that
    /// slipped, counts as not set.
    pub fn policy(&self) -> Policy {
        let usual = Policy::default();
        let keep = self.keep.as_deref().and_then(|keep| keep.parse().ok());
        Policy {
            keep: keep.unwrap_or(usual.keep),
            bytes_max: self.size.unwrap_or(usual.bytes_max),
            delay_ms: self.delay_ms.unwrap_or(usual.delay_ms),
        }
    }
}

/// `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The device's name.
    pub name: String,
    /// The tool that merges conflicts, as `dunlin conflict resolve --with-tool` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mergetool: Option<String>,
    /// Its folders.
    #[serde(default, rename = "folder")]
    pub folders: Vec<FolderConfig>,
    /// What the transfer of blocks is allowed.
    #[serde(default, skip_serializing_if = "LimitSettings::is_unlimited")]
    pub limits: LimitSettings,
}

/// A device's home directory.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

/// Held while a node runs on a home.
#[derive(Debug)]
pub struct HomeLock(
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")] File,
);

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |error| HomeError::Io { what, path, error }
}

impl Home {
    /// Opens a home, making it if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        fs::create_dir_all(path).map_err(io_error("make", path))?;
        let path = fs::canonicalize(path).map_err(io_error("find", path))?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, private).map_err(io_error("protect", &path))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.path.join("db")
    }

    /// Takes the home for this process.
    ///
    /// # Errors
    /// [`HomeError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(HomeLock(file)),
            Err(TryLockError::WouldBlock) => Err(HomeError::Locked(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
        }
    }

    /// Takes the home for this process, as soon as another one that is ending lets go of it: the
    /// system frees the memory of a killed process before its locks.
    ///
    /// # Errors
    /// [`HomeError::Locked`] when another process still has it after 3 s.
    pub fn lock_soon(&self) -> Result<HomeLock, HomeError> {
        for _ in 0..LOCK_ATTEMPTS {
            match self.lock() {
                Err(HomeError::Locked(_)) => thread::sleep(LOCK_PAUSE),
                result => return result,
            }
        }
        self.lock()
    }

    /// The device's key; made from `fresh_seed` the first time.
    ///
    /// # Errors
    /// When the key cannot be read, or is damaged: it is never replaced by itself.
    pub fn key(&self, fresh_seed: [u8; 32]) -> Result<DeviceKey, HomeError> {
        let path = self.path.join("key");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let damaged = || HomeError::Damaged {
                    path: path.clone(),
                    reason: "it is not 64 hexadecimal digits; restore it from a backup, or remove \
                             it to become a new device"
                        .to_owned(),
                };
                let seed: dunlin_identity::Hash = text.trim().parse().map_err(|_| damaged())?;
                Ok(DeviceKey::from_seed(seed.0))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = format!("{}\n", dunlin_identity::Hash(fresh_seed));
                self.write_private(&path, text.as_bytes())?;
                Ok(DeviceKey::from_seed(fresh_seed))
            }
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// The settings; those of a new device if there are none.
    ///
    /// # Errors
    /// When they cannot be read or are not TOML.
    pub fn config(&self) -> Result<Config, HomeError> {
        let path = self.path.join("config.toml");
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| HomeError::Damaged { path, reason: error.to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Config { name: host_name(), ..Config::default() })
            }
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Replaces the settings.
    ///
    /// # Errors
    /// When they cannot be written; the old ones stay then.
    pub fn save(&self, config: &Config) -> Result<(), HomeError> {
        let path = self.path.join("config.toml");
        let text = toml::to_string_pretty(config).map_err(|error| HomeError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        self.write_private(&path, text.as_bytes())
    }

    /// What this device holds of a folder's secrets.
    ///
    /// # Errors
    /// When they cannot be read or are damaged.
    pub fn keys(&self, folder: &FolderConfig) -> Result<FolderKeys, HomeError> {
        let path = self.path.join("secrets").join(&folder.id);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        FolderKeys::from_bytes(&bytes)
            .map_err(|error| HomeError::Damaged { path, reason: error.to_string() })
    }

    /// Keeps a later generation's keys of a folder, and the present ones among the earlier.
    ///
    /// # Errors
    /// When they cannot be read or written; the present ones stay then.
    pub fn raise(&self, folder: &FolderConfig, keys: &FolderKeys) -> Result<(), HomeError> {
        let mut earlier = self.earlier_keys(folder);
        earlier.insert(0, self.keys(folder)?);
        let mut bytes = Vec::new();
        for keys in earlier.iter().take(EARLIER_MAX) {
            let encoded = keys.to_bytes();
            bytes.extend(u32::try_from(encoded.len()).unwrap_or_default().to_le_bytes());
            bytes.extend_from_slice(&encoded);
        }
        // First, so that a failure in between only keeps too much.
        let secrets = self.path.join("secrets");
        self.write_private(&secrets.join(earlier_name(&folder.id)), &bytes)?;
        self.write_private(&secrets.join(&folder.id), &keys.to_bytes())
    }

    /// The keys that a folder had before devices were removed, the latest first. They are only of
    /// use to let members in that were away, so that what cannot be read counts as none.
    pub fn earlier_keys(&self, folder: &FolderConfig) -> Vec<FolderKeys> {
        let path = self.path.join("secrets").join(earlier_name(&folder.id));
        let bytes = fs::read(path).unwrap_or_default();
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        while let Some((len, after)) = rest.split_first_chunk() {
            let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let Some((encoded, after)) = after.split_at_checked(len) else { break };
            found.extend(FolderKeys::from_bytes(encoded));
            rest = after;
        }
        found
    }

    /// Adds a folder to the settings. `path` must be absolute and is checked: a directory that can
    /// be written, in no other folder and with no other folder in it.
    ///
    /// # Errors
    /// When the directory cannot be a folder, or the settings cannot be written.
    pub fn add_folder(
        &self,
        keys: &FolderKeys,
        path: &Path,
        label: &str,
        hints: Vec<String>,
    ) -> Result<FolderConfig, HomeError> {
        let mut config = self.config()?;
        let id = keys.folder().to_string();
        if let Some(known) = config.folders.iter().find(|folder| folder.id == id) {
            return Err(HomeError::AlreadyJoined(known.path.clone()));
        }
        let path = self.check_directory(path, &config)?;
        let base = match label {
            "" => path.file_name().map_or_else(|| "folder".into(), |name| name.to_string_lossy()),
            label => label.into(),
        };
        let folder = FolderConfig {
            id,
            name: free_name(&base, &config),
            path,
            paused: false,
            announce: Announce::default(),
            hints,
            hold: true,
            priority: FolderPriority::Normal,
            versions: VersionSettings::default(),
        };
        let secrets = self.path.join("secrets");
        fs::create_dir_all(&secrets).map_err(io_error("make", &secrets))?;
        self.write_private(&secrets.join(&folder.id), &keys.to_bytes())?;
        config.folders.push(folder.clone());
        self.save(&config)?;
        Ok(folder)
    }

    /// Removes a folder from the settings, with its secrets. No file of the user's is touched.
    ///
    /// # Errors
    /// When there is no such folder or the settings cannot be written.
    pub fn remove_folder(&self, folder: &str) -> Result<FolderConfig, HomeError> {
        let mut config = self.config()?;
        let found = find_folder(&config, folder)?.clone();
        config.folders.retain(|folder| folder.id != found.id);
        self.save(&config)?;
        let secret = self.path.join("secrets").join(&found.id);
        fs::remove_file(&secret).map_err(io_error("remove", &secret))?;
        let earlier = self.path.join("secrets").join(earlier_name(&found.id));
        if let Err(error) = fs::remove_file(&earlier)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(io_error("remove", &earlier)(error));
        }
        Ok(found)
    }

    /// The join code of a folder, with the addresses where the node listened last.
    ///
    /// # Errors
    /// When there is no such folder, or this device cannot give codes of that tier.
    pub fn share(&self, folder: &str, tier: Option<Tier>) -> Result<String, HomeError> {
        let config = self.config()?;
        let folder = find_folder(&config, folder)?;
        self.code(folder, tier, None)
    }

    /// As [`Home::share`], of a folder that was found already. `label` is the name that its members
    /// share; without one it is offered under the name that it has here.
    ///
    /// # Errors
    /// As [`Home::share`].
    pub fn code(
        &self,
        folder: &FolderConfig,
        tier: Option<Tier>,
        label: Option<&str>,
    ) -> Result<String, HomeError> {
        let keys = self.keys(folder)?;
        let own = keys.tier();
        let tier = tier.unwrap_or(own);
        let keys = keys.weaken(tier).ok_or(HomeError::Tier(own, tier))?;
        let code =
            JoinCode { keys, label: label.unwrap_or(&folder.name).to_owned(), hints: self.hints() };
        Ok(code.to_string())
    }

    /// What `folder ls` shows.
    ///
    /// # Errors
    /// When the settings or secrets cannot be read.
    pub fn folders(&self) -> Result<Vec<FolderInfo>, HomeError> {
        let config = self.config()?;
        config
            .folders
            .iter()
            .map(|folder| {
                Ok(FolderInfo {
                    name: folder.name.clone(),
                    path: folder.path.display().to_string(),
                    join: self.code(folder, None, None)?,
                })
            })
            .collect()
    }

    /// Keeps where the node listens.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_listen(&self, addresses: &[String]) -> Result<(), HomeError> {
        let path = self.path.join("listen.json");
        let text = serde_json::to_vec(addresses).map_err(|error| HomeError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        self.write_private(&path, &text)
    }

    /// The addresses that go into join codes: those that other machines can reach, or, on a
    /// machine without any, those of the machine itself.
    fn hints(&self) -> Vec<String> {
        let Ok(text) = fs::read(self.path.join("listen.json")) else { return Vec::new() };
        let all: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        let local =
            |address: &String| address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
        let quic = |address: &&String| address.contains("/quic-v1");
        let mut hints: Vec<String> =
            all.iter().filter(quic).filter(|address| !local(address)).cloned().collect();
        if hints.is_empty() {
            hints = all.into_iter().filter(|address| local(address)).collect();
        }
        hints.truncate(HINTS_MAX);
        hints
    }

    /// Makes the directory if it is missing, and checks that it can be a folder.
    fn check_directory(&self, path: &Path, config: &Config) -> Result<PathBuf, HomeError> {
        let bad = |reason: String| HomeError::BadDirectory { path: path.to_owned(), reason };
        if path.exists() && !path.is_dir() {
            return Err(bad("it is not a directory: name a directory to sync".to_owned()));
        }
        fs::create_dir_all(path).map_err(|error| bad(format!("it cannot be made: {error}")))?;
        let path = fs::canonicalize(path).map_err(io_error("find", path))?;
        for other in &config.folders {
            let inside = path.starts_with(&other.path) || other.path.starts_with(&path);
            if inside {
                let reason = format!(
                    "folders cannot be inside one another, and {} is the folder {:?}: choose a \
                     directory outside it",
                    other.path.display(),
                    other.name
                );
                return Err(HomeError::BadDirectory { path, reason });
            }
        }
        if path.starts_with(&self.path) || self.path.starts_with(&path) {
            let reason = format!(
                "the home of dunlin ({}) cannot be inside a folder, nor a folder inside it: \
                 choose another --home or another directory",
                self.path.display()
            );
            return Err(HomeError::BadDirectory { path, reason });
        }
        let probe = path.join(format!(".dunlin-probe-{}", std::process::id()));
        let probed = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
        if let Err(error) = probed {
            let reason = format!(
                "it cannot be written: {error}: give this user write permission, or choose \
                 another directory"
            );
            return Err(HomeError::BadDirectory { path, reason });
        }
        Ok(path)
    }

    /// Writes a file that only this user may read, whole or not at all.
    fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
        // Two threads may write the same file: each makes it whole, and one of them stays.
        static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let temp = path.with_extension(format!("new-{}-{attempt}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&temp)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temp, path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(io_error("write", path))
    }
}

/// Finds a folder by its name, its path, or a path inside it.
///
/// # Errors
/// [`HomeError::NoFolder`].
pub fn find_folder<'a>(config: &'a Config, wanted: &str) -> Result<&'a FolderConfig, HomeError> {
    if let Some(folder) = config.folders.iter().find(|folder| folder.name == wanted) {
        return Ok(folder);
    }
    let path = fs::canonicalize(wanted).unwrap_or_else(|_| PathBuf::from(wanted));
    config
        .folders
        .iter()
        .find(|folder| path.starts_with(&folder.path))
        .ok_or_else(|| HomeError::NoFolder(wanted.to_owned()))
}

/// Checks a name that a person gives to a device or folder.
///
/// # Errors
/// [`HomeError::BadName`].
pub fn check_name(name: &str) -> Result<&str, HomeError> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(HomeError::BadName(name.to_owned()));
    }
    Ok(name)
}

/// The first of `base`, `base-2`, `base-3`… that no folder has.
fn free_name(base: &str, config: &Config) -> String {
    let mut end = base.len().min(NAME_MAX - 8);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let base: String = base[..end].chars().filter(|c| !c.is_control()).collect();
    let taken = |name: &str| config.folders.iter().any(|folder| folder.name == name);
    if !base.is_empty() && !taken(&base) {
        return base;
    }
    (2u64..)
        .map(|number| format!("{base}-{number}"))
        .find(|name| !taken(name))
        .expect("there are more numbers than folders")
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match check_name(&name) {
        Ok(name) => name.to_owned(),
        Err(_) => "device".to_owned(),
    }
}

/// Reads a folder id of `config.toml`.
///
/// # Errors
/// [`HomeError::Damaged`] when it is none.
pub fn folder_id(folder: &FolderConfig) -> Result<FolderId, HomeError> {
    let hash: Result<dunlin_identity::Hash, _> = folder.id.parse();
    hash.map(|hash| FolderId(hash.0)).map_err(|_| HomeError::Damaged {
        path: PathBuf::from("config.toml"),
        reason: format!("{:?} is no folder id", folder.id),
    })
}

/// Where a folder's earlier keys are, beside the present ones.
fn earlier_name(id: &str) -> String {
    format!("{id}.earlier")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(&dir.path().join("home")).expect("a home");
        (dir, home)
    }

    fn keys(seed: u8) -> FolderKeys {
        FolderKeys::create([seed; 32])
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let (_dir, home) = home();
        let first = home.key([7; 32]).expect("made").device();
        assert_eq!(home.key([8; 32]).expect("read").device(), first);
        let mode = fs::metadata(home.path().join("key")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_an_error_and_is_not_replaced() {
        let (_dir, home) = home();
        fs::write(home.path().join("key"), "nonsense").expect("written");
        assert!(matches!(home.key([7; 32]), Err(HomeError::Damaged { .. })));
        assert_eq!(fs::read(home.path().join("key")).expect("still there"), b"nonsense");
    }

    #[test]
    fn a_second_lock_is_refused_while_the_first_is_held() {
        let (_dir, home) = home();
        let first = home.lock().expect("free");
        assert!(matches!(home.lock(), Err(HomeError::Locked(_))));
        drop(first);
        assert!(home.lock().is_ok());
    }

    #[test]
    fn a_lock_is_had_once_its_holder_has_let_go() {
        let (_dir, home) = home();
        let first = home.lock().expect("free");
        thread::scope(|scope| {
            let second = scope.spawn(|| home.lock_soon());
            drop(first);
            assert!(second.join().expect("no panic").is_ok());
        });
    }

    #[test]
    fn folders_cannot_be_inside_one_another_nor_hold_the_home() {
        let (dir, home) = home();
        let outer = dir.path().join("sync");
        home.add_folder(&keys(1), &outer, "", Vec::new()).expect("a folder");
        let inner = home.add_folder(&keys(2), &outer.join("inner"), "", Vec::new());
        assert!(matches!(inner, Err(HomeError::BadDirectory { .. })), "{inner:?}");
        let around = home.add_folder(&keys(2), dir.path(), "", Vec::new());
        assert!(matches!(around, Err(HomeError::BadDirectory { .. })), "{around:?}");
        let again = home.add_folder(&keys(1), &dir.path().join("other"), "", Vec::new());
        assert!(matches!(again, Err(HomeError::AlreadyJoined(_))), "{again:?}");
        assert_eq!(home.config().expect("settings").folders.len(), 1);
    }

    #[test]
    fn names_of_folders_are_made_unique() {
        let (dir, home) = home();
        let one = home.add_folder(&keys(1), &dir.path().join("a/photos"), "", Vec::new());
        let two = home.add_folder(&keys(2), &dir.path().join("b/photos"), "", Vec::new());
        assert_eq!(one.expect("added").name, "photos");
        assert_eq!(two.expect("added").name, "photos-2");
    }

    #[test]
    fn a_code_of_a_higher_tier_than_ones_own_is_refused() {
        let (dir, home) = home();
        let reader = keys(1).weaken(Tier::Read).expect("a writer can read");
        home.add_folder(&reader, &dir.path().join("r"), "r", Vec::new()).expect("added");
        assert!(matches!(home.share("r", Some(Tier::Write)), Err(HomeError::Tier(..))));
        let code: JoinCode = home.share("r", None).expect("its own").parse().expect("valid");
        assert_eq!(code.keys.tier(), Tier::Read);
        assert_eq!(code.label, "r");
    }

    #[test]
    fn a_folder_is_found_by_name_path_and_a_path_inside_and_goes_with_its_secret() {
        let (dir, home) = home();
        let path = dir.path().join("sync");
        let added = home.add_folder(&keys(1), &path, "mine", Vec::new()).expect("added");
        fs::create_dir(path.join("sub")).expect("made");
        let config = home.config().expect("settings");
        for wanted in ["mine", &path.to_string_lossy(), &path.join("sub").to_string_lossy()] {
            assert_eq!(find_folder(&config, wanted).expect("found").id, added.id);
        }
        assert!(find_folder(&config, "other").is_err());
        home.remove_folder("mine").expect("removed");
        assert!(!home.path().join("secrets").join(&added.id).exists());
        assert!(path.join("sub").exists(), "no file of the user's is touched");
    }
}
