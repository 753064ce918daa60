//! Anti-entropy and gossip for one folder, sans-IO.
//!
//! Goals: two connected members hold the same logs after one round trip, whatever was lost before;
//! fresh changes arrive at once. Non-goals: contents of files (only small ones ride along), trust
//! in the sender (every segment is checked by [`Index::merge`]).
//!
//! - On connecting, both send [`SyncMessage::State`]; each answers with the segments that the other
//!   lacks, some MiB at a time. `more` asks for the next state when these were taken.
//! - A local commit is broadcast as [`SyncMessage::Push`], or as [`SyncMessage::Head`] when it is
//!   too large; who finds a gap answers with its state, which pulls what is missing.
//! - Of a content without any source all members are asked whether they have it
//!   ([`SyncMessage::WantHave`], [`SyncMessage::DontHave`]); what follows is the folder's affair.
//! - Having merged, a member tells its new state to those that it is connected with; so do they.
//!   A peer that still lacks something after `BEHIND_MS` is sent it directly.

mod message;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use dunlin_identity::{DeviceId, Hash};

pub use self::message::{MESSAGE_BYTES_MAX, MessageError, PUSH_BYTES_MAX, SyncMessage};
use crate::context::{Context, Heads};
use crate::error::{IndexError, MergeError};
use crate::ids::{Dot, EntryId, Millis};
use crate::index::{Committed, Index};
use crate::storage::Storage;

/// States are told to neighbours at least this often, plus up to as much again at random.
const HEADS_MS: Millis = 30_000;

/// Acknowledgements wait this long, so that one covers several merges.
const ACKNOWLEDGE_MS: Millis = 30;

/// With many peers each acknowledgement costs more, so they wait longer, by this much a peer.
const ACKNOWLEDGE_MS_PER_PEER: Millis = 5;

/// A peer that lacks something for this long is sent it, and one that has more is asked again.
const BEHIND_MS: Millis = 2_000;

/// While somebody is behind, it is looked at this often.
const WATCH_MS: Millis = 500;

/// A gap is not asked about again for this long.
const PULL_MS: Millis = 100;

/// What was sent to a peer is not sent again for this long.
const IN_FLIGHT_MS: Millis = 10_000;

/// The size of one message of segments, in bytes.
const CHUNK_BYTES: usize = 1024 * 1024;

/// As many chunks are sent for one state.
const CHUNKS_MAX: usize = 4;

/// Why a message could not be handled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The index failed; it is to be opened again.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// To one connected member.
    Send(DeviceId, SyncMessage),
    /// To all members, by gossip.
    Broadcast(SyncMessage),
}

/// What handling a message led to.
#[derive(Debug, Default)]
pub struct Handled {
    /// Messages to send.
    pub out: Vec<Out>,
    /// Every entry whose items may differ from before.
    pub changed: BTreeSet<EntryId>,
    /// Small contents that came along, not yet checked against any hash.
    pub blobs: Vec<Vec<u8>>,
    /// The first segment that was refused, when any was; the others were taken all the same. Gaps
    /// are not told here: they are repaired.
    pub refused: Option<MergeError>,
    /// The sender knows the same and has another state: a fault in one of both databases.
    pub diverged: bool,
    /// Contents that the sender looks for, with the number of its question.
    pub wanted: Option<(u64, Vec<(Hash, u64)>)>,
    /// Contents that the sender does not have, with the number of the question.
    pub absent: Option<(u64, Vec<Hash>)>,
}

/// What is known of a connected member.
#[derive(Default)]
struct Peer {
    /// What it last told.
    told: Option<Told>,
    /// What was sent to it since, so that it is not sent twice.
    sent: Context,
    sent_at: Millis,
    /// The last state that it was told, and when.
    state_sent: Option<(Told, Millis)>,
    /// When it was last asked for what is lacking.
    pulled_at: Option<Millis>,
    /// Since when it was seen to lack something, or to have more than we do.
    apart_since: Option<Millis>,
}

#[derive(Clone, PartialEq, Eq)]
struct Told {
    heads: Heads,
    fingerprint: Hash,
    need_files: u64,
    need_bytes: u64,
}

impl Told {
    fn message(&self) -> SyncMessage {
        let Self { heads, fingerprint, need_files, need_bytes } = self.clone();
        SyncMessage::State { heads, fingerprint, need_files, need_bytes }
    }
}

/// Keeps one folder's index and those of the connected members the same.
pub struct Replicator {
    me: DeviceId,
    random: u64,
    peers: BTreeMap<DeviceId, Peer>,
    need_files: u64,
    need_bytes: u64,
    heads_at: Option<Millis>,
    acknowledge_at: Option<Millis>,
    /// Something was committed, and not all peers are known to have it.
    stirred: bool,
}

