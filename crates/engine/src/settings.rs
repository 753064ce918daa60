//! The settings of a folder: which there are, what they may be, and where each comes from.
//!
//! A setting is *local*, for this device alone and kept in its home, or *shared*, kept in the
//! folder's index and the same for all members, or may be both: then the local value holds here.

use std::collections::BTreeMap;

use dunlin_identity::DeviceId;
use dunlin_index::Member;
use dunlin_text::settings::Settings;
use dunlin_text::{PATTERN_BYTES_MAX, PATTERNS_MAX, Patterns};
use dunlin_transfer::FolderPriority;
use dunlin_tree::ignore::check_pattern;
use serde::{Deserialize, Serialize};

use crate::history::policy::Keep;
use crate::home::{FolderConfig, VersionSettings, check_name};
use crate::units::{parse_size, show_size};

/// The name that the folder has on this device.
pub const NAME: &str = "name";
/// The name that new members give the folder.
pub const LABEL: &str = "label";
/// Patterns of files that no member syncs.
pub const IGNORE: &str = "ignore";
/// Patterns of files that are texts.
pub const TEXT: &str = "text";
/// Patterns of files that are fetched first.
pub const FIRST: &str = "first";
/// Which folders' blocks are fetched before others', on this device.
pub const PRIORITY: &str = "priority";
/// Whether texts that parse are merged only if they then parse, too.
pub const TEXT_CHECK: &str = "text-check";
/// Whether mass deletions and mass overwrites wait for a word.
pub const HOLD: &str = "hold";
/// Which old versions are kept.
pub const VERSIONS: &str = "versions";
/// How many bytes old versions may take.
pub const VERSIONS_SIZE: &str = "versions-size";
/// How long what was moved aside stays as it is before it is packed.
pub const VERSIONS_DELAY: &str = "versions-delay";
/// What the key of a device's name begins with; its PeerId follows.
pub const DEVICE: &str = "device.";

/// How a setting is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The value takes the place of what is there; `default`, or an empty one, takes the setting
    /// back.
    #[default]
    Set,
    /// The value is added to a list.
    Add,
    /// The value is taken out of a list.
    Remove,
}

/// A change of one setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingChange {
    /// The value, as it would be typed; the patterns of a list are separated by line breaks.
    pub value: String,
    /// Whether it is to hold on this device alone.
    #[serde(default)]
    pub local: bool,
    /// What to do with it.
    #[serde(default)]
    pub how: How,
}

/// Where a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The folder's members share it.
    Shared,
    /// It was set on this device, for this device.
    Local,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// A single value; `null` when there is none.
    One(Option<String>),
    /// A list.
    Many(Vec<String>),
}

/// One setting as it holds on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderSetting {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: SettingValue,
    /// Where that comes from.
    pub from: Origin,
}

/// Why a setting cannot be changed so, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no such setting.
    #[error(
        "a folder has no setting {0:?}: there are name, hold, priority, label, ignore, text, \
         text-check, first, versions, versions-size and versions-delay"
    )]
    Unknown(String),
    /// The value cannot be one of this setting.
    #[error("{key} cannot be {value:?}: {reason}")]
    Value {
        /// The setting.
        key: String,
        /// The value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// The setting cannot be local.
    #[error("{0} is shared by all members and cannot be set for one device: leave out --local")]
    NotLocal(String),
    /// The setting is no list.
    #[error("{0} is no list: set it, instead of adding or removing")]
    NoList(String),
    /// The value is not in the list.
    #[error("{value:?} is not in {key}: `dunlin folder show` lists what is")]
    NotThere {
        /// The list.
        key: String,
        /// What was to be removed.
        value: String,
    },
    /// The folder did not take it.
    #[error("{0}")]
    Refused(String),
}

