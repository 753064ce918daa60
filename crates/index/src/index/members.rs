//! Members: who takes part, by their own signed records, and how far the logs of those count who
//! were removed.
//!
//! A removal raises the folder to a generation and names how much its author holds of each log of
//! the device. It ends the logs that were begun with an admission of an earlier generation: each
//! counts up to the number that is named, and not at all when none is. Of several removals the
//! lowest number holds, so that their order does not matter. A device that is let in anew begins a
//! new log, with an admission of the new generation.

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId, Tier};

use super::{Index, Member, keys};
use crate::error::IndexError;
use crate::ids::{Author, Dot, EntryId, Millis};
use crate::record::{Cutoff, LogEnd, Op, WrappedKey};
use crate::storage::Storage;

/// A record has room for the keys of so many members; those of more go into further records.
const KEYS_MAX: usize = 24;

/// With which admission a log was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
struct LogStart {
    epoch: u64,
    generation: u32,
}

/// What the removals to one generation say together.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Removal {
    generation: u32,
    /// The logs that all of them name, each with the lowest number, by epoch.
    ends: Vec<LogEnd>,
}

/// What is stored of a device that took part at some time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct MemberState {
    admission: Option<Admission>,
    /// When it got its name, by its own clock, and the name.
    name: (Millis, String),
    /// The logs that it has begun, by epoch.
    logs: Vec<LogStart>,
    /// Its removals, by generation.
    removals: Vec<Removal>,
    /// Up to which record of each author mass deletions were released.
    approved: Vec<Cutoff>,
}

impl MemberState {
    /// The generation that the last removal raised the folder to.
    pub(super) fn removed(&self) -> Option<u32> {
        self.removals.last().map(|removal| removal.generation)
    }

    fn is_active(&self) -> bool {
        self.admission.is_some_and(|admission| Some(admission.generation) >= self.removed())
    }

    /// Up to which record a log counts; without a removal that ends it, to any.
    pub(super) fn limit(&self, epoch: u64) -> Option<u64> {
        let begun = self.logs.iter().find(|log| log.epoch == epoch).map(|log| log.generation);
        let ending = self.removals.iter().filter(|removal| begun < Some(removal.generation));
        let seq = |removal: &Removal| {
            removal.ends.iter().find(|end| end.epoch == epoch).map_or(0, |end| end.seq)
        };
        ending.map(seq).min()
    }

    fn note_log(&mut self, epoch: u64, generation: u32) {
        if let Err(at) = self.logs.binary_search_by_key(&epoch, |log| log.epoch) {
            self.logs.insert(at, LogStart { epoch, generation });
        }
    }

    /// Notes a removal. Of several to one generation only the logs stay that all of them name.
    fn note_removal(&mut self, generation: u32, mut ends: Vec<LogEnd>) {
        // Of a log that is named twice the lower number comes first, and holds.
        ends.sort_unstable();
        ends.dedup_by_key(|end| end.epoch);
        match self.removals.binary_search_by_key(&generation, |removal| removal.generation) {
            Err(at) => self.removals.insert(at, Removal { generation, ends }),
            Ok(at) => self.removals[at].ends.retain_mut(|old| {
                let new = ends.iter().find(|end| end.epoch == old.epoch);
                old.seq = new.map_or(0, |new| new.seq.min(old.seq));
                new.is_some()
            }),
        }
    }
}

/// Directories above an entry that are looked through.
const ANCESTORS_MAX: usize = 4096;

impl<S: Storage> Index<S> {
    /// Gives all devices that took part at some time, the removed ones too.
    pub fn members(&self) -> Vec<Member> {
        let known = self.members.iter().filter_map(|(device, state)| {
            let admission = state.admission.as_ref()?;
            Some(Member {
                device: *device,
                name: state.name.1.clone(),
                tier: admission.tier,
                generation: admission.generation,
                removed: !state.is_active(),
            })
        });
        known.collect()
    }

