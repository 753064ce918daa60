//! Gossipsub's mesh and forwarding, as far as they decide how fast and how often a message comes.
//!
//! Modelled: grafting on subscription, acceptance up to the upper bound (beyond it only by the
//! device that dialled), pruning and grafting by heartbeats until nothing changes, flood
//! publishing, forwarding to all mesh neighbours but the one it came from, direct sends in small
//! folders. Not modelled: scores (off as shipped), churn, loss (repair's business), bandwidth.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::random::Random;

/// One hop's latency, in virtual milliseconds.
pub const HOP_MS: u64 = 50;

/// Up to so many connected members of a folder get broadcasts directly
/// (`dunlin_mesh::limits::DIRECT_MEMBERS_MAX`).
const DIRECT_MEMBERS_MAX: usize = 8;

/// Heartbeats that are simulated; the mesh is at rest long before.
const HEARTBEATS: usize = 30;

/// Gossipsub's parameters that shape the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Neighbours that are aimed for.
    pub aim: usize,
    /// With fewer, a heartbeat grafts some.
    pub low: usize,
    /// With more, a heartbeat prunes down to `aim`; nobody else is let in.
    pub high: usize,
    /// Neighbours that this device has dialled itself, at least.
    pub outbound_min: usize,
    /// One's own messages go to all connected members, not to the mesh neighbours alone.
    pub flood_publish: bool,
}

/// What ships: the defaults of libp2p-gossipsub 0.50, flood publishing on (`crates/mesh`).
pub const SHIPPED: Shape = Shape { aim: 4, low: 3, high: 8, outbound_min: 2, flood_publish: true };

/// Who is connected with whom, and who are neighbours in gossipsub's mesh.
pub struct Overlay {
    /// Connected members, with whether this device has dialled them.
    pub links: Vec<Vec<(usize, bool)>>,
    mesh: Vec<BTreeSet<usize>>,
    shape: Shape,
}

/// How one message spread.
#[derive(Clone, Debug)]
pub struct Spread {
    /// When each device had it first, in milliseconds after it was sent; `None`: never.
    pub arrived: Vec<Option<u64>>,
    /// Over how many hops.
    pub hops: Vec<u32>,
    /// How many copies each device was sent.
    pub copies: Vec<u32>,
}

impl Overlay {
    /// Connects devices one after the other, each with up to `dials` others that are there
    /// already, as they would be found; then lets heartbeats pass.
    pub fn build(devices: usize, dials: usize, shape: Shape, random: &mut Random) -> Self {
        let mut overlay =
            Self { links: vec![Vec::new(); devices], mesh: vec![BTreeSet::new(); devices], shape };
        for device in 1..devices {
            let mut found = BTreeSet::new();
            while found.len() < dials.min(device) {
                found.insert(random.index(device));
            }
            for other in found {
                overlay.links[device].push((other, true));
                overlay.links[other].push((device, false));
                // Both hear of each other's subscription, and graft while they have too few.
                for (one, to) in [(device, other), (other, device)] {
                    if overlay.mesh[one].len() < shape.aim {
                        overlay.graft(one, to);
                    }
                }
            }
        }
        for _ in 0..HEARTBEATS {
            for device in 0..devices {
                overlay.heartbeat(device, random);
            }
        }
        overlay
    }

    fn is_outbound(&self, device: usize, to: usize) -> bool {
        self.links[device].iter().any(|(other, dialled)| *other == to && *dialled)
    }

    /// Makes two devices neighbours, if the other one takes it.
    fn graft(&mut self, device: usize, to: usize) {
        if self.mesh[to].len() < self.shape.high || self.is_outbound(to, device) {
            self.mesh[device].insert(to);
            self.mesh[to].insert(device);
        }
    }

