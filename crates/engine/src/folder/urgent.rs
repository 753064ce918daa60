//! What is fetched before the rest: what the folder's settings name, and what the user asks for.

use dunlin_index::{Content, EntryId, IndexError, Item, Kind, RelPath, Storage};
use dunlin_tree::fs::Fs;

use super::Folder;
use super::conflicts::path_of_item;
use super::content::{Rank, Urgency};

/// Things below a directory that are looked at when it is asked for, at most.
const ASKED_MAX: usize = 100_000;
/// Things of a directory that are looked at together.
const PAGE: usize = 1_000;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Says how soon an item's content is wanted.
    pub(super) fn rank_of(&self, item: &Item) -> Result<Rank, IndexError> {
        let mtime_ns = match &item.content {
            Content::File { mtime_ns, .. } => *mtime_ns,
            _ => 0,
        };
        let named = !self.first.is_empty()
            && path_of_item(&self.rows, item)?.is_some_and(|path| self.first.matches(&path));
        let urgency = if named { Urgency::First } else { Urgency::Usual };
        Ok(Rank { urgency, mtime_ns })
    }

    /// Has what is lacking of a file, or below a directory, fetched before all else. Returns how
    /// many things lack something; `None` when there is nothing at the path.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn ask_for(&mut self, path: &RelPath) -> Result<Option<usize>, IndexError> {
        let item = self.item_at(path)?;
        if item.is_none() && !path.is_root() {
            return Ok(None);
        }
        let mut asked = 0;
        let mut looked_at = 0;
        let mut directories = Vec::new();
        match &item {
            Some(item) if item.kind != Kind::Directory => {
                asked += usize::from(self.needs.ask_for(item.key.entry));
            }
            directory => {
                directories.push(directory.as_ref().map_or(EntryId::ROOT, |it| it.key.entry));
            }
        }
        while let Some(directory) = directories.pop() {
            let mut after = None;
            while looked_at < ASKED_MAX {
                let page = self.index.children(directory, after.as_ref(), PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some(last.name.clone());
                looked_at += page.len();
                for item in page {
                    if item.kind == Kind::Directory {
                        directories.push(item.key.entry);
                    } else {
                        asked += usize::from(self.needs.ask_for(item.key.entry));
                    }
                }
            }
        }
        if asked > 0 && self.is_running() {
            let next = self.needs.next(&self.hashing);
            self.out.extend(next);
        }
        Ok(Some(asked))
    }
}
