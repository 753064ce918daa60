//! The view (rules 4 and 5): the state as one file tree, by a pure and total function.
//!
//! A *slot* is a name in a directory, or in several that are shown as one. Of those that claim it,
//! directories come first and are shown as one, under the identity of the lowest; then files and
//! links by stamp of their place and identity. The first shows its winning value under the plain
//! name; all other contents stand beside it under derived names. Equal contents show once.
//! Plain slots, with one claimant of one value, are read directly; only complicated ones are noted
//! and computed for a whole directory, because derived names must not collide in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::naming::{self, Origin};
use super::tree::Claimant;
use super::{Index, keys};
use crate::error::IndexError;
use crate::ids::{Dot, EntryId};
use crate::item::{Content, Item, ItemKey, Kind};
use crate::name::SafeName;
use crate::record::Place;
use crate::storage::Storage;

/// The most directories whose computed views are kept.
const CACHED_DIRS_MAX: usize = 64;

/// How many claims are read at once when a directory is listed.
const PAGE: usize = 512;

/// One content that a slot shows.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) id: EntryId,
    pub(super) dot: Dot,
    pub(super) kind: Kind,
    pub(super) content: Content,
    pub(super) mode: u32,
    /// What its derived name comes from; `None` for the winner.
    pub(super) origin: Option<Origin>,
    /// Other versions of the same text that merge into it, by dot.
    pub(super) merged: Vec<(Dot, Content)>,
}

impl Shown {
    /// Tells whether a content is shown as this one or as part of it.
    pub(super) fn holds(&self, content: &Content) -> bool {
        let merged = self.merged.iter().map(|(_, other)| other);
        std::iter::once(&self.content).chain(merged).any(|other| other.same_as(content))
    }
}

/// What a slot shows.
pub(super) struct Slot {
    /// The directories that are shown as one, by id.
    pub(super) dirs: Vec<EntryId>,
    pub(super) dir_mode: u32,
    /// The contents, the winner first.
    pub(super) values: Vec<Shown>,
    /// Nothing may be shown under the plain name.
    pub(super) reserved: bool,
}

impl Slot {
    /// Gives the number of items under derived names.
    pub(super) fn losers(&self) -> usize {
        let values = self.values.iter().filter(|shown| shown.origin.is_some()).count();
        values + usize::from(self.reserved && !self.dirs.is_empty())
    }
}

/// Computes what a slot shows from those that claim it.
pub(super) fn slot_of(members: &[EntryId], name: &SafeName, claimants: &[Claimant]) -> Slot {
    let parent = members.first().copied().unwrap_or(EntryId::ROOT);
    let reserved = naming::is_reserved(&Place { parent, name: name.clone() });
    let mut dirs: Vec<&Claimant> = claimants.iter().filter(|(_, rec)| rec.is_dir()).collect();
    dirs.sort_by_key(|(id, _)| *id);
    let mut files: Vec<&Claimant> = claimants.iter().filter(|(_, rec)| !rec.is_dir()).collect();
    files.sort_by_key(|(id, rec)| (rec.stamp(), *id));
    let mut values: Vec<Shown> = Vec::new();
    for (id, rec) in files {
        let Some(kind) = rec.kind else { continue };
        let mut first = true;
        for group in rec.groups() {
            let (dot, content) = (group.dot, group.content);
            let equal = |shown: &Shown| shown.merged.is_empty() && group.shows(&shown.content);
            let shows = !values.iter().any(equal);
            let origin = if first && (reserved || !dirs.is_empty() || !values.is_empty()) {
                Some(Origin::Entry(*id))
            } else {
                (!first).then_some(Origin::Value(dot))
            };
            first = false;
            if shows {
                let content = content.clone();
                let merged = group.merged.into_iter().map(|(dot, part)| (dot, part.clone()));
                let merged = merged.collect();
                values.push(Shown { id: *id, dot, kind, content, mode: rec.mode, origin, merged });
            }
        }
    }
    Slot {
        dir_mode: dirs.first().map_or(0, |(_, rec)| rec.mode),
        dirs: dirs.iter().map(|(id, _)| *id).collect(),
        values,
        reserved,
    }
}

impl<S: Storage> Index<S> {
    /// Gives where an entry is shown: the winning value first, then its copies; nothing when the
    /// entry is deleted, unknown, out of reach, or shown by an equal one. A directory that is
    /// shown as one with others gives the item of the lowest.
    pub fn items(&self, entry: EntryId) -> Result<Vec<Item>, IndexError> {
        let Some(rec) = self.entry(&entry)?.filter(|rec| rec.wanted()) else {
            return Ok(Vec::new());
        };
        let Some(place) = self.place(&entry, &rec) else { return Ok(Vec::new()) };
        if !self.reaches_root(place.parent)? {
            return Ok(Vec::new());
        }
        let members = self.union_of(place.parent)?;
        let slot = self.slot(&members, &place.name)?;
        let canonical = slot.dirs.first().copied().filter(|_| rec.is_dir());
        let wanted = |item: &Item| item.key.entry == canonical.unwrap_or(entry);
        let mut items: Vec<Item> =
            self.plain_item(&members, &place.name, &slot).into_iter().filter(wanted).collect();
        if slot.losers() > 0 {
            let copies = self.copies(&members)?;
            items.extend(copies.iter().filter(|item| wanted(item)).cloned());
        }
        if let Some(first) = self.entry(&entry)?.and_then(|rec| Some(rec.groups().first()?.dot)) {
            items.sort_by_key(|item| item.key.dot != Some(first));
        }
        Ok(items)
    }

