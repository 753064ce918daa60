//! Members: who takes part, by their own signed records (section 4 of the design).

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId, Tier};

use super::{Index, Member, keys};
use crate::error::IndexError;
use crate::ids::{Author, Dot, EntryId, Millis};
use crate::record::{Cutoff, Op};
use crate::storage::Storage;

/// What is stored of a device that took part at some time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct MemberState {
    admission: Option<Admission>,
    /// When it got its name, by its own clock, and the name.
    name: (Millis, String),
    /// The generation that the highest removal raised the folder to.
    removed: Option<u32>,
    /// The lowest cut-off of each of its authors; 0 for those that no removal names.
    cutoffs: Vec<Cutoff>,
    /// Up to which record of each author mass deletions were released.
    approved: Vec<Cutoff>,
}

impl MemberState {
    fn is_active(&self) -> bool {
        match (&self.admission, self.removed) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(admission), Some(generation)) => admission.generation >= generation,
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
        self.members.values().filter_map(|state| state.removed).max().unwrap_or(0)
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

    /// Refuses local changes by devices that may not write.
    pub(super) fn check_writer(&self) -> Result<(), IndexError> {
        if self.config.tier == Tier::Write { Ok(()) } else { Err(IndexError::ReadOnly) }
    }

    /// Tells whether a record counts: it is not past the cut-off of a removed device.
    pub(super) fn counts_for(&self, dot: &Dot) -> bool {
        let Some(state) = self.members.get(&dot.author.device) else { return true };
        let cutoff = state.cutoffs.iter().find(|cutoff| cutoff.author == dot.author);
        match (cutoff, state.removed) {
            (Some(cutoff), _) => dot.seq <= cutoff.seq,
            // A log that the removal does not name was begun after it, or hidden from it: it counts
            // only when the device was let in anew.
            (None, Some(_)) => state.is_active(),
            (None, None) => true,
        }
    }

    pub(super) fn apply_member(
        &mut self,
        admission: Admission,
        named_ms: Millis,
        name: String,
    ) -> Result<(), IndexError> {
        if !self.config.verifier.admits(&admission) {
            return Ok(());
        }
        let device = admission.device;
        let state = self.member_mut(device);
        let was_out = state.removed.is_some() && !state.is_active();
        let rank = |admission: &Admission| (admission.generation, admission.tier);
        let old = state.admission.as_ref().map(rank);
        // The highest generation, then tier, and the latest name: whatever order they arrive in.
        if Some(rank(&admission)) > old {
            state.admission = Some(admission);
        }
        state.name = std::mem::take(&mut state.name).max((named_ms, name));
        // Let in anew: what did not count before may count now.
        let is_back = was_out && state.is_active();
        self.stale |= is_back;
        self.store_member(device);
        Ok(())
    }

    pub(super) fn apply_removal(
        &mut self,
        device: DeviceId,
        cutoffs: &[Cutoff],
        generation: u32,
    ) -> Result<(), IndexError> {
        let state = self.member_mut(device);
        state.removed = state.removed.max(Some(generation));
        for cutoff in cutoffs {
            match state.cutoffs.iter_mut().find(|old| old.author == cutoff.author) {
                Some(old) => old.seq = old.seq.min(cutoff.seq),
                None => state.cutoffs.push(cutoff.clone()),
            }
        }
        state.cutoffs.sort_by_key(|cutoff| cutoff.author);
        self.store_member(device);
        self.stale |= self.heads.iter().any(|(author, head)| {
            author.device == device && !self.counts_for(&Dot { author: *author, seq: head.seq })
        });
        Ok(())
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
            removed: None,
            cutoffs: Vec::new(),
            approved: Vec::new(),
        })
    }

    fn store_member(&mut self, device: DeviceId) {
        if let Some(state) = self.members.get(&device) {
            self.overlay.put(member_key(&device), super::to_stored(state));
        }
    }

    pub(super) fn load_members(&mut self) -> Result<(), IndexError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.overlay.scan(keys::MEMBERS, after.as_deref(), 1024)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in page {
                let device = super::stored(&key[1..], "a member's key")?;
                self.members.insert(device, super::stored(&value, "a member")?);
            }
        }
    }
}

fn member_key(device: &DeviceId) -> Vec<u8> {
    [keys::MEMBERS, device.as_bytes().as_slice()].concat()
}