/// Whether a setting is kept in the home of this device when it is changed so.
///
/// # Errors
/// When there is no such setting, or it cannot be local.
pub fn is_local(key: &str, local: bool) -> Result<bool, SettingError> {
    match key {
        NAME | HOLD | PRIORITY | VERSIONS_DELAY => Ok(true),
        VERSIONS | VERSIONS_SIZE => Ok(local),
        LABEL | IGNORE | TEXT | TEXT_CHECK | FIRST if local => {
            Err(SettingError::NotLocal(key.to_owned()))
        }
        LABEL | IGNORE | TEXT | TEXT_CHECK | FIRST => Ok(false),
        _ if key.starts_with(DEVICE) && !local => Ok(false),
        _ => Err(SettingError::Unknown(key.to_owned())),
    }
}

/// Changes a shared setting.
///
/// # Errors
/// When the value cannot be one of this setting.
pub fn change_shared(
    settings: &mut Settings,
    key: &str,
    change: &SettingChange,
) -> Result<(), SettingError> {
    let value = change.value.trim();
    match key {
        IGNORE => return change_list(&mut settings.ignore, key, change),
        TEXT => return change_list(&mut settings.text, key, change),
        FIRST => return change_list(&mut settings.first, key, change),
        _ if change.how != How::Set => return Err(SettingError::NoList(key.to_owned())),
        _ if is_default(value) => {
            settings.values.remove(key);
        }
        _ => {
            settings.values.insert(key.to_owned(), checked(key, value)?);
        }
    }
    Ok(())
}

/// Changes what is kept of old versions on this device alone.
///
/// # Errors
/// When the value cannot be one of this setting.
pub fn change_local(
    versions: &mut VersionSettings,
    key: &str,
    change: &SettingChange,
) -> Result<(), SettingError> {
    if change.how != How::Set {
        return Err(SettingError::NoList(key.to_owned()));
    }
    let value = match change.value.trim() {
        value if is_default(value) => "default",
        value => value,
    };
    versions.change(key, value).map_err(|reason| wrong(key, value, reason))
}

/// Reads which folders' blocks are fetched before others'.
///
/// # Errors
/// When the value is none of those that there are.
pub(crate) fn folder_priority(value: &str) -> Result<FolderPriority, SettingError> {
    match value.trim() {
        "high" => Ok(FolderPriority::High),
        value if is_default(value) || value == "normal" => Ok(FolderPriority::Normal),
        "low" => Ok(FolderPriority::Low),
        value => Err(wrong(PRIORITY, value, "it is high, normal or low".to_owned())),
    }
}

/// Whether a value says that a setting is to be as usual.
pub(crate) fn is_default(value: &str) -> bool {
    value.is_empty() || value == "default"
}

/// Checks a value, and gives it as it is kept.
fn checked(key: &str, value: &str) -> Result<String, SettingError> {
    let checked = match key {
        VERSIONS => value.parse().map(|keep: Keep| keep.to_string()).map_err(|e| e.to_string()),
        VERSIONS_SIZE => parse_size(value).map(show_size),
        TEXT_CHECK if matches!(value, "on" | "off") => Ok(value.to_owned()),
        TEXT_CHECK => Err("it is on or off".to_owned()),
        _ => check_name(value).map(str::to_owned).map_err(|error| error.to_string()),
    };
    checked.map_err(|reason| wrong(key, value, reason))
}

fn wrong(key: &str, value: &str, reason: String) -> SettingError {
    SettingError::Value { key: key.to_owned(), value: value.to_owned(), reason }
}

fn change_list(
    list: &mut Vec<String>,
    key: &str,
    change: &SettingChange,
) -> Result<(), SettingError> {
    let mut given = Vec::new();
    for pattern in change.value.lines().filter(|line| !line.trim().is_empty()) {
        check_in_list(key, pattern).map_err(|reason| wrong(key, pattern, reason))?;
        given.push(pattern.to_owned());
    }
    match change.how {
        How::Set => *list = given,
        How::Add => {
            // It moves to the end, since the last pattern that matches decides.
            list.retain(|pattern| !given.contains(pattern));
            list.append(&mut given);
        }
        How::Remove => {
            if let Some(value) = given.iter().find(|pattern| !list.contains(pattern)) {
                return Err(SettingError::NotThere { key: key.to_owned(), value: value.clone() });
            }
            list.retain(|pattern| !given.contains(pattern));
        }
    }
    if list.len() > PATTERNS_MAX {
        let reason = format!("there can be {PATTERNS_MAX} patterns");
        return Err(wrong(key, &change.value, reason));
    }
    Ok(())
}