    /// Gives the identity under which a directory is shown: the lowest of those that are one.
    pub fn canonical(&self, dir: EntryId) -> Result<EntryId, IndexError> {
        Ok(self.union_of(dir)?.first().copied().unwrap_or(dir))
    }

    /// Gives the directory that an entry is in, as that is shown, and the name that it claims.
    pub fn place_of(&self, entry: EntryId) -> Result<Option<(EntryId, SafeName)>, IndexError> {
        let Some(rec) = self.entry(&entry)? else { return Ok(None) };
        let Some(place) = self.place(&entry, &rec).cloned() else { return Ok(None) };
        Ok(Some((self.canonical(place.parent)?, place.name)))
    }

    /// Gives the directories that are shown as one with a directory, it among them.
    pub fn parts_of(&self, dir: EntryId) -> Result<Vec<EntryId>, IndexError> {
        self.union_of(dir)
    }

    /// Gives the items in a directory, sorted by the names that they are shown under, strictly
    /// after `after`, at most `limit`.
    pub fn children(
        &self,
        dir: EntryId,
        after: Option<&SafeName>,
        limit: usize,
    ) -> Result<Vec<Item>, IndexError> {
        if !self.reaches_root(dir)? {
            return Ok(Vec::new());
        }
        let members = self.union_of(dir)?;
        let later = |item: &&Item| after.is_none_or(|after| item.name > *after);
        if members.len() > 1 {
            let all = self.union_items(&members)?;
            return Ok(all.iter().filter(later).take(limit).cloned().collect());
        }
        let copies = self.copies(&members)?;
        let mut copies = copies.iter().filter(later).peekable();
        let mut items = Vec::new();
        let mut position = after.cloned();
        'pages: while items.len() < limit {
            let names = self.names_after(&dir, position.as_ref())?;
            let Some(last) = names.last().cloned() else { break };
            position = Some(last);
            for name in names {
                let slot = self.slot(&members, &name)?;
                if let Some(item) = self.plain_item(&members, &name, &slot) {
                    while let Some(copy) = copies.next_if(|copy| copy.name < item.name) {
                        items.push(copy.clone());
                    }
                    items.push(item);
                }
                if items.len() >= limit {
                    break 'pages;
                }
            }
        }
        items.extend(copies.take(limit.saturating_sub(items.len())).cloned());
        items.truncate(limit);
        Ok(items)
    }

    /// Gives what is shown under a name in a directory.
    pub fn lookup(&self, dir: EntryId, name: &SafeName) -> Result<Option<Item>, IndexError> {
        if !self.reaches_root(dir)? {
            return Ok(None);
        }
        let members = self.union_of(dir)?;
        let slot = self.slot(&members, name)?;
        if let Some(item) = self.plain_item(&members, name, &slot) {
            return Ok(Some(item));
        }
        if !naming::is_marked(name) {
            return Ok(None);
        }
        Ok(self.copies(&members)?.iter().find(|item| item.name == *name).cloned())
    }

    /// Notes that merging these versions of a text, the shown one among them, is unsafe: they are
    /// shown side by side from now on. Everybody who has their states finds the same, so this is
    /// kept here and told to nobody.
    pub fn keep_apart(&mut self, entry: EntryId, mut dots: Vec<Dot>) -> Result<(), IndexError> {
        let Some(rec) = self.entry(&entry)? else { return Ok(()) };
        dots.sort_unstable();
        let mut rec = (*rec).clone();
        rec.keep_apart(dots);
        self.transition(entry, rec)
    }

    pub(super) fn slot(&self, members: &[EntryId], name: &SafeName) -> Result<Slot, IndexError> {
        Ok(slot_of(members, name, &self.claimants_in(members, name)?))
    }

    /// Gives the item that a slot shows under its plain name.
    pub(super) fn plain_item(
        &self,
        members: &[EntryId],
        name: &SafeName,
        slot: &Slot,
    ) -> Option<Item> {
        if slot.reserved {
            return None;
        }
        let parent = *members.first()?;
        if let Some(canonical) = slot.dirs.first() {
            return Some(dir_item(*canonical, parent, name.clone(), slot.dir_mode, false));
        }
        let winner = slot.values.first().filter(|shown| shown.origin.is_none())?;
        Some(shown_item(winner, parent, name.clone()))
    }

    /// Gives at most [`PAGE`] names that are claimed in a directory after a name.
    fn names_after(
        &self,
        dir: &EntryId,
        after: Option<&SafeName>,
    ) -> Result<Vec<SafeName>, IndexError> {
        let prefix = keys::directory(keys::WANTED, dir);
        let after = after.map(|name| {
            let place = Place { parent: *dir, name: name.clone() };
            keys::claim(keys::WANTED, &place, &EntryId([0xff; 16]))
        });
        let mut names = Vec::new();
        for (key, _) in self.overlay.scan(&prefix, after.as_deref(), PAGE)? {
            let name = keys::parse_claim(&key).and_then(|(name, _)| SafeName::parse(name).ok());
            names.push(name.ok_or(IndexError::Damaged("a claim"))?);
        }
        names.dedup();
        Ok(names)
    }

    /// Gives the names of the slots that may show more than one plain item.
    pub(super) fn complicated_names(
        &self,
        members: &[EntryId],
    ) -> Result<BTreeSet<SafeName>, IndexError> {
        let [dir] = members else { return self.names_in(members) };
        let mut names = BTreeSet::new();
        if self.meta.complicated == 0 {
            return Ok(names);
        }
        let prefix = keys::directory(keys::COMPLICATED, dir);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.overlay.scan(&prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(names) };
            after = Some(last.clone());
            for (key, _) in &page {
                let name = std::str::from_utf8(&key[prefix.len()..]).ok();
                let name = name.and_then(|name| SafeName::parse(name).ok());
                names.insert(name.ok_or(IndexError::Damaged("a complicated slot"))?);
            }
        }
    }

    /// Gives the items of a directory that are shown under derived names, sorted by them.
    pub(super) fn copies(&self, members: &[EntryId]) -> Result<Arc<Vec<Item>>, IndexError> {
        if members.len() == 1 && self.meta.complicated == 0 {
            return Ok(Arc::default());
        }
        self.cached(members, true, |index| index.computed_copies(members))
    }

    fn computed_copies(&self, members: &[EntryId]) -> Result<Vec<Item>, IndexError> {
        let parent = members.first().copied().unwrap_or(EntryId::ROOT);
        let mut losers = Vec::new();
        for name in self.complicated_names(members)? {
            let slot = self.slot(members, &name)?;
            if let Some(canonical) = slot.dirs.first().filter(|_| slot.reserved) {
                let item = dir_item(*canonical, parent, name.clone(), slot.dir_mode, true);
                losers.push((Origin::Entry(*canonical).digits(), item));
            }
            for shown in &slot.values {
                if let Some(origin) = shown.origin {
                    losers.push((origin.digits(), shown_item(shown, parent, name.clone())));
                }
            }
        }
        losers.sort_by(|(a, one), (b, other)| (&one.name, a).cmp(&(&other.name, b)));
        let mut taken = BTreeSet::new();
        let mut items = Vec::new();
        for (digits, mut item) in losers {
            item.name = self.free_name(members, &item.name, &digits, &taken)?;
            taken.insert(item.name.clone());
            items.push(item);
        }
        items.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(items)
    }

    /// Gives all items of directories that are shown as one.
    fn union_items(&self, members: &[EntryId]) -> Result<Arc<Vec<Item>>, IndexError> {
        self.cached(members, false, |index| {
            let mut items = (*index.copies(members)?).clone();
            for name in index.names_in(members)? {
                let slot = index.slot(members, &name)?;
                items.extend(index.plain_item(members, &name, &slot));
            }
            items.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(items)
        })
    }

    fn cached(
        &self,
        members: &[EntryId],
        copies: bool,
        compute: impl FnOnce(&Self) -> Result<Vec<Item>, IndexError>,
    ) -> Result<Arc<Vec<Item>>, IndexError> {
        let key = (members.first().copied().unwrap_or(EntryId::ROOT), copies);
        {
            let mut cache = self.cache.borrow_mut();
            if cache.version != self.version || cache.dirs.len() > CACHED_DIRS_MAX {
                cache.version = self.version;
                cache.dirs.clear();
            }
            if let Some(items) = cache.dirs.get(&key) {
                return Ok(items.clone());
            }
        }
        let items = Arc::new(compute(self)?);
        self.cache.borrow_mut().dirs.insert(key, items.clone());
        Ok(items)
    }
}

fn dir_item(id: EntryId, parent: EntryId, name: SafeName, mode: u32, conflict: bool) -> Item {
    let key = ItemKey { entry: id, dot: None };
    let (kind, content) = (Kind::Directory, Content::Directory);
    Item { key, parent, name, kind, mode, content, conflict, merged: Vec::new() }
}

fn shown_item(shown: &Shown, parent: EntryId, name: SafeName) -> Item {
    Item {
        key: ItemKey { entry: shown.id, dot: Some(shown.dot) },
        parent,
        name,
        kind: shown.kind,
        mode: shown.mode,
        content: shown.content.clone(),
        conflict: shown.origin.is_some(),
        merged: shown.merged.clone(),
    }
}
