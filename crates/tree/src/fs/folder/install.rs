//! Putting files in place and moving them, with a look at what was really moved.

use dunlin_index::planted::{Fault, is_planted};

use super::undo::Left;
use super::*;

impl<V: Volume> Folder<V> {
    /// Puts the temporary file where nothing may be.
    pub(super) fn install_new(
        &self,
        temp: &TempName,
        path: &RelPath,
    ) -> Result<Installed, FsError> {
        let (from, to) = (Place::Temp(temp), Place::Tree(path));
        let ours = self.stat_of("install", from)?;
        match self.rename_new(from, to) {
            Ok(()) => Ok(Installed::Created { stat: self.settled(ours, to) }),
            Err(error) if error.kind() == Kind::Exists => self.surprised(path, None, true),
            Err(error) => Err(error),
        }
    }

    /// Puts the temporary file in place of what is `expect`ed, which goes into the version store.
    pub(super) fn install_over(
        &self,
        temp: &TempName,
        path: &RelPath,
        expect: &Stat,
        now: Millis,
    ) -> Result<Installed, FsError> {
        let ours = self.stat_of("install", Place::Temp(temp))?;
        // A first look saves the user's programs from seeing an exchange that has to be undone.
        let trusted = is_planted(Fault::TrustTarget);
        let expected = |found: &Stat| trusted || found.same_version(expect);
        if !self.volume.stat(Place::Tree(path))?.is_some_and(|found| expected(&found)) {
            return self.surprised(path, None, true);
        }
        let version = self.move_to_store(Place::Temp(temp), path, now)?;
        let kept = Place::Kept(&version.batch, &version.path);
        let exchanged = self.volume.rename(kept, Place::Tree(path), RenameHow::Exchange);
        if let Err(error) = exchanged {
            self.rename_new(kept, Place::Temp(temp))?;
            return match error.kind() {
                Kind::Unsupported => self.install_by_moving(temp, path, expect, now),
                Kind::NotFound => self.surprised(path, None, true),
                _ => Err(error),
            };
        }
        let left =
            || Left { put: Some((temp.clone(), ours)), ..Left::alone(path, &version, expect) };
        let out = self.or_left(self.stat_of("look at the old version of", kept), left)?;
        if expected(&out) {
            self.count_kept(&version.batch, &out);
            let stat = self.settled(ours, Place::Tree(path));
            return Ok(Installed::Replaced { stat, out, version });
        }
        self.or_left(self.exchange_back(temp, path, ours, version.clone()), left)
    }

    /// Undoes an exchange that brought out a version which nobody had expected.
    ///
    /// The user may go on saving while this happens; so what comes back is looked at as well.
    pub(super) fn exchange_back(
        &self,
        temp: &TempName,
        path: &RelPath,
        ours: Stat,
        version: VersionId,
    ) -> Result<Installed, FsError> {
        let kept = Place::Kept(&version.batch, &version.path);
        match self.volume.rename(kept, Place::Tree(path), RenameHow::Exchange) {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                // The user removed our file. What was there before was the user's and never seen by
                // the index: it comes back, since an edit beats a deletion.
                return match self.rename_new(kept, Place::Tree(path)) {
                    Ok(()) => self.surprised(path, None, false),
                    Err(error) if error.kind() == Kind::Exists => {
                        self.surprised(path, Some(version), false)
                    }
                    Err(error) => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
        let back = self.stat_of("look at the new version of", kept)?;
        if back.same_version(&ours) {
            unless_exists(self.rename_new(kept, Place::Temp(temp)))?;
            return self.surprised(path, None, true);
        }
        if (back.ino, back.dev) == (ours.ino, ours.dev) {
            // The user wrote into our file while it was in place.
            self.put_beside(kept, path)?;
            return self.surprised(path, None, false);
        }
        // The user saved again by renaming: what came back is the newest, and belongs in place.
        self.volume.rename(kept, Place::Tree(path), RenameHow::Exchange)?;
        if let Some(left) = self.volume.stat(kept)? {
            self.count_kept(&version.batch, &left);
        }
        self.surprised(path, Some(version), false)
    }

    /// [`Self::install_over`] for file systems that cannot exchange two names.
    fn install_by_moving(
        &self,
        temp: &TempName,
        path: &RelPath,
        expect: &Stat,
        now: Millis,
    ) -> Result<Installed, FsError> {
        let ours = self.stat_of("install", Place::Temp(temp))?;
        let (version, out) = match self.keep_path(path, expect, now)? {
            Kept::Done { version, stat } => (version, stat),
            Kept::Surprise { found, version } => {
                return Ok(Installed::Surprise { found, version, temp_left: true });
            }
        };
        match self.rename_new(Place::Temp(temp), Place::Tree(path)) {
            Ok(()) => {
                let stat = self.settled(ours, Place::Tree(path));
                Ok(Installed::Replaced { stat, out, version })
            }
            Err(error) if error.kind() == Kind::Exists => self.surprised(path, Some(version), true),
            Err(error) => {
                let kept = Place::Kept(&version.batch, &version.path);
                let left = || Left::alone(path, &version, expect);
                self.or_left(unless_exists(self.rename_new(kept, Place::Tree(path))), left)?;
                Err(error)
            }
        }
    }

    fn surprised(
        &self,
        path: &RelPath,
        version: Option<VersionId>,
        temp_left: bool,
    ) -> Result<Installed, FsError> {
        let found = self.volume.stat(Place::Tree(path))?;
        Ok(Installed::Surprise { found, version, temp_left })
    }

    /// Moves what is `expect`ed within the user's tree.
    pub(super) fn move_in_tree(
        &self,
        from: &RelPath,
        to: &RelPath,
        expect: &Stat,
    ) -> Result<Moved, FsError> {
        let (source, target) = (Place::Tree(from), Place::Tree(to));
        if to.starts_with(from) {
            // A directory cannot go into itself, and the root cannot move at all.
            return Err(FsError::new(Kind::Exists, "move", source));
        }
        let found = self.volume.stat(source)?;
        if !found.is_some_and(|found| found.same_version(expect)) {
            return Ok(Moved::Surprise { found });
        }
        match self.rename_new(source, target) {
            Ok(()) => {}
            Err(error) if error.kind() == Kind::Exists => {
                let found = self.volume.stat(target)?;
                if !found.is_some_and(|found| is_same_file(&found, expect)) {
                    return Ok(Moved::Occupied { found });
                }
                // Two spellings of one name, on a file system that takes them for the same.
                self.volume.rename(source, target, RenameHow::Replace)?;
            }
            Err(error) if error.kind() == Kind::NotFound => {
                return match self.volume.stat(source)? {
                    None => Ok(Moved::Surprise { found: None }),
                    Some(_) => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
        let Some(moved) = self.volume.stat(target)? else {
            return Ok(Moved::Surprise { found: self.volume.stat(source)? });
        };
        if moved.same_version(expect) {
            return Ok(Moved::Done { stat: moved });
        }
        // The user saved in between. If the old name is taken again, both files stay where they are.
        unless_exists(self.rename_new(target, source))?;
        Ok(Moved::Surprise { found: self.volume.stat(source)? })
    }
}

/// Whether two names that exist at once must lead to one directory entry: a hard link is not one.
fn is_same_file(found: &Stat, expect: &Stat) -> bool {
    (found.ino, found.dev, found.kind) == (expect.ino, expect.dev, expect.kind)
        && (found.kind == FileKind::Directory || found.nlink == 1)
}
