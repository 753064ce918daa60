//! The network: links that come and go, ordered streams over them, and gossip that is passed on.

use std::sync::Arc;

use dunlin_identity::DeviceId;
use dunlin_index::Millis;
use dunlin_index::sync::{MESSAGE_BYTES_MAX, PUSH_BYTES_MAX, SyncMessage};

use super::{Event, World};

/// Messages of the past that a liar can repeat.
const OVERHEARD_MAX: usize = 32;

/// A connection between two devices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Tells connections of one pair apart.
    number: u64,
    /// Whether messages pass.
    open: bool,
    /// Of each side: whether it knows, and when the last message to it arrives.
    knows: [bool; 2],
    last: [Millis; 2],
}

impl Link {
    /// Time has jumped.
    pub(super) fn shift(&mut self, ms: Millis) {
        for last in &mut self.last {
            *last = last.saturating_add(ms);
        }
    }
}

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

impl World {
    fn wants_link(&self, one: usize, other: usize) -> bool {
        let bit = |device: usize| self.partition.is_some_and(|mask| mask >> device & 1 == 1);
        self.devices[one].is_reachable()
            && self.devices[other].is_reachable()
            && bit(one) == bit(other)
            && !self.refuses(one, other)
            && !self.refuses(other, one)
            && !self.cuts.contains_key(&pair(one, other))
    }

    /// Opens and closes links as devices and network allow.
    pub(super) fn update_links(&mut self) {
        for one in 0..self.devices.len() {
            for other in one + 1..self.devices.len() {
                let wanted = self.wants_link(one, other);
                match self.links.get(&(one, other)).copied() {
                    None if wanted => self.open_link(one, other),
                    Some(link) if link.open && !wanted => self.close_link(one, other, link),
                    _ => {}
                }
            }
        }
    }

    fn open_link(&mut self, one: usize, other: usize) {
        self.numbers += 1;
        let number = self.numbers;
        let at = [self.now + self.delay(), self.now + self.delay()];
        let link = Link { number, open: true, knows: [false; 2], last: at };
        self.links.insert((one, other), link);
        self.at(at[0], Event::Up { device: one, peer: other, link: number });
        self.at(at[1], Event::Up { device: other, peer: one, link: number });
    }

    fn close_link(&mut self, one: usize, other: usize, mut link: Link) {
        link.open = false;
        self.links.insert((one, other), link);
        for (device, peer) in [(one, other), (other, one)] {
            // A connection that breaks is noticed at once or after a timeout.
            let late = if self.random.permille(500) { 0 } else { self.random.below(5_000) };
            self.soon(late, Event::Down { device, peer, link: link.number });
        }
    }

    fn delay(&mut self) -> Millis {
        if self.calm {
            return self.random.between(1, 20);
        }
        let plan = self.scenario.network;
        plan.latency_ms + self.random.below(plan.jitter_ms + 1)
    }

    fn side(one: usize, other: usize) -> usize {
        usize::from(one > other)
    }

    pub(super) fn link_up(&mut self, device: usize, peer: usize, number: u64) {
        let Some(link) = self.links.get_mut(&pair(device, peer)) else { return };
        if link.number != number || !link.open {
            return;
        }
        link.knows[Self::side(device, peer)] = true;
        self.devices[device].peers.insert(peer);
        self.note(|| format!("{device}: {peer} is connected"));
        let id = self.devices[peer].id;
        self.with_folder(device, |folder, wall| folder.peer_up(id, wall));
    }

    pub(super) fn link_down(&mut self, device: usize, peer: usize, number: u64) {
        let Some(link) = self.links.get_mut(&pair(device, peer)) else { return };
        if link.number != number {
            return;
        }
        let side = Self::side(device, peer);
        let knew = std::mem::take(&mut link.knows[side]);
        // Marks that this side is done with the connection.
        link.last[side] = Millis::MAX;
        let gone = link.last == [Millis::MAX; 2];
        if knew {
            self.devices[device].peers.remove(&peer);
            self.note(|| format!("{device}: {peer} is gone"));
            let id = self.devices[peer].id;
            self.with_folder(device, |folder, _| folder.peer_down(&id));
        }
        if gone {
            self.links.remove(&pair(device, peer));
            self.update_links();
        }
    }

    /// The number of the link over which `from` can send to `to` now.
    fn way(&self, from: usize, to: usize) -> Option<u64> {
        let link = self.links.get(&pair(from, to))?;
        (link.open && link.knows[Self::side(from, to)]).then_some(link.number)
    }

