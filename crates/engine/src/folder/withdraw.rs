//! Contents that no disk has any more.
//!
//! The index can show a content that was lost everywhere: its last holder's user deleted or replaced
//! it before anybody had fetched it, and a move made elsewhere keeps it. Nobody may wait for that for
//! ever. So a device that finds no source asks all members, and once *each of them* has answered,
//! after a look at its whole disk, that it does not have the content either, it is withdrawn:
//!
//! - a device that still has an older version of the file, and shows nothing else of it, gives that;
//! - otherwise the values that hold the content are taken out ([`Index::withdraw`]).
//!
//! The same is done for the state of a text. A version whose state nobody has is written anew without
//! one ([`Index::write_stateless`]): it merges with nothing any more and stands beside the others,
//! instead of being on some disks and not on others. Its content may be lost, too; that is found out
//! next.
//!
//! Both replace just these values, so that it does no harm when several devices do so at once, or
//! when somebody writes the file meanwhile. Members that are not connected hold it back; the
//! last one that removals have left asks nobody. Who has
//! answered, and gets such a content from its user after that, announces it as written anew.
//!
//! # Limits
//! One question at a time, of at most [`ROUND_MAX`] contents; the last [`DENIED_MAX`] answers are
//! remembered.
//!
//! [`Index::withdraw`]: dunlin_index::Index::withdraw
//! [`Index::write_stateless`]: dunlin_index::Index::write_stateless

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dunlin_blocks::{ManifestWalk, SMALL_MAX};
use dunlin_identity::{DeviceId, Hash, Tier};
use dunlin_index::sync::SyncMessage;
use dunlin_index::{Content, EntryId, IndexError, ItemKey, Kind, Millis, Storage};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::Fs;

use super::address::content_of;
use super::error::Blocked;
use super::observe::is_storage;
use super::rows::path_of;
use super::{Action, Folder};
use crate::serve::{read_block, read_kept};

/// Contents that are asked for at a time.
const ROUND_MAX: usize = 64;
/// Answers that are remembered.
const DENIED_MAX: usize = 4096;
/// Who has an older version asks when there was no source for this time, the others after
/// [`WAIT_MS`]; and each a little later than the one before it, so that mostly one device asks.
const WAIT_OLDER_MS: Millis = 10_000;
const WAIT_OLDER_STEP_MS: Millis = 2_000;
const WAIT_MS: Millis = 20_000;
const WAIT_STEP_MS: Millis = 5_000;
/// Devices behind this one do not wait longer.
const STEPS_MAX: u64 = 4;
/// It is looked whether there is something to ask this often, and an unanswered question is given up.
const ROUND_MS: Millis = 5_000;
/// Pieces of a manifest that are looked for at a time.
const PIECES_AT_ONCE: usize = 256;

/// What this device looks for, and what it has told others.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Since when each content is known to have no source.
    since: BTreeMap<Hash, Millis>,
    round: Option<Round>,
    due: Option<Millis>,
    last: u64,
    /// Contents that this device has said not to have, the oldest first.
    denied: VecDeque<Hash>,
}

/// A question under way.
#[derive(Debug)]
struct Round {
    number: u64,
    /// Who does not have each content.
    absent: BTreeMap<Hash, BTreeSet<DeviceId>>,
}

