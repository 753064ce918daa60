//! The keys of the generation that removals have raised the folder to: who gives them, and to whom.
//!
//! Each removal carries a next generation's keys. Those of the highest generation are used, if one
//! member alone has made it and is still one. Otherwise removals were made apart, and none of their
//! keys is used: one of the writers that are left raises the folder once more, for the members that
//! all these removals leave.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use dunlin_identity::{DeviceId, Tier};

use super::{Index, keys};
use crate::error::IndexError;
use crate::ids::Millis;
use crate::record::{LogEnd, WrappedKey};
use crate::storage::Storage;

/// What the removals to the highest generation say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Grants {
    generation: u32,
    /// By author, the keys that it has wrapped, by member.
    by: BTreeMap<DeviceId, BTreeMap<DeviceId, Vec<u8>>>,
}

/// A generation that is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted<'a> {
    /// Its number; at least 1.
    pub generation: u32,
    /// The member that has made it.
    pub by: DeviceId,
    /// Its keys as the member has wrapped them, by device. Who is not among these stays out.
    pub keys: &'a BTreeMap<DeviceId, Vec<u8>>,
}

impl<S: Storage> Index<S> {
    /// Gives the generation that removals have raised the folder to; none without a removal, and
    /// as long as it is not agreed upon.
    pub fn granted(&self) -> Option<Granted<'_>> {
        let mut by = self.grants.by.iter();
        let (Some((author, keys)), None) = (by.next(), by.next()) else { return None };
        let generation = self.grants.generation;
        self.is_member(author).then_some(Granted { generation, by: *author, keys })
    }

    /// Gives the members for whom some removal to the highest generation has wrapped its keys.
    pub fn key_holders(&self) -> BTreeSet<DeviceId> {
        let holders = self.grants.by.values().flat_map(BTreeMap::keys);
        holders.filter(|device| self.is_member(device)).copied().collect()
    }

    /// Tells whether this device is the one that has to raise the generation, since removals were
    /// made apart: of the writers that are left, the one with the lowest id.
    pub fn must_raise(&self) -> bool {
        let writes = |device: &DeviceId| self.tier_of(device) == Some(Tier::Write);
        let mut left = self.members.keys().filter(|device| self.is_member(device));
        let first = left.find(|device| writes(device));
        self.generation() > 0
            && self.granted().is_none()
            && first == Some(&self.config.device)
            && !self.is_removed()
    }

    /// Raises the generation again, for those that concurrent removals leave; gives its number.
    /// `keys` are the generation's, wrapped for these.
    ///
    /// # Errors
    /// As [`remove_device`](Self::remove_device), and [`IndexError::NotAMember`] without a removal.
    pub fn raise_generation(
        &mut self,
        now: Millis,
        keys: &[WrappedKey],
    ) -> Result<u32, IndexError> {
        self.check_writer()?;
        let out = self.members.iter().find(|(device, state)| {
            state.removed() == Some(self.grants.generation) && !self.is_member(device)
        });
        let Some((device, state)) = out.map(|(device, state)| (*device, state.clone())) else {
            return Err(IndexError::NotAMember(self.config.device));
        };
        let logs = self.heads.iter().filter(|(author, _)| author.device == device);
        // The same logs end where they end already.
        let ends: Vec<LogEnd> = logs
            .filter_map(|(author, _)| {
                let (epoch, seq) = (author.epoch, state.limit(author.epoch)?);
                Some(LogEnd { epoch, seq })
            })
            .collect();
        self.log_removal(now, device, &ends, keys)
    }

    pub(super) fn note_grants(&mut self, by: DeviceId, generation: u32, keys: Vec<WrappedKey>) {
        if generation < self.grants.generation {
            return;
        }
        if generation > self.grants.generation {
            self.grants = Grants { generation, by: BTreeMap::new() };
        }
        let granted = self.grants.by.entry(by).or_default();
        for key in keys {
            // Of two for one member the lower one, whichever comes first.
            let kept = granted.entry(key.device).or_insert_with(|| key.sealed.clone());
            *kept = std::mem::take(kept).min(key.sealed);
        }
        self.overlay.put(keys::GRANTS.to_vec(), super::to_stored(&self.grants));
    }

    pub(super) fn load_grants(&mut self) -> Result<(), IndexError> {
        if let Some(bytes) = self.overlay.get(keys::GRANTS)? {
            self.grants = super::stored(&bytes, "the keys of a generation")?;
        }
        Ok(())
    }
}
