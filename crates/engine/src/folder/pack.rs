//! Packs what was moved aside into objects, in small steps while nothing else is to do.
//!
//! The batches of the version store are gone through, the oldest first, so that nothing need be
//! remembered over a restart. Of each file, the blocks that are not stored yet are read, checked
//! and written as temporary files; then all of a step is made durable, gets its names, and the
//! record says so; only then does the file go. A crash anywhere leaves the file, and the step is
//! done again.
//!
//! Of a large file, blocks that the present file of the same entry still holds are not stored: what
//! was edited in place costs what has changed. When another change takes such a block out of the
//! present file, that file is moved aside in turn, and the block is stored then.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dunlin_blocks::{BlockRef, address, is_hole};
use dunlin_identity::Hash;
use dunlin_index::{Kind, Millis, RelPath, SafeName, Storage};
use dunlin_tree::fs::{FileKind, Fs, FsErrorKind, ObjectName, ReadAt, Stat, TempName, VersionId};

use super::Folder;
use super::error::Blocked;
use crate::history::policy::Keep;
use crate::history::{How, Place, Record, What, object};
use crate::serve::read_whole;

/// Files that one step takes at most.
const STEP_FILES: usize = 256;
/// Bytes of blocks that one step stores, and a block more at most.
const STEP_BYTES: u64 = 16 << 20;
/// Time between two steps, for other work to come in.
const PAUSE_MS: Millis = 20;
/// How long to wait while the folder is busy.
const BUSY_MS: Millis = 2_000;
/// How long to wait after an error.
const RETRY_MS: Millis = 5 * 60 * 1000;
/// Files up to this size are stored whole, whatever the present file holds.
const WHOLE_MAX: u64 = 1 << 20;
/// Two times of one event are no further apart: a batch is named after its second.
const SAME_MS: Millis = 2_000;

/// When to pack, and how far a large file has come.
#[derive(Debug, Default)]
pub(super) struct Packing {
    at: Option<Millis>,
    partly: Option<Partly>,
}

/// A large file of which some blocks are stored.
#[derive(Debug)]
struct Partly {
    version: VersionId,
    blocks: usize,
    stored: u64,
}

/// What one step does.
#[derive(Default)]
struct Step {
    objects: BTreeSet<Hash>,
    bytes: u64,
    records: Vec<Record>,
    forgotten: Vec<u64>,
    done: Vec<VersionId>,
}

impl Packing {
    /// Has a look at the store at that time, if none is due before.
    pub(super) fn look_at(&mut self, at: Millis) {
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn next_due(&self) -> Option<Millis> {
        self.at
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Packs a little, if that is due and nothing else is to do.
    pub(super) fn pack(&mut self, now: Millis) {
        if self.packing.at.is_none_or(|at| at > now) {
            return;
        }
        if !self.is_settled() {
            self.packing.at = Some(now + BUSY_MS);
            return;
        }
        self.packing.at = match self.pack_step(now) {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "old versions are not packed");
                self.packing.partly = None;
                Some(now + RETRY_MS)
            }
        };
    }

    /// One step; returns when the next one is due.
    fn pack_step(&mut self, now: Millis) -> Result<Option<Millis>, Blocked> {
        for (batch, begun) in self.fs.version_batches()? {
            let due = begun.saturating_add(self.policy.delay_ms);
            if due > now {
                return Ok(Some(due));
            }
            let staged = self.staged_in(&batch)?;
            if staged.is_empty() {
                continue;
            }
            let mut step = Step::default();
            for (version, stat) in staged {
                if step.bytes >= STEP_BYTES {
                    break;
                }
                self.pack_one(version, &stat, begun, &mut step)?;
            }
            self.finish_step(step, now)?;
            return Ok(Some(now + PAUSE_MS));
        }
        Ok(None)
    }

