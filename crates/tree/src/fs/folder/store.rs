//! The files of the version store.

use super::undo::Left;
use super::*;

/// A batch: when it was begun, its number within that second, and its name.
type BatchByAge = (Millis, u32, SafeName);

impl<V: Volume> Folder<V> {
    /// Moves something to its place in the version store, under the first batch of this second in
    /// which that place is free.
    pub(super) fn move_to_store(
        &self,
        from: Place<'_>,
        path: &RelPath,
        now: Millis,
    ) -> Result<VersionId, FsError> {
        for number in 0..BATCHES_PER_SECOND_MAX {
            let batch = batch_name(now, number);
            match self.move_into_batch(from, &batch, path) {
                Ok(()) => return Ok(VersionId { batch, path: path.clone() }),
                Err(error) => match error.kind() {
                    // Taken: something is kept there, or at one of the path's parents.
                    Kind::Exists | Kind::NotADirectory | Kind::IsADirectory => {}
                    Kind::Escapes => {
                        // Of the two paths only the store's may be taken by a symlink that was kept.
                        self.volume.stat(from)?;
                    }
                    _ => return Err(error),
                },
            }
        }
        Err(FsError::new(Kind::Exists, "keep another version of", path))
    }

    fn move_into_batch(
        &self,
        from: Place<'_>,
        batch: &SafeName,
        path: &RelPath,
    ) -> Result<(), FsError> {
        let to = Place::Kept(batch, path);
        match self.rename_new(from, to) {
            Err(error) if error.kind() == Kind::NotFound => {
                // Either what shall be kept is gone, or its parents are not in the store yet.
                if self.volume.stat(from)?.is_none() {
                    return Err(error);
                }
                self.make_parents(batch, path)?;
                self.rename_new(from, to)
            }
            other => other,
        }
    }

    fn make_parents(&self, batch: &SafeName, path: &RelPath) -> Result<(), FsError> {
        self.make_private_area()?;
        let mut above = RelPath::root();
        unless_exists(self.volume.mkdir(Place::Kept(batch, &above), 0o700))?;
        let names = path.names();
        for name in &names[..names.len().saturating_sub(1)] {
            above.push(name.clone()).expect("the names of a path make a path");
            unless_exists(self.volume.mkdir(Place::Kept(batch, &above), 0o700))?;
        }
        Ok(())
    }

    /// Moves what is `expect`ed into the version store.
    pub(super) fn keep_path(
        &self,
        path: &RelPath,
        expect: &Stat,
        now: Millis,
    ) -> Result<Kept, FsError> {
        let source = Place::Tree(path);
        let found = self.volume.stat(source)?;
        if !found.is_some_and(|found| found.same_version(expect)) {
            return Ok(Kept::Surprise { found, version: None });
        }
        let version = match self.move_to_store(source, path, now) {
            Ok(version) => version,
            Err(error) if error.kind() == Kind::NotFound => {
                return Ok(Kept::Surprise { found: self.volume.stat(source)?, version: None });
            }
            Err(error) => return Err(error),
        };
        let kept = Place::Kept(&version.batch, &version.path);
        let left = || Left::alone(path, &version, expect);
        let stat = self.or_left(self.stat_of("look at the kept version of", kept), left)?;
        if stat.same_version(expect) {
            self.count_kept(&version.batch, &stat);
            return Ok(Kept::Done { version, stat });
        }
        match self.rename_new(kept, source) {
            Ok(()) => Ok(Kept::Surprise { found: self.volume.stat(source)?, version: None }),
            Err(error) if matches!(error.kind(), Kind::Exists | Kind::NotFound) => {
                self.count_kept(&version.batch, &stat);
                Ok(Kept::Surprise { found: self.volume.stat(source)?, version: Some(version) })
            }
            Err(error) => self.or_left(Err(error), left),
        }
    }

    /// Moves a kept version to where nothing may be.
    pub(super) fn restore_to(&self, version: &VersionId, to: &RelPath) -> Result<Moved, FsError> {
        let kept = Place::Kept(&version.batch, &version.path);
        let Some(stat) = self.volume.stat(kept)? else {
            return Ok(Moved::Surprise { found: None });
        };
        match self.rename_new(kept, Place::Tree(to)) {
            Ok(()) => {
                self.forget_size(&version.batch);
                Ok(Moved::Done { stat: self.settled(stat, Place::Tree(to)) })
            }
            Err(error) if error.kind() == Kind::Exists => {
                Ok(Moved::Occupied { found: self.volume.stat(Place::Tree(to))? })
            }
            Err(error) => Err(error),
        }
    }

