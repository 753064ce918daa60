//! The key schedule of a folder.
//!
//! Each tier's secret is the one-way image of the tier above, so that a code gives exactly what
//! its tier may know: write secret → read secret → store secret. The folder's id commits to the
//! store secret and to the public half of the write signing key, so that no holder of a lower
//! tier can pass off another writer as this folder's.
//!
//! What must change when a device is removed hangs on the secret of a *generation*: generation 0's
//! comes from the store secret, later ones are drawn at random by a writer. What must not change
//! (entry ids, block addresses, the rendezvous) hangs on the tiers' secrets alone.

use std::{fmt, str::FromStr, sync::Arc};

use bincode::{Decode, Encode};
use ed25519_dalek::{Signer as _, SigningKey};
use thiserror::Error;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::{
    admission::{self, Admission},
    contexts,
    device::{DeviceId, Signature},
    generation::{Generation, GenerationError},
    hex::{self, ParseHexError},
    wire,
};

/// A folder's public name: a commitment to its store secret and its write public key.
#[derive(Clone, Copy, Decode, Encode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FolderId(pub [u8; 32]);

impl FolderId {
    /// Returns the id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderId({self})")
    }
}

impl FromStr for FolderId {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::parse(text).map(Self)
    }
}

/// What the holder of a folder's secret may do; each tier includes those before it.
#[derive(Clone, Copy, Debug, Decode, Encode, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Tier {
    /// Keeps and serves ciphertext, and can read neither names nor contents.
    Store,
    /// Reads everything and changes nothing.
    Read,
    /// Reads and changes everything, and may raise the generation.
    Write,
}

impl Tier {
    /// The tier's byte in signed messages and codes.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Store => 0,
            Self::Read => 1,
            Self::Write => 2,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Store => "store",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// A text that names no tier.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("a tier is one of write, read and store")]
pub struct ParseTierError;

impl FromStr for Tier {
    type Err = ParseTierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Store, Self::Read, Self::Write]
            .into_iter()
            .find(|tier| tier.to_string() == text)
            .ok_or(ParseTierError)
    }
}

/// Which side of a connection makes a proof; each side's proof is of no use to the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// The side that opened the connection.
    Initiator,
    /// The side that accepted it.
    Responder,
}

/// Why stored keys or the keys in a join code were refused.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeysError {
    /// The bytes end before the keys do.
    #[error("the folder's keys are cut short")]
    Truncated,
    /// Bytes follow the keys.
    #[error("{count} bytes too many follow the folder's keys")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// Written by another version of the program.
    #[error("the folder's keys are of version {found}, which this program does not know")]
    Version {
        /// The version's number.
        found: u8,
    },
    /// A field holds what no program of this version writes.
    #[error("the folder's keys are damaged: their header is {found:#04x}")]
    Header {
        /// The header byte.
        found: u8,
    },
    /// A certificate was not made by this folder's write key for these secrets.
    #[error("the folder's keys do not belong together: a certificate does not fit")]
    Certificate,
}

/// All that follows from the secret of one tier. Cheap to clone; erased from memory when the last
/// clone goes; `Debug` shows the folder, tier and generation only.
#[derive(Clone)]
pub struct FolderKeys(Arc<Schedule>);

/// The secrets and what is asked for often, derived once.
#[derive(ZeroizeOnDrop)]
struct Schedule {
    /// Of the own tier, from which the others follow.
    secret: [u8; 32],
    read: Option<[u8; 32]>,
    store: [u8; 32],
    generation_secret: [u8; 32],
    gossip_key: [u8; 32],
    proof_key: [u8; 32],
    #[zeroize(skip)]
    topic: [u8; 32],
    #[zeroize(skip)]
    public: Public,
}

/// The part of the schedule that is no secret.
struct Public {
    tier: Tier,
    write_key: [u8; 32],
    folder: FolderId,
    generation: u32,
    certificates: Certificates,
}

/// The write key's signatures over the admission keys that this tier can use. A writer makes them
/// when they are asked for and keeps none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Certificates {
    pub(crate) store: Option<Signature>,
    pub(crate) read: Option<Signature>,
}

/// The parts from which a schedule is put together, as they are stored and travel in codes.
pub(crate) struct Parts {
    pub(crate) tier: Tier,
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// Required below the write tier, where it cannot be derived.
    pub(crate) write_key: Option<[u8; 32]>,
    /// Number and secret of a generation above 0.
    pub(crate) later: Option<(u32, Zeroizing<[u8; 32]>)>,
    pub(crate) certificates: Certificates,
}

/// Derives 32 bytes for one purpose from parts of fixed lengths.
fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

