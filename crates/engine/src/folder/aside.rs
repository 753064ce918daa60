//! What loses its name to another thing in the middle of a batch, and waits under a name of its own.

use std::collections::BTreeSet;

use dunlin_index::{IndexError, Millis, SafeName, Storage};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::Fs;

use super::Folder;
use super::error::Refused;
use super::observe::Batch;
use super::rows::{is_below, path_of};

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Takes its name from a row whose own fate comes later in the batch.
    pub(super) fn displace(
        &mut self,
        row: Option<RowId>,
        batch: &Batch,
        now: Millis,
    ) -> Result<(), Refused> {
        let Some(row) = row else { return Ok(()) };
        let Some(row) = self.rows.get(row)? else { return Ok(()) };
        if batch.doomed.contains(&row.id) && !self.holds_any(&row, &batch.leaving)? {
            // Deleted under its own name: should an edit made elsewhere bring it back, then under
            // that one.
            let path = path_of(&self.rows, row.id)?;
            return self.vanished(row.id, &path, now);
        }
        let Some(parent) = self.directory_of(&row)? else { return Ok(()) };
        self.single_out(&row, now)?;
        let mut aside = aside_name(row.id);
        // A file of the user's may have that name.
        for number in 1.. {
            if self.index.lookup(parent, &aside)?.is_none() {
                break;
            }
            aside = another_aside_name(row.id, number);
        }
        match self.index.rename(now, &row.item, parent, &aside) {
            // An entry that is not shown claims no name.
            Ok(_) | Err(IndexError::NotShown(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.rows.detach(row.id)?;
        Ok(())
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

fn another_aside_name(row: RowId, number: u64) -> SafeName {
    let name = format!(".~dunlin-{}-{number}", row.0);
    SafeName::parse(&name).expect("a short plain name is safe")
}
