//! Puts in place what a restore or a repair has brought together: ordinary local changes, but for
//! where they come from.

use dunlin_blocks::{BlockRef, FileHash, Manifest};
use dunlin_index::{Content, IndexError, Millis, RelPath, Storage};
use dunlin_tree::disk::{DiskError, Row};
use dunlin_tree::fs::{FileKind, Fs, FsError, FsErrorKind, Installed, Stat, TempName};

use super::Folder;
use super::error::Refused;
use super::history::End;
use super::hold::HOLD_ABOVE;
use super::past::Target;
use super::texts::Draft;
use crate::history::{How, What};

/// Something that is ready to be put in place.
#[derive(Debug)]
pub struct Put {
    /// What and where.
    pub target: Target,
    /// Its content, whole and durable; none for a directory.
    pub temp: Option<TempName>,
    /// The blocks of a file.
    pub blocks: Vec<(u64, BlockRef)>,
    /// It takes the place of a copy that has rotted, and is no change.
    pub repair: bool,
}

/// What became of a [`Put`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// Something else is there than was expected.
    #[error("it was changed meanwhile: restore it again")]
    Changed,
    /// The disk refused.
    #[error("{0}")]
    Fs(#[from] FsError),
    /// The index or the database refused.
    #[error("{0}")]
    Index(#[from] IndexError),
    /// This device may only read the folder.
    #[error("this device may only read the folder: write it elsewhere with --to")]
    ReadOnly,
}

impl From<DiskError> for PutError {
    fn from(error: DiskError) -> Self {
        Self::Index(error.into())
    }
}

impl From<Refused> for PutError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Fs(error) => Self::Fs(error),
            Refused::Index(error) => Self::Index(error),
            Refused::Again => Self::Changed,
        }
    }
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Puts things in place, and tells the others. Temporary files that were not taken are removed.
    ///
    /// That a restore replaces much at once is its user's word: the other devices do not ask again.
    pub fn put(&mut self, puts: Vec<Put>, now: Millis) -> Vec<Result<(), PutError>> {
        let replaced = puts.iter().filter(|put| put.target.expect.is_some() && !put.repair);
        let many = replaced.count() as u64 > HOLD_ABOVE;
        let done = puts
            .into_iter()
            .map(|put| {
                let temp = put.temp.clone();
                let done = self.put_one(put, now);
                if let (Err(_), Some(temp)) = (&done, temp) {
                    // What stays is removed at the next start.
                    let _ = self.fs.temp_remove(&temp);
                }
                done
            })
            .collect();
        self.commit_local(Vec::new(), now);
        if many && self.writable {
            self.approve_own(now);
        }
        self.work(now);
        self.tell(now);
        done
    }

    /// Says that all that this device has logged is meant.
    fn approve_own(&mut self, now: Millis) {
        let author = self.index.author();
        let until = self.index.context().get(&author);
        match self.index.approve(now, author, until) {
            Ok(()) => self.commit_local(Vec::new(), now),
            Err(error) => self.storage_fault(&error, now),
        }
    }

    fn put_one(&mut self, put: Put, now: Millis) -> Result<(), PutError> {
        if !self.writable && !put.repair {
            return Err(PutError::ReadOnly);
        }
        let path = put.target.path.clone();
        if let Some(parent) = path.parent() {
            self.put_directories(&parent, 0o755, now)?;
        }
        let Some(temp) = &put.temp else {
            return self.put_directories(&path, put.target.mode, now);
        };
        let (content, hash) = content_of(&put.target, put.blocks)?;
        let before = self.rows.find(&path)?;
        let expect = put.target.expect.as_ref();
        let (stat, version) = match self.fs.install(temp, &path, expect, now)? {
            Installed::Created { stat } => (stat, None),
            Installed::Replaced { stat, version, .. } => (stat, Some(version)),
            Installed::Surprise { .. } => return Err(PutError::Changed),
        };
        self.unsynced.name(&path);
        let Some(mut row) = before else {
            let draft = self.draft_of(None, &path, content, &stat)?;
            return Ok(self.adopt_or_create(&path, stat, draft, hash.as_ref(), now)?);
        };
        if put.repair {
            // The rotten copy has no record: it is found, and gets one, when it is packed.
            row.stat = stat;
            self.rows.put(&row)?;
            return Ok(());
        }
        if row.kind != content.kind() {
            self.vanished(row.id, &path, now)?;
            let draft = self.draft_of(None, &path, content, &stat)?;
            return Ok(self.adopt_or_create(&path, stat, draft, hash.as_ref(), now)?);
        }
        if let Some(version) = &version {
            let by = Some(self.signer.device());
            self.ended(&row, &path, End { how: How::Restored, by, staged: Some(version) }, now)?;
            self.kept.extend(row.root.map(|root| (row.id, root)));
        }
        let draft = self.draft_of(Some(&row), &path, content, &stat)?;
        Ok(self.rewrite(row, &path, stat, draft, hash.as_ref(), now)?)
    }

    /// What the record of a file says that was just put in place: of a text, how it came about.
    fn draft_of(
        &self,
        row: Option<&Row>,
        path: &RelPath,
        content: Content,
        stat: &Stat,
    ) -> Result<Draft, Refused> {
        if stat.kind != FileKind::File || !self.may_be_text(path, stat.size) {
            return Ok(Draft::plain(content));
        }
        let bytes = self.read_small(path, stat)?;
        self.draft(row, path, content, &bytes)
    }

    /// Makes a directory and those above it, where they are missing.
    fn put_directories(&mut self, path: &RelPath, mode: u32, now: Millis) -> Result<(), PutError> {
        if path.is_root() || self.rows.find(path)?.is_some() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.put_directories(&parent, 0o755, now)?;
        }
        let stat = match self.fs.mkdir(path, mode) {
            Err(error) if error.kind() == FsErrorKind::Exists => {
                self.fs.stat(path)?.ok_or(PutError::Changed)?
            }
            other => other?,
        };
        self.unsynced.name(path);
        let draft = Draft::plain(Content::Directory);
        Ok(self.adopt_or_create(path, stat, draft, None, now)?)
    }
}

/// What the index is told of a target.
fn content_of(
    target: &Target,
    blocks: Vec<(u64, BlockRef)>,
) -> Result<(Content, Option<FileHash>), PutError> {
    match &target.what {
        What::File { root, size, .. } => {
            let list = blocks.iter().map(|(_, block)| *block).collect();
            let encoded = Manifest { size: *size, blocks: list }.encode();
            let damaged = |_| IndexError::Damaged("a list of blocks in the history is wrong");
            let encoded = encoded.map_err(damaged)?;
            let hash =
                FileHash { root: *root, size: *size, blocks, manifest_blocks: encoded.pieces };
            let large = *size > dunlin_blocks::SMALL_MAX;
            let content =
                Content::File { root: *root, size: *size, mtime_ns: target.mtime_ns, text: None };
            Ok((content, large.then_some(hash)))
        }
        What::Symlink { target } => Ok((Content::Symlink { target: target.clone() }, None)),
        What::Directory => Ok((Content::Directory, None)),
    }
}