fn check_in_list(key: &str, pattern: &str) -> Result<(), String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
    }
    match key {
        TEXT => Patterns::new(&[pattern]).map(drop).map_err(|error| error.to_string()),
        _ => check_pattern(pattern),
    }
}

/// What is kept of old versions by what the members share.
pub(crate) fn shared_versions(settings: &Settings) -> VersionSettings {
    let size = settings.values.get(VERSIONS_SIZE);
    VersionSettings {
        keep: settings.values.get(VERSIONS).cloned(),
        size: size.and_then(|size| parse_size(size).ok()),
        delay_ms: None,
    }
}

/// Whether texts that parse are merged only if they then parse, too.
pub(crate) fn checks_texts(shared: &Settings) -> bool {
    shared.values.get(TEXT_CHECK).is_none_or(|value| value != "off")
}

/// What the devices of a folder are called.
pub(crate) type DeviceNames = BTreeMap<DeviceId, String>;

/// The names of a folder's devices: those that its members have given them, or else those that they
/// have given themselves.
pub(crate) fn device_names(members: &[Member], shared: &Settings) -> DeviceNames {
    let given = |device| shared.values.get(&format!("{DEVICE}{device}"));
    let name = |member: &Member| given(member.device).unwrap_or(&member.name).clone();
    members.iter().map(|member| (member.device, name(member))).collect()
}

