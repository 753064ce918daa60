//! The index of one folder.

mod api;

use std::collections::BTreeSet;
use std::sync::Arc;

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId, FolderId, Hash, Signature, Tier};



use crate::ids::{Author, EntryId};


use crate::storage::Storage;

/// Signs with this device's key.
pub trait Signer {
    /// Gives the device whose key signs.
    fn device(&self) -> DeviceId;
    /// Signs a message.
    fn sign(&self, message: &[u8]) -> Signature;
}

impl Signer for dunlin_identity::DeviceKey {
    fn device(&self) -> DeviceId {
        dunlin_identity::DeviceKey::device(self)
    }
    fn sign(&self, message: &[u8]) -> Signature {
        dunlin_identity::DeviceKey::sign(self, message)
    }
}

/// Checks signatures and admissions; simulations may bring a cheaper one.
pub trait Verifier: Send + Sync {
    /// Tells whether the device signed the message.
    fn verify(&self, device: &DeviceId, message: &[u8], signature: &Signature) -> bool;
    /// Tells whether the admission lets its device into the folder.
    fn admits(&self, admission: &Admission) -> bool;
}

/// The verifier that ships: real signatures, admissions checked by the folder's keys.
#[derive(Clone)]
pub struct KeyVerifier(pub dunlin_identity::FolderKeys);

impl Verifier for KeyVerifier {
    fn verify(&self, device: &DeviceId, message: &[u8], signature: &Signature) -> bool {
        device.verify(message, signature)
    }
    fn admits(&self, admission: &Admission) -> bool {
        self.0.verify_admission(admission)
    }
}

/// What an index needs to know of its folder and device.
#[derive(Clone)]
pub struct Config {
    /// The folder.
    pub folder: FolderId,
    /// The key of first identities (rule 2); never rotates.
    pub id_key: [u8; 32],
    /// This device.
    pub device: DeviceId,
    /// What this device may do.
    pub tier: Tier,
    /// What let this device in; its first record.
    pub admission: Admission,
    /// This device's name for people.
    pub name: String,
    /// Checks what others signed.
    pub verifier: Arc<dyn Verifier>,
    /// A random number; becomes the epoch when none is stored yet.
    pub fresh_epoch: u64,
}

/// How much the view shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counts {
    /// Files and symbolic links, conflict copies included.
    pub files: u64,
    /// Directories; the root is not counted.
    pub dirs: u64,
    /// The sum of the files' sizes, in bytes.
    pub bytes: u64,
    /// Items that stand beside a winner under a derived name.
    pub conflicts: u64,
}

/// How far one author's log is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Whose log.
    pub author: Author,
    /// The last sequence number held.
    pub seq: u64,
    /// The hash of the log's chain up to it.
    pub chain: Hash,
}

/// A device that takes part in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// Its name for people; chosen by it, not unique.
    pub name: String,
    /// What it may do.
    pub tier: Tier,
    /// The generation of the code that let it in.
    pub generation: u32,
    /// Whether it was removed since.
    pub removed: bool,
}

/// What a commit has made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The new segments, to be pushed.
    pub segments: Vec<Vec<u8>>,
    /// Every entry whose items may differ from before.
    pub changed: BTreeSet<EntryId>,
}

/// What a merge has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Every entry whose items may differ from before.
    pub changed: BTreeSet<EntryId>,
    /// The number of records that were new here; 0 for a repetition.
    pub new_records: usize,
    /// Whose log the segment is part of.
    pub from: Author,
}

/// The versioned index of one folder.
pub struct Index<S: Storage> {
    storage: S,
}
