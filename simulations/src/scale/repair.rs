//! The shipped index and replicator of many devices: the bytes that a change costs, and those of
//! catching up.

use std::collections::BTreeMap;

use dunlin_identity::{DeviceId, Hash, Tier};
use dunlin_index::sync::{Out, Replicator, SyncMessage};
use dunlin_index::{
    Config, Content, Context, EntryId, Index, IndexError, Kind, MemStore, NewEntry, SafeName,
};

use super::gossip::{HOP_MS, Overlay};
use crate::keys::Keys;
use crate::random::Random;

/// Around the body of a broadcast: nonce, seal, device, nonce, signature.
const ENVELOPE_BYTES: u64 = 24 + 16 + 32 + 16 + 64;

/// What a run of a mesh showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// The encoded push of one change, sealed.
    pub push_bytes: u64,
    /// Bytes that a device received on account of one change, in the mean: pushes.
    pub pushed: f64,
    /// The same: states, which acknowledge it.
    pub states: f64,
    /// The same: segments, by repair.
    pub repaired: f64,
    /// Milliseconds after which all had it.
    pub all_ms: u64,
}

/// What catching up cost.
#[derive(Clone, Copy, Debug)]
pub struct CatchUp {
    /// Changes that were missed.
    pub changes: u64,
    /// The bytes of the missing segments as their authors pushed them, one by one.
    pub pushed: u64,
    /// The bytes of the missing segments as the other device has stored them, joined.
    pub missing: u64,
    /// All bytes that both devices sent until they agreed.
    pub sent: u64,
    /// Messages one after the other until the returning device had everything.
    pub trips: u32,
}

struct Device {
    index: Index<MemStore>,
    replicator: Replicator,
}

/// Devices that exchange messages with one hop's latency.
struct Net {
    devices: Vec<Device>,
    ids: BTreeMap<DeviceId, usize>,
    keys: Keys,
    now: u64,
    /// Messages under way: when, to whom, from whom.
    under_way: BTreeMap<(u64, u64), (usize, usize, SyncMessage)>,
    count: u64,
    pushed: u64,
    states: u64,
    repaired: u64,
}

impl Net {
    /// Opens the indexes; of each device everyone knows the admission.
    fn new(count: usize, random: &mut Random) -> Result<Self, IndexError> {
        let keys = Keys::make(count, false, random);
        let mut devices = Vec::new();
        let mut admissions = Vec::new();
        for (number, (signer, admission)) in keys.devices.iter().enumerate() {
            let config = Config {
                folder: keys.folder,
                id_key: keys.id_key,
                device: signer.device(),
                tier: Tier::Write,
                admission: *admission,
                name: format!("device {number}"),
                verifier: keys.verifier.clone(),
                fresh_epoch: random.draw(),
            };
            let mut index = Index::open(MemStore::new(), config, 0)?;
            admissions.extend(index.commit(&**signer)?.segments);
            devices.push(Device { index, replicator: Replicator::new(signer.device(), 7) });
        }
        for device in &mut devices {
            for segment in &admissions {
                // One's own is known already.
                let merged = device.index.merge(segment, 0);
                debug_assert!(merged.is_ok());
            }
            device.index.write_back(false)?;
        }
        let ids = keys.devices.iter().enumerate();
        let ids = ids.map(|(number, (signer, _))| (signer.device(), number)).collect();
        let (under_way, now, count, pushed, states, repaired) = Default::default();
        Ok(Self { devices, ids, keys, now, under_way, count, pushed, states, repaired })
    }

    fn id(&self, device: usize) -> DeviceId {
        self.keys.devices[device].0.device()
    }

    fn commit_file(
        &mut self,
        device: usize,
        name: &str,
    ) -> Result<dunlin_index::Committed, IndexError> {
        let content = Content::File {
            root: Hash::of(name.as_bytes()),
            size: 4096,
            mtime_ns: self.now as i64,
            text: None,
        };
        let name = SafeName::parse(name).map_err(|_| IndexError::Content("a bad name"))?;
        let new = NewEntry { kind: Kind::File, content, mode: 0o644 };
        let index = &mut self.devices[device].index;
        index.create(self.now, EntryId::ROOT, &name, new)?;
        index.commit(&*self.keys.devices[device].0)
    }

    fn send(&mut self, from: usize, out: Vec<Out>, overlay: Option<&Overlay>) {
        for out in out {
            match out {
                Out::Send(to, message) => {
                    let bytes = message.encode().len() as u64;
                    match message {
                        SyncMessage::State { .. } => self.states += bytes,
                        _ => self.repaired += bytes,
                    }
                    if let Some(to) = self.ids.get(&to).copied() {
                        self.post(HOP_MS, to, from, message);
                    }
                }
                Out::Broadcast(message) => {
                    let Some(overlay) = overlay else { continue };
                    let bytes = message.encode().len() as u64 + ENVELOPE_BYTES;
                    let spread = overlay.spread(from);
                    for (to, at) in spread.arrived.iter().enumerate() {
                        self.pushed += bytes * u64::from(spread.copies[to]);
                        if let (Some(at), true) = (at, to != from) {
                            self.post(*at, to, from, message.clone());
                        }
                    }
                }
            }
        }
    }

    fn post(&mut self, after: u64, to: usize, from: usize, message: SyncMessage) {
        self.count += 1;
        self.under_way.insert((self.now + after, self.count), (to, from, message));
    }

