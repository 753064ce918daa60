//! What a user has saved in the instant in which Dunlin exchanged or moved the file, where the process
//! was killed before it could look at what had come out.
//!
//! Such a file is in the version store, and nobody but its user has seen it. It is told from what
//! Dunlin meant to take away by three things: no record of the history names it, it is not what the
//! row of its file says, and its content is neither the row's nor one that the view shows there.

use dunlin_index::{Content, Kind, RelPath, Storage};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::{FileKind, Fs, FsErrorKind, ReadAt, Stat, VersionId};

use super::Folder;
use super::error::{Blocked, Refused};
use super::observe::file_content;
use super::rows::holds;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Brings a kept file back if only its user has ever seen it.
    pub(super) fn bring_back_unseen(
        &mut self,
        version: &VersionId,
        kept: &Stat,
    ) -> Result<(), Blocked> {
        if self.history().staged_at(version)?.is_some() {
            return Ok(());
        }
        let Some(row) = self.row_that_lacks(version, kept)? else { return Ok(()) };
        let content = match kept.kind {
            FileKind::File => content_of_file(&*self.fs.version_open(version)?, kept)?,
            FileKind::Symlink => {
                Some(Content::Symlink { target: self.fs.version_read_link(version)? })
            }
            _ => return Ok(()),
        };
        // What changes while it is read is written by a program that still has it open.
        if let Some(content) = content
            && (holds(&row, &content) || self.is_dunlins(&row, &version.path, &content)?)
        {
            return Ok(());
        }
        self.bring_back(version)
    }

    /// Moves a kept file to the name that it had; beside that, where something else stands there.
    fn bring_back(&mut self, version: &VersionId) -> Result<(), Blocked> {
        // The directory that it was in may be gone.
        let at_root = version.path.name().and_then(|name| RelPath::root().join(name).ok());
        for path in [Some(version.path.clone()), at_root].into_iter().flatten() {
            match self.fs.recover(version, &path) {
                Ok(()) => {
                    self.unsynced.name(&path);
                    return Ok(());
                }
                Err(error) if error.kind().pauses_folder() => return Err(error.into()),
                Err(error) if error.kind() == FsErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "a file that its user saved is not put back"),
            }
        }
        Ok(())
    }

    /// The row of the file of which a kept one may be a state that its user has saved since.
    fn row_that_lacks(&self, version: &VersionId, kept: &Stat) -> Result<Option<Row>, Blocked> {
        let same_file = |row: &Row| (row.stat.kind, row.stat.dev) == (kept.kind, kept.dev);
        if let Some(row) = self.rows.by_inode(kept.ino)?.into_iter().find(same_file) {
            return Ok(Some(row));
        }
        // Its user may have saved it by renaming another file over it. Then Dunlin had something to
        // do there, and nobody has written there since.
        let path = &version.path;
        let row = self.rows.find(path)?.filter(|row| row.kind != Kind::Directory);
        let Some(row) = row else { return Ok(None) };
        let is_shown = self.index.items(row.item.entry)?.iter().any(|item| item.key == row.item);
        if is_shown || !self.is_taken_or_put(&row, path)? {
            return Ok(None);
        }
        // Of several only the newest can be it; and what the row says is gone if it was replaced.
        let versions = self.fs.versions(path)?;
        let newest = versions.first().is_some_and(|newest| newest.id == *version);
        let replaced = !versions.iter().any(|found| found.stat.ino == row.stat.ino);
        Ok(Some(row).filter(|_| newest && replaced))
    }

    /// Whether in the place of a row's file nothing stands, or what Dunlin has put there.
    fn is_taken_or_put(&self, row: &Row, path: &RelPath) -> Result<bool, Blocked> {
        let Some(there) = self.fs.stat(path)? else { return Ok(true) };
        if there.same_version(&row.stat) {
            return Ok(false);
        }
        let content = match there.kind {
            FileKind::File => content_of_file(&*self.fs.open(path)?, &there)?,
            FileKind::Symlink => Some(Content::Symlink { target: self.fs.read_link(path)? }),
            _ => None,
        };
        match content {
            Some(content) => self.is_dunlins(row, path, &content),
            None => Ok(false),
        }
    }

    /// Whether this is what the view shows at a path or of a row's entry, or what versions of a text
    /// come to there.
    fn is_dunlins(&self, row: &Row, path: &RelPath, content: &Content) -> Result<bool, Blocked> {
        let shown = match self.parent_of(path) {
            Ok((_, directory, name)) => self.index.lookup(directory, &name)?,
            // There is no such directory.
            Err(Refused::Again) => None,
            Err(Refused::Fs(error)) => return Err(error.into()),
            Err(Refused::Index(error)) => return Err(error.into()),
        };
        let items = self.index.items(row.item.entry)?;
        if items.iter().chain(&shown).any(|item| item.content.same_as(content)) {
            return Ok(true);
        }
        let Content::File { root, .. } = content else { return Ok(false) };
        Ok(!self.texts.dots(row.id, root)?.is_empty())
    }
}

/// What an open file holds; none when it is being changed.
fn content_of_file(file: &dyn ReadAt, stat: &Stat) -> Result<Option<Content>, Blocked> {
    let read = |buffer: &mut [u8], at| file.read_at(buffer, at).map_err(Into::into);
    let hash = dunlin_blocks::hash_file(read, stat.size, 1).ok();
    let unchanged = file.stat()?.same_version(stat);
    Ok(hash.filter(|_| unchanged).map(|hash| file_content(hash.root, stat)))
}

#[cfg(test)]
mod tests;
