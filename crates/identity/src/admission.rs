//! Admissions: signed statements that a device was let in with a code of a tier.
//!
//! The chain has two links. The folder's write key certifies one admission key for each tier and
//! generation; the admission key, which every holder of that tier's code can derive, signs the
//! device. So a store node can let a reader in without being able to read, and any tier can check
//! an admission to any tier, with the write public key that all of them know.

use bincode::{Decode, Encode};
use ed25519_dalek::{Signer as _, SigningKey};

use crate::{
    contexts,
    device::{self, DeviceId, Signature},
    folder::{FolderId, Tier},
};

/// States that a device holds a tier of a folder in one generation.
///
/// Which folder is not in it: the signatures cover it, and who checks knows it.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, PartialEq)]
pub struct Admission {
    /// The device that was let in.
    pub device: DeviceId,
    /// The tier that it was let in to.
    pub tier: Tier,
    /// The generation of the code.
    pub generation: u32,
    /// The commitment to the generation's secret, which tells generations of one number apart.
    pub commitment: [u8; 32],
    /// The public half of the tier's admission key in this generation.
    pub admission_key: [u8; 32],
    /// The write key's signature over folder, tier, generation and admission key.
    pub certificate: Signature,
    /// The admission key's signature over folder, device, tier and generation.
    pub signature: Signature,
}

impl Admission {
    pub(crate) fn sign(
        folder: FolderId,
        device: DeviceId,
        tier: Tier,
        (generation, commitment): (u32, [u8; 32]),
        key: &SigningKey,
        certificate: Signature,
    ) -> Self {
        let message = admission_message(folder, &device, tier, generation);
        Self {
            device,
            tier,
            generation,
            commitment,
            admission_key: key.verifying_key().to_bytes(),
            certificate,
            signature: Signature(key.sign(&message).to_bytes()),
        }
    }

    /// Tells whether the second link of the chain holds.
    pub(crate) fn signature_fits(&self, folder: FolderId) -> bool {
        let message = admission_message(folder, &self.device, self.tier, self.generation);
        device::verify(&self.admission_key, &message, &self.signature)
    }
}

fn admission_message(folder: FolderId, device: &DeviceId, tier: Tier, generation: u32) -> Vec<u8> {
    message(
        contexts::ADMISSION,
        &[folder.as_bytes(), device.as_bytes(), &[tier.byte()], &generation.to_le_bytes()],
    )
}

/// A message to be signed: its context, a zero byte, and fields of fixed lengths.
pub(crate) fn message(context: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    message.extend_from_slice(context.as_bytes());
    message.push(0);
    for field in fields {
        message.extend_from_slice(field);
    }
    message
}
