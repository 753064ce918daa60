//! Conflicts, as a node's user and embedding programs ask about them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dunlin_index::RelPath;
use tokio::sync::oneshot;

use super::{Node, NodeError, lock_of};
use crate::conflict::{ConflictError, ConflictInfo, Keep, Resolver};
use crate::content::ContentReader;
use crate::runner::{Answer, Command, ConflictCommand, How, Wish};

impl Node {
    /// The conflicts of a folder by path, or the one that the thing at `path`, in the folder, is a
    /// side of.
    ///
    /// # Errors
    /// When there is no such folder, nothing at the path is in conflict, or the database fails.
    pub async fn conflicts(
        &self,
        folder: &str,
        path: Option<&str>,
    ) -> Result<Vec<ConflictInfo>, NodeError> {
        let path = path.map(parse).transpose()?;
        self.ask_about_conflicts(folder, |answer| ConflictCommand::List(path, answer)).await
    }

    /// What all sides of a conflict replaced, to read: from this disk, from what is kept, or from
    /// connected devices.
    ///
    /// # Errors
    /// Besides those of [`Node::conflicts`], [`ConflictError::NoBase`] and
    /// [`ConflictError::BaseGone`].
    pub async fn conflict_base(
        &self,
        folder: &str,
        path: &str,
    ) -> Result<ContentReader, NodeError> {
        let path = parse(path)?;
        self.ask_about_conflicts(folder, |answer| ConflictCommand::Base(path, answer)).await
    }

    /// Ends the conflict that the thing at `path`, in the folder, is a side of, here and on all
    /// devices; what does not stay goes to the version store. With `expect`, the ids of its sides,
    /// only if these are still its versions.
    ///
    /// # Errors
    /// See [`ConflictError`]; nothing has changed then.
    pub async fn resolve_conflict(
        &self,
        folder: &str,
        path: &str,
        keep: Keep,
        expect: Option<Vec<String>>,
    ) -> Result<(), NodeError> {
        let wish = Wish { path: parse(path)?, expect };
        let how = How::Keep(keep);
        self.ask_about_conflicts(folder, |answer| ConflictCommand::Resolve(wish, how, answer)).await
    }

    /// As [`Node::resolve_conflict`], with the content of the file `merged`, anywhere on this
    /// machine, in the place of all sides.
    ///
    /// # Errors
    /// As [`Node::resolve_conflict`], and when the file cannot be read.
    pub async fn merge_conflict(
        &self,
        folder: &str,
        path: &str,
        merged: &Path,
        expect: Option<Vec<String>>,
    ) -> Result<(), NodeError> {
        let wish = Wish { path: parse(path)?, expect };
        let how = How::Merged(Box::new(open_file(merged).map_err(ConflictError::Merged)?));
        self.ask_about_conflicts(folder, |answer| ConflictCommand::Resolve(wish, how, answer)).await
    }

    /// Has a program decide about conflicts, in all folders of this node, those that are open
    /// included; in the place of one that was registered before.
    pub fn set_resolver(&self, resolver: impl Resolver) {
        self.0.resolver.set(Arc::new(resolver));
        for folder in lock_of(&self.0.folders).values() {
            // One whose queue is full has its turn with the next change.
            let look = Command::Conflict(ConflictCommand::Look);
            let _ = folder.runner.commands().try_send(look);
        }
    }

    async fn ask_about_conflicts<T>(
        &self,
        folder: &str,
        command: impl FnOnce(Answer<T>) -> ConflictCommand,
    ) -> Result<T, NodeError> {
        let runner = self.runner(self.find(folder)?)?;
        let (answer, answered) = oneshot::channel();
        let command = Command::Conflict(command(answer));
        runner.commands().send(command).await.map_err(|_| ConflictError::Closed)?;
        Ok(answered.await.map_err(|_| ConflictError::Closed)??)
    }
}

fn parse(path: &str) -> Result<RelPath, ConflictError> {
    RelPath::parse(path).map_err(|_| ConflictError::NoConflict(path.to_owned()))
}

/// Opens a regular file; a FIFO would block.
fn open_file(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)
}