    fn heartbeat(&mut self, device: usize, random: &mut Random) {
        let shape = self.shape;
        let missing = match self.mesh[device].len() {
            len if len < shape.low => shape.aim - len,
            _ => 0,
        };
        self.graft_some(device, missing, false, random);
        if self.mesh[device].len() > shape.high {
            let mut kept: Vec<usize> = self.mesh[device].iter().copied().collect();
            shuffle(&mut kept, random);
            // Those that were dialled come first, so that enough of them are kept.
            kept.sort_by_key(|other| !self.is_outbound(device, *other));
            let dialled = kept.iter().filter(|other| self.is_outbound(device, **other)).count();
            let keep = dialled.min(shape.outbound_min);
            shuffle(&mut kept[keep..], random);
            for other in kept.split_off(shape.aim) {
                self.mesh[device].remove(&other);
                self.mesh[other].remove(&device);
            }
        }
        let dialled =
            self.mesh[device].iter().filter(|other| self.is_outbound(device, **other)).count();
        self.graft_some(device, shape.outbound_min.saturating_sub(dialled), true, random);
    }

    fn graft_some(&mut self, device: usize, count: usize, dialled: bool, random: &mut Random) {
        if count == 0 {
            return;
        }
        let mut others: Vec<usize> = self.links[device]
            .iter()
            .filter(|(other, out)| (*out || !dialled) && !self.mesh[device].contains(other))
            .map(|(other, _)| *other)
            .collect();
        shuffle(&mut others, random);
        for other in others.into_iter().take(count) {
            self.graft(device, other);
        }
    }

    /// Gives the mean number of mesh neighbours.
    pub fn mean_neighbours(&self) -> f64 {
        let sum: usize = self.mesh.iter().map(BTreeSet::len).sum();
        sum as f64 / self.mesh.len() as f64
    }

    /// Lets a device send one message, and follows it.
    pub fn spread(&self, from: usize) -> Spread {
        let devices = self.links.len();
        let mut spread = Spread {
            arrived: vec![None; devices],
            hops: vec![0; devices],
            copies: vec![0; devices],
        };
        let mut under_way = BinaryHeap::from([Reverse((0, 0, from, from))]);
        while let Some(Reverse((at, hops, to, sender))) = under_way.pop() {
            spread.copies[to] += u32::from(to != sender);
            if spread.arrived[to].is_some() {
                continue;
            }
            spread.arrived[to] = Some(at);
            spread.hops[to] = hops;
            for next in self.next(to, sender) {
                under_way.push(Reverse((at + HOP_MS, hops + 1, next, to)));
            }
        }
        spread
    }

    /// Gives whom a device sends a message to that came from `sender`; its own from itself.
    fn next(&self, device: usize, sender: usize) -> Vec<usize> {
        let connected = || self.links[device].iter().map(|(other, _)| *other);
        if self.links[device].len() <= DIRECT_MEMBERS_MAX {
            // Named in the frame are all that the sender has sent it to.
            let named: BTreeSet<usize> =
                self.links[sender].iter().map(|(other, _)| *other).collect();
            let direct = sender != device && self.links[sender].len() <= DIRECT_MEMBERS_MAX;
            return connected()
                .filter(|other| *other != sender && !(direct && named.contains(other)))
                .collect();
        }
        if device == sender && self.shape.flood_publish {
            return connected().collect();
        }
        self.mesh[device].iter().copied().filter(|other| *other != sender).collect()
    }
}

impl Spread {
    /// Gives after how many milliseconds so many of 100 of those that are reached had it.
    pub fn reached(&self, percent: usize) -> Option<u64> {
        let mut times: Vec<u64> = self.arrived.iter().flatten().copied().collect();
        times.sort_unstable();
        times.get((self.arrived.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }

    /// Gives the mean number of copies that a device was sent.
    pub fn mean_copies(&self) -> f64 {
        self.copies.iter().map(|copies| f64::from(*copies)).sum::<f64>() / self.copies.len() as f64
    }
}

/// Puts a list in random order.
fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for last in (1..list.len()).rev() {
        list.swap(last, random.index(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_devices_are_reached_in_half_a_second() {
        let overlay = Overlay::build(1000, 16, SHIPPED, &mut Random::new(1));
        let spread = overlay.spread(17);
        assert!(spread.reached(99).is_some_and(|ms| ms <= 500), "{:?}", spread.reached(99));
        assert!(spread.arrived.iter().all(Option::is_some));
    }

    #[test]
    fn a_few_devices_get_everything_once() {
        let overlay = Overlay::build(8, 8, SHIPPED, &mut Random::new(1));
        let spread = overlay.spread(3);
        assert!(spread.copies.iter().enumerate().all(|(device, n)| *n == u32::from(device != 3)));
    }
}