impl Replicator {
    /// Makes the replicator of one folder; `seed` spreads the periodic messages of devices.
    pub fn new(me: DeviceId, seed: u64) -> Self {
        Self {
            me,
            random: seed,
            peers: BTreeMap::new(),
            need_files: 0,
            need_bytes: 0,
            heads_at: None,
            acknowledge_at: None,
            stirred: false,
        }
    }

    /// A member is connected: tells it what is known here, so that it sends what is lacking.
    pub fn peer_up<S: Storage>(
        &mut self,
        peer: DeviceId,
        index: &Index<S>,
        now: Millis,
    ) -> Vec<Out> {
        if peer == self.me {
            return Vec::new();
        }
        self.peers.insert(peer, Peer::default());
        self.tell(peer, index, now)
    }

    /// A member is no longer connected.
    pub fn peer_down(&mut self, peer: &DeviceId) {
        self.peers.remove(peer);
    }

    /// Takes a message, sent directly or by gossip. What was merged is staged in the index.
    pub fn on_message<S: Storage>(
        &mut self,
        from: DeviceId,
        message: SyncMessage,
        index: &mut Index<S>,
        now: Millis,
    ) -> Result<Handled, SyncError> {
        let mut handled = Handled::default();
        match message {
            SyncMessage::State { heads, fingerprint, need_files, need_bytes } => {
                let told = Told { heads, fingerprint, need_files, need_bytes };
                self.on_state(from, told, index, now, &mut handled)?;
            }
            SyncMessage::Segments { segments, more } => {
                let gap = self.take(&segments, index, now, &mut handled)?;
                if more {
                    // The next part is asked for with the state that these have led to.
                    handled.out.extend(self.tell(from, index, now));
                } else if gap {
                    handled.out.extend(self.pull(from, index, now));
                }
            }
            SyncMessage::Push { segments, blobs } => {
                let gap = self.take(&segments, index, now, &mut handled)?;
                handled.blobs = blobs;
                if gap {
                    handled.out.extend(self.pull(from, index, now));
                }
            }
            SyncMessage::Head { author, seq, .. } => {
                if index.context().get(&author) < seq {
                    handled.out.extend(self.pull(from, index, now));
                }
            }
            SyncMessage::WantHave { round, contents } => handled.wanted = Some((round, contents)),
            SyncMessage::DontHave { round, contents } => handled.absent = Some((round, contents)),
        }
        Ok(handled)
    }

    fn on_state<S: Storage>(
        &mut self,
        from: DeviceId,
        told: Told,
        index: &Index<S>,
        now: Millis,
        handled: &mut Handled,
    ) -> Result<(), SyncError> {
        let ours = self.state(index);
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let unknown = Hash([0; 32]);
        handled.diverged = told.heads == ours.heads
            && told.fingerprint != ours.fingerprint
            && told.fingerprint != unknown
            && ours.fingerprint != unknown;
        let lacks = !told.heads.covers_all(&ours.heads);
        let has_more = !ours.heads.covers_all(&told.heads);
        peer.told = Some(told);
        if lacks || has_more {
            peer.apart_since.get_or_insert(now);
        } else {
            peer.apart_since = None;
            if peer.state_sent.as_ref().is_none_or(|(told, _)| *told != ours) {
                // It has come as far as we are; it is to know that too.
                self.acknowledge_soon(now);
            }
        }
        if lacks {
            handled.out.extend(self.repair(from, index, now)?);
        }
        if has_more && !self.told_lately(&from, &ours, now) {
            handled.out.extend(self.tell(from, index, now));
        }
        Ok(())
    }

    /// Merges segments; tells whether one did not join what is held.
    fn take<S: Storage>(
        &mut self,
        segments: &[Vec<u8>],
        index: &mut Index<S>,
        now: Millis,
        handled: &mut Handled,
    ) -> Result<bool, SyncError> {
        let mut gap = false;
        for segment in segments {
            match index.merge(segment, now) {
                Ok(mut merged) => {
                    handled.changed.append(&mut merged.changed);
                    if merged.new_records > 0 {
                        self.acknowledge_soon(now);
                        // One batch a segment: large batches cost the storage much memory. But
                        // own changes that cannot be signed now (the disk failed) are not stored
                        // half-done.
                        if !index.has_uncommitted() {
                            index.write_back(false)?;
                        }
                    }
                }
                Err(MergeError::Gap { .. }) => gap = true,
                Err(MergeError::Index(error)) => return Err(error.into()),
                Err(error) => {
                    handled.refused.get_or_insert(error);
                }
            }
        }
        Ok(gap)
    }

