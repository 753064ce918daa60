//! What the users did, and what must therefore be there in the end.
//!
//! The unit is a content: the bytes of a file, told from all others by a hash. Where texts merge, it
//! is a word: what one wrote must be in the text, whatever another wrote beside it. The rules are kept
//! sound rather than complete: whatever they demand must hold, but not all that must hold is
//! demanded. `docs/simulator.md` says what is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dunlin_identity::Hash;
use dunlin_index::PRIVATE_NAME;
use dunlin_tree::fs::{Contents, Memory};

use crate::packed::Packed;

/// Where the version store is on a disk.
const VERSIONS: &str = ".dunlin/versions/";

/// What is followed through a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// The whole content of a file.
    #[default]
    Content,
    /// A word in a file: what stands between white space.
    Word,
}

impl Unit {
    /// Splits what a file holds.
    fn of(self, content: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Content => vec![content],
            Self::Word => {
                content.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
            }
        }
    }
}

/// What must have become of a content in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Nothing is demanded: a user has overwritten or deleted it where it was seen.
    Free,
    /// It must be somewhere, if only in a version store: a power cut has put another content in
    /// its place on the device of its author.
    Kept,
    /// It must be in the folder, under whatever name.
    Live,
}

/// What is known of a content.
#[derive(Clone, Debug)]
struct Known {
    /// Its bytes, for the report.
    shown: String,
    fate: Fate,
    /// The devices on which a user has written it.
    authors: BTreeSet<usize>,
}

/// Whether a path is another one, or lies below it.
pub fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The files on a disk at one moment, `.dunlin` included, by path.
pub struct Files(pub Contents);

impl Files {
    /// Looks at a disk.
    pub fn on(disk: &Memory) -> Self {
        Self(disk.all_contents())
    }

    /// The contents at a path and below it.
    pub fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(at, _)| is_at_or_below(at, path))
            .map(|(_, content)| content.as_slice())
    }

    /// The contents in the folder itself.
    fn in_folder(&self) -> impl Iterator<Item = &Arc<Vec<u8>>> {
        self.0
            .iter()
            .filter(|(path, _)| !path.starts_with(PRIVATE_NAME))
            .map(|(_, content)| content)
    }

    /// Counts what the folder has in files that have changed since other ones were looked at.
    fn changed_from(&self, others: &Self, unit: Unit) -> BTreeMap<Hash, usize> {
        let mut same: BTreeMap<*const Vec<u8>, usize> = BTreeMap::new();
        others.in_folder().for_each(|other| *same.entry(Arc::as_ptr(other)).or_default() += 1);
        let changed = self.in_folder().filter(|content| {
            let left = same.get_mut(&Arc::as_ptr(content)).filter(|left| **left > 0);
            left.map(|left| *left -= 1).is_none()
        });
        let mut counts = BTreeMap::new();
        for part in changed.flat_map(|content| unit.of(content)) {
            *counts.entry(Hash::of(part)).or_default() += 1;
        }
        counts
    }

    fn folder_has(&self, part: &[u8], unit: Unit) -> bool {
        self.in_folder().any(|content| unit.of(content).contains(&part))
    }
}

/// How often a device has each content in its folder, and which it has beside that.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// In the folder.
    pub tree: BTreeMap<Hash, usize>,
    /// In the version store.
    pub versions: BTreeSet<Hash>,
}

impl Holdings {
    /// Sorts out what is on a disk.
    pub fn of(files: &Files, unit: Unit) -> Self {
        let mut holdings = Self::default();
        let mut packed = Packed::default();
        for hash in files.in_folder().flat_map(|content| unit.of(content)).map(Hash::of) {
            *holdings.tree.entry(hash).or_default() += 1;
        }
        for (path, content) in &files.0 {
            if let Some(stored) = path.strip_prefix(VERSIONS)
                && !packed.take(stored, content)
            {
                holdings.versions.extend(unit.of(content).into_iter().map(Hash::of));
            }
        }
        let stored = packed.contents();
        holdings.versions.extend(stored.iter().flat_map(|content| unit.of(content)).map(Hash::of));
        holdings
    }

    fn has(&self, content: &Hash) -> bool {
        self.tree.contains_key(content) || self.versions.contains(content)
    }
}

/// The contents that users have written, and what must become of them.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What is followed.
    pub unit: Unit,
    contents: BTreeMap<Hash, Known>,
}

impl Oracle {
    /// Follows this.
    pub fn of(unit: Unit) -> Self {
        Self { unit, ..Self::default() }
    }