    /// Some files of a batch. Directories that hold nothing are removed.
    fn staged_in(&self, batch: &SafeName) -> Result<Vec<(VersionId, Stat)>, Blocked> {
        let mut found = Vec::new();
        let mut directories = vec![RelPath::root()];
        while let Some(path) = directories.pop() {
            let at = VersionId { batch: batch.clone(), path };
            let listing = match self.fs.version_list(&at) {
                Err(error) if error.kind() == FsErrorKind::NotFound => continue,
                other => other?,
            };
            if listing.entries.is_empty() && listing.unrepresentable.is_empty() {
                self.fs.version_remove(&at)?;
            }
            for (name, stat) in listing.entries {
                let Ok(path) = at.path.join(&name) else { continue };
                match stat.kind {
                    FileKind::Directory => directories.push(path),
                    FileKind::File | FileKind::Symlink => {
                        found.push((VersionId { batch: batch.clone(), path }, stat));
                    }
                    FileKind::Other => {}
                }
                if found.len() >= STEP_FILES {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn pack_one(
        &mut self,
        version: VersionId,
        stat: &Stat,
        begun: Millis,
        step: &mut Step,
    ) -> Result<(), Blocked> {
        let record = self.history().staged_at(&version)?;
        if self.policy.keep == Keep::None {
            step.forgotten.extend(record.map(|record| record.id));
            step.done.push(version);
            return Ok(());
        }
        if stat.kind == FileKind::Symlink {
            let target = self.fs.version_read_link(&version)?;
            let record = record.or_else(|| {
                let found = self.found(&version, stat, begun, What::Symlink { target });
                (!self.is_known(&found)).then_some(found)
            });
            step.records.extend(record.map(|mut record| {
                record.place = Place::Packed { stored: 0 };
                record
            }));
            step.done.push(version);
            return Ok(());
        }
        let file = self.fs.version_open(&version)?;
        let as_recorded =
            record.filter(|record| record.size() == stat.size && record.mtime_ns == stat.mtime_ns);
        let packed = match as_recorded {
            Some(record) => self.store_blocks(record, &version, &*file, step)?,
            None => Packed::Differs,
        };
        match packed {
            Packed::Whole(record) => {
                step.records.push(*record);
                step.done.push(version);
            }
            Packed::Partly => {}
            Packed::Differs => self.take_as_found(version, stat, begun, &*file, step)?,
        }
        Ok(())
    }

    /// What was moved aside is not what a record says, or has none: it is hashed anew, and gets a
    /// record of its own, to be packed in a later step.
    fn take_as_found(
        &mut self,
        version: VersionId,
        stat: &Stat,
        begun: Millis,
        file: &dyn ReadAt,
        step: &mut Step,
    ) -> Result<(), Blocked> {
        self.packing.partly = None;
        let read = |buffer: &mut [u8], at| file.read_at(buffer, at).map_err(Into::into);
        let Ok(hash) = dunlin_blocks::hash_file(read, stat.size, 1) else {
            // A program writes to it just now: it is looked at again.
            return Ok(());
        };
        let list = self.log.list(&hash.blocks)?;
        let what = What::File { root: hash.root, size: hash.size, list };
        let mut found = self.found(&version, stat, begun, what);
        if let Some(before) = self.history().staged_at(&version)? {
            found.how = How::WrittenLate;
            found.entry = before.entry;
            step.records.push(Record { place: Place::Elsewhere, ..before });
        } else if self.is_known(&found) {
            // A crash came between the last two acts of a step.
            step.done.push(version);
            return Ok(());
        }
        found.id = self.log.next_id();
        step.records.push(found);
        Ok(())
    }

    /// A record of something in the store that has none.
    fn found(&self, version: &VersionId, stat: &Stat, begun: Millis, what: What) -> Record {
        let row = self.rows.find(&version.path).ok().flatten();
        Record {
            id: 0,
            entry: row.map(|row| row.item.entry),
            path: version.path.clone(),
            what,
            mtime_ns: stat.mtime_ns,
            mode: stat.mode,
            by: None,
            since: begun,
            until: begun,
            ended_by: None,
            how: How::Found,
            place: Place::Staged(version.clone()),
        }
    }

    /// Whether there is a record of this already, which says that it is packed.
    fn is_known(&self, found: &Record) -> bool {
        // A database that cannot be read here fails the next write.
        let records = self.history().at_path(&found.path).unwrap_or_default();
        records.iter().any(|record| {
            record.what == found.what
                && matches!(record.place, Place::Packed { .. })
                && record.until.abs_diff(found.until) <= SAME_MS
        })
    }

    /// Stores the blocks of a file that are not there yet.
    fn store_blocks(
        &mut self,
        record: Record,
        version: &VersionId,
        file: &dyn ReadAt,
        step: &mut Step,
    ) -> Result<Packed, Blocked> {
        let Some(blocks) = self.history().blocks(&record.what)? else {
            return Ok(Packed::Differs);
        };
        let present = self.held_by_present(&record)?;
        let partly = self.packing.partly.take().filter(|partly| partly.version == *version);
        let (from, mut stored) = partly.map_or((0, 0), |partly| (partly.blocks, partly.stored));
        for (number, (offset, block)) in blocks.iter().enumerate().skip(from) {
            if is_hole(block) || present.contains(&block.hash) || self.is_stored(block, step)? {
                continue;
            }
            if step.bytes >= STEP_BYTES {
                let version = version.clone();
                self.packing.partly = Some(Partly { version, blocks: number, stored });
                return Ok(Packed::Partly);
            }
            let data = read_whole(file, *offset, block.len);
            let Some(data) = data.filter(|data| address(data) == block.hash) else {
                return Ok(Packed::Differs);
            };
            stored += self.write_object(&block.hash, &data)?;
            step.bytes += data.len() as u64;
            step.objects.insert(block.hash);
        }
        Ok(Packed::Whole(Box::new(Record { place: Place::Packed { stored }, ..record })))
    }

    fn is_stored(&self, block: &BlockRef, step: &Step) -> Result<bool, Blocked> {
        let object = ObjectName::of(&block.hash);
        Ok(step.objects.contains(&block.hash) || self.fs.object_open(&object)?.is_some())
    }

    /// Writes an object under its temporary name; returns the bytes that it takes.
    fn write_object(&self, hash: &Hash, data: &[u8]) -> Result<u64, Blocked> {
        let stored = object::encode(data);
        let temp = temp_of(hash);
        self.fs.temp_remove(&temp)?;
        let file = self.fs.temp_create(&temp, stored.len() as u64)?;
        file.write_at(&stored, 0)?;
        file.set_len(stored.len() as u64)?;
        Ok(stored.len() as u64)
    }

    /// The blocks that the present files of a large version's entry hold.
    fn held_by_present(&self, record: &Record) -> Result<BTreeSet<Hash>, Blocked> {
        let mut held = BTreeSet::new();
        let Some(entry) = record.entry.filter(|_| record.size() > WHOLE_MAX) else {
            return Ok(held);
        };
        for row in self.rows.by_entry(entry)? {
            if row.kind == Kind::File {
                let blocks = self.rows.blocks_of(row.id)?;
                held.extend(blocks.into_iter().map(|(_, block)| block.hash));
            }
        }
        Ok(held)
    }

    /// Makes a step durable, and removes what is packed now.
    fn finish_step(&mut self, step: Step, now: Millis) -> Result<(), Blocked> {
        self.sweeping.interrupt(now);
        if !step.objects.is_empty() {
            self.fs.sync_all()?;
            for hash in &step.objects {
                self.fs.object_put(&temp_of(hash), &ObjectName::of(hash))?;
            }
            // The names must be there before a record says so.
            self.fs.sync_all()?;
        }
        step.records.into_iter().for_each(|record| self.log.version(record));
        self.log.forget(&step.forgotten);
        self.log.sync(&*self.fs, self.seed)?;
        for version in &step.done {
            self.fs.version_remove(version)?;
        }
        Ok(())
    }
}

/// What became of a file in a step.
enum Packed {
    /// All of its blocks are stored when the step ends.
    Whole(Box<Record>),
    /// The step is full.
    Partly,
    /// It does not hold what its record says.
    Differs,
}

fn temp_of(hash: &Hash) -> TempName {
    TempName::parse(&format!("object-{hash}")).expect("hexadecimal digits make a legal name")
}
