//! What all members of a folder have agreed on besides its files: an observed-remove set of values
//! that the index does not look into, as with the contents of an entry. Each write carries the
//! settings as a whole and replaces what its author saw; who reads merges the values that are left.

use bincode::{Decode, Encode};

use super::entry::{lanes, remember, take};
use super::tree::{add, subtract};
use super::{Index, keys};
use crate::error::IndexError;
use crate::ids::{Dot, Millis};
use crate::record::{Op, SETTINGS_BYTES_MAX};
use crate::storage::Storage;

/// What is stored of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct SettingsState {
    /// The values that nobody has replaced, by dot.
    values: Vec<(Dot, Vec<u8>)>,
    /// The dots that were replaced before they arrived, sorted.
    ahead: Vec<Dot>,
}

impl SettingsState {
    /// Gives the settings' part of the fingerprint; nothing while nobody has set anything.
    pub(super) fn print(&self) -> [u64; 4] {
        if self.values.is_empty() {
            return [0; 4];
        }
        lanes(&super::to_stored(&("settings", &self.values)))
    }

    /// Adds a value, unless it is replaced already, and takes out those that it replaces.
    fn write(&mut self, dot: Dot, value: Vec<u8>, replaces: &[Dot], knows: impl Fn(&Dot) -> bool) {
        self.values.retain(|(old, _)| !replaces.contains(old));
        remember(&mut self.ahead, replaces, knows);
        if !take(&mut self.ahead, &dot)
            && let Err(at) = self.values.binary_search_by_key(&dot, |(old, _)| *old)
        {
            self.values.insert(at, (dot, value));
        }
    }
}

impl<S: Storage> Index<S> {
    /// Gives the values of the folder's settings that nobody has replaced, by dot: what their
    /// authors wrote, which may be anything. More than one was written apart.
    pub fn settings(&self) -> &[(Dot, Vec<u8>)] {
        &self.settings.values
    }

    /// Writes the folder's settings, of at most 6 KiB, in the place of all values that are known.
    ///
    /// # Errors
    /// Fails when the value is too large, this device may not write, or the storage fails.
    pub fn set_settings(&mut self, now: Millis, value: Vec<u8>) -> Result<(), IndexError> {
        self.check_writer()?;
        if value.len() > SETTINGS_BYTES_MAX {
            return Err(IndexError::SettingsTooLarge(value.len()));
        }
        // A record has room for so many; what is left of more is merged again by the next write.
        const REPLACED_MAX: usize = 24;
        let replaces =
            self.settings.values.iter().map(|(dot, _)| *dot).take(REPLACED_MAX).collect();
        self.log_local(now, Op::Settings { value, replaces })?;
        Ok(())
    }

    pub(super) fn apply_settings(&mut self, dot: Dot, value: Vec<u8>, replaces: &[Dot]) {
        let mut settings = std::mem::take(&mut self.settings);
        self.meta.print = subtract(self.meta.print, settings.print());
        settings.write(dot, value, replaces, |dot| self.knows(dot));
        self.meta.print = add(self.meta.print, settings.print());
        self.overlay.put(keys::SETTINGS.to_vec(), super::to_stored(&settings));
        self.settings = settings;
    }

    /// Forgets the settings, as part of a rebuild that also begins a new fingerprint.
    pub(super) fn clear_settings(&mut self) {
        self.settings = SettingsState::default();
    }

    pub(super) fn load_settings(&mut self) -> Result<(), IndexError> {
        if let Some(bytes) = self.overlay.get(keys::SETTINGS)? {
            self.settings = super::stored(&bytes, "the settings")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Replica, meet};

    fn values(replica: &Replica) -> Vec<&[u8]> {
        replica.index.settings().iter().map(|(_, value)| value.as_slice()).collect()
    }

    fn set(replica: &mut Replica, value: &str) {
        replica.index.set_settings(0, value.as_bytes().to_vec()).unwrap();
        replica.commit();
    }

    #[test]
    fn settings_made_apart_are_all_kept_until_somebody_replaces_them() {
        let (mut a, mut b) = (Replica::new(1), Replica::new(2));
        set(&mut a, "one");
        set(&mut b, "two");
        assert_ne!(a.index.fingerprint(), b.index.fingerprint());
        meet(&mut a, &mut b);
        assert_eq!(values(&a), [b"one", b"two"]);
        assert_eq!(values(&b), values(&a));
        set(&mut b, "both");
        meet(&mut a, &mut b);
        assert_eq!(values(&a), [b"both"]);
        assert_eq!(a.index.fingerprint(), b.index.fingerprint());
        a.audit();
    }

    #[test]
    fn settings_that_were_replaced_before_they_arrived_stay_away() {
        let (mut a, mut b, mut c) = (Replica::new(1), Replica::new(2), Replica::new(3));
        set(&mut a, "one");
        b.pull(&a);
        set(&mut b, "two");
        c.pull_only(&b);
        c.pull_only(&a);
        assert_eq!(values(&c), [b"two"]);
        c.index.rebuild().unwrap();
        assert_eq!(values(&c), [b"two"]);
        c.audit();
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        let mut a = Replica::new(1);
        let refused = a.index.set_settings(0, vec![0; SETTINGS_BYTES_MAX + 1]);
        assert!(matches!(refused, Err(IndexError::SettingsTooLarge(6145))));
        a.index.set_settings(0, vec![0; SETTINGS_BYTES_MAX]).unwrap();
        a.commit();
        assert_eq!(a.index.settings().len(), 1);
    }
}
