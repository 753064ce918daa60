//! The rules of the index a second time: slow, simple, over the full set of records, with nothing
//! kept from one question to the next.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_identity::DeviceId;
use dunlin_index::{Author, Content, Context, Dot, EntryId, Kind, SafeName};

use super::wire::{LogEnd, Op, Place, Stamp};
use super::{ID_KEY, line};

/// Where a move has put an entry; the greatest wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    stamp: Stamp,
    place: Place,
    from: Place,
    dot: Dot,
}

struct TreeDelete {
    seen: Option<Stamp>,
    context: Context,
}

/// One entry's registers.
#[derive(Default)]
struct Entry {
    kind: Option<Kind>,
    birth: Option<Place>,
    placed: Option<Placed>,
    values: BTreeMap<Dot, Content>,
    presence: BTreeSet<Dot>,
    mode: (Option<Stamp>, u32),
    /// What records say of its first place and mode that a removal has taken back.
    void: Option<(Place, u32)>,
    deletes: Vec<TreeDelete>,
}

/// The state that a set of records makes.
pub(crate) struct Model {
    entries: BTreeMap<EntryId, Entry>,
    settings: BTreeMap<Dot, Vec<u8>>,
    context: Context,
    /// Where each entry is, circles of moves resolved.
    places: BTreeMap<EntryId, Place>,
    live: BTreeSet<EntryId>,
    wanted: BTreeSet<EntryId>,
}

/// Gives the identity of the first entry with this content at this place.
pub(crate) fn first_id(place: &Place, content: &Content) -> EntryId {
    let mut bytes = b"first\0".to_vec();
    bytes.extend_from_slice(&place.parent.0);
    bytes.extend_from_slice(&(place.name.as_str().len() as u64).to_le_bytes());
    bytes.extend_from_slice(place.name.as_str().as_bytes());
    match content {
        Content::File { root, .. } => {
            bytes.push(b'f');
            bytes.extend_from_slice(&root.0);
        }
        Content::Symlink { target } => {
            bytes.push(b'l');
            bytes.extend_from_slice(target.as_bytes());
        }
        Content::Directory => bytes.push(b'd'),
    }
    id_of(&bytes)
}

fn dot_bytes(dot: &Dot) -> Vec<u8> {
    let mut bytes = dot.author.device.as_bytes().to_vec();
    bytes.extend_from_slice(&dot.author.epoch.to_le_bytes());
    bytes.extend_from_slice(&dot.seq.to_le_bytes());
    bytes
}

fn id_of(bytes: &[u8]) -> EntryId {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::keyed_hash(&ID_KEY, bytes).as_bytes()[..16]);
    EntryId(id)
}

fn born_as(dot: &Dot, op: &Op) -> Option<EntryId> {
    match op {
        Op::Create { first: true, place, content, .. } => Some(first_id(place, content)),
        Op::Create { .. } => Some(id_of(&[b"dot\0".as_slice(), &dot_bytes(dot)].concat())),
        Op::Promote { entry, dot, content, .. } => {
            let kind = if content.kind() == Kind::Symlink { b"l" } else { b"f" };
            let parts = [b"promoted\0".as_slice(), &entry.0, kind, &dot_bytes(dot)];
            Some(id_of(&parts.concat()))
        }
        _ => None,
    }
}

/// Gives every identity that records have made or named.
pub(crate) fn ids_of(records: &BTreeMap<Dot, Op>) -> BTreeSet<EntryId> {
    records.iter().filter_map(|(dot, op)| born_as(dot, op)).collect()
}

/// Gives the values that no other record replaces.
fn settings_of<'a>(records: impl Iterator<Item = (&'a Dot, &'a Op)>) -> BTreeMap<Dot, Vec<u8>> {
    let mut values = BTreeMap::new();
    let mut replaced: BTreeSet<Dot> = BTreeSet::new();
    for (dot, op) in records {
        if let Op::Settings { value, replaces } = op {
            values.insert(*dot, value.clone());
            replaced.extend(replaces);
        }
    }
    values.retain(|dot, _| !replaced.contains(dot));
    values
}

