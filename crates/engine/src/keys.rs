//! A folder's keys while it runs: they change when a device is removed.

use std::sync::{PoisonError, RwLock};

use dunlin_identity::{Admission, DeviceId, FolderKeys, Signature};
use dunlin_index::Verifier;

/// The keys of the generation in use.
#[derive(Debug)]
pub struct CurrentKeys(RwLock<FolderKeys>);

impl CurrentKeys {
    /// Begins with these.
    pub fn new(keys: FolderKeys) -> Self {
        Self(RwLock::new(keys))
    }

    /// The keys in use now.
    pub fn get(&self) -> FolderKeys {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses others from now on.
    pub fn set(&self, keys: FolderKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

impl Verifier for CurrentKeys {
    fn verify(&self, device: &DeviceId, message: &[u8], signature: &Signature) -> bool {
        device.verify(message, signature)
    }

    fn admits(&self, admission: &Admission) -> bool {
        self.get().verify_log_admission(admission)
    }
}
