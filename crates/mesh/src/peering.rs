//! Proof of membership on one member stream, as a state machine without any input or output.
//!
//! # Messages
//!
//! 1. Both sides send `Hello` with a fresh nonce.
//! 2. Each sends `Offer`: for each of its folders the tag that it can make as its role, bound to
//!    both device ids and both nonces, among random tags up to a multiple of eight. Who knows a
//!    folder's secret computes the other side's tag and finds it; nobody else can tell a tag
//!    from noise, and a tag cannot be reflected, since the roles differ.
//! 3. For each common folder each sends `Admit`: its admission, sealed under the folder's
//!    secret. When both have been sent and the peer's holds, the peer is a member.
//!
//! Folders may be added and removed at any time: an `Offer` of the new tags alone, a `Leave`.
//!
//! A folder has a tag for each generation of its keys that a side can offer. Of those that both have
//! offered the highest is used. With an earlier one than its own a side lets in only members that
//! were away when the generation was raised; the others are told so by `Outdated`.
//!
//! # Limits
//!
//! At most [`FOLDERS_MAX`] tags in either direction during a stream's life. Who needs more
//! closes the stream and starts anew, which also draws fresh nonces.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dunlin_identity::{DeviceId, FolderId, FolderKeys, Role, Tier, open, seal};

use crate::access::FolderAccess;
use crate::limits::FOLDERS_MAX;
use crate::wire::{self, Admit, Credentials, Frame, Short, Tag};

/// The version of the member protocol.
pub(crate) const VERSION: u8 = 1;

/// Offers are padded to a multiple of this many tags.
const OFFER_MULTIPLE: usize = 8;

/// The folders that are open on this device.
pub(crate) type Folders = BTreeMap<FolderId, FolderAccess>;

/// A folder in one generation of its keys.
type Group = (FolderId, u32);

/// Why a stream must be closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum PeeringError {
    /// The peer speaks another version.
    #[error("the peer speaks version {0} of the member protocol, not {VERSION}")]
    Version(u8),
    /// The peer sent our own nonce back.
    #[error("the peer reflected our nonce")]
    Reflected,
    /// A frame came where the protocol does not allow it.
    #[error("a frame that does not belong here")]
    OutOfTurn,
    /// One side offered more tags than a stream may carry.
    #[error("more than {FOLDERS_MAX} tags on one stream")]
    TooManyTags,
}

/// What the state machine wants done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this frame.
    Send(Frame),
    /// The peer is a member of this folder.
    Up(Up),
    /// The peer is no longer a member of this folder, as far as this stream goes.
    Down(FolderId),
    /// The peer's admission does not hold; it stays out of this folder.
    Refused(FolderId),
    /// The peer says that this device is not let in with the keys that it has.
    Outdated(FolderId),
    /// A message of a member.
    Message { folder: FolderId, body: Vec<u8> },
    /// A sealed broadcast handed on by a member.
    Gossip { folder: FolderId, covered: Vec<Short>, envelope: Vec<u8> },
    /// The peer listens for gossip.
    Ready,
}

/// See [`Action::Up`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Up {
    pub(crate) folder: FolderId,
    pub(crate) tier: Tier,
    pub(crate) transfer_port: u16,
    /// The channel number of messages to the peer.
    pub(crate) channel: u32,
    /// The tag by which this side names the folder.
    pub(crate) ours: Tag,
    /// The tag by which the peer names the folder.
    pub(crate) theirs: Tag,
}

/// Who talks to whom, and with what randomness.
pub(crate) struct Party {
    pub(crate) me: DeviceId,
    pub(crate) peer: DeviceId,
    /// The opener of the stream is the initiator.
    pub(crate) role: Role,
    /// Fresh random bytes; everything random on this stream is derived from them.
    pub(crate) seed: [u8; 32],
    pub(crate) transfer_port: u16,
}

struct Known {
    keys: FolderKeys,
    ours: Tag,
    theirs: Tag,
    channel: u32,
    /// Whether the peer has an admission since it last offered the folder.
    admit_sent: bool,
    /// Whether the peer was ever told this channel.
    channel_told: bool,
    /// The channel number of messages from the peer, once its admission has been checked.
    admitted: Option<u32>,
}