impl Model {
    /// Computes the state of those of the records that a context covers.
    pub(crate) fn new(records: &BTreeMap<Dot, Op>, context: &Context) -> Self {
        let limits = Limits::new(records, context);
        let known = || records.iter().filter(|(dot, _)| context.covers(dot) && limits.count(dot));
        let void = records.iter().filter(|(dot, _)| context.covers(dot) && !limits.count(dot));
        let mut entries: BTreeMap<EntryId, Entry> = BTreeMap::new();
        let mut replaced: BTreeSet<(EntryId, Dot)> = BTreeSet::new();
        let mut disabled: BTreeSet<(EntryId, Dot)> = BTreeSet::new();
        for (_, op) in known() {
            match op {
                Op::Write { entry, replaces, enables, .. } => {
                    replaced.extend(replaces.iter().map(|dot| (*entry, *dot)));
                    disabled.extend(enables.iter().map(|dot| (*entry, *dot)));
                }
                Op::Promote { entry, dot, .. } => {
                    replaced.insert((*entry, *dot));
                }
                Op::Move { entry, enables, .. } | Op::Enable { entry, enables } => {
                    disabled.extend(enables.iter().map(|dot| (*entry, *dot)));
                }
                Op::Delete { entry, presence } => {
                    disabled.extend(presence.iter().map(|dot| (*entry, *dot)));
                }
                Op::Withdraw { entry, values } => {
                    replaced.extend(values.iter().map(|dot| (*entry, *dot)));
                    disabled.extend(values.iter().map(|dot| (*entry, *dot)));
                }
                _ => {}
            }
        }
        for (dot, op) in known() {
            if let Some(id) = born_as(dot, op) {
                entries.entry(id).or_default().be_born(dot, op);
            }
            let changed = match op {
                Op::Write { entry, .. }
                | Op::Move { entry, .. }
                | Op::Mode { entry, .. }
                | Op::Enable { entry, .. } => entry,
                Op::DeleteTree { top, .. } => top,
                _ => continue,
            };
            entries.entry(*changed).or_default().change(dot, op);
        }
        for (dot, op) in void {
            if let Some(id) = born_as(dot, op) {
                entries.entry(id).or_default().be_born_void(op);
            }
        }
        for (id, entry) in &mut entries {
            entry.settle_birth();
            entry.values.retain(|dot, _| !replaced.contains(&(*id, *dot)));
            entry.presence.retain(|dot| !disabled.contains(&(*id, *dot)));
        }
        let (live, wanted, places) = Default::default();
        let settings = settings_of(known());
        let mut model = Self { entries, settings, context: context.clone(), places, live, wanted };
        model.place_all();
        model.live = model.entries.keys().copied().filter(|id| model.is_live(*id)).collect();
        model.wanted = model.entries.keys().copied().filter(|id| model.is_wanted(*id)).collect();
        model
    }

    fn raw(&self, id: EntryId) -> Option<&Place> {
        let entry = self.entries.get(&id)?;
        entry.placed.as_ref().map(|placed| &placed.place).or(entry.birth.as_ref())
    }