    /// Asks for what is lacking: of the sender, or of somebody else if it is not connected.
    fn pull<S: Storage>(&mut self, from: DeviceId, index: &Index<S>, now: Millis) -> Vec<Out> {
        let peer = if self.peers.contains_key(&from) {
            Some(from)
        } else {
            self.peers.keys().next().copied()
        };
        let Some(peer) = peer else { return Vec::new() };
        let Some(state) = self.peers.get_mut(&peer) else { return Vec::new() };
        if state.pulled_at.is_some_and(|at| now.saturating_sub(at) < PULL_MS) {
            // The answer is on its way; if it is lost, the sender sees that we are behind.
            return Vec::new();
        }
        state.pulled_at = Some(now);
        self.tell(peer, index, now)
    }

    /// Sends a peer what it lacks, except what is on its way to it.
    fn repair<S: Storage>(
        &mut self,
        to: DeviceId,
        index: &Index<S>,
        now: Millis,
    ) -> Result<Vec<Out>, IndexError> {
        let Some(peer) = self.peers.get_mut(&to) else { return Ok(Vec::new()) };
        let Some(told) = &peer.told else { return Ok(Vec::new()) };
        if now.saturating_sub(peer.sent_at) > IN_FLIGHT_MS {
            peer.sent = Context::default();
        }
        let mut has = told.heads.of_authors(index.context());
        has.merge(&peer.sent);
        let mut out = Vec::new();
        for _ in 0..CHUNKS_MAX {
            let (segments, more, reached) = index.segments_after(&has, CHUNK_BYTES)?;
            if segments.is_empty() {
                break;
            }
            has.merge(&reached);
            peer.sent.merge(&reached);
            peer.sent_at = now;
            let ask = more && out.len() + 1 == CHUNKS_MAX;
            out.push(Out::Send(to, SyncMessage::Segments { segments, more: ask }));
            if !more {
                break;
            }
        }
        Ok(out)
    }

    /// Gives what to broadcast after a local commit: the segments, with as many of the small
    /// contents (in their order) as fit, or a head when the segments do not.
    pub fn local<S: Storage>(
        &mut self,
        committed: &Committed,
        blobs: Vec<Vec<u8>>,
        index: &Index<S>,
    ) -> Vec<Out> {
        if committed.segments.is_empty() {
            return Vec::new();
        }
        self.stirred = true;
        // Four bytes and more for each length, some for the message itself.
        const OVERHEAD_BYTES: usize = 8;
        let mut bytes: usize = 64;
        bytes += committed.segments.iter().map(|one| one.len() + OVERHEAD_BYTES).sum::<usize>();
        if bytes > PUSH_BYTES_MAX {
            let author = index.author();
            let (seq, chain) = index.head_of(&author);
            return vec![Out::Broadcast(SyncMessage::Head { author, seq, chain })];
        }
        let mut fitting = Vec::new();
        for blob in blobs {
            if bytes + blob.len() + OVERHEAD_BYTES <= PUSH_BYTES_MAX {
                bytes += blob.len() + OVERHEAD_BYTES;
                fitting.push(blob);
            }
        }
        let segments = committed.segments.clone();
        vec![Out::Broadcast(SyncMessage::Push { segments, blobs: fitting })]
    }

    /// Notes how much this device still lacks on its disk; peers are told soon.
    pub fn applied(&mut self, need_files: u64, need_bytes: u64, now: Millis) {
        if (self.need_files, self.need_bytes) != (need_files, need_bytes) {
            (self.need_files, self.need_bytes) = (need_files, need_bytes);
            self.acknowledge_soon(now);
        }
    }

    /// Does what is due: acknowledgements, the periodic states, repair of peers that are behind.
    pub fn tick<S: Storage>(&mut self, index: &Index<S>, now: Millis) -> Vec<Out> {
        let mut out = Vec::new();
        let heads_due = self.heads_at.is_some_and(|at| at <= now);
        if heads_due || self.heads_at.is_none() {
            self.heads_at = Some(now + HEADS_MS + self.draw() % HEADS_MS);
        }
        let acknowledge = self.acknowledge_at.is_some_and(|at| at <= now);
        if acknowledge {
            self.acknowledge_at = None;
        }
        let ours = self.state(index);
        let peers: Vec<DeviceId> = self.peers.keys().copied().collect();
        self.stirred = false;
        for peer in peers {
            let told_same = self.peers.get(&peer).is_some_and(|peer| {
                peer.state_sent.as_ref().is_some_and(|(told, _)| *told == ours)
            });
            if heads_due || (acknowledge && !told_same) {
                out.extend(self.tell(peer, index, now));
            }
            out.extend(self.mend(peer, &ours, index, now));
        }
        out
    }

