//! Devices that exchange messages in random order, with loss.

use proptest::prelude::*;

use super::*;
use crate::testing::{Replica, device};

/// Devices with replicators, and the messages between them.
struct Net {
    replicas: Vec<Replica>,
    replicators: Vec<Replicator>,
    /// From, to, message.
    queue: Vec<(usize, usize, Vec<u8>)>,
    now: Millis,
    sent_bytes: usize,
}

impl Net {
    fn new(count: u8) -> Self {
        let replicas: Vec<Replica> = (1..=count).map(Replica::new).collect();
        let replicators =
            (1..=count).map(|number| Replicator::new(device(number), number.into())).collect();
        Self { replicas, replicators, queue: Vec::new(), now: 10_000, sent_bytes: 0 }
    }

    fn push(&mut self, from: usize, out: Vec<Out>) {
        for one in out {
            match one {
                Out::Send(peer, message) => {
                    let to = usize::from(peer.as_bytes()[0]) - 1;
                    self.enqueue(from, to, &message);
                }
                Out::Broadcast(message) => {
                    assert!(message.encode().len() <= PUSH_BYTES_MAX);
                    for to in (0..self.replicas.len()).filter(|to| *to != from) {
                        self.enqueue(from, to, &message);
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, from: usize, to: usize, message: &SyncMessage) {
        let bytes = message.encode();
        self.sent_bytes += bytes.len();
        self.queue.push((from, to, bytes));
    }

    fn connect(&mut self, one: usize, other: usize) {
        for (at, peer) in [(one, other), (other, one)] {
            let peer = device(peer as u8 + 1);
            let out = self.replicators[at].peer_up(peer, &self.replicas[at].index, self.now);
            self.push(at, out);
        }
    }

    fn local(&mut self, at: usize, path: &str) {
        self.replicas[at].create(path, path);
        let committed = Committed {
            segments: vec![self.replicas[at].log.last().unwrap().clone()],
            changed: BTreeSet::new(),
        };
        let blobs = vec![path.as_bytes().to_vec()];
        let out = self.replicators[at].local(&committed, blobs, &self.replicas[at].index);
        self.push(at, out);
    }

    fn deliver(&mut self, number: usize) {
        let (from, to, bytes) = self.queue.remove(number);
        let message = SyncMessage::decode(&bytes).unwrap();
        let from = device(from as u8 + 1);
        let index = &mut self.replicas[to].index;
        let handled = self.replicators[to].on_message(from, message, index, self.now).unwrap();
        assert!(handled.refused.is_none() && !handled.diverged, "{:?}", handled.refused);
        self.push(to, handled.out);
    }

    fn tick(&mut self) {
        for at in 0..self.replicas.len() {
            let out = self.replicators[at].tick(&self.replicas[at].index, self.now);
            self.push(at, out);
        }
    }

    /// Delivers everything, and lets time pass until nobody has anything to say.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.queue.is_empty() {
                self.deliver(0);
            }
            let next = self.replicators.iter().map(|one| one.next_tick(self.now)).min().unwrap();
            if self.all_in_sync() && next > self.now + 1_000 {
                return;
            }
            self.now = next.max(self.now + 1);
            self.tick();
        }
        panic!("the devices do not come to rest");
    }

    fn all_in_sync(&self) -> bool {
        (0..self.replicas.len()).all(|at| {
            let peers: Vec<DeviceId> = self.replicators[at].peers.keys().copied().collect();
            peers.iter().all(|peer| self.replicators[at].in_sync(peer, &self.replicas[at].index))
        })
    }
}

#[test]
fn one_round_trip_after_connecting_repairs_both() {
    let mut net = Net::new(2);
    for number in 0..300 {
        net.replicas[0].create(&format!("a{number}"), "a");
        net.replicas[1].create(&format!("b{number}"), "b");
    }
    let missing: usize = net
        .replicas
        .iter()
        .flat_map(|one| one.index.segments_beyond(&Context::default(), usize::MAX).unwrap().0)
        .map(|segment| segment.len())
        .sum();
    net.connect(0, 1);
    // The two states, then the two answers.
    for _ in 0..4 {
        net.deliver(0);
    }
    assert_eq!(net.replicas[0].tree(), net.replicas[1].tree());
    assert!(net.sent_bytes < missing + missing / 5, "{} for {missing}", net.sent_bytes);
    net.settle();
    assert!(net.all_in_sync());
    // Rest is quiet: only the periodic states are left.
    assert!(net.replicators[0].next_tick(net.now) > net.now + 5_000);
}

#[test]
fn a_change_is_pushed_at_once_with_its_content() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.settle();
    net.local(0, "fresh");
    assert_eq!(net.queue.len(), 1);
    let SyncMessage::Push { blobs, .. } = SyncMessage::decode(&net.queue[0].2).unwrap() else {
        panic!("no push");
    };
    assert_eq!(blobs, [b"fresh"]);
    net.deliver(0);
    assert!(net.replicas[1].item("fresh").is_some());
    net.settle();
}

#[test]
fn a_gap_in_gossip_is_pulled() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.settle();
    net.local(0, "lost");
    net.queue.clear();
    net.local(0, "came");
    let begun = net.now;
    net.settle();
    assert_eq!(net.replicas[1].paths(), ["came", "lost"]);
    assert!(net.now - begun < 1_000, "it took {} ms", net.now - begun);
}

#[test]
fn a_lost_push_is_sent_again_soon() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.settle();
    net.local(0, "lost");
    net.queue.clear();
    let begun = net.now;
    net.settle();
    assert_eq!(net.replicas[1].paths(), ["lost"]);
    assert!(net.now - begun < 5_000, "it took {} ms", net.now - begun);
}

#[test]
fn need_is_told_and_holds_back_in_sync() {
    let mut net = Net::new(2);
    net.connect(0, 1);
    net.settle();
    net.replicators[1].applied(3, 30, net.now);
    net.now += 1_000;
    net.tick();
    while !net.queue.is_empty() {
        net.deliver(0);
    }
    assert!(!net.all_in_sync());
    assert_eq!(net.replicators[0].needs_of(&device(2)), Some((3, 30)));
    net.replicators[1].applied(0, 0, net.now);
    net.settle();
    assert!(net.all_in_sync());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_loss_ends_in_sync(
        links in prop::collection::vec((0..5_usize, 0..5_usize), 0..6),
        events in prop::collection::vec((any::<u16>(), 0..10_u8), 1..80),
    ) {
        let mut net = Net::new(5);
        for (one, other) in links {
            if one != other {
                net.connect(one, other);
            }
        }
        for (number, (pick, kind)) in events.into_iter().enumerate() {
            let pick = usize::from(pick);
            match kind {
                0..=2 => net.local(pick % 5, &format!("f{number}")),
                3 if !net.queue.is_empty() => {
                    net.queue.remove(pick % net.queue.len());
                }
                4 => {
                    net.now += 700;
                    net.tick();
                }
                _ if !net.queue.is_empty() => net.deliver(pick % net.queue.len()),
                _ => {}
            }
        }
        // In the end all are connected in a line.
        for at in 0..4 {
            net.connect(at, at + 1);
        }
        net.settle();
        for at in 1..5 {
            prop_assert_eq!(net.replicas[0].tree(), net.replicas[at].tree());
        }
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = SyncMessage::decode(&bytes);
        let mut versioned = vec![1];
        versioned.extend(&bytes);
        let _ = SyncMessage::decode(&versioned);
        let mut replica = Replica::new(1);
        prop_assert!(replica.index.merge(&versioned, 0).is_err());
        let _ = crate::record::Op::decode(&bytes, &replica.index.author());
    }
}