/// The state of one member stream.
pub(crate) struct Peering {
    party: Party,
    nonce: [u8; 32],
    random: blake3::OutputReader,
    /// Set by the peer's `Hello`.
    binding: Option<Vec<u8>>,
    folders: Folders,
    known: BTreeMap<Group, Known>,
    offered: BTreeSet<Tag>,
    channels: HashMap<u32, Group>,
    next_channel: u32,
    tags_sent: usize,
    tags_received: usize,
}

impl Peering {
    /// Makes the state of a fresh stream, and the `Hello` to send on it.
    pub(crate) fn new(party: Party, folders: Folders) -> (Self, Frame) {
        let mut random = blake3::Hasher::new_keyed(&party.seed).finalize_xof();
        let mut nonce = [0; 32];
        random.fill(&mut nonce);
        let state = Self {
            party,
            nonce,
            random,
            binding: None,
            folders,
            known: BTreeMap::new(),
            offered: BTreeSet::new(),
            channels: HashMap::new(),
            next_channel: 1,
            tags_sent: 0,
            tags_received: 0,
        };
        (state, Frame::Hello { version: VERSION, nonce })
    }

    /// Tells whether the peer is a member of any folder here.
    pub(crate) fn is_member(&self) -> bool {
        !self.channels.is_empty()
    }

    /// Returns the folders in which the peer is up.
    pub(crate) fn up(&self) -> Vec<FolderId> {
        self.channels.values().map(|(folder, _)| *folder).collect()
    }

    /// Takes the folders that are open now.
    ///
    /// # Errors
    ///
    /// More tags would be needed than a stream may carry.
    pub(crate) fn set_folders(&mut self, folders: &Folders) -> Result<Vec<Action>, PeeringError> {
        let mut actions = Vec::new();
        let gone: Vec<FolderId> = self
            .folders
            .iter()
            .filter(|(id, old)| folders.get(id).is_none_or(|new| !old.offers_same(new)))
            .map(|(id, _)| *id)
            .collect();
        for folder in gone {
            self.folders.remove(&folder);
            for group in self.groups_of(folder) {
                actions.extend(self.leave(group));
                self.known.remove(&group);
            }
        }
        let fresh: Folders = folders
            .iter()
            .filter(|(id, _)| !self.folders.contains_key(id))
            .map(|(id, access)| (*id, access.clone()))
            .collect();
        self.folders = folders.clone();
        for group in self.known.keys().copied().collect::<Vec<_>>() {
            if self.refuses(group) && self.known.get(&group).is_some_and(|k| k.admit_sent) {
                actions.extend(self.leave(group));
                actions.extend(self.say_outdated(group));
            }
        }
        // Before the peer's nonce is known there are no tags; `Hello` will make them all.
        if self.binding.is_some() && !fresh.is_empty() {
            actions.extend(self.offer(&groups_in(&fresh))?);
        }
        Ok(actions)
    }

    /// Takes this side out of a folder.
    fn leave(&mut self, group: Group) -> Vec<Action> {
        let Some(known) = self.known.get_mut(&group) else { return Vec::new() };
        let mut actions = Vec::new();
        // Even if the peer has left since: it may have come back on the strength of it.
        if known.channel_told {
            actions.push(Action::Send(Frame::Leave { channel: known.channel }));
        }
        (known.admit_sent, known.channel_told) = (false, false);
        if let Some(channel) = known.admitted.take() {
            self.channels.remove(&channel);
            actions.push(Action::Down(group.0));
        }
        actions
    }

    fn groups_of(&self, folder: FolderId) -> Vec<Group> {
        self.known.range((folder, 0)..=(folder, u32::MAX)).map(|(group, _)| *group).collect()
    }

    /// Tells whether the peer stays out of a folder with the keys of this generation.
    fn refuses(&self, (folder, generation): Group) -> bool {
        let access = self.folders.get(&folder);
        access.is_none_or(|access| access.refuses(&self.party.peer, generation))
    }

    /// Tells the peer that it stays out.
    fn say_outdated(&self, group: Group) -> Option<Action> {
        let known = self.known.get(&group)?;
        Some(Action::Send(Frame::Outdated(known.ours)))
    }

