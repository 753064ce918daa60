//! What this device still lacks: which contents are wanted by which entries, and what of it is
//! on its way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dunlin_blocks::{BLOCK_MAX, BlockRef, FileHash, SMALL_MAX};
use dunlin_identity::Hash;
use dunlin_index::EntryId;
use dunlin_tree::fs::TempName;

use super::hashing::Hashing;
use super::{Action, BLOB_CACHE_BYTES, DOWNLOADS_MAX, SMALL_IN_FLIGHT};

/// So many large files that the user has asked for may be fetched beside the usual ones.
const DOWNLOADS_ASKED_MAX: usize = 4;

/// Large files that are passed over when looking for one to fetch: the disk is busy hashing then.
const DEFERRED_MAX: usize = 1_000;

/// A large file to bring into a temporary file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeFile {
    /// The hash of its manifest.
    pub root: Hash,
    /// Its size in bytes.
    pub size: u64,
    /// The temporary file; the same one whenever this content is tried again, so that what is
    /// there already is kept.
    pub temp: TempName,
    /// Whether the user has asked for it: then its blocks go before those of other files.
    pub urgent: bool,
}

/// How soon a content is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// The user has asked for it now.
    Asked,
    /// The folder's settings name it.
    First,
    #[default]
    Usual,
}

/// What decides when a content is asked for, beside its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rank {
    pub(super) urgency: Urgency,
    /// When it was changed last, in nanoseconds since 1970.
    pub(super) mtime_ns: i64,
}

/// Where a content stands among those that wait: what is urgent first, then what is small (by
/// powers of two), then what was changed last.
type Place = (Urgency, u32, Reverse<i64>, Hash);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    /// No connected peer has it.
    NoSource,
}

/// How a content is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A small file: one block.
    Small,
    /// A file by its manifest, into a temporary file.
    Large,
    /// The state of a text: one block, whatever its size.
    State,
}

impl Shape {
    fn of_file(size: u64) -> Self {
        if size <= SMALL_MAX { Self::Small } else { Self::Large }
    }
}

#[derive(Debug)]
struct Want {
    size: u64,
    shape: Shape,
    rank: Rank,
    entries: BTreeSet<EntryId>,
    state: State,
}

impl Want {
    fn place(&self, root: Hash) -> Place {
        let class = u64::BITS - self.size.leading_zeros();
        (self.rank.urgency, class, Reverse(self.rank.mtime_ns), root)
    }
}

/// Contents that wait, in the order in which they are asked for: those of one block, and files by
/// their manifests.
#[derive(Debug, Default)]
struct Queue {
    small: BTreeSet<Place>,
    large: BTreeSet<Place>,
}

impl Queue {
    fn of(&mut self, want: &Want) -> &mut BTreeSet<Place> {
        if want.shape == Shape::Large { &mut self.large } else { &mut self.small }
    }

    fn insert(&mut self, root: Hash, want: &Want) {
        self.of(want).insert(want.place(root));
    }

    fn remove(&mut self, root: Hash, want: &Want) {
        self.of(want).remove(&want.place(root));
    }
}

/// The contents that are wanted, and those that are here but not yet in place.
#[derive(Debug, Default)]
pub(super) struct Needs {
    wants: BTreeMap<Hash, Want>,
    by_entry: BTreeMap<EntryId, BTreeSet<Hash>>,
    /// What waits.
    queue: Queue,
    bytes: u64,
    pairs: u64,
    small_in_flight: usize,
    small_bytes_in_flight: u64,
    downloads: usize,
    blobs: BTreeMap<Hash, Bytes>,
    /// States of texts that are here and wait for others, by the entry whose text they make.
    held: BTreeMap<EntryId, BTreeSet<Hash>>,
    /// States of texts that no connected peer has, with their sizes, and who would need them.
    lacking: BTreeMap<Hash, (u64, BTreeSet<EntryId>)>,
    ready: BTreeMap<Hash, (TempName, FileHash)>,
}

impl Needs {
    pub(super) fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Whether nothing is lacking at all: also no state of a text, without which others' versions
    /// of it are not on this disk.
    pub(super) fn lacks_nothing(&self) -> bool {
        self.is_empty() && self.lacking.is_empty()
    }

