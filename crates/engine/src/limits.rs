//! What a person allows the transfer of blocks: rates in all and for single devices, when they
//! hold, and whether the connection is metered.
//!
//! The settings are kept in `config.toml`; what of them holds at a moment is told to the transfer
//! ([`LimitSettings::at`]). Limits are for blocks: the index is small, and goes on.

mod schedule;

use std::collections::{BTreeMap, HashMap};

use dunlin_identity::DeviceId;
use dunlin_transfer::Limits;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

pub use self::schedule::{Moment, Schedule, ScheduleError};

/// Devices with limits of their own, at most.
const DEVICES_MAX: usize = 1024;

/// Why limits cannot be set, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A rate of nothing.
    #[error(
        "a limit of 0 bytes a second would stop everything: pause the folder instead, or say off"
    )]
    Zero,
    /// Not a schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The device's name is no PeerId.
    #[error("{0:?} is no device")]
    NoDevice(String),
    /// Too many devices have limits.
    #[error("limits can be set for {DEVICES_MAX} devices: take some away first")]
    TooMany,
}

/// Bytes a second each way; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// What this device sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u64>,
    /// What this device receives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<u64>,
}

impl Rates {
    fn limits(self) -> Limits {
        Limits { up: self.up, down: self.down }
    }

    fn is_unlimited(self) -> bool {
        self == Self::default()
    }
}

/// The part `[limits]` of `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSettings {
    /// For all devices together.
    #[serde(flatten)]
    pub all: Rates,
    /// When the rates hold; always, when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Whether bytes cost money: large files wait then.
    #[serde(default)]
    pub metered: bool,
    /// For single devices, by PeerId, besides those for all.
    #[serde(default, rename = "device", skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, Rates>,
}

/// A change of the limits: what is absent stays, `null` takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChange {
    /// Whose rates are meant, a PeerId; those for all devices together when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Bytes a second that this device sends.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub up: Option<Option<u64>>,
    /// Bytes a second that this device receives.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub down: Option<Option<u64>>,
    /// When rates hold.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Option<String>>,
    /// Whether bytes cost money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<bool>,
}

/// Reads a field that is there, so that `null` is told from what is absent.
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// What `dunlin limit --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// Bytes a second that this device sends to all others together; `null` is without limit.
    pub up: Option<u64>,
    /// Bytes a second that this device receives from all others together.
    pub down: Option<u64>,
    /// When the rates hold; `null` is always.
    pub schedule: Option<String>,
    /// Whether the rates hold now.
    pub active: bool,
    /// Whether large files wait, since bytes cost money.
    pub metered: bool,
    /// Devices with limits of their own.
    pub devices: Vec<DeviceLimit>,
}

/// The limits of one device in [`LimitStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// Its PeerId.
    pub device: String,
    /// Its name; empty when it is not known.
    pub name: String,
    /// Bytes a second that this device sends to it.
    pub up: Option<u64>,
    /// Bytes a second that this device receives from it.
    pub down: Option<u64>,
}

/// What holds at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// For all devices together.
    pub all: Limits,
    /// For single devices.
    pub devices: HashMap<DeviceId, Limits>,
    /// Whether only what is small is fetched.
    pub metered: bool,
}

impl LimitSettings {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Changes the settings; they stay as they are when the change is wrong.
    ///
    /// # Errors
    /// See [`LimitError`].
    pub fn change(&mut self, change: &LimitChange) -> Result<(), LimitError> {
        let zero = Some(Some(0));
        if change.up == zero || change.down == zero {
            return Err(LimitError::Zero);
        }
        let mut changed = self.clone();
        if let Some(schedule) = &change.schedule {
            changed.schedule = schedule.as_deref().map(str::parse).transpose()?;
        }
        changed.metered = change.metered.unwrap_or(changed.metered);
        let rates = match &change.device {
            Some(device) => {
                let known: Result<DeviceId, _> = device.parse();
                let device = known.map_err(|_| LimitError::NoDevice(device.clone()))?.to_string();
                changed.devices.entry(device).or_default()
            }
            None => &mut changed.all,
        };
        rates.up = change.up.unwrap_or(rates.up);
        rates.down = change.down.unwrap_or(rates.down);
        changed.devices.retain(|_, rates| !rates.is_unlimited());
        if changed.devices.len() > DEVICES_MAX {
            return Err(LimitError::TooMany);
        }
        *self = changed;
        Ok(())
    }

    /// Whether the rates hold at this moment.
    pub fn is_active(&self, moment: Moment) -> bool {
        self.schedule.as_ref().is_none_or(|schedule| schedule.covers(moment))
    }