impl FolderKeys {
    /// Derives everything from a fresh sync-id: 32 bytes that the caller drew at random.
    #[must_use]
    pub fn create(sync_id: [u8; 32]) -> Self {
        Self::assemble(&Parts {
            tier: Tier::Write,
            secret: Zeroizing::new(sync_id),
            write_key: None,
            later: None,
            certificates: Certificates::default(),
        })
    }

    /// Derives the schedule from its parts, without checking certificates.
    fn assemble(parts: &Parts) -> Self {
        let secret = *parts.secret;
        let read = match parts.tier {
            Tier::Write => Some(derive(contexts::READ_SECRET, &[&secret])),
            Tier::Read => Some(secret),
            Tier::Store => None,
        };
        let store = read.map_or(secret, |read| derive(contexts::STORE_SECRET, &[&read]));
        let write_key = parts
            .write_key
            .unwrap_or_else(|| write_signing_key(&secret).verifying_key().to_bytes());
        let (generation, generation_secret) = match &parts.later {
            Some((number, secret)) => (*number, **secret),
            None => (0, derive(contexts::GENERATION_ZERO, &[&store])),
        };
        let folder = FolderId(derive(contexts::FOLDER_ID, &[&store, &write_key]));
        let of_generation = |context| {
            derive(context, &[folder.as_bytes(), &generation.to_le_bytes(), &generation_secret])
        };
        Self(Arc::new(Schedule {
            gossip_key: of_generation(contexts::GOSSIP_KEY),
            proof_key: of_generation(contexts::PROOF_KEY),
            topic: of_generation(contexts::TOPIC),
            secret,
            read,
            store,
            generation_secret,
            public: Public {
                tier: parts.tier,
                write_key,
                folder,
                generation,
                certificates: parts.certificates,
            },
        }))
    }

    /// Derives the schedule from parts that came from a disk or a stranger.
    pub(crate) fn from_parts(parts: &Parts) -> Result<Self, KeysError> {
        let keys = Self::assemble(parts);
        let known = [Tier::Store, Tier::Read].into_iter().filter(|tier| *tier <= keys.tier());
        if known.into_iter().all(|tier| keys.certificate_fits_own(tier)) {
            Ok(keys)
        } else {
            Err(KeysError::Certificate)
        }
    }

    /// The parts from which [`Self::from_parts`] makes these keys again.
    pub(crate) fn parts(&self) -> Parts {
        let public = &self.0.public;
        Parts {
            tier: public.tier,
            secret: Zeroizing::new(self.0.secret),
            write_key: (public.tier < Tier::Write).then_some(public.write_key),
            later: (public.generation > 0)
                .then(|| (public.generation, Zeroizing::new(self.0.generation_secret))),
            certificates: public.certificates,
        }
    }

    /// Returns the folder's public name.
    #[must_use]
    pub fn folder(&self) -> FolderId {
        self.0.public.folder
    }