/// Lists the settings as they hold on this device.
pub(crate) fn list(config: &FolderConfig, shared: &Settings) -> Vec<FolderSetting> {
    let one = |key: &str, value: Option<String>, from| FolderSetting {
        key: key.to_owned(),
        value: SettingValue::One(value),
        from,
    };
    let many = |key: &str, list: &[String]| FolderSetting {
        key: key.to_owned(),
        value: SettingValue::Many(list.to_vec()),
        from: if list.is_empty() { Origin::Default } else { Origin::Shared },
    };
    let origin = |local: bool, key: &str| match (local, shared.values.contains_key(key)) {
        (true, _) => Origin::Local,
        (false, true) => Origin::Shared,
        (false, false) => Origin::Default,
    };
    let own = &config.versions;
    let policy = own.clone().or(shared_versions(shared)).policy();
    let label = shared.values.get(LABEL).cloned();
    let hold = if config.hold { "on" } else { "off" };
    let check = if checks_texts(shared) { "on" } else { "off" };
    let mut settings = vec![
        one(NAME, Some(config.name.clone()), Origin::Local),
        one(HOLD, Some(hold.to_owned()), if config.hold { Origin::Default } else { Origin::Local }),
        one(
            PRIORITY,
            Some(config.priority.name().to_owned()),
            match config.priority.is_normal() {
                true => Origin::Default,
                false => Origin::Local,
            },
        ),
        one(LABEL, label, origin(false, LABEL)),
        many(IGNORE, &shared.ignore),
        many(TEXT, &shared.text),
        many(FIRST, &shared.first),
        one(TEXT_CHECK, Some(check.to_owned()), origin(false, TEXT_CHECK)),
        one(VERSIONS, Some(policy.keep.to_string()), origin(own.keep.is_some(), VERSIONS)),
        one(
            VERSIONS_SIZE,
            Some(show_size(policy.bytes_max)),
            origin(own.size.is_some(), VERSIONS_SIZE),
        ),
        one(
            VERSIONS_DELAY,
            Some(format!("{}s", policy.delay_ms / 1000)),
            origin(own.delay_ms.is_some(), VERSIONS_DELAY),
        ),
    ];
    let devices = shared.values.iter().filter(|(key, _)| key.starts_with(DEVICE));
    settings.extend(devices.map(|(key, name)| one(key, Some(name.clone()), origin(false, key))));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(value: &str, how: How) -> SettingChange {
        SettingChange { value: value.to_owned(), local: false, how }
    }

    #[test]
    fn a_list_is_set_added_to_and_taken_from() {
        let mut settings = Settings::default();
        let mut act = |value, how| change_shared(&mut settings, IGNORE, &change(value, how));
        act("*.tmp\n\n!keep.tmp\n", How::Set).expect("patterns");
        act("*.bak", How::Add).expect("a pattern");
        act("*.tmp", How::Add).expect("a pattern that is there goes to the end");
        act("*.bak", How::Remove).expect("a pattern that is there");
        let gone = act("*.bak", How::Remove);
        assert!(matches!(gone, Err(SettingError::NotThere { .. })), "{gone:?}");
        let wrong = act("[z-a]", How::Add);
        assert!(matches!(wrong, Err(SettingError::Value { .. })), "{wrong:?}");
        assert_eq!(settings.ignore, ["!keep.tmp", "*.tmp"]);
    }

    #[test]
    fn values_are_checked_and_kept_in_one_form() {
        let mut settings = Settings::default();
        let mut set = |key, value| change_shared(&mut settings, key, &change(value, How::Set));
        set(VERSIONS_SIZE, "1024 MiB").expect("a size");
        set(VERSIONS, " keep:5 ").expect("a policy");
        for (key, value) in [(VERSIONS, "some"), (VERSIONS_SIZE, "10 bananas"), (LABEL, "a\nb")] {
            let wrong = set(key, value);
            assert!(matches!(wrong, Err(SettingError::Value { .. })), "{wrong:?}");
        }
        let no_list = change_shared(&mut settings, VERSIONS, &change("none", How::Add));
        assert_eq!(no_list, Err(SettingError::NoList(VERSIONS.to_owned())));
        assert_eq!(settings.values[VERSIONS_SIZE], "1GiB");
        assert_eq!(shared_versions(&settings).policy().keep, Keep::Count(5));
        change_shared(&mut settings, VERSIONS, &change("", How::Set)).expect("taken back");
        assert!(!settings.values.contains_key(VERSIONS));
    }

    #[test]
    fn what_is_local_and_what_cannot_be() {
        assert_eq!(is_local(NAME, false), Ok(true));
        assert_eq!(is_local(VERSIONS, true), Ok(true));
        assert_eq!(is_local(PRIORITY, false), Ok(true));
        assert_eq!(is_local(FIRST, true), Err(SettingError::NotLocal(FIRST.to_owned())));
        assert_eq!(is_local(VERSIONS, false), Ok(false));
        assert_eq!(is_local(IGNORE, true), Err(SettingError::NotLocal(IGNORE.to_owned())));
        assert_eq!(is_local("colour", false), Err(SettingError::Unknown("colour".to_owned())));
    }

    #[test]
    fn a_local_value_holds_before_the_shared_one() {
        let text = "id = \"0\"\nname = \"mine\"\npath = \"/srv/mine\"\n";
        let mut config: FolderConfig = toml::from_str(text).expect("a folder's settings");
        let mut shared = Settings::default();
        let find = |config: &FolderConfig, shared: &Settings| {
            let settings = list(config, shared);
            settings.into_iter().find(|setting| setting.key == VERSIONS).expect("listed")
        };
        let is = |text: &str| SettingValue::One(Some(text.to_owned()));
        assert_eq!(find(&config, &shared).from, Origin::Default);
        change_shared(&mut shared, VERSIONS, &change("days:3", How::Set)).expect("a policy");
        assert_eq!(find(&config, &shared).value, is("days:3"));
        change_local(&mut config.versions, VERSIONS, &change("none", How::Set)).expect("one");
        let here = find(&config, &shared);
        assert_eq!((here.value, here.from), (is("none"), Origin::Local));
        change_local(&mut config.versions, VERSIONS, &change("", How::Set)).expect("taken back");
        assert_eq!(find(&config, &shared).from, Origin::Shared);
    }
}