    /// Helps a peer that has been apart for too long: a message was lost.
    fn mend<S: Storage>(
        &mut self,
        id: DeviceId,
        ours: &Told,
        index: &Index<S>,
        now: Millis,
    ) -> Vec<Out> {
        let Some(peer) = self.peers.get_mut(&id) else { return Vec::new() };
        let Some(told) = &peer.told else {
            // It never answered: the first state may have been lost.
            let since = *peer.apart_since.get_or_insert(now);
            if now.saturating_sub(since) < BEHIND_MS {
                return Vec::new();
            }
            peer.apart_since = Some(now);
            return self.tell(id, index, now);
        };
        let lacks = !told.heads.covers_all(&ours.heads);
        let has_more = !ours.heads.covers_all(&told.heads);
        if !lacks && !has_more {
            peer.apart_since = None;
            return Vec::new();
        }
        let since = *peer.apart_since.get_or_insert(now);
        if now.saturating_sub(since) < BEHIND_MS {
            return Vec::new();
        }
        peer.apart_since = Some(now);
        // An index that fails to read says so at the next merge or commit.
        let mut out =
            if lacks { self.repair(id, index, now).unwrap_or_default() } else { Vec::new() };
        if has_more || out.is_empty() {
            out.extend(self.tell(id, index, now));
        }
        out
    }

    /// Gives when [`tick`](Self::tick) is to be called next, in the same clock as `now`.
    pub fn next_tick(&self, now: Millis) -> Millis {
        let heads = self.heads_at.unwrap_or(now);
        let apart = |peer: &Peer| peer.apart_since.is_some() || peer.told.is_none();
        let watched = self.peers.values().any(|peer| self.stirred || apart(peer));
        let watch = if watched { now + WATCH_MS } else { heads };
        heads.min(watch).min(self.acknowledge_at.unwrap_or(heads)).max(now)
    }

    /// Tells whether a connected peer last told the very state that is here, and neither lacks
    /// anything on its disk.
    pub fn in_sync<S: Storage>(&self, peer: &DeviceId, index: &Index<S>) -> bool {
        let told = self.peers.get(peer).and_then(|peer| peer.told.as_ref());
        !index.has_uncommitted()
            && (self.need_files, self.need_bytes) == (0, 0)
            && told.is_some_and(|told| {
                // Which differ mostly, and cost less than the rest.
                told.fingerprint == index.fingerprint() && *told == self.state(index)
            })
    }

    /// Tells whether all these devices are known to hold these changes: those that are not
    /// connected may hold them, too, but nobody knows.
    pub fn have_seen(&self, devices: impl IntoIterator<Item = DeviceId>, dots: &[Dot]) -> bool {
        devices.into_iter().filter(|device| *device != self.me).all(|device| {
            let told = self.peers.get(&device).and_then(|peer| peer.told.as_ref());
            told.is_some_and(|told| dots.iter().all(|dot| told.heads.covers(dot)))
        })
    }

    /// Tells whether the device is connected.
    pub fn is_connected(&self, device: &DeviceId) -> bool {
        self.peers.contains_key(device)
    }

    /// Gives what a connected peer last told that it still lacks on its disk: files and bytes.
    pub fn needs_of(&self, peer: &DeviceId) -> Option<(u64, u64)> {
        let told = self.peers.get(peer)?.told.as_ref()?;
        Some((told.need_files, told.need_bytes))
    }

    fn state<S: Storage>(&self, index: &Index<S>) -> Told {
        let unknown = index.has_uncommitted();
        Told {
            heads: index.context().into(),
            fingerprint: if unknown { Hash([0; 32]) } else { index.fingerprint() },
            need_files: self.need_files,
            need_bytes: self.need_bytes,
        }
    }

    fn tell<S: Storage>(&mut self, to: DeviceId, index: &Index<S>, now: Millis) -> Vec<Out> {
        let state = self.state(index);
        let message = state.message();
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.state_sent = Some((state, now));
        }
        vec![Out::Send(to, message)]
    }

    fn told_lately(&self, peer: &DeviceId, ours: &Told, now: Millis) -> bool {
        let sent = self.peers.get(peer).and_then(|peer| peer.state_sent.as_ref());
        sent.is_some_and(|(told, at)| {
            told.heads == ours.heads && now.saturating_sub(*at) < BEHIND_MS
        })
    }

    fn acknowledge_soon(&mut self, now: Millis) {
        let wait = ACKNOWLEDGE_MS + ACKNOWLEDGE_MS_PER_PEER * self.peers.len() as u64;
        self.acknowledge_at.get_or_insert(now + wait);
    }

    /// Draws the next number of a splitmix64 sequence (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