impl Search {
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due
    }

    /// No connected member has given this content.
    pub(super) fn missed(&mut self, root: &Hash, now: Millis) {
        self.since.entry(*root).or_insert(now);
        self.due.get_or_insert(now + ROUND_MS);
    }

    /// Whether this device has told others that it does not have this content.
    pub(super) fn has_denied(&self, content: &Content) -> bool {
        matches!(content, Content::File { root, .. } if self.denied.contains(root))
    }

    fn deny(&mut self, content: Hash) {
        if !self.denied.contains(&content) {
            if self.denied.len() == DENIED_MAX {
                self.denied.pop_front();
            }
            self.denied.push_back(content);
        }
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Asks all members for what has had no source for a while.
    pub(super) fn search_sources(&mut self, now: Millis) {
        if self.search.due.is_none_or(|due| now < due) {
            return;
        }
        self.search.round = None;
        let wanted: BTreeSet<Hash> = self.needs.lacked().map(|(root, ..)| *root).collect();
        self.search.since.retain(|root, _| wanted.contains(root));
        let waits = !self.search.since.is_empty();
        self.search.due = waits.then_some(now + ROUND_MS);
        if !waits || !self.writable || !self.knows_its_disk() {
            return;
        }
        match self.ask_members(now) {
            Ok(()) => {}
            Err(error) => self.search_failed(&error, now),
        }
    }

    fn search_failed(&mut self, error: &Blocked, now: Millis) {
        match error {
            Blocked::Index(error) if is_storage(error) => self.storage_fault(error, now),
            // This device was removed, say.
            Blocked::Index(error) => tracing::debug!(%error, "what nobody has is not withdrawn"),
            Blocked::Fs(error) => self.set_fault(error, now),
        }
    }

    fn ask_members(&mut self, now: Millis) -> Result<(), Blocked> {
        let Some((others, rank)) = self.connected_members() else { return Ok(()) };
        let mut contents = Vec::new();
        let lacking: Vec<(Hash, u64, BTreeSet<EntryId>)> = self
            .needs
            .lacked()
            .map(|(root, size, entries)| (*root, size, entries.clone()))
            .collect();
        for (root, size, entries) in lacking {
            let Some(since) = self.search.since.get(&root) else { continue };
            let mut older = false;
            for entry in entries {
                older |= !self.rows.by_entry(entry)?.is_empty();
            }
            let (wait, step) =
                if older { (WAIT_OLDER_MS, WAIT_OLDER_STEP_MS) } else { (WAIT_MS, WAIT_STEP_MS) };
            let due = since.saturating_add(wait + step * rank.min(STEPS_MAX)) <= now;
            if due && contents.len() < ROUND_MAX && self.is_absent(&root, size, now)? {
                contents.push((root, size));
            }
        }
        if contents.is_empty() {
            return Ok(());
        }
        let number = now.max(self.search.last + 1);
        self.search.last = number;
        let absent = contents.iter().map(|(root, _)| (*root, BTreeSet::new())).collect();
        self.search.round = Some(Round { number, absent });
        for other in others {
            let question = SyncMessage::WantHave { round: number, contents: contents.clone() };
            self.out.push_back(Action::Send(other, question));
        }
        // The last member has its answer.
        self.heard_absent(self.signer.device(), number, &[], now);
        Ok(())
    }

    /// The other active members, if all of them are connected, and how many of the writers come
    /// before this one.
    fn connected_members(&self) -> Option<(Vec<DeviceId>, u64)> {
        let me = self.signer.device();
        let mut others = Vec::new();
        let mut rank = 0;
        for member in self.index.members() {
            if member.removed || member.device == me {
                continue;
            }
            if !self.replicator.is_connected(&member.device) {
                return None;
            }
            rank += u64::from(member.tier == Tier::Write && member.device < me);
            others.push(member.device);
        }
        // Who is alone has nobody to ask: the others have not been heard of yet, unless all of them
        // were removed.
        let is_last = self.index.generation() > 0;
        (!others.is_empty() || is_last).then_some((others, rank))
    }

    /// Whether all that is on this disk is in the table of files.
    fn knows_its_disk(&self) -> bool {
        self.is_running()
            && self.compared
            && !self.scan_wanted
            && !self.scanning
            && self.hashing.is_empty()
            && self.settler.next_due().is_none()
            && self.held.is_empty()
            && self.vanishing.burst.is_empty()
            && self.overwrites.burst.is_empty()
    }

    /// Another member looks for contents: tells it which of them are not here.
    pub(super) fn answer_search(
        &mut self,
        from: DeviceId,
        round: u64,
        contents: Vec<(Hash, u64)>,
        now: Millis,
    ) {
        if !self.knows_its_disk() || contents.len() > ROUND_MAX {
            return;
        }
        let mut absent = Vec::new();
        for (content, size) in contents {
            match self.is_absent(&content, size, now) {
                Ok(true) => absent.push(content),
                Ok(false) => {}
                Err(error) => return self.search_failed(&error, now),
            }
        }
        if !absent.is_empty() {
            absent.iter().for_each(|content| self.search.deny(*content));
            let answer = SyncMessage::DontHave { round, contents: absent };
            self.out.push_back(Action::Send(from, answer));
        }
    }

    /// Whether a content is nowhere on this disk. A file that should hold it and does not is looked
    /// at again; until then the content counts as being here.
    fn is_absent(&mut self, content: &Hash, size: u64, now: Millis) -> Result<bool, Blocked> {
        if self.needs.has(content) || self.texts.find(content).map_err(IndexError::from)?.is_some()
        {
            return Ok(false);
        }
        if size <= SMALL_MAX {
            return self.is_block_absent(content, now);
        }
        let Ok(mut walk) = ManifestWalk::new(*content, size) else { return Ok(true) };
        while !walk.is_complete() {
            for piece in walk.wanted(PIECES_AT_ONCE) {
                let Some(data) = self.manifests.get(&piece.hash).map_err(IndexError::from)? else {
                    return Ok(true);
                };
                if walk.supply(&piece.hash, &data).is_err() {
                    return Ok(true);
                }
            }
        }
        let Ok(manifest) = walk.finish() else { return Ok(true) };
        for (_, block) in manifest.offsets() {
            if self.is_block_absent(&block.hash, now)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_block_absent(&mut self, block: &Hash, now: Millis) -> Result<bool, Blocked> {
        if read_block(&*self.fs, &self.rows, block)?.is_some()
            || read_kept(&*self.fs, &self.manifests, block)?.is_some()
        {
            return Ok(false);
        }
        let places = self.rows.locate_all(block)?;
        for place in &places {
            let path = path_of(&self.rows, place.row)?;
            self.look_again(path, now);
        }
        Ok(places.is_empty())
    }

    /// A member does not have these contents. Those that nobody has are withdrawn.
    pub(super) fn heard_absent(
        &mut self,
        from: DeviceId,
        round: u64,
        contents: &[Hash],
        now: Millis,
    ) {
        let Some(asked) = self.search.round.as_mut().filter(|asked| asked.number == round) else {
            return;
        };
        for content in contents {
            if let Some(absent) = asked.absent.get_mut(content) {
                absent.insert(from);
            }
        }
        let Some((others, _)) = self.connected_members() else { return };
        let Some(asked) = &self.search.round else { return };
        let everywhere = |who: &BTreeSet<DeviceId>| others.iter().all(|other| who.contains(other));
        let absent: Vec<Hash> = asked
            .absent
            .iter()
            .filter(|(_, who)| everywhere(who))
            .map(|(content, _)| *content)
            .collect();
        if absent.is_empty() || !self.knows_its_disk() {
            return;
        }
        for content in absent {
            if let Some(asked) = &mut self.search.round {
                asked.absent.remove(&content);
            }
            match self.withdraw(&content, now) {
                Ok(()) => {}
                Err(error) => return self.search_failed(&error, now),
            }
        }
        self.commit_local(Vec::new(), now);
    }

    /// Takes a content, or the state of a text, that no member has out of all entries that wait for
    /// it here.
    fn withdraw(&mut self, content: &Hash, now: Millis) -> Result<(), Blocked> {
        let lacking = self.needs.lacked().find(|(root, ..)| *root == content);
        let Some((_, size, entries)) = lacking else { return Ok(()) };
        let entries = entries.clone();
        // It may have come meanwhile.
        if !self.is_absent(content, size, now)? {
            return Ok(());
        }
        for entry in entries {
            if self.index.write_stateless(now, entry, content)? {
                self.dirty.insert(entry);
                continue;
            }
            if !self.index.withdraw(now, entry, content)? {
                continue;
            }
            self.dirty.insert(entry);
            if self.index.items(entry)?.is_empty()
                && let [row] = self.rows.by_entry(entry)?.as_slice()
                && row.kind != Kind::Directory
            {
                self.give_older(row.clone(), now)?;
            }
        }
        Ok(())
    }

    /// Gives the others the version that this disk still has of a file whose newer one is lost.
    fn give_older(&mut self, mut row: Row, now: Millis) -> Result<(), Blocked> {
        let path = path_of(&self.rows, row.id)?;
        let Some(content) = content_of(&row) else { return Ok(()) };
        if self.is_as_seen(&row, &path, now)? {
            row.item = self.index.write(now, &row.item, content)?;
            self.rows.put(&row)?;
        }
        Ok(())
    }

    /// What this device has said not to have, and its user has just written, may be withdrawn at this
    /// moment: it is written anew, so that it stays.
    pub(super) fn own_if_denied(
        &mut self,
        item: ItemKey,
        content: &Content,
        now: Millis,
    ) -> Result<ItemKey, IndexError> {
        if self.search.has_denied(content) {
            return self.index.write(now, &item, content.clone());
        }
        Ok(item)
    }
}

#[cfg(test)]
mod tests;
