//! Writing the history: to the journal first, then to the database.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_blocks::{BlockRef, SMALL_MAX, address};
use dunlin_identity::Hash;
use dunlin_index::{Batch, EntryId, Millis, Storage, StorageError};
use dunlin_tree::fs::{Fs, FsError, TempName, WriteAt};

use super::journal::{self, Entry, FORGET_MAX, HEAD_BYTES, Reader};
use super::lists;
use super::record::Record;
use super::store::{History, HistoryError, Meta, PAGE, piece_key};

/// What waits is written at the latest when it is so much.
const PENDING_MAX: usize = 500;
/// A journal that is no longer than this is not worth writing anew.
const REWRITE_MIN: u64 = 1 << 20;
/// The temporary file of a journal that is written anew.
const REWRITTEN: &str = "history-journal";

/// The history of one folder, to write.
#[derive(Debug)]
pub(crate) struct HistoryLog<S> {
    history: History<S>,
    meta: Meta,
    pending: Vec<Entry>,
    since: Vec<(EntryId, Option<Millis>)>,
    /// The journal lacks what the database has, because it could not be written.
    behind: bool,
}

impl<S: Storage> HistoryLog<S> {
    /// Opens the history, and takes from the journal what the database does not have. `seed` tells
    /// this journal from all others, should it be begun now.
    ///
    /// # Errors
    /// Fails when the disk or the storage does.
    pub(crate) fn open<F: Fs>(fs: &F, storage: S, seed: u64) -> Result<Self, HistoryError> {
        let history = History::new(storage);
        let known = history.meta()?;
        let meta = known.unwrap_or(Meta { next_id: 1, ..Meta::default() });
        let mut log = Self { history, meta, pending: Vec::new(), since: Vec::new(), behind: false };
        let file = fs.journal()?;
        let (there, len) = (journal::generation(&*file)?, file.stat()?.size);
        let same = known.is_some() && there == Some(meta.generation);
        if same && len >= meta.len {
            log.replay(&*file, meta.len, 0)?;
            if log.meta.len < len {
                // What a power cut has torn would hide what is written behind it.
                file.set_len(log.meta.len)?;
            }
            return Ok(log);
        }
        if there.is_some() {
            // A database that was lost or is of another time: of what it numbered itself, it knows
            // better.
            log.replay(&*file, HEAD_BYTES, known.map_or(0, |known| known.next_id))?;
        }
        drop(file);
        log.rewrite(fs, seed)?;
        Ok(log)
    }

    /// Takes the entries of the journal from a place on, but for versions numbered below `own`.
    fn replay(&mut self, file: &dyn WriteAt, from: u64, own: u64) -> Result<(), HistoryError> {
        let mut reader = Reader::new(file, from);
        let mut entries = Vec::new();
        loop {
            let entry = reader.read_next()?;
            let end = entry.is_none();
            match entry {
                Some(Entry::Version(record)) if record.id < own => {}
                Some(Entry::Forget(mut ids)) => {
                    ids.retain(|id| *id >= own);
                    entries.push(Entry::Forget(ids));
                }
                entry => entries.extend(entry),
            }
            if end || entries.len() >= PENDING_MAX {
                self.meta.len = reader.at();
                self.take(&entries, Vec::new())?;
                entries.clear();
            }
            if end {
                return Ok(());
            }
        }
    }

