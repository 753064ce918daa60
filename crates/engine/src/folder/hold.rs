//! Mass deletions wait for the user's word (rule 10).

use dunlin_tree::disk::RowId;
use std::collections::BTreeSet;

/// More than this many entries, and more than half of the folder, at once is a mass deletion.
const HOLD_ABOVE: u64 = 20;

/// Deletions that wait for `folder approve` or `folder undo`.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Topmost rows that vanished from this disk; the folder's other devices do not know yet.
    pub(super) local: BTreeSet<RowId>,
    /// Rows that other devices deleted; they are still on this disk.
    pub(super) remote: BTreeSet<RowId>,
    /// How many entries that would be in all.
    pub(super) entries: u64,
}

impl Held {
    /// Whether deleting `entries` of `total` at once needs the user's word.
    pub(super) fn is_mass(entries: u64, total: u64) -> bool {
        entries > HOLD_ABOVE && entries * 2 > total
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty()
    }

    /// Forgets all, once the user has spoken.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// What waits and what to do, for the user.
    pub(super) fn reason(&self, name: &str) -> Option<String> {
        let count = self.entries;
        let what = match (self.local.is_empty(), self.remote.is_empty()) {
            (true, true) => return None,
            (false, _) => "were deleted on this device",
            (true, false) => "were deleted on another device",
        };
        Some(format!(
            "{name}: {count} entries, more than half of the folder, {what} at once: \
             `dunlin folder approve {name}` deletes them everywhere, \
             `dunlin folder undo {name}` brings them back"
        ))
    }
}