    fn is_dir(&self, id: EntryId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.kind == Some(Kind::Directory))
    }

    /// Puts every entry where it was moved, and one of each circle where it came from.
    fn place_all(&mut self) {
        for id in self.entries.keys() {
            if let Some(place) = self.raw(*id) {
                self.places.insert(*id, place.clone());
            }
        }
        let mut resolved = self.places.clone();
        for id in self.entries.keys() {
            let Some(circle) = self.circle(*id) else { continue };
            let stamp = |id: &EntryId| self.entries[id].placed.as_ref().map(|placed| placed.stamp);
            let highest = circle.iter().max_by_key(|id| (stamp(id), **id)).unwrap();
            let from = self.entries[highest].placed.as_ref().map(|placed| placed.from.clone());
            let place = match from.filter(|from| self.leads_to_root(from.parent)) {
                Some(from) => from,
                None => Place { parent: EntryId::ROOT, ..self.places[highest].clone() },
            };
            resolved.insert(*highest, place);
        }
        self.places = resolved;
    }

    /// Gives the circle of places that an entry is in.
    fn circle(&self, start: EntryId) -> Option<Vec<EntryId>> {
        let mut circle = vec![start];
        loop {
            let next = self.places.get(circle.last()?)?.parent;
            if next == start {
                return Some(circle);
            }
            if circle.contains(&next) {
                return None;
            }
            circle.push(next);
        }
    }

    fn leads_to_root(&self, from: EntryId) -> bool {
        let mut seen = BTreeSet::new();
        let mut at = from;
        while at != EntryId::ROOT {
            if !self.is_dir(at) || !seen.insert(at) {
                return false;
            }
            let Some(place) = self.places.get(&at) else { return false };
            at = place.parent;
        }
        true
    }

    /// Tells whether an entry has something to show and a presence dot that is left.
    fn is_live(&self, id: EntryId) -> bool {
        let entry = &self.entries[&id];
        let has_content = match entry.kind {
            None => false,
            Some(Kind::Directory) => true,
            Some(kind) => entry.values.values().any(|content| content.kind() == kind),
        };
        has_content && !self.present(id).is_empty()
    }

    /// Gives the presence dots that no tree deletion on the way up disables.
    fn present(&self, id: EntryId) -> BTreeSet<Dot> {
        let mut present = self.entries[&id].presence.clone();
        let mut moves = Vec::new();
        let mut at = id;
        while let Some(top) = self.entries.get(&at) {
            let stamp = top.placed.as_ref().map(|placed| placed.stamp);
            for deletion in &top.deletes {
                let counts = stamp <= deletion.seen
                    && moves.iter().all(|dot| deletion.context.covers(dot))
                    && self.context.covers_all(&deletion.context);
                if counts {
                    present.retain(|dot| !deletion.context.covers(dot));
                }
            }
            moves.extend(top.placed.as_ref().map(|placed| placed.dot));
            match self.places.get(&at) {
                Some(place) if place.parent != EntryId::ROOT => at = place.parent,
                _ => break,
            }
        }
        present
    }

    /// Gives the different values, the winner first: the latest time, then the highest dot.
    fn distinct(&self, id: EntryId) -> Vec<(Dot, &Content)> {
        let time = |content: &Content| match content {
            Content::File { mtime_ns, .. } => *mtime_ns,
            _ => 0,
        };
        let entry = &self.entries[&id];
        let mut values: Vec<(Dot, &Content)> = entry
            .values
            .iter()
            .filter(|(_, content)| Some(content.kind()) == entry.kind)
            .map(|(dot, content)| (*dot, content))
            .collect();
        // A deleted value stays away when another one keeps the entry alive.
        let present = self.present(id);
        if values.iter().any(|(dot, _)| present.contains(dot)) {
            values.retain(|(dot, _)| present.contains(dot));
        }
        values.sort_by_key(|(dot, content)| std::cmp::Reverse((time(content), *dot)));
        let mut distinct: Vec<(Dot, &Content)> = Vec::new();
        for (dot, content) in values {
            if !distinct.iter().any(|(_, other)| other.same_as(content)) {
                distinct.push((dot, content));
            }
        }
        distinct
    }

    /// Tells whether an entry is live or something live is in it.
    fn is_wanted(&self, id: EntryId) -> bool {
        let in_it =
            |(child, place): (&EntryId, &Place)| place.parent == id && self.is_wanted(*child);
        self.live.contains(&id) || (self.is_dir(id) && self.places.iter().any(in_it))
    }

    /// Gives what tells states apart: the registers of all that is wanted.
    pub(crate) fn digest(&self) -> String {
        let wanted = self.wanted.iter().map(|id| {
            let entry = &self.entries[id];
            let stamp = entry.placed.as_ref().map(|placed| placed.stamp);
            let (live, place) = (self.live.contains(id), self.raw(*id));
            format!("{id}{live}{place:?}{stamp:?}{:?}{:?}", entry.values, entry.mode)
        });
        wanted.chain([format!("{:?}", self.settings)]).collect()
    }

    /// Gives the values of the settings that nobody has replaced.
    pub(crate) fn settings(&self) -> Vec<(Dot, Vec<u8>)> {
        self.settings.clone().into_iter().collect()
    }

    /// Gives the whole view, one line an item, sorted.
    pub(crate) fn view(&self) -> Vec<String> {
        let mut lines = Vec::new();
        self.show(&[EntryId::ROOT], "", &mut lines);
        lines.sort();
        lines
    }

    /// Shows what is in directories that are one.
    fn show(&self, dirs: &[EntryId], path: &str, lines: &mut Vec<String>) {
        let mut slots: BTreeMap<&SafeName, Vec<EntryId>> = BTreeMap::new();
        for (id, place) in &self.places {
            if dirs.contains(&place.parent) && self.wanted.contains(id) {
                slots.entry(&place.name).or_default().push(*id);
            }
        }
        let mut losers = Vec::new();
        for (name, claimants) in &slots {
            let reserved = dirs[0] == EntryId::ROOT && name.as_str() == ".dunlin";
            let mut free = !reserved;
            let union: Vec<EntryId> =
                claimants.iter().copied().filter(|id| self.is_dir(*id)).collect();
            if let Some(first) = union.first() {
                let mode = self.entries[first].mode.1;
                if free {
                    lines.push(line(
                        &format!("{path}{name}"),
                        &Content::Directory,
                        &[],
                        mode,
                        false,
                    ));
                    self.show(&union, &format!("{path}{name}/"), lines);
                } else {
                    let copy = (Content::Directory, Vec::new(), mode);
                    losers.push((*name, digits(&first.0), copy, union.clone()));
                }
                free = false;
            }
            let mut files: Vec<EntryId> =
                claimants.iter().copied().filter(|id| !self.is_dir(*id)).collect();
            files.sort_by_key(|id| {
                (self.entries[id].placed.as_ref().map(|placed| placed.stamp), *id)
            });
            let mut seen: Vec<(&Content, bool)> = Vec::new();
            for id in files {
                let mode = self.entries[&id].mode.1;
                let distinct = self.distinct(id);
                let parts = merged(&distinct);
                for (rank, (dot, content)) in distinct.into_iter().enumerate() {
                    if rank > 0 && parts.contains(content) {
                        continue;
                    }
                    let merged = if rank == 0 { parts.as_slice() } else { &[] };
                    let equal = |(other, alone): &(&Content, bool)| {
                        *alone && merged.is_empty() && other.same_as(content)
                    };
                    if seen.iter().any(equal) {
                        // The first value of an entry takes the name even when an equal one shows.
                        continue;
                    }
                    seen.push((content, merged.is_empty()));
                    if rank == 0 && free {
                        lines.push(line(&format!("{path}{name}"), content, merged, mode, false));
                        free = false;
                    } else {
                        let digits =
                            if rank == 0 { digits(&id.0) } else { digits(&dot_bytes(&dot)) };
                        let copy = (content.clone(), merged.to_vec(), mode);
                        losers.push((*name, digits, copy, Vec::new()));
                    }
                }
            }
        }
        losers.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let mut taken: BTreeSet<SafeName> = slots.keys().map(|name| (*name).clone()).collect();
        for (name, digits, (content, merged, mode), union) in losers {
            let tries = [8, 16, 32, 64].map(|len| derived(name, &digits[..len]));
            let more = (2..).map(|number| derived(name, &format!("{digits} {number}")));
            let free = tries.into_iter().chain(more).find(|name| !taken.contains(name)).unwrap();
            lines.push(line(&format!("{path}{free}"), &content, &merged, mode, true));
            if !union.is_empty() {
                self.show(&union, &format!("{path}{free}/"), lines);
            }
            taken.insert(free);
        }
    }
}