    /// Entries that lack a content, and the bytes of the contents that are lacking.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.pairs, self.bytes)
    }

    /// Notes that `entry` lacks the content `root`.
    pub(super) fn want(&mut self, root: Hash, size: u64, entry: EntryId, rank: Rank) {
        self.want_as(root, size, entry, Shape::of_file(size), rank);
    }

    /// Has what an entry lacks asked for before all else. Returns whether it lacks anything.
    pub(super) fn ask_for(&mut self, entry: EntryId) -> bool {
        let roots = self.by_entry.get(&entry).cloned().unwrap_or_default();
        for root in &roots {
            self.hurry(*root, Urgency::Asked);
        }
        !roots.is_empty()
    }

    fn hurry(&mut self, root: Hash, urgency: Urgency) {
        let Some(want) = self.wants.get_mut(&root) else { return };
        if urgency >= want.rank.urgency {
            return;
        }
        if want.state == State::Waiting {
            self.queue.remove(root, want);
        }
        want.rank.urgency = urgency;
        if want.state == State::Waiting {
            self.queue.insert(root, want);
        }
    }

    /// Notes that `entry` lacks the state of a text, which is one block.
    pub(super) fn want_state(&mut self, hash: Hash, size: u64, entry: EntryId) {
        if size <= u64::from(BLOCK_MAX) && !self.lacking.contains_key(&hash) {
            self.want_as(hash, size, entry, Shape::State, Rank::default());
        }
    }

    /// Keeps the state of a text that is here while another one, with which it is to be merged, is
    /// on its way.
    pub(super) fn hold(&mut self, hash: Hash, entry: EntryId) {
        self.held.entry(entry).or_default().insert(hash);
    }

    /// Whether no connected peer has the state of a text.
    pub(super) fn is_lacking(&self, hash: &Hash) -> bool {
        self.lacking.contains_key(hash)
    }

    fn want_as(&mut self, root: Hash, size: u64, entry: EntryId, shape: Shape, rank: Rank) {
        let want = self.wants.entry(root).or_insert_with(|| {
            let want = Want { size, shape, rank, entries: BTreeSet::new(), state: State::Waiting };
            self.queue.insert(root, &want);
            want
        });
        if want.entries.is_empty() {
            self.bytes += want.size;
        }
        if want.entries.insert(entry) {
            self.pairs += 1;
            self.by_entry.entry(entry).or_default().insert(root);
        }
        self.hurry(root, rank.urgency);
    }

    /// Notes that `entry` lacks nothing any more, as far as is known.
    pub(super) fn release(&mut self, entry: EntryId) {
        self.held.remove(&entry);
        for root in self.by_entry.remove(&entry).unwrap_or_default() {
            let Some(want) = self.wants.get_mut(&root) else { continue };
            if want.entries.remove(&entry) {
                self.pairs -= 1;
            }
            if want.entries.is_empty() {
                self.bytes -= want.size;
                // What is on its way is not asked for again when the entry turns out to lack it
                // still, which is the rule when more of the index arrives meanwhile.
                if want.state != State::InFlight {
                    self.queue.remove(root, want);
                    self.wants.remove(&root);
                }
            }
        }
    }

    /// Frees the place of a want that is not in flight any more.
    fn landed(&mut self, size: u64, shape: Shape, state: State) {
        if state != State::InFlight {
            return;
        }
        if shape != Shape::Large {
            self.small_in_flight -= 1;
            self.small_bytes_in_flight -= size;
        } else {
            self.downloads -= 1;
        }
    }

    /// What to ask for next, within the bounds.
    pub(super) fn next(&mut self, hashing: &Hashing) -> Vec<Action> {
        let small = self.next_small();
        let mut actions = Vec::new();
        if !small.is_empty() {
            actions.push(Action::FetchSmall(small));
        }
        actions.extend(self.next_large(hashing).into_iter().map(Action::Download));
        actions
    }

    fn next_small(&mut self) -> Vec<BlockRef> {
        let mut blocks = Vec::new();
        while let Some(place) = self.queue.small.first().copied() {
            let root = place.3;
            let Some(want) = self.wants.get_mut(&root) else { break };
            let full = self.small_in_flight >= SMALL_IN_FLIGHT
                || self.small_bytes_in_flight + want.size > BLOB_CACHE_BYTES as u64;
            if full {
                break;
            }
            self.small_in_flight += 1;
            self.small_bytes_in_flight += want.size;
            let len = u32::try_from(want.size).expect("a block is below 4 GiB");
            blocks.push(BlockRef { hash: root, len });
            want.state = State::InFlight;
            self.queue.small.remove(&place);
        }
        blocks
    }

    /// A large file waits while one of the user's of the same size is being hashed, since it may be
    /// the same.
    fn next_large(&mut self, hashing: &Hashing) -> Vec<LargeFile> {
        let mut files = Vec::new();
        let mut deferred = 0;
        let mut started = Vec::new();
        for place in &self.queue.large {
            let (urgency, .., root) = *place;
            let urgent = urgency == Urgency::Asked;
            let more = if urgent { DOWNLOADS_ASKED_MAX } else { 0 };
            if self.downloads >= DOWNLOADS_MAX + more {
                break;
            }
            let Some(want) = self.wants.get_mut(&root) else { continue };
            if hashing.has_size(want.size) {
                deferred += 1;
                if deferred == DEFERRED_MAX {
                    break;
                }
                continue;
            }
            self.downloads += 1;
            want.state = State::InFlight;
            let temp = temp_for_content(&root);
            files.push(LargeFile { root, size: want.size, temp, urgent });
            started.push(*place);
        }
        for place in started {
            self.queue.large.remove(&place);
        }
        files
    }

    fn set_state(&mut self, root: &Hash, state: State) -> BTreeSet<EntryId> {
        let Some(want) = self.wants.get_mut(root) else { return BTreeSet::new() };
        let (size, shape, before) = (want.size, want.shape, want.state);
        want.state = state;
        let entries = want.entries.clone();
        if entries.is_empty() {
            self.wants.remove(root);
        }
        self.landed(size, shape, before);
        entries
    }

    /// A small content is here; returns the entries that wait for it.
    pub(super) fn arrived(&mut self, root: Hash, data: Bytes) -> BTreeSet<EntryId> {
        let entries = self.set_state(&root, State::NoSource);
        if !entries.is_empty() {
            self.blobs.insert(root, data);
        }
        entries
    }

    /// No connected peer has it: it waits for another peer, or for news of one. Returns the entries
    /// that can do without it: texts come without their states then.
    pub(super) fn missed(&mut self, root: &Hash) -> BTreeSet<EntryId> {
        let state = self.wants.get(root).filter(|want| want.shape == Shape::State);
        let size = state.map(|want| want.size);
        let entries = self.set_state(root, State::NoSource);
        let Some(size) = size else { return BTreeSet::new() };
        self.lacking.entry(*root).or_insert((size, BTreeSet::new())).1.extend(&entries);
        entries
    }

    /// A large content is complete in its temporary file; returns the entries that wait for it.
    pub(super) fn downloaded(
        &mut self,
        root: Hash,
        temp: TempName,
        hash: FileHash,
    ) -> BTreeSet<EntryId> {
        let entries = self.set_state(&root, State::NoSource);
        if !entries.is_empty() {
            self.ready.insert(root, (temp, hash));
        }
        entries
    }

    /// Everything that had no source is asked for again.
    ///
    /// Returns the entries that had to do without a state.
    pub(super) fn peers_changed(&mut self) -> BTreeSet<EntryId> {
        for (root, want) in &mut self.wants {
            if want.state == State::NoSource {
                want.state = State::Waiting;
                self.queue.insert(*root, want);
            }
        }
        std::mem::take(&mut self.lacking).into_values().flat_map(|(_, entries)| entries).collect()
    }

    /// Keeps a small content that came unasked, for the changes that came with it; returns the
    /// entries that wait for it already.
    pub(super) fn keep_blob(&mut self, data: Bytes) -> BTreeSet<EntryId> {
        let hash = Hash(*blake3::hash(&data).as_bytes());
        self.blobs.insert(hash, data);
        self.wants.get(&hash).map(|want| want.entries.clone()).unwrap_or_default()
    }

    /// Keeps a large content whose place was not free yet.
    pub(super) fn put_back(
        &mut self,
        root: Hash,
        size: u64,
        entry: EntryId,
        temp: TempName,
        hash: FileHash,
    ) {
        self.want(root, size, entry, Rank::default());
        if let Some(want) = self.wants.get(&root) {
            self.queue.remove(root, want);
        }
        self.set_state(&root, State::NoSource);
        self.ready.insert(root, (temp, hash));
    }

    /// A small content, if it is here.
    pub(super) fn blob(&self, root: &Hash) -> Option<&Bytes> {
        self.blobs.get(root)
    }

    /// What no connected peer has given, contents of files and states of texts, each with its size
    /// and the entries that lack it.
    pub(super) fn lacked(&self) -> impl Iterator<Item = (&Hash, u64, &BTreeSet<EntryId>)> {
        let wants = self.wants.iter().map(|(root, want)| (root, want.size, &want.entries));
        let done_without = self.lacking.iter().filter(|(root, _)| !self.wants.contains_key(root));
        wants.chain(done_without.map(|(root, (size, entries))| (root, *size, entries)))
    }

    /// Whether a content is here, and only waits for its place.
    pub(super) fn has(&self, root: &Hash) -> bool {
        self.blobs.contains_key(root) || self.ready.contains_key(root)
    }

    /// A large content, if it is complete. It is given once: its temporary file goes with it.
    pub(super) fn take_ready(&mut self, root: &Hash) -> Option<(TempName, FileHash)> {
        let ready = self.ready.remove(root)?;
        // Other entries with this content copy it from the first one's file.
        if let Some(want) = self.wants.get_mut(root) {
            want.state = State::Waiting;
            self.queue.insert(*root, want);
        }
        Some(ready)
    }

    /// Forgets the contents in memory that nobody waits for.
    pub(super) fn drop_unwanted(&mut self) {
        let (wants, held) = (&self.wants, &self.held);
        let is_held = |root: &Hash| held.values().any(|hashes| hashes.contains(root));
        self.blobs.retain(|root, _| wants.contains_key(root) || is_held(root));
        self.ready.retain(|root, _| wants.contains_key(root));
    }
}