    /// What holds at this moment.
    pub fn at(&self, moment: Moment) -> InForce {
        if !self.is_active(moment) {
            return InForce { metered: self.metered, ..InForce::default() };
        }
        let device = |(device, rates): (&String, &Rates)| {
            // A device that cannot be read was written by hand; it is passed over.
            Some((device.parse().ok()?, rates.limits()))
        };
        let devices = self.devices.iter().filter_map(device).collect();
        InForce { all: self.all.limits(), devices, metered: self.metered }
    }

    /// What is shown to the user; `name` tells the names of devices.
    pub fn status(&self, moment: Moment, name: impl Fn(&str) -> String) -> LimitStatus {
        let device = |(device, rates): (&String, &Rates)| DeviceLimit {
            device: device.clone(),
            name: name(device),
            up: rates.up,
            down: rates.down,
        };
        LimitStatus {
            up: self.all.up,
            down: self.all.down,
            schedule: self.schedule.as_ref().map(ToString::to_string),
            active: self.is_active(moment),
            metered: self.metered,
            devices: self.devices.iter().map(device).collect(),
        }
    }
}

/// The moment of the week here, at so many milliseconds since 1970.
pub fn local_moment(now_ms: u64) -> Moment {
    let ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
    let now = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    let now = now.to_zoned(TimeZone::system());
    let day = now.weekday().to_monday_zero_offset().unsigned_abs();
    let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
    Moment { day, minute }
}

#[cfg(test)]
mod tests {
    use dunlin_identity::DeviceKey;

    use super::*;

    const MONDAY_NOON: Moment = Moment { day: 0, minute: 12 * 60 };
    const SUNDAY_NOON: Moment = Moment { day: 6, minute: 12 * 60 };

    fn change(json: &str) -> LimitChange {
        serde_json::from_str(json).expect("a change")
    }

    #[test]
    fn what_is_absent_stays_and_null_takes_away() {
        let mut settings = LimitSettings::default();
        settings.change(&change(r#"{"up": 5000000, "down": 100000}"#)).expect("a limit");
        settings.change(&change(r#"{"down": null, "metered": true}"#)).expect("a change");
        assert_eq!(settings.all, Rates { up: Some(5_000_000), down: None });
        assert!(settings.metered);
        settings.change(&change(r#"{"up": null, "metered": false}"#)).expect("a change");
        assert!(settings.is_unlimited());
    }

    #[test]
    fn a_wrong_change_changes_nothing() {
        let mut settings = LimitSettings::default();
        for wrong in [
            r#"{"up": 1, "down": 0}"#,
            r#"{"up": 1, "schedule": "sometimes"}"#,
            r#"{"up": 1, "device": "nobody"}"#,
        ] {
            settings.change(&change(wrong)).expect_err(wrong);
            assert!(settings.is_unlimited(), "{wrong}");
        }
        assert!(serde_json::from_str::<LimitChange>(r#"{"upp": 1}"#).is_err());
    }

    #[test]
    fn rates_hold_as_scheduled_and_metering_always() {
        let device = DeviceKey::from_seed([1; 32]).device();
        let mut settings = LimitSettings::default();
        let office = r#"{"up": 1000, "schedule": "mon-fri 08:00-18:00", "metered": true}"#;
        settings.change(&change(office)).expect("a limit");
        let own = LimitChange { device: Some(device.to_string()), ..change(r#"{"down": 7000}"#) };
        settings.change(&own).expect("a device's limit");
        let force = settings.at(MONDAY_NOON);
        assert_eq!(force.all, Limits { up: Some(1000), down: None });
        assert_eq!(force.devices[&device], Limits { up: None, down: Some(7000) });
        assert!(force.metered);
        let force = settings.at(SUNDAY_NOON);
        assert_eq!(force, InForce { metered: true, ..InForce::default() });
        let status = settings.status(SUNDAY_NOON, |_| "nas".to_owned());
        assert!(!status.active && status.devices[0].name == "nas");
        settings.change(&LimitChange { down: Some(None), ..own }).expect("taken away");
        assert!(settings.devices.is_empty());
    }

    #[test]
    fn settings_survive_the_file_that_they_are_kept_in() {
        let mut settings = LimitSettings::default();
        let device = DeviceKey::from_seed([1; 32]).device().to_string();
        settings.change(&change(r#"{"up": 1000, "schedule": "22:00-06:00"}"#)).expect("a limit");
        let own = LimitChange { device: Some(device), ..change(r#"{"up": 7000}"#) };
        settings.change(&own).expect("a device's limit");
        let text = toml::to_string_pretty(&settings).expect("a file");
        assert_eq!(toml::from_str::<LimitSettings>(&text).expect("the same"), settings, "{text}");
    }
}
