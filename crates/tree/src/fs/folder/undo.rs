//! What a failing disk has kept from being put back.
//!
//! What comes out of the user's tree is looked at where it is then, and goes back if it is not what was
//! expected. Where the disk fails in between, that may be a version which only the user has seen: it
//! is remembered until the disk works again, and goes back before anybody looks at the tree.

use super::*;

/// Names that are tried for what cannot go back to its own.
const NAMES_MAX: u32 = 100;

/// Something that has come out of the user's tree, and was not looked at or not put back.
#[derive(Debug)]
pub(super) struct Left {
    /// The name that it had.
    pub(super) path: RelPath,
    /// Where it is.
    pub(super) version: VersionId,
    /// What was to come out.
    pub(super) expect: Stat,
    /// What was put in its place, and the name that this had.
    pub(super) put: Option<(TempName, Stat)>,
}

impl Left {
    /// What has come out with nothing in its place.
    pub(super) fn alone(path: &RelPath, version: &VersionId, expect: &Stat) -> Self {
        Self { path: path.clone(), version: version.clone(), expect: *expect, put: None }
    }
}

impl<V: Volume> Folder<V> {
    /// Remembers what is to be put back where a step has failed.
    pub(super) fn or_left<T>(
        &self,
        step: Result<T, FsError>,
        left: impl FnOnce() -> Left,
    ) -> Result<T, FsError> {
        if step.is_err() {
            lock(&self.left).push(left());
        }
        step
    }

    /// Puts back what is left, so that the tree is as it was before the steps that have failed.
    pub(super) fn put_back_left(&self) -> Result<(), FsError> {
        let mut todo = std::mem::take(&mut *lock(&self.left));
        while let Some(left) = todo.pop() {
            match self.put_back(&left) {
                Err(error) if error.kind().pauses_folder() => {
                    todo.push(left);
                    lock(&self.left).append(&mut todo);
                    return Err(error);
                }
                // There is no way back to where it was, so it stays a version.
                Err(_) => self.forget_size(&left.version.batch),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn put_back(&self, left: &Left) -> Result<(), FsError> {
        let kept = Place::Kept(&left.version.batch, &left.version.path);
        let place = Place::Tree(&left.path);
        let Some(out) = self.volume.stat(kept)? else { return Ok(()) };
        let there = self.volume.stat(place)?;
        if let Some((temp, put)) = &left.put {
            if out.same_version(put) {
                // Only what was put in its place had still to be taken away.
                return unless_exists(self.rename_new(kept, Place::Temp(temp)));
            }
            if there.is_some_and(|there| there.same_version(put)) {
                return self.exchange_back(temp, &left.path, *put, left.version.clone()).map(drop);
            }
        }
        self.forget_size(&left.version.batch);
        match there {
            None => self.rename_new(kept, place),
            // A newer version of what was expected is there: the old one is where it belongs.
            Some(_) if out.same_version(&left.expect) => Ok(()),
            Some(_) => self.put_beside(kept, &left.path),
        }
    }

    /// Gives a version that only the user has seen a name beside the one that it had.
    pub(super) fn put_beside(&self, kept: Place<'_>, path: &RelPath) -> Result<(), FsError> {
        let name = path.name().map(SafeName::as_str).unwrap_or_default();
        let (stem, end) = match name.rfind('.') {
            Some(dot) if dot > 0 => name.split_at(dot),
            _ => (name, ""),
        };
        for number in 1..=NAMES_MAX {
            let Some(beside) = SafeName::parse(&format!("{stem} (recovered {number}){end}"))
                .or_else(|_| SafeName::parse(&format!("recovered {number}{end}")))
                .ok()
                .and_then(|name| path.parent()?.join(&name).ok())
            else {
                break;
            };
            match self.rename_new(kept, Place::Tree(&beside)) {
                Err(error) if error.kind() == Kind::Exists => {}
                other => return other,
            }
        }
        Err(FsError::new(Kind::Exists, "recover", path))
    }
}