    /// Returns the tier whose secret this is.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.0.public.tier
    }

    /// Returns the generation, counted from 0 and raised whenever a device is removed.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.0.public.generation
    }

    /// Returns the public half of the key that certifies admissions; every tier knows it.
    #[must_use]
    pub fn write_public_key(&self) -> &[u8; 32] {
        &self.0.public.write_key
    }

    /// Returns the key of first identities, which never rotates; none for the store tier.
    #[must_use]
    pub fn id_key(&self) -> Option<[u8; 32]> {
        self.0.read.map(|read| derive(contexts::ID_KEY, &[&read]))
    }

    /// Returns the key of block addresses, which never rotates; none for the store tier.
    #[must_use]
    pub fn block_key(&self) -> Option<[u8; 32]> {
        self.0.read.map(|read| derive(contexts::BLOCK_KEY, &[&read]))
    }

    /// Returns the key that seals this generation's records; none for the store tier.
    #[must_use]
    pub fn record_key(&self) -> Option<[u8; 32]> {
        self.0.read.map(|read| {
            let number = self.generation().to_le_bytes();
            derive(contexts::RECORD_KEY, &[&read, &number, &self.0.generation_secret])
        })
    }

    /// Returns the gossip topic of this generation, the same for every tier.
    #[must_use]
    pub fn topic(&self) -> [u8; 32] {
        self.0.topic
    }

    /// Returns the key that seals gossip of this generation, the same for every tier.
    #[must_use]
    pub fn gossip_key(&self) -> [u8; 32] {
        self.0.gossip_key
    }

    /// Returns the key behind [`Self::prove`] in this generation, the same for every tier.
    #[must_use]
    pub fn proof_key(&self) -> [u8; 32] {
        self.0.proof_key
    }

    /// Returns the key under which members provide in the DHT on `day`, in days since 1970.
    ///
    /// It follows from the store secret and not from the generation, so that a member who was
    /// away during a removal still finds the others. Without the secret two days' keys cannot be
    /// linked with each other or with the folder.
    #[must_use]
    pub fn rendezvous(&self, day: u64) -> [u8; 32] {
        derive(contexts::RENDEZVOUS, &[&self.0.store, &day.to_le_bytes()])
    }

    /// Proves to holders of the same generation that this side holds it too: a keyed BLAKE3 hash
    /// over the role and `binding`, which must name this one connection and both its ends.
    ///
    /// Compare two proofs through [`Self::proof_fits`], which takes the same time for all.
    #[must_use]
    pub fn prove(&self, role: Role, binding: &[u8]) -> [u8; 32] {
        *self.proof(role, binding).as_bytes()
    }

    /// Tells, in constant time, whether `proof` is what the side in `role` had to show.
    #[must_use]
    pub fn proof_fits(&self, role: Role, binding: &[u8], proof: &[u8; 32]) -> bool {
        // Comparison of `blake3::Hash` does not stop at the first byte that differs.
        self.proof(role, binding) == *proof
    }

    fn proof(&self, role: Role, binding: &[u8]) -> blake3::Hash {
        let role = match role {
            Role::Initiator => 0,
            Role::Responder => 1,
        };
        blake3::Hasher::new_keyed(&self.0.proof_key).update(&[role]).update(binding).finalize()
    }

    /// Admits a device to this tier and generation.
    #[must_use]
    pub fn admit(&self, device: DeviceId) -> Admission {
        let tier = self.tier();
        let key = self.admission_key(tier).expect("a tier always holds its own secret");
        let certificate =
            self.certificate(tier).expect("keys below the write tier are refused without one");
        let generation = (self.generation(), self.commitment());
        Admission::sign(self.folder(), device, tier, generation, &key, certificate)
    }

    /// Tells whether `admission` was made with a code of this folder and of this generation.
    ///
    /// An admission of another generation never fits, so that old codes die with the generation.
    #[must_use]
    pub fn verify_admission(&self, admission: &Admission) -> bool {
        admission.generation == self.generation() && self.verify_log_admission(admission)
    }

    /// Tells whether `admission` was made with a code of this folder of this generation or of an
    /// earlier one, as the logs of members begin with.
    ///
    /// Who was removed, and has a write code, can make admissions of the earlier generations, as it
    /// could at that time. What keeps them out is that nobody takes them up: the proofs of membership
    /// are of the present generation.
    #[must_use]
    pub fn verify_log_admission(&self, admission: &Admission) -> bool {
        let commitment = match admission.generation {
            number if number == self.generation() => self.commitment(),
            0 => {
                let secret = Zeroizing::new(derive(contexts::GENERATION_ZERO, &[&self.0.store]));
                commitment_to(&secret)
            }
            number if number < self.generation() => admission.commitment,
            _ => return false,
        };
        let message = self.certificate_message(
            admission.tier,
            &admission.admission_key,
            (admission.generation, &commitment),
        );
        commitment == admission.commitment
            && crate::device::verify(&self.0.public.write_key, &message, &admission.certificate)
            && admission.signature_fits(self.folder())
    }

    /// Returns the same folder's keys as a holder of `tier` has them, to be shared; none when
    /// `tier` is above the own one.
    #[must_use]
    pub fn weaken(&self, tier: Tier) -> Option<Self> {
        if tier == self.tier() {
            return Some(self.clone());
        }
        let secret = match tier {
            Tier::Write => return None,
            Tier::Read => self.0.read?,
            Tier::Store => self.0.store,
        };
        let read = (tier == Tier::Read).then(|| self.certificate(Tier::Read)).flatten();
        Some(Self::assemble(&Parts {
            tier,
            secret: Zeroizing::new(secret),
            write_key: Some(self.0.public.write_key),
            certificates: Certificates { store: self.certificate(Tier::Store), read },
            ..self.parts()
        }))
    }

    /// Makes the next generation of the folder from 32 fresh random bytes; none below the write
    /// tier, which alone can certify its admission keys.
    ///
    /// The result goes to every member that stays, and to no other.
    #[must_use]
    pub fn next_generation(&self, secret: [u8; 32]) -> Option<Generation> {
        self.later_generation(self.generation().checked_add(1)?, secret)
    }

    /// As [`Self::next_generation`], with a number above the own one: generations in between may
    /// have been given out without being used.
    #[must_use]
    pub fn later_generation(&self, number: u32, secret: [u8; 32]) -> Option<Generation> {
        if number <= self.generation() {
            return None;
        }
        let parts = Parts { later: Some((number, Zeroizing::new(secret))), ..self.parts() };
        let next = (self.tier() == Tier::Write).then(|| Self::assemble(&parts))?;
        Some(Generation {
            number,
            secret,
            store: next.certificate(Tier::Store)?,
            read: next.certificate(Tier::Read)?,
        })
    }

    /// Returns a writer's keys in the first generation, which follows from its secret; none below
    /// the write tier, where the certificates of that generation are not known.
    #[must_use]
    pub fn first_generation(&self) -> Option<Self> {
        (self.tier() == Tier::Write).then(|| Self::create(self.0.secret))
    }

    /// Returns these keys in a later generation.
    ///
    /// # Errors
    ///
    /// [`GenerationError`] when it is not later, or when no writer of this folder made it.
    pub fn at_generation(&self, generation: &Generation) -> Result<Self, GenerationError> {
        if generation.number <= self.generation() {
            return Err(GenerationError::NotLater {
                own: self.generation(),
                offered: generation.number,
            });
        }
        let certificates = match self.tier() {
            Tier::Write => Certificates::default(),
            Tier::Read => {
                Certificates { store: Some(generation.store), read: Some(generation.read) }
            }
            Tier::Store => Certificates { store: Some(generation.store), read: None },
        };
        let later = Some((generation.number, Zeroizing::new(generation.secret)));
        Self::from_parts(&Parts { later, certificates, ..self.parts() })
            .map_err(|_| GenerationError::Forged)
    }

    /// Returns the keys as they are stored in the home. The bytes are the secret itself.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        wire::encode_keys(self)
    }

    /// Reads what [`Self::to_bytes`] gave.
    ///
    /// # Errors
    ///
    /// [`KeysError`] for bytes that no program of this version writes. Any input is safe.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeysError> {
        wire::decode_keys(bytes)
    }

    /// The admission key of a tier at or below the own one.
    fn admission_key(&self, tier: Tier) -> Option<SigningKey> {
        let secret = match tier {
            Tier::Write => (self.tier() == Tier::Write).then_some(&self.0.secret)?,
            Tier::Read => self.0.read.as_ref()?,
            Tier::Store => &self.0.store,
        };
        let number = self.generation().to_le_bytes();
        // The generation's secret is in it, so that who was removed, and still has the tier's
        // secret, does not know the next generation's admission key.
        let seed = Zeroizing::new(derive(
            contexts::ADMISSION_KEY,
            &[secret, &[tier.byte()], &number, &self.0.generation_secret],
        ));
        Some(SigningKey::from_bytes(&seed))
    }

    /// The certificate of a tier's admission key: made here by a writer, else the stored one.
    fn certificate(&self, tier: Tier) -> Option<Signature> {
        if self.tier() == Tier::Write {
            let admission_key = self.admission_key(tier)?.verifying_key().to_bytes();
            let generation = (self.generation(), &self.commitment());
            let message = self.certificate_message(tier, &admission_key, generation);
            let signature = write_signing_key(&self.0.secret).sign(&message);
            return Some(Signature(signature.to_bytes()));
        }
        match tier {
            Tier::Write => None,
            Tier::Read => self.0.public.certificates.read,
            Tier::Store => self.0.public.certificates.store,
        }
    }

    fn commitment(&self) -> [u8; 32] {
        commitment_to(&self.0.generation_secret)
    }

    fn certificate_fits_own(&self, tier: Tier) -> bool {
        match (self.admission_key(tier), self.certificate(tier)) {
            (Some(key), Some(certificate)) => {
                self.certificate_fits(tier, &key.verifying_key().to_bytes(), &certificate)
            }
            _ => false,
        }
    }

    fn certificate_fits(
        &self,
        tier: Tier,
        admission_key: &[u8; 32],
        signature: &Signature,
    ) -> bool {
        let generation = (self.generation(), &self.commitment());
        let message = self.certificate_message(tier, admission_key, generation);
        crate::device::verify(&self.0.public.write_key, &message, signature)
    }

    /// What the write key signs. The commitment to the generation's secret keeps a removed
    /// writer, who still has the write key, from certifying keys for a later generation.
    fn certificate_message(
        &self,
        tier: Tier,
        admission_key: &[u8; 32],
        (generation, commitment): (u32, &[u8; 32]),
    ) -> Vec<u8> {
        admission::message(
            contexts::CERTIFICATE,
            &[
                self.folder().as_bytes(),
                &[tier.byte()],
                &generation.to_le_bytes(),
                admission_key,
                commitment,
            ],
        )
    }
}

/// What stands for a generation's secret in what is public.
fn commitment_to(secret: &[u8; 32]) -> [u8; 32] {
    derive(contexts::GENERATION_COMMITMENT, &[secret])
}

/// The key that certifies admission keys, from the write secret.
fn write_signing_key(write_secret: &[u8; 32]) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new(derive(contexts::WRITE_SIGNING, &[write_secret])))
}

impl fmt::Debug for FolderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderKeys")
            .field("folder", &self.folder())
            .field("tier", &self.tier())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
