//! Keys of simulated devices: cheap ones for most runs, real ones for a share.

use std::sync::Arc;

use dunlin_identity::{Admission, DeviceId, DeviceKey, FolderId, FolderKeys, Signature, Tier};
use dunlin_index::{KeyVerifier, Signer, Verifier};

use crate::random::Random;

/// What the devices of a run sign and check with.
pub struct Keys {
    /// The folder.
    pub folder: FolderId,
    /// The key of first identities.
    pub id_key: [u8; 32],
    /// Checks what others signed.
    pub verifier: Arc<dyn Verifier>,
    /// Of each device: what it signs with, and what lets it in.
    pub devices: Vec<(Arc<dyn Signer + Send + Sync>, Admission)>,
}

impl Keys {
    /// Makes the keys of a run.
    pub fn make(devices: usize, real: bool, random: &mut Random) -> Self {
        if real { Self::real(devices, random) } else { Self::cheap(devices, random) }
    }

    fn cheap(devices: usize, random: &mut Random) -> Self {
        let device = |id: DeviceId| {
            let admission = Admission {
                device: id,
                tier: Tier::Write,
                generation: 0,
                commitment: [0; 32],
                admission_key: [0; 32],
                certificate: ADMITTED,
                signature: Signature([0; 64]),
            };
            (Arc::new(CheapKey(id)) as Arc<dyn Signer + Send + Sync>, admission)
        };
        Self {
            folder: FolderId([9; 32]),
            id_key: [5; 32],
            verifier: Arc::new(CheapVerifier),
            devices: (0..devices).map(|_| device(DeviceId::from_bytes(bytes(random)))).collect(),
        }
    }

    fn real(devices: usize, random: &mut Random) -> Self {
        let keys = FolderKeys::create(bytes(random));
        let device = |key: DeviceKey| {
            let admission = keys.admit(key.device());
            (Arc::new(key) as Arc<dyn Signer + Send + Sync>, admission)
        };
        Self {
            folder: keys.folder(),
            id_key: keys.id_key().unwrap_or_default(),
            verifier: Arc::new(KeyVerifier(keys.clone())),
            devices: (0..devices).map(|_| device(DeviceKey::from_seed(bytes(random)))).collect(),
        }
    }
}

fn bytes(random: &mut Random) -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.draw().to_le_bytes());
    }
    bytes
}

/// The certificate of everyone who is let in.
const ADMITTED: Signature = Signature([7; 64]);

/// Signs with a hash keyed by the public name: whoever lies about a message is found out, as long
/// as the liar does not know this trick.
struct CheapKey(DeviceId);

fn cheap_signature(device: &DeviceId, message: &[u8]) -> Signature {
    let hash = blake3::keyed_hash(device.as_bytes(), message);
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(hash.as_bytes());
    Signature(signature)
}

impl Signer for CheapKey {
    fn device(&self) -> DeviceId {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        cheap_signature(&self.0, message)
    }
}

struct CheapVerifier;

impl Verifier for CheapVerifier {
    fn verify(&self, device: &DeviceId, message: &[u8], signature: &Signature) -> bool {
        cheap_signature(device, message) == *signature
    }

    fn admits(&self, admission: &Admission) -> bool {
        admission.certificate == ADMITTED
    }
}
