//! What this device still lacks: which contents are wanted by which entries, and what of it is
//! on its way.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dunlin_blocks::{BLOCK_MAX, BlockRef, FileHash, SMALL_MAX};
use dunlin_identity::Hash;
use dunlin_index::EntryId;
use dunlin_tree::fs::TempName;

use super::hashing::Hashing;
use super::{Action, BLOB_CACHE_BYTES, DOWNLOADS_MAX, SMALL_IN_FLIGHT};

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
}

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
    entries: BTreeSet<EntryId>,
    state: State,
}

/// The contents that are wanted, and those that are here but not yet in place.
#[derive(Debug, Default)]
pub(super) struct Needs {
    wants: BTreeMap<Hash, Want>,
    by_entry: BTreeMap<EntryId, BTreeSet<Hash>>,
    /// Waiting wants in the order in which they are asked for: small ones first.
    queue: BTreeSet<(u64, Hash)>,
    bytes: u64,
    pairs: u64,
    small_in_flight: usize,
    small_bytes_in_flight: u64,
    downloads: usize,
    blobs: BTreeMap<Hash, Bytes>,
    /// States of texts that are here and wait for others, by the entry whose text they make.
    held: BTreeMap<EntryId, BTreeSet<Hash>>,
    /// States of texts that no connected peer has, and who would need them.
    lacking: BTreeMap<Hash, BTreeSet<EntryId>>,
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
    pub(super) fn want(&mut self, root: Hash, size: u64, entry: EntryId) {
        self.want_as(root, size, entry, Shape::of_file(size));
    }

    /// Notes that `entry` lacks the state of a text, which is one block.
    pub(super) fn want_state(&mut self, hash: Hash, size: u64, entry: EntryId) {
        if size <= u64::from(BLOCK_MAX) && !self.lacking.contains_key(&hash) {
            self.want_as(hash, size, entry, Shape::State);
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

    fn want_as(&mut self, root: Hash, size: u64, entry: EntryId, shape: Shape) {
        let want = self.wants.entry(root).or_insert_with(|| {
            self.queue.insert((size, root));
            Want { size, shape, entries: BTreeSet::new(), state: State::Waiting }
        });
        if want.entries.is_empty() {
            self.bytes += want.size;
        }
        if want.entries.insert(entry) {
            self.pairs += 1;
            self.by_entry.entry(entry).or_default().insert(root);
        }
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
                    self.queue.remove(&(want.size, root));
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

    /// What to ask for next, within the bounds. A large file waits while one of the user's of the
    /// same size is being hashed, since it may be the same.
    pub(super) fn next(&mut self, hashing: &Hashing) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut deferred = 0;
        let mut small = Vec::new();
        let mut started = Vec::new();
        for &(size, root) in &self.queue {
            let shape = self.wants.get(&root).map_or(Shape::of_file(size), |want| want.shape);
            if shape != Shape::Large {
                let full = self.small_in_flight >= SMALL_IN_FLIGHT
                    || self.small_bytes_in_flight + size > BLOB_CACHE_BYTES as u64;
                if full {
                    continue;
                }
                self.small_in_flight += 1;
                self.small_bytes_in_flight += size;
                let len = u32::try_from(size).expect("a block is below 4 GiB");
                small.push(BlockRef { hash: root, len });
            } else {
                if self.downloads >= DOWNLOADS_MAX {
                    // Behind the longest state there are only files.
                    if size > u64::from(BLOCK_MAX) {
                        break;
                    }
                    continue;
                }
                if hashing.has_size(size) {
                    deferred += 1;
                    if deferred == DEFERRED_MAX {
                        break;
                    }
                    continue;
                }
                self.downloads += 1;
                let temp = temp_for_content(&root);
                actions.push(Action::Download(LargeFile { root, size, temp }));
            }
            started.push((size, root));
        }
        for key in started {
            self.queue.remove(&key);
            if let Some(want) = self.wants.get_mut(&key.1) {
                want.state = State::InFlight;
            }
        }
        if !small.is_empty() {
            actions.insert(0, Action::FetchSmall(small));
        }
        actions
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
        let is_state = self.wants.get(root).is_some_and(|want| want.shape == Shape::State);
        let entries = self.set_state(root, State::NoSource);
        if !is_state {
            return BTreeSet::new();
        }
        self.lacking.entry(*root).or_default().extend(&entries);
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
                self.queue.insert((want.size, *root));
            }
        }
        std::mem::take(&mut self.lacking).into_values().flatten().collect()
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
        self.want(root, size, entry);
        self.queue.remove(&(size, root));
        self.set_state(&root, State::NoSource);
        self.ready.insert(root, (temp, hash));
    }

    /// A small content, if it is here.
    pub(super) fn blob(&self, root: &Hash) -> Option<&Bytes> {
        self.blobs.get(root)
    }

    /// The files' contents that no connected peer has given, each with its size and the entries that
    /// lack it.
    pub(super) fn lacking_files(&self) -> impl Iterator<Item = (&Hash, u64, &BTreeSet<EntryId>)> {
        let files = self.wants.iter().filter(|(_, want)| want.shape != Shape::State);
        files.map(|(root, want)| (root, want.size, &want.entries))
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
            self.queue.insert((want.size, *root));
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
