//! Large files of the user's, which are hashed outside of the folder's thread.

use std::collections::BTreeMap;

use dunlin_blocks::FileHash;
use dunlin_index::{Kind, Millis, RelPath, Storage};
use dunlin_tree::fs::{Fs, FsError, Stat};

use super::error::Refused;
use super::observe::{file_content, is_storage};
use super::texts::Draft;
use super::{Action, Folder};

/// The files that are being hashed.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    files: BTreeMap<RelPath, Stat>,
    /// How many of them have a size.
    sizes: BTreeMap<u64, usize>,
}

impl Hashing {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether a file of this size is being hashed.
    pub(super) fn has_size(&self, size: u64) -> bool {
        self.sizes.contains_key(&size)
    }

    /// Notes a file; returns whether it was not noted as it is now.
    fn begin(&mut self, path: &RelPath, stat: Stat) -> bool {
        let before = self.files.insert(path.clone(), stat);
        if let Some(before) = &before {
            self.forget_size(before.size);
        }
        *self.sizes.entry(stat.size).or_default() += 1;
        before != Some(stat)
    }

    fn end(&mut self, path: &RelPath, stat: &Stat) {
        // Another state of the file may be on its way.
        if self.files.get(path) == Some(stat) {
            self.files.remove(path);
            self.forget_size(stat.size);
        }
    }

    fn forget_size(&mut self, size: u64) {
        if let Some(count) = self.sizes.get_mut(&size) {
            *count -= 1;
            if *count == 0 {
                self.sizes.remove(&size);
            }
        }
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    pub(super) fn hash_later(&mut self, path: &RelPath, stat: Stat) {
        if self.hashing.begin(path, stat) {
            self.out.push_back(Action::Hash(path.clone(), stat));
        }
    }

    /// A large file has been hashed.
    pub fn hashed(
        &mut self,
        path: &RelPath,
        stat: Stat,
        result: Result<FileHash, FsError>,
        now: Millis,
    ) {
        self.hashing.end(path, &stat);
        let outcome = match result {
            Ok(hash) => self.take_hashed(path, stat, &hash, now),
            Err(error) => Err(Refused::Fs(error)),
        };
        match outcome {
            Ok(()) => self.commit_local(Vec::new(), now),
            // It has changed, moved or gone meanwhile: what it is now is looked at afresh.
            Err(Refused::Again | Refused::Fs(_)) => {
                self.look_when_quiet(path.clone(), now);
            }
            Err(Refused::Index(error)) if is_storage(&error) => self.storage_fault(&error, now),
            Err(Refused::Index(error)) => self.problem(path, &error.to_string()),
        }
        self.work(now);
        self.tell(now);
    }

    fn take_hashed(
        &mut self,
        path: &RelPath,
        stat: Stat,
        hash: &FileHash,
        now: Millis,
    ) -> Result<(), Refused> {
        let current = self.fs.stat(path)?.ok_or(Refused::Again)?;
        if !current.same_version(&stat) || hash.size != stat.size {
            return Err(Refused::Again);
        }
        let row = self.rows.find(path)?;
        let content = file_content(hash.root, &current);
        let draft = if self.may_be_text(path, current.size) {
            let bytes = self.read_small(path, &current)?;
            self.draft(row.as_ref(), path, content, &bytes)?
        } else {
            Draft::plain(content)
        };
        self.user_changed_name(path);
        match row {
            Some(row) if row.kind == Kind::File => {
                self.rewrite(row, path, current, draft, Some(hash), now)
            }
            Some(_) => Err(Refused::Again),
            None => self.adopt_or_create(path, current, draft, Some(hash), now),
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_identity::Hash;
    use dunlin_index::EntryId;

    use super::*;
    use crate::folder::content::{Needs, Rank};
    use crate::folder::testing::{Rig, path};

    /// The sizes of the files that are to be fetched next.
    fn fetched(needs: &mut Needs, hashing: &Hashing) -> Vec<u64> {
        let size = |action| match action {
            Action::Download(file) => file.size,
            other => panic!("no download: {other:?}"),
        };
        needs.next(hashing).into_iter().map(size).collect()
    }

    #[test]
    fn what_may_be_on_this_disk_is_hashed_before_it_is_fetched() {
        let mut rig = Rig::new();
        let mut stat_of = |len| rig.write("file", &vec![1; len]).stat;
        let (mut needs, mut hashing) = (Needs::default(), Hashing::default());
        let (short, long) = (stat_of(200_000), stat_of(300_000));
        for size in [200_000_u64, 300_000, 400_000] {
            needs.want(Hash::of(&size.to_le_bytes()), size, EntryId::ROOT, Rank::default());
        }
        assert!(hashing.begin(&path("file"), short));
        assert!(!hashing.begin(&path("file"), short), "it is being hashed already");
        assert!(hashing.begin(&path("other"), long));
        assert_eq!(fetched(&mut needs, &hashing), [400_000]);
        // It was changed meanwhile: what it was is of no interest any more.
        assert!(hashing.begin(&path("file"), long));
        hashing.end(&path("file"), &short);
        assert_eq!(fetched(&mut needs, &hashing), [200_000]);
        hashing.end(&path("file"), &long);
        assert!(fetched(&mut needs, &hashing).is_empty());
        hashing.end(&path("other"), &long);
        assert!(hashing.is_empty());
        assert_eq!(fetched(&mut needs, &hashing), [300_000]);
    }
}