/// Up to where the logs of removed devices count.
struct Limits {
    begun: BTreeMap<Author, u32>,
    removals: Vec<(DeviceId, u32, Vec<LogEnd>)>,
}

impl Limits {
    fn new(records: &BTreeMap<Dot, Op>, context: &Context) -> Self {
        let mut limits = Self { begun: BTreeMap::new(), removals: Vec::new() };
        for (dot, op) in records.iter().filter(|(dot, _)| context.covers(dot)) {
            match op {
                Op::Member { admission, .. } if dot.seq == 1 => {
                    limits.begun.insert(dot.author, admission.generation);
                }
                Op::Remove { device, ends, generation, .. } => {
                    limits.removals.push((*device, *generation, ends.clone()));
                }
                _ => {}
            }
        }
        limits
    }

    /// Tells whether every removal that came after the beginning of a log spares a record of it.
    fn count(&self, dot: &Dot) -> bool {
        let begun = self.begun.get(&dot.author).copied();
        self.removals.iter().all(|(device, generation, ends)| {
            *device != dot.author.device || begun >= Some(*generation) || {
                let of_it = ends.iter().filter(|end| end.epoch == dot.author.epoch);
                of_it.map(|end| end.seq).min().is_some_and(|seq| dot.seq <= seq)
            }
        })
    }
}

