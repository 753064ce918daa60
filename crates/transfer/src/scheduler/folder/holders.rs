//! Who has what, as the sources tell, so that the rarest blocks are asked for first and nobody is
//! asked for what it lacks.

use dunlin_identity::{DeviceId, Hash};

use super::{Folder, Micros, Priority};

impl Folder {
    /// Returns of which blocks each source is to tell whether it has them. With one source there is
    /// nothing to choose, and what is urgent is asked for at once.
    pub(in crate::scheduler) fn start_watches(
        &mut self,
        now: Micros,
    ) -> Vec<(DeviceId, Vec<Hash>)> {
        if !std::mem::take(&mut self.unwatched) || self.sources.len() < 2 {
            return Vec::new();
        }
        let mut watches = Vec::new();
        let devices: Vec<DeviceId> = self.sources.keys().copied().collect();
        for device in devices {
            let mut hashes: Vec<(u64, Hash)> = self
                .blocks
                .iter()
                .filter(|(_, wanted)| wanted.priority != Priority::High)
                .filter(|(_, wanted)| !wanted.watched.contains(&device))
                .map(|(hash, wanted)| (wanted.order, *hash))
                .collect();
            hashes.sort_unstable();
            let hashes: Vec<Hash> = hashes.into_iter().map(|(_, hash)| hash).collect();
            if !hashes.is_empty() {
                self.watch(&device, &hashes, now);
                watches.push((device, hashes));
            }
        }
        watches
    }

    fn watch(&mut self, device: &DeviceId, hashes: &[Hash], now: Micros) {
        let Some(source) = self.sources.get_mut(device) else { return };
        for hash in hashes {
            if let Some(wanted) = self.blocks.get_mut(hash) {
                wanted.watched.insert(*device);
            }
        }
        // What falls out of the source's memory it will not tell of any more.
        for forgotten in source.watch(hashes, now) {
            self.forget_told(device, &forgotten);
        }
    }

    fn forget_told(&mut self, device: &DeviceId, hash: &Hash) {
        let Some(wanted) = self.blocks.get_mut(hash) else { return };
        let place = wanted.place();
        wanted.watched.remove(device);
        wanted.lacks.remove(device);
        if wanted.has.remove(device) && self.pending.remove(&place).is_some() {
            self.pending.insert(wanted.place(), *hash);
        }
        self.version += 1;
    }

    /// Notes that a source has, or lacks, a block of which it was asked to tell.
    pub(in crate::scheduler) fn told(&mut self, device: &DeviceId, hash: &Hash, has: bool) {
        let Some(wanted) = self.blocks.get_mut(hash) else { return };
        // What is told unasked counts for nothing.
        if !wanted.watched.contains(device) {
            return;
        }
        let pending = self.pending.remove(&wanted.place()).is_some();
        if has {
            wanted.lacks.remove(device);
            wanted.has.insert(*device);
        } else {
            wanted.lacks.insert(*device);
            wanted.has.remove(device);
        }
        if pending {
            self.pending.insert(wanted.place(), *hash);
        }
        self.version += 1;
    }

    /// Whether the device has said that it has the block.
    pub(in crate::scheduler) fn has_promised(&self, device: &DeviceId, hash: &Hash) -> bool {
        self.blocks.get(hash).is_some_and(|wanted| wanted.has.contains(device))
    }
}
