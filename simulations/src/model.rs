//! Exhaustive enumeration of small scopes: three devices, two entries to begin with, every
//! operation that each device could make, every way in which they could know of each other.
//!
//! # What is enumerated
//! A run is a sequence of operations. Before an operation its device takes over, whole, what any
//! subset of the others hold at that moment. The operations are all that its view allows: edit,
//! delete, rename, a move into each directory, a create under a name of its own choice.
//!
//! # Why that is enough
//! - What a device shows follows from the records it holds, and merging is all that deliveries do;
//!   a delivery that no operation follows changes nothing that is recorded. So deliveries need to
//!   be tried only just before an operation of the receiver, and taking over nothing new is tried
//!   once.
//! - Logs are delivered whole. That parts of logs commute is shown by properties of the index.
//! - States that differ only in the order in which independent operations were made are one: they
//!   hold the same logs, and are visited once. For that, all clocks stand still; which of two
//!   concurrent moves wins is then decided by the devices, and both ways occur.
//!
//! # What is checked, in every state
//! - Convergence: three devices that take over the rest, in different orders, show the same, with
//!   equal fingerprints.
//! - The view is a tree: names are unique, nothing is shown twice, everything is found again
//!   ([`Index::audit`]).
//! - No content is lost: what was written is shown, unless somebody who saw it overwrote or
//!   deleted it.
//! - Nothing comes back without a reason: what somebody deleted or overwrote is shown only if
//!   somebody else edited or moved the entry, or a directory that it was deleted with, without
//!   knowing of that.
//!
//! # Removals
//! In a scope with removals each device may also remove each other one, at any point, and one of the
//! operations of every run is a removal. Who was removed and knows it does nothing any more; who does
//! not know goes on, and others take it. Then also:
//! - Nothing is shown that was written past the end of its author's log, by any removal, and what was
//!   done past it neither overwrites nor deletes: what it had superseded is shown again.
//! - What members wrote is shown, also in what a removed device had made. One exception: a content
//!   that a removed device had made independent of another one, which a member who saw that then
//!   deleted, was deleted with it; it is in the histories of those who had it.
//! - What a removed device had deleted past its end comes back even if a member who saw that has
//!   then deleted the rest of the entry: a deletion names only what is left to it. If the member has
//!   then deleted the directory that it is in again, deleted or moved, it may stay away: such a
//!   deletion names authors up to a number.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use dunlin_identity::{DeviceId, Hash, Tier};
use dunlin_index::{
    Config, Content, Context, Dot, EntryId, Index, IndexError, Item, Kind, MemStore, NewEntry,
    SafeName,
};

use crate::keys::Keys;
use crate::random::Random;

const DEVICES: usize = 3;
const NOW: u64 = 1_000_000;

/// What a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A directory and a file beside it.
    DirectoryAndFile,
    /// Two directories.
    TwoDirectories,
    /// A directory with a file in it.
    FileInDirectory,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Different states, each of them checked.
    pub states: u64,
    /// Operations that led to them, those to states seen before included.
    pub steps: u64,
}