    /// Takes a frame from the peer.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol, and the stream must be closed.
    pub(crate) fn on_frame(&mut self, frame: Frame) -> Result<Vec<Action>, PeeringError> {
        match frame {
            Frame::Hello { version, nonce } => self.on_hello(version, nonce),
            _ if self.binding.is_none() => Err(PeeringError::OutOfTurn),
            Frame::Offer(tags) => self.on_offer(tags),
            Frame::Admit(admit) => Ok(self.on_admit(&admit)),
            Frame::Leave { channel } => Ok(self.on_leave(channel)),
            Frame::Outdated(tag) => {
                let found = self.known.iter().find(|(_, known)| known.theirs == tag);
                Ok(found.map(|((folder, _), _)| Action::Outdated(*folder)).into_iter().collect())
            }
            Frame::Ready if self.is_member() => Ok(vec![Action::Ready]),
            // The last common folder may have been removed while this was on its way.
            Frame::Ready => Ok(Vec::new()),
            Frame::Message { channel, body } => {
                let folder = self.channels.get(&channel).map(|(folder, _)| *folder);
                Ok(folder.map(|folder| Action::Message { folder, body }).into_iter().collect())
            }
            Frame::Gossip { channel, covered, envelope } => {
                let folder = self.channels.get(&channel).map(|(folder, _)| *folder);
                let action = folder.map(|folder| Action::Gossip { folder, covered, envelope });
                Ok(action.into_iter().collect())
            }
        }
    }

    fn on_hello(&mut self, version: u8, nonce: [u8; 32]) -> Result<Vec<Action>, PeeringError> {
        if self.binding.is_some() {
            return Err(PeeringError::OutOfTurn);
        }
        if version != VERSION {
            return Err(PeeringError::Version(version));
        }
        if nonce == self.nonce {
            return Err(PeeringError::Reflected);
        }
        let (me, peer) = (self.party.me, self.party.peer);
        let (first, second) = match self.party.role {
            Role::Initiator => ((me, self.nonce), (peer, nonce)),
            Role::Responder => ((peer, nonce), (me, self.nonce)),
        };
        let mut binding = b"dunlin member 1".to_vec();
        for (device, nonce) in [first, second] {
            binding.extend_from_slice(device.as_bytes());
            binding.extend_from_slice(&nonce);
        }
        self.binding = Some(binding);
        let mut all = groups_in(&self.folders);
        all.truncate(FOLDERS_MAX);
        self.offer(&all)
    }

    /// Offers the given folders, and admits itself where the peer has offered them before.
    fn offer(&mut self, groups: &[(Group, FolderKeys)]) -> Result<Vec<Action>, PeeringError> {
        let binding = self.binding.clone().ok_or(PeeringError::OutOfTurn)?;
        let padded = groups.len().next_multiple_of(OFFER_MULTIPLE).max(OFFER_MULTIPLE);
        self.tags_sent += padded;
        if self.tags_sent > FOLDERS_MAX {
            return Err(PeeringError::TooManyTags);
        }
        let mut tags = Vec::with_capacity(padded);
        for (group, keys) in groups {
            let ours = keys.prove(self.party.role, &binding);
            let theirs = keys.prove(other(self.party.role), &binding);
            let channel = self.next_channel;
            self.next_channel += 1;
            tags.push(ours);
            self.known.insert(
                *group,
                Known {
                    keys: keys.clone(),
                    ours,
                    theirs,
                    channel,
                    admit_sent: false,
                    channel_told: false,
                    admitted: None,
                },
            );
        }
        while tags.len() < padded {
            let mut noise = [0; 32];
            self.random.fill(&mut noise);
            tags.push(noise);
        }
        // Sorted, so that the place of a tag does not tell a true one from noise.
        tags.sort_unstable();
        let mut actions = vec![Action::Send(Frame::Offer(tags))];
        for (group, _) in groups {
            actions.extend(self.admit_if_common(*group));
        }
        Ok(actions)
    }

    fn on_offer(&mut self, tags: Vec<Tag>) -> Result<Vec<Action>, PeeringError> {
        self.tags_received += tags.len();
        if self.tags_received > FOLDERS_MAX {
            return Err(PeeringError::TooManyTags);
        }
        for known in self.known.values_mut() {
            // A tag that is offered again belongs to a folder that the peer had closed and has
            // opened anew: an admission sent meanwhile was lost on it.
            if known.admitted.is_none() && tags.contains(&known.theirs) {
                known.admit_sent = false;
            }
        }
        self.offered.extend(tags);
        let groups: Vec<Group> = self.known.keys().copied().collect();
        Ok(groups.into_iter().filter_map(|group| self.admit_if_common(group)).collect())
    }

    /// Tells whether both have offered a folder in this generation, and in no later one.
    fn is_common(&self, (folder, generation): Group) -> bool {
        let later = self.known.range((folder, generation)..=(folder, u32::MAX));
        let mut common = later.filter(|(_, known)| self.offered.contains(&known.theirs));
        common.next_back().is_some_and(|((_, highest), _)| *highest == generation)
    }

