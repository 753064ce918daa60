//! What is stored of one entry: its registers, and what follows from them and from its place.

use bincode::{Decode, Encode};

use crate::context::Context;
use crate::error::IndexError;
use crate::ids::{Dot, EntryId};
use crate::item::{Content, Kind};
use crate::planted::{Fault, is_planted};
use crate::record::{Place, Stamp};

/// The winning place of an entry that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Placed {
    pub(super) stamp: Stamp,
    /// The place itself breaks ties of stamps, which only a faulty author makes.
    pub(super) place: Place,
    /// Where the author of the move saw the entry before: shown there when moves form a circle.
    pub(super) from: Place,
    pub(super) dot: Dot,
}

impl Placed {
    pub(super) fn order(&self) -> (&Stamp, &Place, &Place, &Dot) {
        (&self.stamp, &self.place, &self.from, &self.dot)
    }
}

/// A tree deletion with this entry on top.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct TreeDelete {
    pub(super) dot: Dot,
    pub(super) seen: Option<Stamp>,
    pub(super) context: Context,
}

/// What deletions leave of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Enabled {
    /// Whether a presence dot is left.
    pub(super) live: bool,
    /// Of a live entry, the values whose own presence dots are taken by the deletion of a directory
    /// above, sorted.
    pub(super) disabled: Vec<Dot>,
}

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct EntryRec {
    /// Unknown until a creating record has arrived.
    pub(super) kind: Option<Kind>,
    pub(super) birth: Option<Place>,
    /// Whether no record that counts has made it: only a removed device's, past its cut-off.
    pub(super) born_void: bool,
    pub(super) placed: Option<Placed>,
    /// The values of the content that nobody has replaced, by dot.
    pub(super) values: Vec<(Dot, Content)>,
    /// The dots that were replaced before they arrived.
    pub(super) values_ahead: Vec<Dot>,
    /// The dots that enable the entry, sorted.
    pub(super) presence: Vec<Dot>,
    /// The dots that were disabled before they arrived.
    pub(super) presence_ahead: Vec<Dot>,
    pub(super) mode: u32,
    pub(super) mode_stamp: Option<Stamp>,
    pub(super) tree_deletes: Vec<TreeDelete>,
    /// Derived: sets of versions of a text, by dot, whose merge was found to be unsafe. Everybody
    /// who has their states finds the same.
    pub(super) apart: Vec<Vec<Dot>>,
    /// The highest dot of a deletion of this entry alone; only tells whether it was approved.
    pub(super) deleted: Option<Dot>,
    /// Derived: whether a presence dot is left that no deletion disables.
    pub(super) live: bool,
    /// Derived: the values that the deletion of a directory above has taken while another presence
    /// dot keeps the entry alive, sorted.
    pub(super) disabled: Vec<Dot>,
    /// Derived: the number of entries placed in this one.
    pub(super) children: u64,
    /// Derived: how many of them are wanted.
    pub(super) wanted_children: u64,
}

/// A content that an entry shows.
pub(super) struct Group<'a> {
    pub(super) dot: Dot,
    pub(super) content: &'a Content,
    /// Other versions of the same text that merge into it, by dot.
    pub(super) merged: Vec<(Dot, &'a Content)>,
}

impl Group<'_> {
    /// Tells whether this shows what a content alone shows.
    pub(super) fn shows(&self, content: &Content) -> bool {
        self.merged.is_empty() && self.content.same_as(content)
    }

    /// Tells whether a value is shown as this one or as part of it.
    pub(super) fn holds(&self, content: &Content) -> bool {
        let merged = self.merged.iter().map(|(_, other)| *other);
        std::iter::once(self.content).chain(merged).any(|other| other.same_as(content))
    }
}

impl EntryRec {
    pub(super) fn is_dir(&self) -> bool {
        self.kind == Some(Kind::Directory)
    }

    /// Tells whether others have used this entry, or put something in it, and no record that makes it
    /// has arrived.
    pub(super) fn is_unknown(&self) -> bool {
        self.kind.is_none() && (self.children > 0 || !self.presence.is_empty())
    }

    /// Tells whether the view needs this entry: it is live, or something in it is.
    pub(super) fn wanted(&self) -> bool {
        self.live || (self.is_dir() && self.wanted_children > 0)
    }