fn digits(bytes: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("dunlin index conflict name v1");
    hasher.update(bytes).finalize().to_hex().to_string()
}

/// Puts digits before the extension.
fn derived(name: &SafeName, digits: &str) -> SafeName {
    let name = name.as_str();
    let dot = name.rfind('.').filter(|at| *at > 0 && name.len() - at <= 16);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let room = 255 - (" (conflict )".len() + digits.len() + extension.len());
    let cut = (0..=stem.len().min(room)).rev().find(|at| stem.is_char_boundary(*at)).unwrap();
    super::name(&format!("{} (conflict {digits}){extension}", &stem[..cut]))
}

impl Entry {
    fn be_born(&mut self, dot: &Dot, op: &Op) {
        let (Op::Create { place, content, mode, .. } | Op::Promote { place, content, mode, .. }) =
            op
        else {
            return;
        };
        self.kind = Some(content.kind());
        if self.birth.as_ref().is_none_or(|birth| place < birth) {
            self.birth = Some(place.clone());
        }
        if content.kind() != Kind::Directory {
            self.values.insert(*dot, content.clone());
        }
        self.presence.insert(*dot);
        self.mode = self.mode.max((None, *mode));
    }

    /// A record that was taken back still tells what the entry is and where it began.
    fn be_born_void(&mut self, op: &Op) {
        let (Op::Create { place, content, mode, .. } | Op::Promote { place, content, mode, .. }) =
            op
        else {
            return;
        };
        self.kind = Some(content.kind());
        let (first, highest) = self.void.take().unwrap_or((place.clone(), *mode));
        self.void = Some((first.min(place.clone()), highest.max(*mode)));
    }

    /// What was taken back has a say only when nothing else has made the entry.
    fn settle_birth(&mut self) {
        if let (None, Some((place, mode))) = (&self.birth, self.void.take()) {
            self.birth = Some(place);
            self.mode = self.mode.max((None, mode));
        }
    }

    fn change(&mut self, dot: &Dot, op: &Op) {
        match op {
            Op::Write { content, .. } => {
                self.values.insert(*dot, content.clone());
                self.presence.insert(*dot);
            }
            Op::Move { place, stamp, from, .. } => {
                let placed =
                    Placed { stamp: *stamp, place: place.clone(), from: from.clone(), dot: *dot };
                self.placed = self.placed.take().max(Some(placed));
                self.presence.insert(*dot);
            }
            Op::Mode { mode, stamp, .. } => self.mode = self.mode.max((Some(*stamp), *mode)),
            Op::DeleteTree { seen, context, .. } => {
                self.deletes.push(TreeDelete { seen: *seen, context: context.clone() });
            }
            Op::Enable { .. } => {
                self.presence.insert(*dot);
            }
            _ => {}
        }
    }
}

/// Gives the other versions of the winner's text, by dot.
fn merged(distinct: &[(Dot, &Content)]) -> Vec<Content> {
    let Some(((_, winner), rest)) = distinct.split_first() else { return Vec::new() };
    let same =
        |content: &Content| winner.lineage().is_some() && content.lineage() == winner.lineage();
    let merged: BTreeMap<Dot, &Content> =
        rest.iter().filter(|(_, content)| same(content)).copied().collect();
    merged.into_values().cloned().collect()
}
