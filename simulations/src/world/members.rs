//! Devices that are removed: who refuses whom, and who is left.

use std::collections::BTreeSet;

use dunlin_index::EntryId;

use super::World;

impl World {
    /// A user removes another device from the folder.
    pub(super) fn remove(&mut self, device: usize, other: usize) {
        let id = self.devices[other].id;
        let mut result = None;
        self.with_folder(device, |folder, wall| {
            result = Some(folder.remove_device(id, &[], wall));
        });
        self.note(|| format!("{device}: removes {other}: {result:?}"));
    }

    /// Ends and begins connections as a device has learned who was removed.
    pub(super) fn note_members(&mut self, device: usize) {
        let Some(running) = &self.devices[device].running else { return };
        if running.folder.index().generation() == 0 && self.devices[device].refuses.is_empty() {
            return;
        }
        let members = running.folder.index().members().into_iter();
        let refuses: BTreeSet<_> =
            members.filter(|member| member.removed).map(|member| member.device).collect();
        if self.devices[device].refuses != refuses {
            self.note(|| format!("{device}: refuses {refuses:?}"));
            self.devices[device].refuses = refuses;
            self.update_links();
        }
    }

    /// Tells whether a device knows that another one was removed: its mesh would not let it in.
    pub(super) fn refuses(&self, device: usize, other: usize) -> bool {
        self.devices[device].refuses.contains(&self.devices[other].id)
    }

    /// Gives those that are left: sets of devices of which each takes exactly these for the members.
    /// It is one, unless removals that were made apart have parted the devices.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let left: Vec<Option<Vec<usize>>> =
            (0..self.devices.len()).map(|device| self.members_as_seen_by(device)).collect();
        let mut groups: Vec<Vec<usize>> = left.iter().flatten().cloned().collect();
        groups.sort();
        groups.dedup();
        groups.retain(|group| {
            group.iter().all(|device| left[*device].as_ref().is_some_and(|seen| seen == group))
        });
        groups
    }

    /// Nothing if the device does not take part any more, and knows it.
    fn members_as_seen_by(&self, device: usize) -> Option<Vec<usize>> {
        let there = &self.devices[device];
        if there.running.as_ref().is_some_and(|running| running.folder.index().is_removed()) {
            return None;
        }
        Some((0..self.devices.len()).filter(|other| !self.refuses(device, *other)).collect())
    }

    /// Gives a path that a device shows with what was written past the end of its author's log.
    pub(super) fn shown_past_its_end(&self, device: usize) -> Option<String> {
        let index = self.devices[device].running.as_ref()?.folder.index();
        let mut dirs = vec![EntryId::ROOT];
        while let Some(dir) = dirs.pop() {
            for item in index.children(dir, None, usize::MAX).ok()? {
                let merged = item.merged.iter().map(|(dot, _)| *dot);
                if item.key.dot.into_iter().chain(merged).any(|dot| !index.counts_for(&dot)) {
                    return Some(item.name.to_string());
                }
                if item.key.dot.is_none() {
                    dirs.push(item.key.entry);
                }
            }
        }
        None
    }
}
