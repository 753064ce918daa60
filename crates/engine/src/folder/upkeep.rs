//! What a folder does now and then: old versions and forgotten temporary files go, and what is
//! wrong with a member's log is told.

use dunlin_identity::DeviceId;
use dunlin_index::{MergeError, Millis, Storage};
use dunlin_tree::fs::Fs;
use dunlin_tree::versions::Policy;

use super::Folder;
use crate::types::Event;

/// How often the version store is brought within its bounds.
const UPKEEP_MS: Millis = 60 * 60 * 1000;
/// A temporary file of a large content that nobody has written to for so long is not taken up
/// again.
const TEMP_AGE_MS: Millis = 7 * 24 * 60 * 60 * 1000;

impl<F: Fs, S: Storage> Folder<F, S> {
    /// When [`Folder::upkeep`] is due.
    pub(super) fn next_upkeep(&self) -> Millis {
        self.upkeep_at
    }

    /// Removes versions beyond the policy, and temporary files that nothing will take up again.
    /// What cannot be removed now is tried again the next time.
    pub(super) fn upkeep(&mut self, now: Millis) {
        if self.upkeep_at > now {
            return;
        }
        let first = self.upkeep_at == 0;
        self.upkeep_at = now + UPKEEP_MS;
        self.packing.look_at(now);
        self.sweeping.start(now);
        match self.fs.prune(&Policy::default(), now) {
            Ok(pruned) if pruned.batches > 0 => self.forget_pruned(),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old versions stay"),
        }
        let rows = &self.rows;
        let gone = |row| rows.get(row).map(|row| row.is_none());
        if let Err(error) = self.texts.sweep(gone) {
            tracing::warn!(%error, "what deleted texts were made of stays");
        }
        let temps = self.fs.temp_list().unwrap_or_default();
        for (temp, stat) in temps {
            let written_ms = u64::try_from(stat.mtime_ns / 1_000_000).unwrap_or(0);
            // Staged items belong to one pass: those of an earlier run are of no use.
            let passing = ["item-", "object-", "kept-", "restore-"];
            let stray = first && passing.iter().any(|begin| temp.as_str().starts_with(begin));
            let old = written_ms.saturating_add(TEMP_AGE_MS) < now;
            // The mtime of a finished temporary file is the user's, not the time of writing: only
            // downloads, which are not finished, are judged by it.
            let given_up = old && temp.as_str().starts_with("file-") && self.needs.is_empty();
            if !stray && !given_up {
                continue;
            }
            if let Err(error) = self.fs.temp_remove(&temp) {
                tracing::debug!(%error, "a temporary file stays");
            }
            if let Err(error) = self.manifests.forget_checkpoint(&temp) {
                tracing::debug!(%error, "what was known of a temporary file stays");
            }
        }
    }

    /// Forgets where the blocks of versions were that are no longer kept.
    fn forget_pruned(&self) {
        let Ok(batches) = self.fs.version_batches() else { return };
        let batches = batches.into_iter().map(|(batch, _)| batch).collect();
        if let Err(error) = self.manifests.forget_kept(&batches) {
            tracing::warn!(%error, "blocks of old versions stay listed");
        }
    }

    /// A member's segment was refused: what the user must know is told, once.
    pub(super) fn refused(&mut self, from: DeviceId, error: &MergeError, now: Millis) {
        let message = match error {
            MergeError::OwnEpochAhead { .. } => return self.begin_epoch(from, now),
            MergeError::Fork { author, .. } if author.device == self.signer.device() => {
                "two devices run with this device's key, or it was restored from a backup while it \
                 ran: stop one of them, and remove the file `key` in its home so that it becomes \
                 a device of its own"
                    .to_owned()
            }
            MergeError::Fork { author, .. } => format!(
                "the device {} tells two different histories: two devices run with its key. Its \
                 further changes are not taken until one of them gets a key of its own",
                author.device
            ),
            other => {
                tracing::warn!(%from, error = %other, "a segment was refused");
                return;
            }
        };
        if self.warned.insert(message.clone()) {
            tracing::error!("{message}");
            self.event_out(Event::Warning { folder: Some(self.name.clone()), message });
        }
    }

    /// Others hold more of this device's log than it does itself: its database is an older copy.
    /// It goes on in a new epoch, so that no number is used twice, and takes the rest from them
    /// (rule 8).
    fn begin_epoch(&mut self, from: DeviceId, now: Millis) {
        let old = self.index.author();
        let mut seed = blake3::Hasher::new_derive_key("dunlin 2026-11 epoch after a rollback");
        seed.update(&self.seed.to_le_bytes()).update(&old.epoch.to_le_bytes());
        seed.update(&now.to_le_bytes());
        let mut fresh = [0; 8];
        fresh.copy_from_slice(&seed.finalize().as_bytes()[..8]);
        match self.index.open_new_epoch(u64::from_le_bytes(fresh), now) {
            Ok(()) => {}
            Err(error) => return self.storage_fault(&error, now),
        }
        self.commit_local(Vec::new(), now);
        let message = "the database was an older copy: this device goes on in a new epoch, and \
                       takes what it has forgotten from the others"
            .to_owned();
        self.event_out(Event::Warning { folder: Some(self.name.clone()), message });
        let out = self.replicator.peer_up(from, &self.index, now);
        self.emit(out);
    }
}