    /// Tells whether the device takes part and was not removed.
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.members.get(device).is_some_and(MemberState::is_active)
    }

    /// Gives the highest generation that a removal has raised the folder to; 0 without one.
    pub fn generation(&self) -> u32 {
        self.members.values().filter_map(MemberState::removed).max().unwrap_or(0)
    }

    /// Gives the devices that were removed and not let in since, with the generation that the last
    /// removal of each raised the folder to.
    pub fn removed_devices(&self) -> std::collections::BTreeMap<DeviceId, u32> {
        let out = self.members.iter().filter(|(_, state)| !state.is_active());
        out.filter_map(|(device, state)| Some((*device, state.removed()?))).collect()
    }

    /// Tells whether somebody has released the mass deletions in an author's log up to a record.
    pub fn is_approved(&self, author: &Author, seq: u64) -> bool {
        let state = self.members.get(&author.device);
        state.is_some_and(|state| {
            state.approved.iter().any(|note| note.author == *author && note.seq >= seq)
        })
    }

    /// Tells whether the deletion of an entry, alone or with a directory above it, has been
    /// released by somebody (rule 10).
    ///
    /// # Errors
    /// Fails when the storage does.
    pub fn is_deletion_approved(&self, entry: EntryId) -> Result<bool, IndexError> {
        let mut next = Some(entry);
        for _ in 0..ANCESTORS_MAX {
            let Some(id) = next.filter(|id| *id != EntryId::ROOT) else { break };
            let Some(rec) = self.entry(&id)? else { break };
            let alone = rec.deleted.iter().filter(|_| id == entry);
            let with_all = rec.tree_deletes.iter().map(|deletion| &deletion.dot);
            if alone.chain(with_all).any(|dot| self.is_approved(&dot.author, dot.seq)) {
                return Ok(true);
            }
            next = self.place(&id, &rec).map(|place| place.parent);
        }
        Ok(false)
    }

    /// Releases the mass deletions in an author's log up to a record, everywhere (rule 10).
    pub fn approve(&mut self, now: Millis, author: Author, until: u64) -> Result<(), IndexError> {
        self.check_writer()?;
        self.log_local(now, Op::Approve { author, until })?;
        Ok(())
    }

    /// Tells what a device may do, if its admission is known; also once it was removed.
    pub(super) fn tier_of(&self, device: &DeviceId) -> Option<Tier> {
        Some(self.members.get(device)?.admission.as_ref()?.tier)
    }

    /// Removes a device from the folder, for all: what it has written and this device does not
    /// hold counts nowhere, and it is let in anew only with a code of the generation that this
    /// returns. `keys` are that generation's, wrapped for the members that stay. What the device
    /// has on its own disk stays there.
    ///
    /// # Errors
    /// [`IndexError::ReadOnly`] and [`IndexError::Removed`] when this device may not remove others,
    /// [`IndexError::ThisDevice`], [`IndexError::NotAMember`], [`IndexError::LastGeneration`],
    /// [`IndexError::Content`] when a key or the number of the device's logs is too large.
    pub fn remove_device(
        &mut self,
        now: Millis,
        device: DeviceId,
        keys: &[WrappedKey],
    ) -> Result<u32, IndexError> {
        self.check_writer()?;
        if device == self.config.device {
            return Err(IndexError::ThisDevice);
        }
        if !self.is_member(&device) {
            return Err(IndexError::NotAMember(device));
        }
        let logs = self.heads.iter().filter(|(author, _)| author.device == device);
        let ends: Vec<LogEnd> =
            logs.map(|(author, head)| LogEnd { epoch: author.epoch, seq: head.seq }).collect();
        self.log_removal(now, device, &ends, keys)
    }

    pub(super) fn log_removal(
        &mut self,
        now: Millis,
        device: DeviceId,
        ends: &[LogEnd],
        keys: &[WrappedKey],
    ) -> Result<u32, IndexError> {
        let generation = self.generation().checked_add(1).ok_or(IndexError::LastGeneration)?;
        let mut parts: Vec<Vec<WrappedKey>> = keys.chunks(KEYS_MAX).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let removal = |keys| Op::Remove { device, ends: ends.to_vec(), generation, keys };
        let records: Vec<Op> = parts.into_iter().map(removal).collect();
        // All of them or none.
        if !records.iter().all(|record| record.encode().is_some()) {
            return Err(IndexError::Content("the record would be too large"));
        }
        for record in records {
            self.log_local(now, record)?;
        }
        if self.stale {
            self.rebuild()?;
        }
        Ok(generation)
    }

    /// Tells whether this device was removed from the folder: what it writes counts nowhere.
    pub fn is_removed(&self) -> bool {
        !self.counts_for(&Dot { author: self.author, seq: self.next_seq() })
    }

    /// Refuses local changes by devices that may not write.
    pub(super) fn check_writer(&self) -> Result<(), IndexError> {
        if self.config.tier != Tier::Write {
            return Err(IndexError::ReadOnly);
        }
        if self.is_removed() { Err(IndexError::Removed) } else { Ok(()) }
    }

    /// Tells whether a record counts: it is not past the end that a removal has set to its log.
    pub fn counts_for(&self, dot: &Dot) -> bool {
        let state = self.members.get(&dot.author.device);
        let limit = state.and_then(|state| state.limit(dot.author.epoch));
        limit.is_none_or(|limit| dot.seq <= limit)
    }

    pub(super) fn apply_member(
        &mut self,
        dot: &Dot,
        admission: Admission,
        named_ms: Millis,
        name: String,
    ) {
        let device = admission.device;
        if !self.config.verifier.admits(&admission) {
            // Of a generation that this device does not know yet: a name is a name.
            if let Some(state) = self.members.get_mut(&device) {
                state.name = std::mem::take(&mut state.name).max((named_ms, name));
                self.store_member(device);
            }
            return;
        }
        let state = self.member_mut(device);
        if dot.seq == 1 {
            state.note_log(dot.author.epoch, admission.generation);
        }
        let rank = |admission: &Admission| (admission.generation, admission.tier);
        let old = state.admission.as_ref().map(rank);
        // The highest generation, then tier, and the latest name: whatever order they arrive in.
        if Some(rank(&admission)) > old {
            state.admission = Some(admission);
        }
        state.name = std::mem::take(&mut state.name).max((named_ms, name));
        self.store_member(device);
    }

    pub(super) fn apply_removal(&mut self, device: DeviceId, ends: &[LogEnd], generation: u32) {
        let counted = self.counted_of(&device);
        self.member_mut(device).note_removal(generation, ends.to_vec());
        self.store_member(device);
        self.stale |= self.counted_of(&device) != counted;
    }

    /// Gives how many records of each log of a device are in force here.
    fn counted_of(&self, device: &DeviceId) -> Vec<u64> {
        let Some(state) = self.members.get(device) else { return Vec::new() };
        let counted = state.logs.iter().map(|log| {
            let author = Author { device: *device, epoch: log.epoch };
            // In the middle of a segment the head is behind; own records may not be signed yet.
            let staged = if author == self.author { self.pending.len() as u64 } else { 0 };
            let held = self.context.get(&author) + staged;
            state.limit(log.epoch).map_or(held, |limit| limit.min(held))
        });
        counted.collect()
    }

    pub(super) fn approve_deletes(&mut self, author: Author, until: u64) {
        let state = self.member_mut(author.device);
        match state.approved.iter_mut().find(|note| note.author == author) {
            Some(note) => note.seq = note.seq.max(until),
            None => {
                state.approved.push(Cutoff { author, seq: until });
                state.approved.sort_by_key(|note| note.author);
            }
        }
        self.store_member(author.device);
    }

    fn member_mut(&mut self, device: DeviceId) -> &mut MemberState {
        self.members.entry(device).or_insert_with(|| MemberState {
            admission: None,
            name: (0, String::new()),
            logs: Vec::new(),
            removals: Vec::new(),
            approved: Vec::new(),
        })
    }

    fn store_member(&mut self, device: DeviceId) {
        if let Some(state) = self.members.get(&device) {
            self.overlay.put(member_key(&device), super::to_stored(state));
        }
    }

    pub(super) fn load_members(&mut self) -> Result<(), IndexError> {
        self.overlay.each(keys::MEMBERS, |key, value| {
            let device = super::stored(&key[1..], "a member's key")?;
            self.members.insert(device, super::stored(value, "a member")?);
            Ok(())
        })
    }
}

fn member_key(device: &DeviceId) -> Vec<u8> {
    [keys::MEMBERS, device.as_bytes().as_slice()].concat()
}
