//! A slow check of everything that is kept incrementally against the registers themselves.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::EntryRec;
use super::{Counts, Index, keys};
use crate::error::IndexError;
use crate::ids::EntryId;
use crate::item::Kind;
use crate::name::SafeName;
use crate::record::Place;
use crate::storage::Storage;

/// What follows from the entries alone.
#[derive(Default)]
struct Expected {
    claims: BTreeSet<Vec<u8>>,
    complicated: BTreeSet<Vec<u8>>,
    children: BTreeMap<EntryId, (u64, u64)>,
    dirs: BTreeMap<Place, u64>,
    print: [u64; 4],
}

impl<S: Storage> Index<S> {
    /// Computes everything that is kept incrementally anew, and gives what differs, in words. An
    /// empty list is what is to be expected. Reads the whole index: for tests and for `doctor`.
    pub fn audit(&mut self) -> Result<Vec<String>, IndexError> {
        let mut entries: BTreeMap<EntryId, EntryRec> = BTreeMap::new();
        self.for_entries(|id, rec| {
            entries.insert(id, rec.clone());
        })?;
        let mut faults = Vec::new();
        self.audit_circles(&entries, &mut faults)?;
        let mut expected = Expected { print: self.settings.print(), ..Expected::default() };
        for (id, rec) in &entries {
            let place = self.place(id, rec).cloned();
            if self.enabled(id, rec, place.as_ref())? != rec.enabled() {
                faults.push(format!("{id}: what is left of it is {:?}", rec.enabled()));
            }
            expected.add(id, rec, place.as_ref());
        }
        self.audit_entries(&entries, &expected, &mut faults);
        self.audit_slots(&expected, &mut faults)?;
        self.audit_view(&entries, &mut faults)?;
        Ok(faults)
    }

    fn audit_circles(
        &self,
        entries: &BTreeMap<EntryId, EntryRec>,
        faults: &mut Vec<String>,
    ) -> Result<(), IndexError> {
        let mut displaced = BTreeMap::new();
        for (id, rec) in entries {
            displaced.extend(self.resolve_circles(id, rec)?);
        }
        let kept: BTreeMap<EntryId, Option<Place>> = self.displaced.clone();
        let expected = displaced.into_iter().map(|(id, place)| (id, Some(place))).collect();
        if kept != expected {
            faults.push(format!("displaced: {kept:?}, not {expected:?}"));
        }
        Ok(())
    }

    fn audit_entries(
        &self,
        entries: &BTreeMap<EntryId, EntryRec>,
        expected: &Expected,
        faults: &mut Vec<String>,
    ) {
        for (id, (children, wanted)) in &expected.children {
            let kept = entries.get(id).map(|rec| (rec.children, rec.wanted_children));
            if *id != EntryId::ROOT && kept != Some((*children, *wanted)) {
                faults.push(format!("{id}: children are {kept:?}, not {children} and {wanted}"));
            }
        }
        for (id, rec) in entries {
            if rec.children > 0 && !expected.children.contains_key(id) {
                faults.push(format!("{id}: has no children, but counts {}", rec.children));
            }
        }
        let unknown = entries.iter().filter(|(_, rec)| rec.is_unknown());
        if !self.unknown.iter().eq(unknown.map(|(id, _)| id)) {
            faults.push(format!("unknown directories are {:?}", self.unknown));
        }
        let unions = expected.dirs.values().filter(|count| **count > 1).count() as u64;
        if self.meta.unions != unions {
            faults.push(format!("unions are {}, not {unions}", self.meta.unions));
        }
        if self.meta.print != expected.print {
            faults.push("the fingerprint differs".to_owned());
        }
    }

    fn audit_slots(&self, expected: &Expected, faults: &mut Vec<String>) -> Result<(), IndexError> {
        let mut claims = self.all_keys(keys::WANTED)?;
        claims.append(&mut self.all_keys(keys::UNWANTED)?);
        for key in claims.symmetric_difference(&expected.claims) {
            faults.push(format!("a claim too much or too few: {}", String::from_utf8_lossy(key)));
        }
        let mut complicated = BTreeSet::new();
        for key in &expected.complicated {
            let name = std::str::from_utf8(&key[17..]).ok().and_then(|n| SafeName::parse(n).ok());
            let parent = key[1..17].try_into().map(EntryId);
            if let (Some(name), Ok(parent)) = (name, parent)
                && self.is_complicated(&Place { parent, name })?
            {
                complicated.insert(key.clone());
            }
        }
        let kept = self.all_keys(keys::COMPLICATED)?;
        if kept != complicated || self.meta.complicated != kept.len() as u64 {
            faults.push(format!("{} complicated slots, not {}", kept.len(), complicated.len()));
        }
        Ok(())
    }

    fn all_keys(&self, family: u8) -> Result<BTreeSet<Vec<u8>>, IndexError> {
        let pairs = self.overlay.scan(&[family], None, usize::MAX)?;
        Ok(pairs.into_iter().map(|(key, _)| key).collect())
    }

    /// Walks the whole view: a tree, with unique names, counted right, and the same item by item.
    fn audit_view(
        &self,
        entries: &BTreeMap<EntryId, EntryRec>,
        faults: &mut Vec<String>,
    ) -> Result<(), IndexError> {
        let mut counts = Counts::default();
        let mut shown = BTreeSet::new();
        let mut dirs = vec![EntryId::ROOT];
        while let Some(dir) = dirs.pop() {
            let items = self.children(dir, None, usize::MAX)?;
            if !items.windows(2).all(|pair| pair[0].name < pair[1].name) {
                faults.push(format!("{dir}: names are not unique and sorted"));
            }
            for item in items {
                counts.conflicts += u64::from(item.conflict);
                if item.kind == Kind::Directory {
                    counts.dirs += 1;
                    dirs.push(item.key.entry);
                } else {
                    counts.files += 1;
                    counts.bytes = counts.bytes.wrapping_add(item.content.size());
                }
                if !shown.insert(item.key) {
                    faults.push(format!("{:?} is shown twice", item.key));
                }
                if !self.items(item.key.entry)?.contains(&item) {
                    faults.push(format!("{:?} is not among its entry's items", item.key));
                }
                if self.lookup(dir, &item.name)?.as_ref() != Some(&item) {
                    faults.push(format!("{:?} is not found by its name", item.key));
                }
            }
        }
        for id in entries.keys() {
            for item in self.items(*id)? {
                if !shown.contains(&item.key) {
                    faults.push(format!("{:?} is not in its directory", item.key));
                }
            }
        }
        if counts != self.meta.counts {
            faults.push(format!("counts are {:?}, not {counts:?}", self.meta.counts));
        }
        Ok(())
    }
}

impl Expected {
    fn add(&mut self, id: &EntryId, rec: &EntryRec, place: Option<&Place>) {
        if rec.wanted() {
            for (lane, add) in self.print.iter_mut().zip(rec.print(id)) {
                *lane = lane.wrapping_add(add);
            }
        }
        let Some(place) = place else { return };
        let family = if rec.wanted() { keys::WANTED } else { keys::UNWANTED };
        self.claims.insert(keys::claim(family, place, id));
        let (children, wanted) = self.children.entry(place.parent).or_default();
        *children += 1;
        *wanted += u64::from(rec.wanted());
        if rec.wanted() {
            *self.dirs.entry(place.clone()).or_default() += u64::from(rec.is_dir());
            let mut key = keys::directory(keys::COMPLICATED, &place.parent);
            key.extend_from_slice(place.name.as_str().as_bytes());
            self.complicated.insert(key);
        }
    }
}