    /// Puts entries into the database, with the state of the journal that they are in.
    fn take(
        &mut self,
        entries: &[Entry],
        since: Vec<(EntryId, Option<Millis>)>,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        // What becomes of each version in the end: of two entries about one the later counts.
        let mut versions: BTreeMap<u64, Option<&Record>> = BTreeMap::new();
        for entry in entries {
            match entry {
                Entry::Version(record) => {
                    self.meta.next_id = self.meta.next_id.max(record.id.saturating_add(1));
                    versions.insert(record.id, Some(record));
                }
                Entry::Forget(ids) => versions.extend(ids.iter().map(|id| (*id, None))),
                Entry::Piece(piece) => batch.put(piece_key(&address(piece)), piece.clone()),
            }
        }
        for (id, record) in versions {
            self.history.remove(&mut batch, id)?;
            if let Some(record) = record {
                History::<S>::put(&mut batch, record);
            }
        }
        for (entry, since) in since {
            History::<S>::put_since(&mut batch, entry, since);
        }
        let meta = bincode::encode_to_vec(self.meta, bincode::config::standard())
            .expect("encoding into memory cannot fail");
        batch.put(b"m", meta);
        self.history.storage.commit(batch)
    }

    /// The records, to read; what waits is not among them.
    pub(crate) fn read(&self) -> &History<S> {
        &self.history
    }