    /// All kept versions of `path`, newest first.
    pub(super) fn versions_of(&self, path: &RelPath) -> Result<Vec<Version>, FsError> {
        let mut found = Vec::new();
        for (kept_at, _, batch) in self.batches_by_age()?.into_iter().rev() {
            match self.volume.stat(Place::Kept(&batch, path)) {
                Ok(Some(stat)) => {
                    let id = VersionId { batch, path: path.clone() };
                    found.push(Version { id, kept_at, stat });
                }
                Ok(None) => {}
                // One of the path's parents was a symlink when that batch was kept.
                Err(error) if error.kind() == Kind::Escapes => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// All batches, oldest first.
    pub(super) fn batches_by_age(&self) -> Result<Vec<BatchByAge>, FsError> {
        let listing = match self.volume.list(Place::Own(VERSIONS_DIR)) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let batch = |(name, stat): (SafeName, Stat)| {
            let (begun, number) = parse_batch(name.as_str())?;
            (stat.kind == FileKind::Directory).then_some((begun, number, name))
        };
        let mut batches: Vec<_> = listing.entries.into_iter().filter_map(batch).collect();
        batches.sort();
        Ok(batches)
    }

    /// Notes that something was put into a batch.
    pub(super) fn count_kept(&self, batch: &SafeName, stat: &Stat) {
        if let Some(batches) = lock(&self.batches).as_mut() {
            let bytes = batches.entry(batch.clone()).or_insert(Some(0));
            // What came with a directory is not known without looking.
            *bytes = match bytes {
                Some(bytes) if stat.kind != FileKind::Directory => {
                    Some(bytes.saturating_add(stat.size))
                }
                _ => None,
            };
        }
    }

    /// Notes that a batch must be measured again.
    pub(super) fn forget_size(&self, batch: &SafeName) {
        if let Some(batches) = lock(&self.batches).as_mut() {
            batches.insert(batch.clone(), None);
        }
    }

    /// Measures what has not been measured yet; the sum is what the store holds.
    fn measure_store(&self, present: &[BatchByAge]) -> Result<BTreeMap<SafeName, u64>, FsError> {
        let known = lock(&self.batches).clone().unwrap_or_default();
        let mut sizes = BTreeMap::new();
        for (_, _, batch) in present {
            let bytes = match known.get(batch) {
                Some(Some(bytes)) => *bytes,
                _ => self.volume.measure(Place::Kept(batch, &RelPath::root()))?,
            };
            sizes.insert(batch.clone(), bytes);
        }
        Ok(sizes)
    }

    /// Removes the oldest batches until the store keeps to the policy.
    pub(super) fn prune_store(&self, policy: &Policy, now: Millis) -> Result<Pruned, FsError> {
        let present = self.batches_by_age()?;
        let mut sizes = self.measure_store(&present)?;
        let mut pruned = Pruned {
            batches_left: present.len(),
            bytes_left: sizes.values().sum(),
            ..Pruned::default()
        };
        for (begun, _, batch) in present {
            let state = StoreState {
                now,
                oldest: begun,
                bytes: pruned.bytes_left,
                batches: pruned.batches_left,
                free: self.volume.space()?.free,
            };
            if !policy.wants_removed(&state) {
                break;
            }
            self.volume.remove_tree(Place::Kept(&batch, &RelPath::root()))?;
            let bytes = sizes.remove(&batch).unwrap_or(0);
            pruned.batches += 1;
            pruned.bytes += bytes;
            pruned.batches_left -= 1;
            pruned.bytes_left -= bytes;
        }
        self.remember_sizes(sizes);
        Ok(pruned)
    }

    /// Takes over measured sizes, but for batches that something was put into meanwhile.
    fn remember_sizes(&self, measured: BTreeMap<SafeName, u64>) {
        let mut batches = lock(&self.batches);
        let known = batches.get_or_insert_default();
        known.retain(|batch, _| measured.contains_key(batch));
        for (batch, bytes) in measured {
            known.entry(batch).or_default().get_or_insert(bytes);
        }
    }
}
