//! The index of one folder: its state, kept by signed records, and the tree that it shows.
//!
//! The parts: `log` (segments, heads, signing), `merge` (what peers send), `local` (what this
//! device's user does), `apply` (the effect of one record), `tree` (what follows from the
//! registers: who is live, where, how much), `cycles`, `view` (rules 4 and 5), `conflicts`,
//! `withdraw` (contents that nobody has any more), and `settings`.

mod apart;
mod apply;
mod audit;
mod conflicts;
mod cycles;
mod entry;
mod grants;
#[cfg(test)]
mod hostile;
mod keys;
mod live;
mod local;
mod log;
mod members;
mod merge;
mod naming;
mod overlay;
#[cfg(test)]
mod properties;
mod rebuild;
#[cfg(test)]
mod removals;
mod resolve;
#[cfg(test)]
mod rules;
mod settings;
#[cfg(test)]
mod texts;
mod tree;
mod view;
mod withdraw;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId, FolderId, Hash, Signature, Tier};

use self::entry::EntryRec;
pub use self::grants::Granted;
use self::grants::Grants;
use self::log::LogHead;
use self::members::MemberState;
use self::overlay::Overlay;
use self::settings::SettingsState;
use crate::context::Context;
use crate::error::IndexError;
use crate::ids::{Author, Dot, EntryId, Millis};
use crate::item::{Item, ItemKey};
use crate::record::{Op, Place};
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
        self.0.verify_log_admission(admission)
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

/// The version of the stored form; another one is rebuilt from the logs.
const STORED_VERSION: u32 = 6;

/// Of a hybrid logical clock, this many low bits count events within a millisecond.
const HLC_COUNTER_BITS: u32 = 12;

/// The clock does not follow a peer's further than this ahead of the wall clock.
const HLC_AHEAD_MS_MAX: u64 = 6 * 60 * 60 * 1000;

/// Decoding of what was stored here may claim this much memory.
const STORED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is stored of the folder as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Meta {
    version: u32,
    folder: FolderId,
    epoch: u64,
    /// The sum of the entries' prints in four lanes, each modulo 2^64: order does not matter, and
    /// an entry can be taken out again.
    print: [u64; 4],
    counts: Counts,
    /// The last value of the hybrid logical clock.
    hlc: u64,
    /// The number of slots that more than one wanted directory claims.
    unions: u64,
    /// The number of complicated slots.
    complicated: u64,
    /// Whether there was ever a tree deletion.
    tree_deletes: bool,
}

/// Views of whole directories that were computed since the last change.
#[derive(Default)]
struct ViewCache {
    version: u64,
    dirs: BTreeMap<(EntryId, bool), Arc<Vec<Item>>>,
}

/// The versioned index of one folder.
///
/// Local operations and merges are seen at once by all reads; they are durable only after
/// [`commit`](Self::commit) or [`write_back`](Self::write_back). After an
/// [`IndexError::Storage`] the index is to be dropped and opened again.
pub struct Index<S: Storage> {
    overlay: Overlay<S>,
    config: Config,
    author: Author,
    meta: Meta,
    heads: BTreeMap<Author, LogHead>,
    /// What the logs cover; own records that are not signed yet are not in it.
    context: Context,
    /// Own records that are applied but not signed yet, numbered from the own head on.
    pending: Vec<Vec<u8>>,
    members: BTreeMap<DeviceId, MemberState>,
    settings: SettingsState,
    grants: Grants,
    /// Entries that circles of moves keep from being shown where they were moved; `None` while an
    /// entry is on its way from one place to another.
    displaced: BTreeMap<EntryId, Option<Place>>,
    /// Tree deletions whose context is not covered yet.
    waiting: BTreeSet<(EntryId, Dot)>,
    /// Directories that are not known yet and have entries in them.
    unknown: BTreeSet<EntryId>,
    /// A removal takes back records that had an effect: the state must be rebuilt.
    stale: bool,
    changed: BTreeSet<EntryId>,
    /// Copies that the next local operation leaves where they are; see
    /// [`leave_alone`](Self::leave_alone).
    unseen: Vec<ItemKey>,
    /// Counts changes of the tree, so that cached views are known to be old.
    version: u64,
    cache: RefCell<ViewCache>,
}

impl<S: Storage> Index<S> {
    /// Opens the index in a storage, or makes it. A new log's first record, which announces this
    /// device as a member, is staged: [`commit`](Self::commit) signs it.
    pub fn open(storage: S, config: Config, now: Millis) -> Result<Self, IndexError> {
        let overlay = Overlay::new(storage);
        let stored = overlay.get(keys::META)?.map(|bytes| stored::<Meta>(&bytes, "its head"));
        let stored = stored.transpose()?;
        let fresh = stored.is_none();
        let meta = stored.unwrap_or_else(|| Meta::new(config.folder, config.fresh_epoch));
        if meta.folder != config.folder {
            return Err(IndexError::Damaged("it belongs to another folder"));
        }
        let author = Author { device: config.device, epoch: meta.epoch };
        let mut index = Self {
            overlay,
            config,
            author,
            meta,
            heads: BTreeMap::new(),
            context: Context::default(),
            pending: Vec::new(),
            members: BTreeMap::new(),
            settings: SettingsState::default(),
            grants: Grants::default(),
            displaced: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unknown: BTreeSet::new(),
            stale: false,
            changed: BTreeSet::new(),
            unseen: Vec::new(),
            version: 0,
            cache: RefCell::default(),
        };
        index.load()?;
        if index.meta.version == STORED_VERSION {
            index.load_derived()?;
        } else {
            index.forget_derived()?;
            index.rebuild()?;
        }
        if fresh || index.has_new_name() {
            index.announce(now)?;
        }
        index.changed.clear();
        Ok(index)
    }