    fn admit_if_common(&mut self, group: Group) -> Option<Action> {
        let binding = self.binding.clone()?;
        if !self.is_common(group) || self.known.get(&group)?.admit_sent {
            return None;
        }
        if self.refuses(group) {
            return self.say_outdated(group);
        }
        let known = self.known.get_mut(&group)?;
        known.admit_sent = true;
        known.channel_told = true;
        let credentials = Credentials {
            admission: known.keys.admit(self.party.me),
            transfer_port: self.party.transfer_port,
        };
        let mut nonce = [0; 24];
        self.random.fill(&mut nonce);
        let key = credentials_key(&known.keys, self.party.role, &binding);
        let sealed = seal(&key, &nonce, &known.ours, &wire::encode(&credentials));
        let admit = Admit { tag: known.ours, channel: known.channel, nonce, sealed };
        Some(Action::Send(Frame::Admit(admit)))
    }

    fn on_admit(&mut self, admit: &Admit) -> Vec<Action> {
        let found = self.known.iter().find(|(_, known)| known.theirs == admit.tag);
        // No such folder: it was removed while this was on its way, or the tag is noise.
        let Some((&group, _)) = found else { return Vec::new() };
        let folder = group.0;
        let credentials = self.check(group, admit);
        let Some(known) = self.known.get_mut(&group) else { return Vec::new() };
        if known.admitted.is_some() || self.channels.contains_key(&admit.channel) {
            return Vec::new();
        }
        let Some(credentials) = credentials else {
            let leave = Frame::Leave { channel: known.channel };
            return vec![Action::Send(leave), Action::Refused(folder)];
        };
        known.admitted = Some(admit.channel);
        self.channels.insert(admit.channel, group);
        vec![Action::Up(Up {
            folder,
            tier: credentials.admission.tier,
            transfer_port: credentials.transfer_port,
            channel: known.channel,
            ours: known.ours,
            theirs: known.theirs,
        })]
    }

    /// Opens the peer's credentials, and gives them back only if they hold.
    fn check(&self, group: Group, admit: &Admit) -> Option<Credentials> {
        let known = self.known.get(&group)?;
        // An admission before the offer of its tag is out of turn.
        if !known.admit_sent || self.refuses(group) {
            return None;
        }
        let key = credentials_key(&known.keys, other(self.party.role), self.binding.as_ref()?);
        let plain = open(&key, &admit.nonce, &admit.tag, &admit.sealed).ok()?;
        let credentials: Credentials = wire::decode(&plain).ok()?;
        let admission = &credentials.admission;
        let holds = admission.device == self.party.peer
            && admission.generation == known.keys.generation()
            && known.keys.verify_admission(admission);
        holds.then_some(credentials)
    }

    fn on_leave(&mut self, channel: u32) -> Vec<Action> {
        let Some(group) = self.channels.remove(&channel) else { return Vec::new() };
        let Some(known) = self.known.get_mut(&group) else { return Vec::new() };
        // Should the peer come back to the folder, it offers the tag and both admit anew.
        known.admitted = None;
        known.admit_sent = false;
        self.offered.remove(&known.theirs);
        vec![Action::Down(group.0)]
    }
}

/// Gives what is offered of folders: first of all the generations in use.
fn groups_in(folders: &Folders) -> Vec<(Group, FolderKeys)> {
    let group = |folder: &FolderId, keys: &FolderKeys| ((*folder, keys.generation()), keys.clone());
    let present = folders.iter().map(|(folder, access)| group(folder, &access.keys));
    let earlier = folders
        .iter()
        .flat_map(|(folder, access)| access.offered().skip(1).map(move |keys| group(folder, keys)));
    present.chain(earlier).collect()
}

fn other(role: Role) -> Role {
    match role {
        Role::Initiator => Role::Responder,
        Role::Responder => Role::Initiator,
    }
}

/// The key that seals one side's credentials, for this stream alone.
fn credentials_key(keys: &FolderKeys, role: Role, binding: &[u8]) -> [u8; 32] {
    let side = match role {
        Role::Initiator => b"i",
        Role::Responder => b"r",
    };
    let mut hasher = blake3::Hasher::new_keyed(&keys.proof_key());
    hasher.update(b"dunlin member credentials 1").update(side).update(binding);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