    /// A number for a new version.
    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.meta.next_id;
        self.meta.next_id += 1;
        id
    }

    /// Notes a list of blocks, and gives the hashes of its pieces; none for a small file's.
    ///
    /// # Errors
    /// Fails when the storage does.
    pub(crate) fn list(&mut self, blocks: &[(u64, BlockRef)]) -> Result<Vec<Hash>, StorageError> {
        let size: u64 = blocks.iter().map(|(_, block)| u64::from(block.len)).sum();
        if size <= SMALL_MAX {
            return Ok(Vec::new());
        }
        let mut list = Vec::new();
        for piece in lists::cut(blocks) {
            let hash = address(&piece);
            list.push(hash);
            if self.history.storage.get(&piece_key(&hash))?.is_none() {
                self.pending.push(Entry::Piece(piece));
            }
        }
        Ok(list)
    }

    /// Notes a version.
    pub(crate) fn version(&mut self, record: Record) {
        self.pending.push(Entry::Version(Box::new(record)));
    }

    /// Notes since when the present version of an entry is there; none when it is gone.
    pub(crate) fn since(&mut self, entry: EntryId, since: Option<Millis>) {
        self.since.push((entry, since));
    }

    /// Notes that versions are kept no more.
    pub(crate) fn forget(&mut self, ids: &[u64]) {
        self.pending.extend(ids.chunks(FORGET_MAX).map(|ids| Entry::Forget(ids.to_vec())));
    }

    /// Whether so much waits that it should be written now.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    /// Writes what waits, to the journal and to the database; not durably.
    ///
    /// # Errors
    /// Fails when the storage does. A journal that cannot be written is made up for later.
    pub(crate) fn flush<F: Fs>(&mut self, fs: &F) -> Result<(), StorageError> {
        if self.pending.is_empty() && self.since.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.pending);
        let frames: Vec<u8> = entries.iter().flat_map(Entry::frame).collect();
        if let Err(error) = self.append(fs, &frames) {
            tracing::warn!(%error, "the journal of the history lags behind");
            self.behind = true;
        }
        let since = std::mem::take(&mut self.since);
        self.take(&entries, since)
    }

    fn append<F: Fs>(&mut self, fs: &F, frames: &[u8]) -> Result<(), FsError> {
        if frames.is_empty() || self.behind {
            return Ok(());
        }
        fs.journal()?.write_at(frames, self.meta.len)?;
        self.meta.len += frames.len() as u64;
        Ok(())
    }

    /// Makes the journal durable, with all that waits.
    ///
    /// # Errors
    /// Fails when the disk or the storage does.
    pub(crate) fn sync<F: Fs>(&mut self, fs: &F, seed: u64) -> Result<(), HistoryError> {
        self.flush(fs)?;
        if self.behind {
            return self.rewrite(fs, seed);
        }
        Ok(fs.journal()?.sync()?)
    }

    /// Whether most of the journal is about what is forgotten.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        self.behind || self.meta.len > REWRITE_MIN + 2 * self.meta.len_fresh
    }

    /// Writes the journal anew with what there is, and forgets the pieces of lists that no version
    /// needs any more.
    ///
    /// # Errors
    /// Fails when the disk or the storage does; the old journal stays then.
    pub(crate) fn rewrite<F: Fs>(&mut self, fs: &F, seed: u64) -> Result<(), HistoryError> {
        let temp = TempName::parse(REWRITTEN).expect("a plain word is a legal name");
        fs.temp_remove(&temp)?;
        let file = fs.temp_create(&temp, 0)?;
        let generation = seed ^ self.meta.generation.rotate_left(1) ^ self.meta.len;
        let mut at = 0;
        let mut write = |bytes: &[u8]| -> Result<(), FsError> {
            file.write_at(bytes, at)?;
            at += bytes.len() as u64;
            Ok(())
        };
        write(&journal::head(generation))?;
        let mut pieces = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.history.page(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for record in page {
                if let super::What::File { list, .. } = &record.what {
                    for hash in list {
                        if pieces.insert(*hash)
                            && let Some(piece) = self.history.storage.get(&piece_key(hash))?
                        {
                            write(&Entry::Piece(piece).frame())?;
                        }
                    }
                }
                write(&Entry::Version(Box::new(record)).frame())?;
            }
        }
        file.set_len(at)?;
        file.sync()?;
        fs.journal_replace(&temp)?;
        self.meta = Meta { generation, len: at, len_fresh: at, ..self.meta };
        self.behind = false;
        self.take(&[], Vec::new())?;
        self.sweep_pieces(&pieces)?;
        Ok(())
    }

    fn sweep_pieces(&self, live: &BTreeSet<Hash>) -> Result<(), StorageError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.history.storage.scan(b"l", after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut batch = Batch::new();
            for (key, _) in page {
                let hash = key.get(1..).and_then(|hash| hash.try_into().ok()).map(Hash);
                if hash.is_none_or(|hash| !live.contains(&hash)) {
                    batch.delete(key);
                }
            }
            self.history.storage.commit(batch)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_index::storage::MemStore;
    use dunlin_index::{EntryId, RelPath};
    use dunlin_tree::fs::MemFs;
    use dunlin_tree::marker::Marker;

    use super::*;
    use crate::history::{How, Place, What};

    fn fs() -> MemFs {
        let fs = MemFs::new(1);
        let device = dunlin_identity::DeviceKey::from_seed([1; 32]).device();
        let folder = dunlin_identity::FolderId([2; 32]);
        fs.init(&Marker::new(folder, device)).expect("an empty disk takes a folder");
        fs
    }

    fn blocks(from: u32, count: u32) -> Vec<(u64, BlockRef)> {
        let block = |n: u32| {
            let hash = Hash::of(&(from + n).to_le_bytes());
            (u64::from(n) * 65_536, BlockRef { hash, len: 65_536 })
        };
        (0..count).map(block).collect()
    }

    fn note(log: &mut HistoryLog<MemStore>, path: &str, blocks: &[(u64, BlockRef)]) -> u64 {
        let list = log.list(blocks).expect("listed");
        let id = log.next_id();
        let size = blocks.iter().map(|(_, block)| u64::from(block.len)).sum();
        log.version(Record {
            id,
            entry: Some(EntryId([3; 16])),
            path: RelPath::parse(path).expect("a path"),
            what: What::File { root: Hash::of(path.as_bytes()), size, list },
            mtime_ns: 0,
            mode: 0o644,
            by: None,
            since: id * 10,
            until: id * 10 + 10,
            ended_by: None,
            how: How::Edited,
            place: Place::Elsewhere,
        });
        id
    }

    fn all(log: &HistoryLog<MemStore>) -> Vec<(u64, String, bool)> {
        let records = log.read().page(None, 100).expect("read");
        let show = |record: Record| {
            let blocks = log.read().blocks(&record.what).expect("read").is_some();
            (record.id, record.path.to_string(), blocks)
        };
        records.into_iter().map(show).collect()
    }

    #[test]
    fn a_lost_database_reads_the_journal_and_gives_no_number_twice() {
        let fs = fs();
        let mut log = HistoryLog::open(&fs, MemStore::new(), 1).expect("opened");
        note(&mut log, "a", &blocks(0, 100));
        let gone = note(&mut log, "b", &blocks(500, 3));
        note(&mut log, "c/d", &blocks(5, 100));
        log.forget(&[gone]);
        log.flush(&fs).expect("written");
        let before = all(&log);
        assert_eq!(before.len(), 2);
        let mut again = HistoryLog::open(&fs, MemStore::new(), 2).expect("opened");
        assert_eq!(all(&again), before);
        assert_eq!(again.next_id(), 4);
    }

    #[test]
    fn a_database_that_was_set_back_catches_up() {
        let (fs, storage) = (fs(), MemStore::new());
        let mut log = HistoryLog::open(&fs, storage.clone(), 1).expect("opened");
        note(&mut log, "a", &blocks(0, 2));
        log.flush(&fs).expect("written");
        let backup = storage.snapshot();
        note(&mut log, "b", &blocks(0, 70));
        log.forget(&[1]);
        log.flush(&fs).expect("written");
        let (before, len) = (all(&log), fs.journal().expect("opened").stat().expect("read").size);
        storage.restore(&backup);
        let log = HistoryLog::open(&fs, storage, 2).expect("opened");
        assert_eq!(all(&log), before);
        assert_eq!(fs.journal().expect("opened").stat().expect("read").size, len);
    }

    #[test]
    fn a_journal_that_was_cut_off_is_made_up_for() {
        let (fs, storage) = (fs(), MemStore::new());
        let mut log = HistoryLog::open(&fs, storage.clone(), 1).expect("opened");
        note(&mut log, "a", &blocks(0, 2));
        note(&mut log, "b", &blocks(3, 90));
        log.flush(&fs).expect("written");
        let before = all(&log);
        fs.journal().expect("opened").set_len(40).expect("cut");
        let log = HistoryLog::open(&fs, storage, 2).expect("opened");
        assert_eq!(all(&log), before);
        let again = HistoryLog::open(&fs, MemStore::new(), 3).expect("opened");
        assert_eq!(all(&again), before);
    }

    #[test]
    fn a_torn_end_does_not_hide_what_comes_after() {
        let (fs, storage) = (fs(), MemStore::new());
        let mut log = HistoryLog::open(&fs, storage.clone(), 1).expect("opened");
        note(&mut log, "a", &blocks(0, 2));
        log.flush(&fs).expect("written");
        let file = fs.journal().expect("opened");
        file.write_at(&[200; 30], file.stat().expect("read").size).expect("written");
        let mut log = HistoryLog::open(&fs, storage, 2).expect("opened");
        note(&mut log, "b", &blocks(9, 2));
        log.flush(&fs).expect("written");
        let before = all(&log);
        let again = HistoryLog::open(&fs, MemStore::new(), 3).expect("opened");
        assert_eq!((all(&again), before.len()), (before, 2));
    }

    #[test]
    fn writing_anew_drops_what_is_forgotten_with_its_pieces() {
        let fs = fs();
        let mut log = HistoryLog::open(&fs, MemStore::new(), 1).expect("opened");
        note(&mut log, "a", &blocks(0, 2));
        let gone = note(&mut log, "b", &blocks(100, 900));
        log.flush(&fs).expect("written");
        let long = log.meta.len;
        log.forget(&[gone]);
        log.flush(&fs).expect("written");
        log.rewrite(&fs, 9).expect("written anew");
        assert!(log.meta.len < long / 10, "{} of {long}", log.meta.len);
        assert_eq!(log.read().storage.scan(b"l", None, 100).expect("read").len(), 1);
        let again = HistoryLog::open(&fs, MemStore::new(), 3).expect("opened");
        assert_eq!(all(&again), all(&log));
    }
}