    fn load(&mut self) -> Result<(), IndexError> {
        self.load_heads()?;
        if let Some(bytes) = self.overlay.get(keys::PENDING)? {
            self.pending = stored(&bytes, "unsigned records")?;
        }
        Ok(())
    }

    /// Loads what follows from the logs.
    fn load_derived(&mut self) -> Result<(), IndexError> {
        self.load_members()?;
        self.load_settings()?;
        self.load_grants()?;
        if let Some(bytes) = self.overlay.get(keys::DISPLACED)? {
            self.displaced = stored(&bytes, "displaced entries")?;
        }
        self.load_unknown()?;
        self.load_waiting()
    }

    /// Whether this device has been renamed since it last told its name.
    fn has_new_name(&self) -> bool {
        let device = self.config.device;
        self.members()
            .iter()
            .any(|member| member.device == device && member.name != self.config.name)
    }

    /// Stages what says that this device takes part, and its name: the first record of a log.
    fn announce(&mut self, now: Millis) -> Result<(), IndexError> {
        let admission = self.config.admission;
        let name = self.config.name.clone();
        self.log_local(now, Op::Member { admission, name, named_ms: now })?;
        Ok(())
    }

    /// Gives the log that this device writes: itself in its present epoch.
    pub fn author(&self) -> Author {
        self.author
    }

    /// Gives what the logs held here cover; staged changes that are not committed are not in it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Gives a fingerprint of the live registers: equal for equal states, however they came about.
    pub fn fingerprint(&self) -> Hash {
        let mut bytes = [0; 32];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.meta.print) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        Hash(bytes)
    }

    /// Gives how much the view shows.
    pub fn counts(&self) -> Counts {
        self.meta.counts
    }

    /// Tells whether there are local changes that no commit has signed yet.
    pub fn has_uncommitted(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives what this index was opened with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Keeps bytes of the caller's beside the staged changes: they become part of the storage with
    /// them or not at all, in the place of those that were kept before.
    pub fn keep_beside(&mut self, bytes: Vec<u8>) {
        self.overlay.put(keys::BESIDE.to_vec(), bytes);
    }

    /// Gives what was kept beside the changes that were stored last.
    pub fn kept_beside(&self) -> Result<Option<Vec<u8>>, IndexError> {
        self.overlay.get(keys::BESIDE)
    }

    /// Makes the staged changes part of the storage, atomically, and durable when asked.
    pub fn write_back(&mut self, durable: bool) -> Result<(), IndexError> {
        if !self.pending.is_empty() {
            self.overlay.put(keys::PENDING.to_vec(), to_stored(&self.pending));
        }
        if !self.overlay.is_clean() {
            self.overlay.put(keys::META.to_vec(), to_stored(&self.meta));
        }
        self.overlay.write_back(durable)
    }

    /// Tells whether a change has taken effect here, an unsigned one of our own included.
    fn knows(&self, dot: &Dot) -> bool {
        self.context.covers(dot) || (dot.author == self.author && dot.seq < self.next_seq())
    }

    fn knows_all(&self, context: &Context) -> bool {
        context.iter().all(|(author, seq)| self.knows(&Dot { author: *author, seq }))
    }

    fn next_seq(&self) -> u64 {
        self.context.get(&self.author) + self.pending.len() as u64 + 1
    }

    /// Follows another's clock, but not one that is too far ahead (rule 1).
    fn observe_clock(&mut self, hlc: u64, now: Millis) {
        if hlc >> HLC_COUNTER_BITS <= now.saturating_add(HLC_AHEAD_MS_MAX) {
            self.meta.hlc = self.meta.hlc.max(hlc);
        }
    }

    fn entry(&self, id: &EntryId) -> Result<Option<Arc<EntryRec>>, IndexError> {
        self.overlay.entry(id)
    }
}

impl Meta {
    fn new(folder: FolderId, epoch: u64) -> Self {
        Self {
            version: STORED_VERSION,
            folder,
            epoch,
            print: [0; 4],
            counts: Counts::default(),
            hlc: 0,
            unions: 0,
            complicated: 0,
            tree_deletes: false,
        }
    }
}

/// Decodes what was stored here; `what` names it when it is damaged.
fn stored<T: Decode<()>>(bytes: &[u8], what: &'static str) -> Result<T, IndexError> {
    let config = bincode::config::standard().with_limit::<STORED_BYTES_MAX>();
    match bincode::decode_from_slice(bytes, config) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        _ => Err(IndexError::Damaged(what)),
    }
}

fn to_stored<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .expect("encoding into memory cannot fail")
}