    pub(super) fn send(&mut self, from: usize, to: DeviceId, message: &SyncMessage) {
        let Some(to) = self.devices.iter().position(|device| device.id == to) else { return };
        let Some(number) = self.way(from, to) else { return };
        self.note(|| format!("{from} -> {to}: {}", brief(message)));
        let encoded = message.encode();
        if encoded.len() > MESSAGE_BYTES_MAX {
            self.fail(format!("a message of {} bytes", encoded.len()));
        }
        let Some(message) = self.maybe_lie(from, encoded) else { return };
        let at = self.now + self.delay();
        let Some(link) = self.links.get_mut(&pair(from, to)) else { return };
        let last = &mut link.last[Self::side(to, from)];
        *last = at.max(*last);
        let at = *last;
        self.at(at, Event::Direct { from, to, link: number, message });
    }

    pub(super) fn direct(&mut self, from: usize, to: usize, number: u64, message: &[u8]) {
        let open = self.links.get(&pair(from, to)).is_some_and(|l| l.open && l.number == number);
        if open {
            let author = self.devices[from].id;
            self.take_message(to, author, message);
        }
    }

    fn take_message(&mut self, to: usize, author: DeviceId, message: &[u8]) {
        let Ok(message) = SyncMessage::decode(message) else {
            self.note(|| format!("{to}: a message that cannot be read"));
            return;
        };
        self.with_folder(to, |folder, wall| {
            // What is wrong with a message is the sender's affair.
            let _ = folder.message(author, message, wall);
        });
    }

    pub(super) fn broadcast(&mut self, from: usize, message: &SyncMessage) {
        self.note(|| format!("{from} -> all: {}", brief(message)));
        let encoded = message.encode();
        if encoded.len() > PUSH_BYTES_MAX {
            self.fail(format!("a gossip message of {} bytes", encoded.len()));
        }
        let Some(message) = self.maybe_lie(from, encoded) else { return };
        self.numbers += 1;
        let id = self.numbers;
        let author = self.devices[from].id;
        self.devices[from].gossip.insert(id);
        self.pass_on(from, author, id, &message);
    }

    fn pass_on(&mut self, via: usize, author: DeviceId, id: u64, message: &Arc<[u8]>) {
        let plan = self.scenario.network;
        for to in 0..self.devices.len() {
            let Some(link) = (to != via).then(|| self.way(via, to)).flatten() else { continue };
            let copies = match self.random.below(1000) {
                _ if self.calm => 1,
                chance if chance < plan.loss => 0,
                chance if chance < plan.loss + plan.twice => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let delay = self.delay();
                let message = Arc::clone(message);
                self.soon(delay, Event::Gossip { via, to, link, author, id, message });
            }
        }
    }

    pub(super) fn gossip(
        &mut self,
        via: usize,
        to: usize,
        number: u64,
        author: DeviceId,
        id: u64,
        message: &Arc<[u8]>,
    ) {
        let link = self.links.get(&pair(via, to));
        let knows = link.is_some_and(|link| {
            link.open && link.number == number && link.knows[Self::side(to, via)]
        });
        // The network remembers for some time what it has seen.
        let again = !self.calm && self.random.permille(5);
        let refused =
            self.devices.iter().any(|there| there.id == author && self.refuses(to, there.number));
        if knows && !refused && (self.devices[to].gossip.insert(id) || again) {
            self.take_message(to, author, message);
            self.pass_on(to, author, id, message);
        }
    }

    /// What a device sends, or what it sends while it lies.
    fn maybe_lie(&mut self, from: usize, mut message: Vec<u8>) -> Option<Arc<[u8]>> {
        if self.devices[from].lies_until.is_none() {
            if self.overheard.len() < OVERHEARD_MAX {
                let message: Arc<[u8]> = message.into();
                self.overheard.push(Arc::clone(&message));
                return Some(message);
            }
            return Some(message.into());
        }
        match self.random.below(6) {
            0 => return None,
            1 => message.truncate(self.random.index(message.len())),
            2 if !self.overheard.is_empty() => {
                return Some(Arc::clone(self.random.pick(&self.overheard)));
            }
            3 | 4 => {
                for _ in 0..=self.random.below(3) {
                    let at = self.random.index(message.len());
                    message[at] ^= 1 << self.random.below(8);
                }
            }
            _ => {}
        }
        Some(message.into())
    }
}

fn brief(message: &SyncMessage) -> String {
    let of = |bytes: &Vec<Vec<u8>>| bytes.iter().map(Vec::len).collect::<Vec<_>>();
    match message {
        SyncMessage::State { heads, fingerprint, need_files, .. } => {
            let known: Vec<u64> = heads.iter().collect();
            format!("state {known:?} {} need {need_files}", &fingerprint.to_string()[..8])
        }
        SyncMessage::Segments { segments, more } => format!("segments {:?} {more}", of(segments)),
        SyncMessage::Push { segments, blobs } => {
            format!("push {:?} with {:?}", of(segments), of(blobs))
        }
        SyncMessage::Head { seq, .. } => format!("head {seq}"),
        SyncMessage::WantHave { round, contents } => format!("who has {contents:?} ({round})"),
        SyncMessage::DontHave { round, contents } => format!("has not {contents:?} ({round})"),
    }
}
