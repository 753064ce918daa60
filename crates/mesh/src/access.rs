//! Who is let into a folder, and with which generation's keys.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_identity::{DeviceId, FolderKeys};

/// Earlier generations of one folder that are offered, so that who was away can be let in.
pub(crate) const EARLIER_MAX: usize = 4;

/// A folder as it is open on this device.
#[derive(Clone, Debug)]
pub struct FolderAccess {
    /// The keys in use.
    pub keys: FolderKeys,
    /// Keys of earlier generations, the latest first; at most four are used. With these only the
    /// devices in `late` are let in, so that they can be told of what came since.
    pub earlier: Vec<FolderKeys>,
    /// The members that hold a place in the present generation and may not know of it yet.
    pub late: BTreeSet<DeviceId>,
    /// Devices that were removed, with the generation that this raised the folder to: they are let
    /// in only with keys of that generation or a later one.
    pub removed: BTreeMap<DeviceId, u32>,
}

impl From<FolderKeys> for FolderAccess {
    fn from(keys: FolderKeys) -> Self {
        let (late, removed) = Default::default();
        Self { keys, earlier: Vec::new(), late, removed }
    }
}

impl FolderAccess {
    /// The keys that are offered to others, those in use first.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &FolderKeys> {
        std::iter::once(&self.keys).chain(self.earlier.iter().take(EARLIER_MAX))
    }

    /// Tells whether a device stays out, although it may hold the keys of this generation.
    pub(crate) fn refuses(&self, device: &DeviceId, generation: u32) -> bool {
        let outdated = generation < self.keys.generation() && !self.late.contains(device);
        outdated || self.removed.get(device).is_some_and(|removed| generation < *removed)
    }

    /// Tells whether both offer the same to others.
    pub(crate) fn offers_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&FolderKeys, &FolderKeys)| {
            one.tier() == other.tier() && one.proof_key() == other.proof_key()
        };
        self.offered().count() == other.offered().count()
            && self.offered().zip(other.offered()).all(same)
    }
}