/// The temporary file of a large content: always the same, so that what an interrupted download
/// left in it is kept.
fn temp_for_content(root: &Hash) -> TempName {
    TempName::parse(&format!("file-{root}")).expect("hexadecimal digits make a legal name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: u64) -> Hash {
        Hash::of(&number.to_le_bytes())
    }

    fn entry(number: u64) -> EntryId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        EntryId(id)
    }

    /// Wants contents of these sizes, numbered, all of the same urgency and time.
    fn wanting(sizes: &[u64]) -> Needs {
        let mut needs = Needs::default();
        for (number, size) in (0..).zip(sizes) {
            needs.want(root(number), *size, entry(number), Rank::default());
        }
        needs
    }

    /// What is asked for next, in order; small files first.
    fn asked(needs: &mut Needs) -> Vec<Hash> {
        let roots = |action| match action {
            Action::FetchSmall(blocks) => blocks.iter().map(|block| block.hash).collect(),
            Action::Download(file) => vec![file.root],
            other => panic!("nothing to fetch: {other:?}"),
        };
        needs.next(&Hashing::default()).into_iter().flat_map(roots).collect()
    }

    #[test]
    fn the_small_come_first_and_among_like_ones_the_latest() {
        let mut needs = wanting(&[900_000_000, 70_000, 3_000, 100]);
        let late = Rank { mtime_ns: 5, ..Rank::default() };
        needs.want(root(4), 75_000, entry(4), late);
        needs.want(root(5), 3_500, entry(5), late);
        assert_eq!(asked(&mut needs), [3, 5, 2, 4, 1, 0].map(root));
    }

    #[test]
    fn what_the_settings_name_comes_before_what_is_small() {
        let mut needs = wanting(&[70_000; 4]);
        let first = Rank { urgency: Urgency::First, mtime_ns: 0 };
        needs.want(root(9), 1 << 40, entry(9), first);
        // Another entry with the content of one that waits.
        needs.want(root(3), 70_000, entry(8), first);
        let asked = asked(&mut needs);
        assert_eq!(asked[..2], [root(3), root(9)]);
        assert_eq!(asked.len(), DOWNLOADS_MAX);
    }

    #[test]
    fn what_the_user_asks_for_does_not_wait_for_others_to_end() {
        let mut needs = wanting(&[70_000; DOWNLOADS_MAX + 20]);
        assert_eq!(asked(&mut needs).len(), DOWNLOADS_MAX);
        assert!(asked(&mut needs).is_empty());
        let last = DOWNLOADS_MAX as u64 + 19;
        assert!(!needs.ask_for(entry(1_000)), "nothing is lacking of it");
        assert!(needs.ask_for(entry(last)));
        let files = needs.next_large(&Hashing::default());
        assert!(files.len() == 1 && files[0].root == root(last) && files[0].urgent);
        // That is bounded, too.
        let others: Vec<EntryId> = (0..last).map(entry).collect();
        others.iter().for_each(|other| assert!(needs.ask_for(*other)));
        assert_eq!(asked(&mut needs).len(), DOWNLOADS_ASKED_MAX - 1);
    }

    #[test]
    fn what_nobody_had_keeps_its_place() {
        let mut needs = wanting(&[70_000, 80_000]);
        asked(&mut needs);
        needs.missed(&root(0));
        needs.missed(&root(1));
        assert!(needs.ask_for(entry(1)));
        assert!(asked(&mut needs).is_empty(), "it is not asked for before a peer comes");
        needs.peers_changed();
        assert_eq!(asked(&mut needs), [1, 0].map(root));
    }
}