    /// Gives where the last move, or else the creation, put the entry, circles aside.
    pub(super) fn raw_place(&self) -> Option<&Place> {
        // A move alone does not show an entry: its kind would be unknown.
        self.placed.as_ref().map(|placed| &placed.place).or(self.birth.as_ref())
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.placed.as_ref().map(|placed| placed.stamp)
    }

    /// Tells whether the entry could be shown if a presence dot enables it.
    pub(super) fn has_content(&self) -> bool {
        match self.kind {
            None => false,
            Some(Kind::Directory) => true,
            Some(kind) => self.values.iter().any(|(_, content)| content.kind() == kind),
        }
    }

    /// Gives the distinct values, the winner first; equal contents are represented by the one with
    /// the highest (time, dot), and versions of the winner's text merge into it.
    ///
    /// A value that somebody deleted does not come back because somebody else's edit keeps the
    /// entry alive: its bytes may be on no disk any more. Only when no value is left that way (the
    /// entry lives by a rename) are all of them shown.
    pub(super) fn groups(&self) -> Vec<Group<'_>> {
        let mut values: Vec<(Dot, &Content)> = self
            .values
            .iter()
            .filter(|(_, content)| {
                Some(content.kind()) == self.kind && self.kind != Some(Kind::Directory)
            })
            .map(|(dot, content)| (*dot, content))
            .collect();
        let present = |dot: &Dot| self.is_present(dot) && self.disabled.binary_search(dot).is_err();
        if values.iter().any(|(dot, _)| present(dot)) {
            values.retain(|(dot, _)| present(dot));
        }
        values.sort_by_key(|(dot, content)| std::cmp::Reverse((content.mtime_ns(), *dot)));
        let mut distinct: Vec<(Dot, &Content)> = Vec::new();
        for (dot, content) in values {
            if !distinct.iter().any(|(_, other)| content.same_as(other)) {
                distinct.push((dot, content));
            }
        }
        self.merged_groups(distinct)
    }

    /// Lets versions of the winner's text merge into it.
    fn merged_groups<'a>(&self, distinct: Vec<(Dot, &'a Content)>) -> Vec<Group<'a>> {
        let lineage = distinct.first().and_then(|(_, content)| content.lineage());
        let merges = |content: &Content| lineage.is_some() && content.lineage() == lineage;
        let mut together: Vec<Dot> =
            distinct.iter().filter(|(_, content)| merges(content)).map(|(dot, _)| *dot).collect();
        together.sort_unstable();
        let apart = self.apart.contains(&together);
        let mut groups: Vec<Group<'a>> = Vec::new();
        for (dot, content) in distinct {
            match groups.first_mut() {
                Some(winner) if !apart && merges(content) => winner.merged.push((dot, content)),
                _ => groups.push(Group { dot, content, merged: Vec::new() }),
            }
        }
        if let Some(winner) = groups.first_mut() {
            winner.merged.sort_by_key(|(dot, _)| *dot);
        }
        groups
    }

    /// Tells whether no deletion of this entry itself has taken a presence dot.
    pub(super) fn is_present(&self, dot: &Dot) -> bool {
        self.presence.binary_search(dot).is_ok()
    }

    /// Gives what is stored of what deletions leave of the entry.
    pub(super) fn enabled(&self) -> Enabled {
        Enabled { live: self.live, disabled: self.disabled.clone() }
    }

    /// Notes that the merge of these versions, by dot and sorted, is unsafe.
    pub(super) fn keep_apart(&mut self, dots: Vec<Dot>) {
        self.apart.retain(|set| set.iter().all(|dot| self.values.iter().any(|(d, _)| d == dot)));
        if !self.apart.contains(&dots) {
            self.apart.push(dots);
        }
    }

    pub(super) fn value(&self, dot: &Dot) -> Option<&Content> {
        self.values.iter().find(|(other, _)| other == dot).map(|(_, content)| content)
    }

    /// Gives the values with these dots, and those that are equal to one of them.
    pub(super) fn equal_to(&self, dots: &[Dot]) -> Vec<Dot> {
        let named: Vec<&Content> = dots.iter().filter_map(|dot| self.value(dot)).collect();
        let equal = self.values.iter().filter(|(dot, value)| {
            dots.contains(dot) || named.iter().any(|other| other.same_as(value))
        });
        equal.map(|(dot, _)| *dot).collect()
    }

    /// Gives the presence dots that a change of this entry may stand in for: all but those of the
    /// values that stay.
    ///
    /// Logs arrive without causal order, so somebody may see that change and not the value. If the
    /// change stood in for the value's dot, deleting what is seen would delete the unseen value.
    pub(super) fn subsumed(&self, replaces: &[Dot]) -> Vec<Dot> {
        let stays = |dot: &Dot| self.value(dot).is_some() && !replaces.contains(dot);
        self.presence.iter().copied().filter(|dot| !stays(dot)).collect()
    }

    /// Tells whether a record that makes this entry (again) has a say in its first place and mode.
    /// Those of removed devices have one only as long as there is none that counts.
    pub(super) fn is_born_by(&mut self, counts: bool) -> bool {
        if self.birth.is_none() {
            self.born_void = !counts;
        } else if self.born_void && counts {
            self.born_void = false;
            self.birth = None;
            if self.mode_stamp.is_none() {
                self.mode = 0;
            }
        }
        counts || self.born_void
    }

    /// Adds a value unless it was replaced ahead of its arrival.
    pub(super) fn add_value(&mut self, dot: Dot, content: Content) {
        if take(&mut self.values_ahead, &dot) {
            return;
        }
        if let Err(at) = self.values.binary_search_by_key(&dot, |(other, _)| *other) {
            self.values.insert(at, (dot, content));
        }
    }

    /// Replaces values; those that have not arrived (`!known`) are remembered.
    pub(super) fn replace_values(&mut self, dots: &[Dot], known: impl Fn(&Dot) -> bool) {
        self.values.retain(|(dot, _)| !dots.contains(dot));
        remember(&mut self.values_ahead, dots, known);
    }

    /// Adds a presence dot unless it was disabled ahead of its arrival.
    pub(super) fn enable(&mut self, dot: Dot) {
        if take(&mut self.presence_ahead, &dot) {
            return;
        }
        if let Err(at) = self.presence.binary_search(&dot) {
            self.presence.insert(at, dot);
        }
    }

    /// Disables presence dots; those that have not arrived (`!known`) are remembered.
    pub(super) fn disable(&mut self, dots: &[Dot], known: impl Fn(&Dot) -> bool) {
        self.presence.retain(|dot| !dots.contains(dot));
        remember(&mut self.presence_ahead, dots, known);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, bincode::config::standard())
            .expect("encoding into memory cannot fail")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        super::stored(bytes, "an entry")
    }

    /// Gives this entry's part of the fingerprint: its live registers only.
    pub(super) fn print(&self, id: &EntryId) -> [u64; 4] {
        let registers = (
            id,
            self.kind,
            self.live,
            self.raw_place(),
            self.stamp(),
            &self.values,
            self.mode,
            self.mode_stamp,
        );
        let bytes = bincode::encode_to_vec(registers, bincode::config::standard())
            .expect("encoding into memory cannot fail");
        lanes(&bytes)
    }
}

/// Hashes into the four lanes of a fingerprint.
pub(super) fn lanes(bytes: &[u8]) -> [u64; 4] {
    let mut lanes = [0; 4];
    for (lane, chunk) in lanes.iter_mut().zip(blake3::hash(bytes).as_bytes().chunks_exact(8)) {
        *lane = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
    }
    lanes
}

/// Removes a dot from a sorted list and tells whether it was in it.
pub(super) fn take(dots: &mut Vec<Dot>, dot: &Dot) -> bool {
    match dots.binary_search(dot) {
        Ok(at) => {
            dots.remove(at);
            true
        }
        Err(_) => false,
    }
}

/// Keeps the dots that are not known yet in a sorted list, and drops those that are by now.
pub(super) fn remember(ahead: &mut Vec<Dot>, dots: &[Dot], known: impl Fn(&Dot) -> bool) {
    ahead.extend(dots);
    ahead.retain(|dot| !known(dot) && !is_planted(Fault::ForgetTombstone));
    ahead.sort_unstable();
    ahead.dedup();
}
