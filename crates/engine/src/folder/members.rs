//! Removal of devices: by this one, and of this one.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_identity::DeviceId;
use dunlin_index::{Index, IndexError, Millis, Storage, WrappedKey};
use dunlin_tree::fs::Fs;

use super::{Folder, observe};

/// What a device shows that was removed. Its disk is left as it is; its index goes on, so that members
/// who have not heard of the removal do.
const REMOVED: &str = "this device was removed from the folder: nothing is synced any more, and the \
    files here stay as they are; to take part again, take the folder off this device \
    (dunlin folder rm) and join with a new code";

/// Why a folder does not go on that its device was removed from.
pub(super) fn removed_reason<S: Storage>(index: &Index<S>) -> Option<String> {
    index.is_removed().then(|| REMOVED.to_owned())
}

/// The keys of a generation that the members have agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its number.
    pub generation: u32,
    /// The member that has made it.
    pub by: DeviceId,
    /// The keys as they were wrapped for this device, if they were.
    pub sealed: Option<Vec<u8>>,
}

/// Who takes part, as far as keys go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The generation that removals have raised the folder to.
    pub generation: u32,
    /// The keys to be used; none while nobody was removed, or while it is not agreed upon.
    pub granted: Option<Grant>,
    /// The members.
    pub active: BTreeSet<DeviceId>,
    /// The members that keys were wrapped for by the last removals: who has not taken them up yet is
    /// to be told of them.
    pub late: BTreeSet<DeviceId>,
    /// The devices that were removed, each with the generation of its removal.
    pub removed: BTreeMap<DeviceId, u32>,
    /// Whether this device has to raise the generation once more, since removals were made apart.
    pub must_raise: bool,
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// Who takes part, as far as keys go.
    pub fn membership(&self) -> Membership {
        let index = &self.index;
        let active: BTreeSet<DeviceId> = index
            .members()
            .into_iter()
            .filter(|member| !member.removed)
            .map(|member| member.device)
            .collect();
        let granted = index.granted();
        Membership {
            generation: index.generation(),
            granted: granted.map(|granted| Grant {
                generation: granted.generation,
                by: granted.by,
                sealed: granted.keys.get(&self.signer.device()).cloned(),
            }),
            active,
            late: index.key_holders(),
            removed: index.removed_devices(),
            must_raise: index.must_raise(),
        }
    }

    /// Removes a device from the folder, for all members, and gives the generation that this raises
    /// the folder to. `keys` are that generation's, wrapped for those that stay.
    ///
    /// # Errors
    /// See [`Index::remove_device`]; nothing is changed then.
    pub fn remove_device(
        &mut self,
        device: DeviceId,
        keys: &[WrappedKey],
        now: Millis,
    ) -> Result<u32, IndexError> {
        // What this device's user did before gets its numbers first.
        self.commit_local(Vec::new(), now);
        let generation = self.index.remove_device(now, device, keys);
        self.removed_one(generation, now)
    }

    /// Raises the generation once more, since removals were made apart; `keys` are wrapped for all
    /// members.
    ///
    /// # Errors
    /// See [`Index::raise_generation`]; nothing is changed then.
    pub fn raise_generation(
        &mut self,
        keys: &[WrappedKey],
        now: Millis,
    ) -> Result<u32, IndexError> {
        let generation = self.index.raise_generation(now, keys);
        self.removed_one(generation, now)
    }

    fn removed_one(
        &mut self,
        generation: Result<u32, IndexError>,
        now: Millis,
    ) -> Result<u32, IndexError> {
        let generation = generation.inspect_err(|error| {
            if observe::is_storage(error) {
                self.storage_fault(error, now);
            }
        })?;
        self.commit_local(Vec::new(), now);
        if self.is_running() {
            self.work(now);
        }
        self.tell(now);
        Ok(generation)
    }

    /// Takes note of it if this device was removed.
    pub(super) fn note_own_removal(&mut self) {
        if self.removed.is_none() {
            self.removed = removed_reason(&self.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_index::{EntryId, IndexError};
    use dunlin_tree::fs::UserOp;

    use crate::folder::testing::{Rig, path};
    use crate::types::FolderState;

    #[test]
    fn a_removed_device_stops_and_leaves_its_disk_as_it_is() {
        let (mut one, mut gone) = (Rig::new(), Rig::of_device(9));
        one.meet(&mut gone);
        gone.write("late", b"late");
        let device = gone.folder.index().author().device;
        let generation = one.folder.remove_device(device, &[], one.now).expect("a member");
        assert_eq!(generation, 1);
        one.meet(&mut gone);
        assert_eq!(gone.folder.state(), FolderState::Error);
        assert!(gone.folder.reason().is_some_and(|reason| reason.contains("was removed")));
        let shown = one.folder.index().children(EntryId::ROOT, None, 9).expect("read");
        assert!(shown.is_empty(), "{shown:?}");
        // By the rules its own edit does not count any more; it is not taken from its user.
        gone.pass(60_000);
        assert_eq!(gone.disk.content(&path("late")).as_deref(), Some(&b"late"[..]));
        gone.user(&UserOp::Write(path("later"), b"later".to_vec()));
        gone.restart(false);
        gone.pass(60_000);
        assert_eq!(gone.folder.state(), FolderState::Error);
        assert_eq!(gone.disk.content(&path("late")).as_deref(), Some(&b"late"[..]));
        assert_eq!(gone.disk.content(&path("later")).as_deref(), Some(&b"later"[..]));
        let refused = one.folder.remove_device(device, &[], one.now);
        assert!(matches!(refused, Err(IndexError::NotAMember(_))), "{refused:?}");
        assert_eq!(one.folder.state(), FolderState::Idle);
    }
}
