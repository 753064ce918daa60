//! What loses its name to another thing in the middle of a batch, and waits under a name of its own.

use std::collections::BTreeSet;

use dunlin_index::{IndexError, Millis, SafeName, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::Fs;

use super::Folder;
use super::error::{Blocked, Refused};
use super::observe::Batch;
use super::rows::{is_below, path_in, path_of};

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Takes its name from a row whose own fate comes later in the batch.
    pub(super) fn displace(
        &mut self,
        row: Option<RowId>,
        batch: &Batch,
        now: Millis,
    ) -> Result<(), Refused> {
        let Some(row) = row else { return Ok(()) };
        let Some(mut row) = self.rows.get(row)? else { return Ok(()) };
        if batch.doomed.contains(&row.id) && !self.holds_any(&row, &batch.leaving)? {
            // Deleted under its own name: should an edit made elsewhere bring it back, then under
            // that one.
            let path = path_of(&self.rows, row.id)?;
            return self.vanished(row.id, &path, now);
        }
        let Some(parent) = self.directory_of(&row)? else { return Ok(()) };
        self.single_out(&mut row, now)?;
        for aside in (0..).map(|number| numbered_aside(row.id, number)) {
            // A file of the user's may have that name.
            if self.index.lookup(parent, &aside)?.is_some() {
                continue;
            }
            match self.index.rename(now, &row.item, parent, &aside) {
                // A conflict copy is an entry of its own from now on.
                Ok(key) => row.item = key,
                // An entry that is not shown claims no name.
                Err(IndexError::NotShown(_)) => {}
                Err(error) => return Err(error.into()),
            }
            break;
        }
        self.rows.put(&row)?;
        self.rows.detach(row.id)?;
        Ok(())
    }

    /// Gives a name on the disk, in the same directory, under which a row can wait for its own.
    pub(super) fn free_aside(&self, row: &Row) -> Result<SafeName, Blocked> {
        let mut number = 0;
        loop {
            let aside = numbered_aside(row.id, number);
            let path = path_in(&self.rows, row.parent, &aside)?;
            if self.rows.child(row.parent, &aside)?.is_none() && self.fs.stat(&path)?.is_none() {
                return Ok(aside);
            }
            // A file of the user's has that name.
            number += 1;
        }
    }

    /// Takes a name from the row that has it although the disk shows another thing there: its own
    /// change could not be taken, and it is found again by looking.
    pub(super) fn free_name(
        &mut self,
        row: RowId,
        parent: RowId,
        name: &SafeName,
    ) -> Result<(), IndexError> {
        if let Some(other) = self.rows.child(parent, name)?.filter(|other| other.id != row) {
            self.rows.detach(other.id)?;
            self.scan_wanted = true;
        }
        Ok(())
    }

    /// Whether any of these rows lies below a row.
    fn holds_any(&self, top: &Row, rows: &BTreeSet<RowId>) -> Result<bool, Refused> {
        for id in rows {
            if is_below(&self.rows, *id, top.id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The name under which an entry waits while another one takes its name.
pub(super) fn aside_name(row: RowId) -> SafeName {
    SafeName::parse(&format!(".~dunlin-{}", row.0)).expect("a short plain name is safe")
}

/// Tells whether an entry may wait under this name.
pub(super) fn is_aside_name(row: RowId, name: &SafeName) -> bool {
    let rest = name.as_str().strip_prefix(aside_name(row).as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// One of the names under which an entry may wait; the first one is the usual one.
fn numbered_aside(row: RowId, number: u64) -> SafeName {
    if number == 0 {
        return aside_name(row);
    }
    let name = format!(".~dunlin-{}-{number}", row.0);
    SafeName::parse(&name).expect("a short plain name is safe")
}
