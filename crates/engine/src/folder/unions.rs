//! Directories on the disk that become other ones: parts of a union, and successors.

use dunlin_index::{EntryId, Kind, Millis, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::Fs;

use super::Folder;
use super::error::Blocked;
use super::reconcile::{DEPTH_MAX, Pass};
use super::rows::row_of_directory;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Where one directory goes and the view shows another one in its place, it becomes that one's:
    /// what stays in it belongs there, and would otherwise keep it from being deleted. Tells whether
    /// there is such a one.
    pub(super) fn give_to_successor(
        &mut self,
        row: &Row,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<bool, Blocked> {
        if row.kind != Kind::Directory {
            return Ok(false);
        }
        let parent = match row.parent {
            RowId::ROOT => EntryId::ROOT,
            parent => {
                let above = self.rows.get(parent)?.map(|above| above.item.entry);
                if let Some(above) = above.filter(|_| pass.depth < DEPTH_MAX) {
                    // It may have a successor itself.
                    self.reconcile(above, pass, now)?;
                }
                let Some(above) = self.rows.get(parent)? else { return Ok(false) };
                above.item.entry
            }
        };
        let (Some(mut row), Some(shown)) =
            (self.rows.get(row.id)?, self.index.lookup(parent, &row.name)?)
        else {
            return Ok(false);
        };
        let new = shown.kind == Kind::Directory
            && !shown.conflict
            && row_of_directory(&self.rows, shown.key.entry)?.is_none();
        if new {
            row.item = shown.key;
            self.rows.put(&row)?;
            pass.progress = true;
            pass.again.insert(shown.key.entry);
        }
        Ok(new)
    }

    /// The directory on disk belongs to a union that is shown under another entry: it becomes that
    /// one's, or what is in it moves there; or it becomes the one that is now shown in its place.
    pub(super) fn join_union(
        &mut self,
        mut row: Row,
        canonical: EntryId,
        pass: &mut Pass,
        now: Millis,
    ) -> Result<(), Blocked> {
        if self.rows.by_entry(canonical)?.is_empty() {
            row.item.entry = canonical;
            self.rows.put(&row)?;
            pass.progress = true;
            return Ok(());
        }
        // Another directory may be shown where it stood until now: what is to be in that one could
        // not leave before it is there, nor could it come before this one has left.
        let succeeded = self.give_to_successor(&row, pass, now)?;
        let children: Result<Vec<Row>, _> = self.rows.children(row.id).collect();
        for child in children? {
            self.reconcile(child.item.entry, pass, now)?;
        }
        if !succeeded {
            pass.deletions.push(row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