    /// A user has changed a disk, or may have: what is new there must stay; of what is there less
    /// often than before nothing is demanded any more. A word that a user saves again where it was
    /// is not new: somebody else may be taking it out at the same time, and then it is out.
    pub fn user(&mut self, device: usize, before: &Files, after: &Files, wrote: &[Vec<u8>]) {
        let unit = self.unit;
        // What has not changed counts on neither side.
        let (went, came) = (before.changed_from(after, unit), after.changed_from(before, unit));
        for (hash, count) in &went {
            if came.get(hash) < Some(count) {
                self.free(hash);
            }
        }
        for content in wrote.iter().flat_map(|content| unit.of(content)) {
            let hash = Hash::of(content);
            let new = unit == Unit::Content || came.get(&hash) > went.get(&hash);
            let there = || came.contains_key(&hash) || after.folder_has(content, unit);
            if !content.is_empty() && there() {
                self.written(device, content, new);
            }
        }
    }

    /// A user's act that was to come between two operations of Dunlin has had its moment. What else
    /// was in the folder then may have been seen and destroyed by it.
    pub fn raced(&mut self, device: usize, before: &Files, after: &Files, wrote: &[Vec<u8>]) {
        let unit = self.unit;
        self.user(device, before, after, &[]);
        let [before, after] = [before, after].map(|files| Holdings::of(files, unit));
        let missing: Vec<Hash> =
            self.contents.keys().filter(|hash| !after.tree.contains_key(hash)).copied().collect();
        for hash in missing {
            self.free(&hash);
        }
        for content in wrote.iter().flat_map(|content| unit.of(content)) {
            let hash = Hash::of(content);
            let new = unit == Unit::Content || after.tree.get(&hash) > before.tree.get(&hash);
            if !content.is_empty() && after.has(&hash) {
                self.written(device, content, new);
            }
        }
    }

    /// A user may have destroyed a copy of this.
    pub fn destroyed(&mut self, content: &[u8]) {
        let unit = self.unit;
        unit.of(content).into_iter().map(Hash::of).for_each(|hash| self.free(&hash));
    }

    /// The power of a device was cut. What its own user had written there, and nobody had made
    /// durable, may be gone; what Dunlin has put there may not.
    pub fn power_cut(
        &mut self,
        device: usize,
        before: &Holdings,
        after: &Holdings,
        others: &[Holdings],
    ) {
        for hash in before.tree.keys() {
            if after.tree.get(hash) >= before.tree.get(hash) {
                continue;
            }
            let Some(known) = self.contents.get_mut(hash) else { continue };
            if known.authors.contains(&device) {
                let elsewhere = after.has(hash) || others.iter().any(|other| other.has(hash));
                known.fate = known.fate.min(if elsewhere { Fate::Kept } else { Fate::Free });
            }
        }
    }

    /// A user has taken back what was held: what had been written there may now be in a version
    /// store only.
    pub fn taken_back(&mut self) {
        for known in self.contents.values_mut() {
            known.fate = known.fate.min(Fate::Kept);
        }
    }

    fn written(&mut self, device: usize, content: &[u8], new: bool) {
        let shown = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
        let fate = if new { Fate::Live } else { Fate::Free };
        let known = Known { shown, fate, authors: BTreeSet::new() };
        // What some user has destroyed stays free when another one writes the same anew: the device
        // of the former may find out about it later, and equal contents are one.
        let known = self.contents.entry(Hash::of(content)).or_insert(known);
        // A power cut may take from its author what was saved again, too.
        known.authors.insert(device);
    }

    fn free(&mut self, hash: &Hash) {
        if let Some(known) = self.contents.get_mut(hash) {
            known.fate = Fate::Free;
        }
    }

    /// Says what is missing in the end in the folders of `members`, which must agree already. Of what
    /// only users of removed devices have written nothing is demanded.
    pub fn missing(&self, devices: &[Holdings], members: &[usize]) -> Vec<String> {
        let Some(first) = members.first().and_then(|first| devices.get(*first)) else {
            return Vec::new();
        };
        let mut missing = Vec::new();
        for (hash, known) in &self.contents {
            if !members.iter().any(|member| known.authors.contains(member)) {
                continue;
            }
            let found = match known.fate {
                Fate::Free => true,
                Fate::Live => first.tree.contains_key(hash),
                Fate::Kept => devices.iter().any(|device| device.has(hash)),
            };
            if !found {
                let stored = devices.iter().position(|device| device.versions.contains(hash));
                missing.push(format!(
                    "{:?}, written on {:?}, must be {:?} and is not (in the version store of: {stored:?})",
                    known.shown, known.authors, known.fate
                ));
            }
        }
        missing
    }
}