    /// Lets time pass until `until`, or until `enough` says so.
    fn run(
        &mut self,
        until: u64,
        overlay: Option<&Overlay>,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), IndexError> {
        while self.now < until && !enough(self) {
            let ticks = self
                .devices
                .iter()
                .map(|device| device.replicator.next_tick(self.now).max(self.now + 1));
            let tick = ticks.min().unwrap_or(until);
            let message = self.under_way.first_key_value().map_or(u64::MAX, |((at, _), _)| *at);
            self.now = tick.min(message).min(until);
            while let Some(entry) = self.under_way.first_entry().filter(|e| e.key().0 <= self.now) {
                let (to, from, message) = entry.remove();
                let from_id = self.id(from);
                let Device { index, replicator } = &mut self.devices[to];
                let handled = replicator.on_message(from_id, message, index, self.now);
                let out = handled.map(|handled| handled.out).unwrap_or_default();
                self.send(to, out, overlay);
            }
            for number in 0..self.devices.len() {
                let Device { index, replicator } = &mut self.devices[number];
                if replicator.next_tick(self.now) <= self.now {
                    let out = replicator.tick(index, self.now);
                    self.send(number, out, overlay);
                }
            }
        }
        Ok(())
    }
}

/// Spreads changes in a mesh of devices at rest.
///
/// # Errors
/// When an index fails, which would be a fault.
pub fn spread_changes(overlay: &Overlay, changes: u64, seed: u64) -> Result<Cost, IndexError> {
    let mut random = Random::new(seed);
    let count = overlay.links.len();
    let mut net = Net::new(count, &mut random)?;
    for device in 0..count {
        for (other, _) in &overlay.links[device] {
            let other = net.id(*other);
            let Device { index, replicator } = &mut net.devices[device];
            let out = replicator.peer_up(other, index, 0);
            net.send(device, out, None);
        }
    }
    // First they find that they are equal, and get used to it.
    net.run(5_000, Some(overlay), |_| false)?;
    let mut cost = Cost::default();
    for change in 0..changes {
        let from = random.index(count);
        let before = (net.pushed, net.states, net.repaired, net.now);
        let committed = net.commit_file(from, &format!("{change}.txt"))?;
        let blobs = Vec::new();
        let Device { index, replicator } = &mut net.devices[from];
        let out = replicator.local(&committed, blobs, index);
        if let Some(Out::Broadcast(message)) = out.first() {
            cost.push_bytes = message.encode().len() as u64 + ENVELOPE_BYTES;
        }
        let goal = index.context().clone();
        net.send(from, out, Some(overlay));
        net.run(before.3 + 20_000, Some(overlay), |net| {
            net.devices.iter().all(|device| device.index.context().covers_all(&goal))
        })?;
        cost.all_ms = cost.all_ms.max(net.now - before.3);
        // The acknowledgements of one change are counted with it.
        net.run(before.3 + 10_000, Some(overlay), |_| false)?;
        let each =
            |after: u64, before: u64| (after - before) as f64 / (changes * count as u64) as f64;
        cost.pushed += each(net.pushed, before.0);
        cost.states += each(net.states, before.1);
        cost.repaired += each(net.repaired, before.2);
    }
    Ok(cost)
}

/// Two of `members` devices meet after one was away while `changes` were made by some of the rest.
///
/// # Errors
/// When an index fails, which would be a fault.
pub fn catch_up(members: usize, writers: usize, changes: u64) -> Result<CatchUp, IndexError> {
    let mut random = Random::new(3);
    let mut net = Net::new(2 + writers, &mut random)?;
    // The others are only authors whose admissions are known: that is what their number costs.
    let others = Keys::make(members.saturating_sub(2 + writers), false, &mut random);
    let mut pushed = 0;
    for (signer, admission) in &others.devices {
        let config = Config {
            device: signer.device(),
            admission: *admission,
            fresh_epoch: random.draw(),
            ..net.devices[0].index.config().clone()
        };
        let mut index = Index::open(MemStore::new(), config, 0)?;
        for segment in index.commit(&**signer)?.segments {
            for device in &mut net.devices[..2] {
                let merged = device.index.merge(&segment, 0);
                debug_assert!(merged.is_ok());
            }
        }
    }
    for change in 0..changes {
        net.now = 1000 * change;
        let writer = 2 + random.index(writers);
        for segment in net.commit_file(writer, &format!("{change}.txt"))?.segments {
            pushed += segment.len() as u64;
            let merged = net.devices[0].index.merge(&segment, net.now);
            debug_assert!(merged.is_ok());
        }
    }
    net.devices.truncate(2);
    let theirs = net.devices[1].index.context().clone();
    let (segments, _) = net.devices[0].index.segments_beyond(&theirs, usize::MAX)?;
    let missing = segments.iter().map(|segment| segment.len() as u64).sum();
    let begun = net.now;
    for (device, other) in [(0, 1), (1, 0)] {
        let other = net.id(other);
        let Device { index, replicator } = &mut net.devices[device];
        let out = replicator.peer_up(other, index, begun);
        net.send(device, out, None);
    }
    let goal: Context = net.devices[0].index.context().clone();
    net.run(begun + 60_000, None, |net| net.devices[1].index.context().covers_all(&goal))?;
    let trips = ((net.now - begun) / HOP_MS) as u32;
    net.run(begun + 5_000, None, |_| false)?;
    Ok(CatchUp { changes, pushed, missing, sent: net.states + net.repaired, trips })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catching_up_costs_little_more_than_what_is_missing() {
        let week = catch_up(20, 5, 2000).expect("the index is sound");
        assert!(week.sent as f64 <= 1.2 * week.missing as f64, "{week:?}");
        assert_eq!(week.trips, 2, "{week:?}");
    }
}