/// Something that must not be, with the operations that lead to it.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A check failed.
    #[error("{what}\nafter:\n{trace}")]
    Broken {
        /// What is wrong.
        what: String,
        /// The operations, one a line.
        trace: String,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// One operation of a device on what it sees.
#[derive(Clone, Debug)]
enum Act {
    Create(&'static str),
    Edit(Item),
    Delete(Item),
    Place(Item, EntryId, SafeName),
    Remove(DeviceId),
}

impl Act {
    fn is_on_copy(&self) -> bool {
        match self {
            Self::Create(_) | Self::Remove(_) => false,
            Self::Edit(item) | Self::Delete(item) | Self::Place(item, ..) => item.conflict,
        }
    }
}

/// What an operation did to contents, and what was known when it was made.
#[derive(Debug)]
struct Done {
    dot: Dot,
    knew: Context,
    /// Contents that it keeps in use.
    uses: BTreeSet<String>,
    /// Contents that it overwrote or deleted.
    ends: BTreeSet<String>,
    /// The entries that it edited or moved, those included that had to make room.
    used: BTreeSet<EntryId>,
    /// The entries that it edited or deleted.
    ended: BTreeSet<EntryId>,
    /// The content that it wrote.
    wrote: Option<String>,
    /// Whom it removed.
    removed: Option<DeviceId>,
}

impl Done {
    /// Tells whether a removal takes this back.
    fn is_void(&self, all: &[Rc<Self>]) -> bool {
        let author = &self.dot.author;
        let by = |other: &&Rc<Self>| other.removed == Some(author.device);
        self.removed.is_none()
            && all.iter().filter(by).any(|removal| !removal.knew.covers(&self.dot))
    }
}

/// A device's storage; devices are opened from it when they act.
type Held = Rc<MemStore>;

#[derive(Clone)]
struct State {
    held: Vec<Held>,
    heads: Vec<Vec<Hash>>,
    done: Vec<Rc<Done>>,
    trace: Vec<Rc<str>>,
}

struct Explorer {
    keys: Keys,
    removals: bool,
    seen: HashSet<Vec<Vec<Hash>>>,
    explored: Explored,
}

/// Visits every state that up to `operations` operations lead to; with `removals`, every one that
/// runs of so many operations lead to of which one at least removes a device.
///
/// # Errors
/// The first state in which a check fails.
pub fn explore(start: Start, operations: usize, removals: bool) -> Result<Explored, ModelError> {
    let keys = Keys::make(DEVICES, false, &mut Random::new(1));
    let (seen, explored) = (HashSet::new(), Explored::default());
    let mut explorer = Explorer { keys, removals, seen, explored };
    let state = explorer.begin(start)?;
    explorer.visit(&state, operations)?;
    Ok(explorer.explored)
}

impl Explorer {
    fn config(&self, device: usize) -> Config {
        let (signer, admission) = &self.keys.devices[device];
        Config {
            folder: self.keys.folder,
            id_key: self.keys.id_key,
            device: signer.device(),
            tier: Tier::Write,
            admission: *admission,
            name: String::new(),
            verifier: self.keys.verifier.clone(),
            fresh_epoch: 1,
        }
    }

    /// Opens a copy of a device.
    fn open(&self, device: usize, held: &Held) -> Result<Index<MemStore>, IndexError> {
        let copy = MemStore::new();
        copy.restore(&held.snapshot());
        Index::open(copy, self.config(device), NOW)
    }

    fn begin(&self, start: Start) -> Result<State, ModelError> {
        let mut stores = Vec::new();
        let mut devices = Vec::new();
        for device in 0..DEVICES {
            let store = MemStore::new();
            let mut index = Index::open(store.clone(), self.config(device), NOW)?;
            if device == 0 {
                match start {
                    Start::DirectoryAndFile => {
                        make(&mut index, EntryId::ROOT, "d", Content::Directory)?;
                        make(&mut index, EntryId::ROOT, "f", word("old"))?;
                    }
                    Start::TwoDirectories => {
                        make(&mut index, EntryId::ROOT, "d", Content::Directory)?;
                        make(&mut index, EntryId::ROOT, "e", Content::Directory)?;
                    }
                    Start::FileInDirectory => {
                        let dir = make(&mut index, EntryId::ROOT, "d", Content::Directory)?;
                        make(&mut index, dir, "f", word("old"))?;
                    }
                }
            }
            index.commit(&*self.keys.devices[device].0)?;
            stores.push(store);
            devices.push(index);
        }
        for to in 0..DEVICES {
            for from in 0..DEVICES {
                let (segments, _) =
                    devices[from].segments_beyond(devices[to].context(), usize::MAX)?;
                take(&mut devices[to], &segments)?;
            }
            devices[to].write_back(true)?;
        }
        Ok(State {
            heads: devices.iter().map(heads).collect(),
            held: stores.into_iter().map(Rc::new).collect(),
            done: Vec::new(),
            trace: Vec::new(),
        })
    }

    fn visit(&mut self, state: &State, left: usize) -> Result<(), ModelError> {
        if !self.seen.insert(state.heads.clone()) {
            return Ok(());
        }
        self.explored.states += 1;
        self.check(state)?;
        if left == 0 {
            return Ok(());
        }
        for device in 0..DEVICES {
            let mut known = BTreeSet::new();
            for subset in 0..1 << DEVICES {
                if subset & (1 << device) != 0 {
                    continue;
                }
                let base = MemStore::new();
                base.restore(&state.held[device].snapshot());
                let mut index = Index::open(base.clone(), self.config(device), NOW)?;
                for other in (0..DEVICES).filter(|other| subset & (1 << other) != 0) {
                    self.pull(&mut index, other, &state.held[other])?;
                }
                if !known.insert(heads(&index)) {
                    continue;
                }
                index.write_back(true)?;
                for act in self.acts(&index, state, left)? {
                    self.explored.steps += 1;
                    let next = self.step(state, device, subset, &base, &act)?;
                    self.visit(&next, left - 1)?;
                }
            }
        }
        Ok(())
    }

    /// Gives all that a device could do in a state from which so many operations are left.
    fn acts(
        &self,
        index: &Index<MemStore>,
        state: &State,
        left: usize,
    ) -> Result<Vec<Act>, IndexError> {
        if !self.removals {
            return acts(index);
        }
        if index.is_removed() {
            return Ok(Vec::new());
        }
        let members = index.members().into_iter();
        let others = members.filter(|member| member.device != index.author().device);
        let mut found: Vec<Act> = others
            .filter(|member| !member.removed)
            .map(|member| Act::Remove(member.device))
            .collect();
        // Runs without a removal are those of the scope without.
        if left > 1 || state.done.iter().any(|done| done.removed.is_some()) {
            found.append(&mut acts(index)?);
        }
        Ok(found)
    }

    fn pull(&self, to: &mut Index<MemStore>, from: usize, held: &Held) -> Result<(), ModelError> {
        let from = Index::open((**held).clone(), self.config(from), NOW)?;
        let (segments, _) = from.segments_beyond(to.context(), usize::MAX)?;
        take(to, &segments)
    }

    /// Makes one operation, on a copy.
    fn step(
        &self,
        state: &State,
        device: usize,
        subset: usize,
        base: &MemStore,
        act: &Act,
    ) -> Result<State, ModelError> {
        let store = MemStore::new();
        store.restore(&base.snapshot());
        let mut index = Index::open(store.clone(), self.config(device), NOW)?;
        let knew = index.context().clone();
        let author = index.author();
        let new = format!("{device}.{}", knew.get(&author));
        let (mut uses, mut ends) = (BTreeSet::new(), BTreeSet::new());
        let (mut used, mut ended) = (BTreeSet::new(), BTreeSet::new());
        let (mut wrote, mut removed) = (None, None);
        match act {
            Act::Create(name) => {
                make(&mut index, EntryId::ROOT, name, word(&new))?;
                uses.insert(new.clone());
                wrote = Some(new);
            }
            Act::Remove(device) => {
                index.remove_device(NOW, *device, &[])?;
                removed = Some(*device);
            }
            Act::Edit(item) => {
                index.write(NOW, &item.key, word(&new))?;
                uses.insert(new.clone());
                wrote = Some(new);
                ends.insert(said(&item.content));
                used.insert(item.key.entry);
                ended.insert(item.key.entry);
            }
            Act::Delete(item) => {
                ends = contents(&index, item)?;
                ended = entries(&index, item)?;
                index.delete(NOW, &item.key)?;
            }
            Act::Place(item, parent, name) => {
                uses = contents(&index, item)?;
                used.insert(item.key.entry);
                index.rename(NOW, &item.key, *parent, name)?;
            }
        }
        let changed = index.commit(&*self.keys.devices[device].0)?.changed;
        used.extend(changed.difference(&ended));
        // Who acts on one version of several makes the others files of their own: they stay.
        let stays = |item: &Item| item.kind == Kind::File && used.contains(&item.key.entry);
        let shown = walk(&index, EntryId::ROOT)?.into_iter().map(|(_, item)| item);
        uses.extend(shown.filter(stays).map(|item| said(&item.content)));
        if act.is_on_copy() {
            // A copy becomes an entry of its own first; it is that one which ends.
            ended.extend(changed);
        }
        let dot = Dot { author, seq: index.context().get(&author) };
        let mut next = state.clone();
        next.heads[device] = heads(&index);
        next.held[device] = Rc::new(store);
        next.done.push(Rc::new(Done { dot, knew, uses, ends, used, ended, wrote, removed }));
        next.trace.push(format!("device {device}, knowing {subset:03b}: {act:?}").into());
        Ok(next)
    }

    /// Checks what all devices come to once they know everything.
    fn check(&self, state: &State) -> Result<(), ModelError> {
        let broken = |what: String| Err(ModelError::Broken { what, trace: state.trace.join("\n") });
        let mut first: Option<(Vec<String>, Hash)> = None;
        let mut shown = BTreeSet::new();
        for device in 0..DEVICES {
            let mut index = self.open(device, &state.held[device])?;
            for step in 1..DEVICES {
                let other = (device + step) % DEVICES;
                self.pull(&mut index, other, &state.held[other])?;
            }
            let faults = index.audit()?;
            if !faults.is_empty() {
                return broken(format!("device {device}: {}", faults.join("\n")));
            }
            let mut view = Vec::new();
            for (path, item) in walk(&index, EntryId::ROOT)? {
                if item.key.dot.is_some_and(|dot| !index.counts_for(&dot)) {
                    return broken(format!("{path} was written by a removed device"));
                }
                shown.insert(said(&item.content));
                view.push(format!("{path} {}", said(&item.content)));
            }
            let now = (view, index.fingerprint());
            match &first {
                Some(first) if *first != now => {
                    return broken(format!("the views differ: {first:?}, {now:?}"));
                }
                _ => first = Some(now),
            }
        }
        self.check_contents(state, &shown).or_else(broken)
    }

    /// What was written and taken back is shown only if a member who saw it made it its own.
    fn check_void(
        &self,
        void: &[&Rc<Done>],
        counting: &[&Rc<Done>],
        shown: &BTreeSet<String>,
    ) -> Result<(), String> {
        for done in void {
            let Some(content) = done.wrote.as_ref().filter(|content| shown.contains(*content))
            else {
                continue;
            };
            if !counting.iter().any(|other| other.knew.covers(&done.dot)) {
                return Err(format!("{content} was cut off"));
            }
        }
        Ok(())
    }

    fn check_contents(&self, state: &State, shown: &BTreeSet<String>) -> Result<(), String> {
        let (void, counting): (Vec<_>, Vec<_>) =
            state.done.iter().partition(|done| done.is_void(&state.done));
        self.check_void(&void, &counting, shown)?;
        let mut ended: BTreeMap<&String, Vec<&Rc<Done>>> = BTreeMap::new();
        for done in &counting {
            for content in &done.ends {
                ended.entry(content).or_default().push(done);
            }
        }
        let taken_back = |content| void.iter().any(|done| done.wrote.as_ref() == Some(content));
        for content in counting.iter().flat_map(|done| &done.uses) {
            let gone = ended.contains_key(content) || taken_back(content);
            let gone = gone
                || went_with_another(&void, &counting)
                || went_with_directory(content, &void, &counting);
            if !gone && !shown.contains(content) {
                return Err(format!("{content} is lost"));
            }
        }
        for (content, ends) in ended {
            for end in ends {
                let reason = state.done.iter().any(|other| {
                    // Who edits or moves an entry keeps it, with whatever it holds.
                    let keeps_it = !other.used.is_disjoint(&end.ended);
                    // What was seen of an operation that is taken back is as it was before it.
                    let unseen = !end.knew.covers(&other.dot) || other.is_void(&state.done);
                    // A deletion names what is left: not what one that is taken back had taken.
                    let taken_before = other.ends.contains(content)
                        && other.is_void(&state.done)
                        && end.knew.covers(&other.dot);
                    (other.uses.contains(content) || keeps_it) && unseen || taken_before
                });
                if shown.contains(content) && !reason {
                    return Err(format!("{content} came back"));
                }
            }
        }
        Ok(())
    }
}

/// Tells whether a member has deleted something from which a removed device had parted something
/// else: the deletion names that, too.
fn went_with_another(void: &[&Rc<Done>], counting: &[&Rc<Done>]) -> bool {
    let parted = |end: &&&Rc<Done>| {
        void.iter().any(|done| end.knew.covers(&done.dot) && !done.used.is_disjoint(&end.ended))
    };
    counting.iter().any(|end| parted(&end))
}

/// Tells whether a member, who saw that a removed device had deleted or moved a content, has then
/// deleted a directory: the deletion may name what was in it before.
fn went_with_directory(content: &String, void: &[&Rc<Done>], counting: &[&Rc<Done>]) -> bool {
    counting.iter().filter(|end| end.wrote.is_none() && !end.ended.is_empty()).any(|end| {
        let by = |done: &Done| done.ends.contains(content) || done.uses.contains(content);
        void.iter().any(|done| by(done) && end.knew.covers(&done.dot))
    })
}

fn take(to: &mut Index<MemStore>, segments: &[Vec<u8>]) -> Result<(), ModelError> {
    for segment in segments {
        if let Err(error) = to.merge(segment, NOW) {
            let (what, trace) = (error.to_string(), String::new());
            return Err(ModelError::Broken { what, trace });
        }
    }
    Ok(())
}

fn heads(index: &Index<MemStore>) -> Vec<Hash> {
    index.heads().into_iter().map(|head| head.chain).collect()
}

fn name(text: &str) -> SafeName {
    SafeName::parse(text).expect("the names written here are sound")
}

/// Makes a content that can be read again.
fn word(text: &str) -> Content {
    let mut root = [0; 32];
    root[..text.len()].copy_from_slice(text.as_bytes());
    Content::File { root: Hash(root), size: text.len() as u64, mtime_ns: 0, text: None }
}

fn said(content: &Content) -> String {
    match content {
        Content::File { root, .. } => {
            String::from_utf8_lossy(&root.0).trim_end_matches('\0').to_owned()
        }
        _ => "/".to_owned(),
    }
}

fn make(
    index: &mut Index<MemStore>,
    parent: EntryId,
    text: &str,
    content: Content,
) -> Result<EntryId, IndexError> {
    let new = NewEntry { kind: content.kind(), content, mode: 0o644 };
    Ok(index.create(NOW, parent, &name(text), new)?.entry)
}

/// Gives everything that is shown below a directory, with its path.
fn walk(index: &Index<MemStore>, dir: EntryId) -> Result<Vec<(String, Item)>, IndexError> {
    let mut found = Vec::new();
    let mut dirs = vec![(dir, String::new())];
    while let Some((dir, path)) = dirs.pop() {
        for item in index.children(dir, None, usize::MAX)? {
            let path = format!("{path}/{}", item.name);
            if item.kind == Kind::Directory {
                dirs.push((item.key.entry, path.clone()));
            }
            found.push((path, item));
        }
    }
    Ok(found)
}

/// Gives the contents of a file, or of all files below a directory.
fn contents(index: &Index<MemStore>, item: &Item) -> Result<BTreeSet<String>, IndexError> {
    if item.kind == Kind::File {
        return Ok(BTreeSet::from([said(&item.content)]));
    }
    let below = walk(index, item.key.entry)?.into_iter();
    Ok(below
        .filter(|(_, item)| item.kind == Kind::File)
        .map(|(_, item)| said(&item.content))
        .collect())
}

/// Gives an entry and all below it.
fn entries(index: &Index<MemStore>, item: &Item) -> Result<BTreeSet<EntryId>, IndexError> {
    let below = match item.kind {
        Kind::Directory => walk(index, item.key.entry)?,
        _ => Vec::new(),
    };
    let below = below.into_iter().map(|(_, item)| item.key.entry);
    Ok(below.chain([item.key.entry]).collect())
}

/// Gives all that a device could do.
fn acts(index: &Index<MemStore>) -> Result<Vec<Act>, IndexError> {
    let items = walk(index, EntryId::ROOT)?;
    let mut dirs = vec![(EntryId::ROOT, String::new())];
    dirs.extend(
        items
            .iter()
            .filter(|(_, item)| item.kind == Kind::Directory)
            .map(|(path, item)| (item.key.entry, path.clone())),
    );
    let mut acts = Vec::new();
    if index.lookup(EntryId::ROOT, &name("f"))?.is_none() {
        acts.push(Act::Create("f"));
    }
    for (path, item) in &items {
        if item.kind == Kind::File {
            acts.push(Act::Edit(item.clone()));
        }
        acts.push(Act::Delete(item.clone()));
        let below = format!("{path}/");
        for (dir, at) in &dirs {
            let inside = at == path || at.starts_with(&below);
            // In its own directory it gets another name, elsewhere it keeps it.
            let to = if *dir == item.parent { name("x") } else { item.name.clone() };
            if !inside && index.lookup(*dir, &to)?.is_none() {
                acts.push(Act::Place(item.clone(), *dir, to));
            }
        }
    }
    Ok(acts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_devices_and_two_entries_agree_whatever_they_do() {
        for start in [Start::DirectoryAndFile, Start::TwoDirectories, Start::FileInDirectory] {
            let explored = explore(start, 2, false).unwrap_or_else(|error| panic!("{error}"));
            assert!(explored.states > 100, "{explored:?}");
        }
    }

    #[test]
    fn three_devices_that_remove_each_other_agree_and_show_nothing_that_was_cut_off() {
        for start in [Start::DirectoryAndFile, Start::TwoDirectories, Start::FileInDirectory] {
            let explored = explore(start, 2, true).unwrap_or_else(|error| panic!("{error}"));
            assert!(explored.states > 100, "{explored:?}");
        }
    }
}
