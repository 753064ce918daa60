//! Devices that join at once and fill each other: many schedulers on virtual time, one device that
//! has everything, and links up that are the bottleneck.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};
use dunlin_transfer::scheduler::{
    Action, Bounds, JobId, Micros, Priority, Scheduler, Source, spread,
};

const STEP: Micros = 5_000;
const LEN: u32 = 64 << 10;
const JOB: JobId = JobId(1);
const FOLDER: FolderId = FolderId([1; 32]);
/// Blocks that a fetch has wanted and not been answered for, at most.
const WANTED_MAX: usize = 2048;

/// News of what a device has go out this often.
const NEWS_EVERY: Micros = 250_000;

/// What one device asks of another and was not answered yet.
type Queue = VecDeque<Hash>;

/// What one device wants to be told of by another.
#[derive(Default)]
struct Watch {
    /// What was not looked up yet.
    fresh: Vec<Hash>,
    /// What was not here so far.
    waiting: BTreeSet<Hash>,
    told_at: Micros,
}

struct Device {
    scheduler: Scheduler,
    has: BTreeSet<Hash>,
    /// What it has not wanted yet.
    rest: VecDeque<BlockRef>,
    open: usize,
    /// Questions to this device, by who asks.
    asked: BTreeMap<usize, Queue>,
    /// What others watch for here, by who does.
    watches: BTreeMap<usize, Watch>,
    sent: u64,
    /// Questions for what was not here.
    in_vain: u64,
    credit: f64,
    /// Whose turn it is to be answered.
    turn: usize,
    done_at: Option<Micros>,
}

struct Swarm {
    devices: Vec<Device>,
    /// Bytes a second that each device sends.
    rate: f64,
    now: Micros,
}

fn id(number: usize) -> DeviceId {
    DeviceId::from_bytes([number as u8 + 1; 32])
}

fn source(number: usize) -> Source {
    Source { folder: FOLDER, device: id(number) }
}

impl Swarm {
    /// Device 0 has all blocks, the others nothing.
    fn new(joiners: usize, blocks: u32, rate: f64) -> Self {
        let block = |i: u32| BlockRef { hash: Hash::of(&i.to_le_bytes()), len: LEN };
        let all: Vec<BlockRef> = (0..blocks).map(block).collect();
        let device = |number: usize| {
            let mut scheduler = Scheduler::new(Bounds::default());
            for other in (0..=joiners).filter(|other| *other != number && number > 0) {
                assert!(scheduler.source_up(source(other), 0));
            }
            let mut rest = all.clone();
            spread(&id(number), &mut rest);
            let seed = number == 0;
            Device {
                scheduler,
                has: if seed { all.iter().map(|b| b.hash).collect() } else { BTreeSet::new() },
                rest: if seed { VecDeque::new() } else { rest.into() },
                open: 0,
                asked: BTreeMap::new(),
                watches: BTreeMap::new(),
                sent: 0,
                in_vain: 0,
                credit: 0.0,
                turn: 0,
                done_at: seed.then_some(0),
            }
        };
        Self { devices: (0..=joiners).map(device).collect(), rate, now: 1 }
    }

    fn run(&mut self, limit: Micros) {
        while self.devices.iter().any(|device| device.done_at.is_none()) {
            assert!(self.now < limit, "not done after {} s", self.now / 1_000_000);
            self.now += STEP;
            for number in 0..self.devices.len() {
                self.ask(number);
                self.tell(number);
                self.answer(number);
            }
        }
    }

    fn ask(&mut self, number: usize) {
        let device = &mut self.devices[number];
        let more = WANTED_MAX.saturating_sub(device.open).min(device.rest.len());
        let wanted: Vec<BlockRef> = device.rest.drain(..more).collect();
        device.open += wanted.len();
        device.scheduler.want(JOB, FOLDER, Priority::Normal, &wanted);
        device.scheduler.tick(self.now);
        for action in device.scheduler.actions(self.now) {
            match action {
                Action::Request { source, blocks } => {
                    let to = (0..self.devices.len()).find(|to| id(*to) == source.device).unwrap();
                    let queue = self.devices[to].asked.entry(number).or_default();
                    queue.extend(blocks.iter().map(|block| block.hash));
                }
                Action::Watch { source, hashes } => {
                    let to = (0..self.devices.len()).find(|to| id(*to) == source.device).unwrap();
                    let watch = self.devices[to].watches.entry(number).or_default();
                    watch.fresh.extend(hashes);
                }
                Action::Cancel { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Tells those who watch a device what it has: at once of what they ask, later now and then.
    fn tell(&mut self, number: usize) {
        let watchers: Vec<usize> = self.devices[number].watches.keys().copied().collect();
        for to in watchers {
            let device = &mut self.devices[number];
            let watch = device.watches.get_mut(&to).unwrap();
            let here = |hash: &Hash| device.has.contains(hash);
            let (mut has, lacks): (Vec<Hash>, Vec<Hash>) =
                watch.fresh.drain(..).partition(|hash| here(hash));
            if self.now >= watch.told_at + NEWS_EVERY {
                has.extend(watch.waiting.iter().filter(|hash| here(hash)));
                watch.waiting.retain(|hash| !here(hash));
                watch.told_at = self.now;
            }
            watch.waiting.extend(&lacks);
            if !has.is_empty() || !lacks.is_empty() {
                self.devices[to].scheduler.told(&source(number), &has, &lacks);
            }
        }
    }

    /// Answers what was asked of a device: who asks gets blocks in turn, at the device's rate.
    fn answer(&mut self, number: usize) {
        let step_bytes = self.rate * STEP as f64 / 1e6;
        let device = &mut self.devices[number];
        device.credit = (device.credit + step_bytes).min(step_bytes + f64::from(LEN));
        let mut answers: Vec<(usize, Hash, bool)> = Vec::new();
        let askers: Vec<usize> = device.asked.keys().copied().collect();
        let mut refused = 0;
        while refused < askers.len() {
            let from = askers[device.turn % askers.len()];
            let queue = device.asked.get_mut(&from).unwrap();
            let front = queue
                .front()
                .copied()
                .filter(|hash| !device.has.contains(hash) || device.credit >= f64::from(LEN));
            let Some(hash) = front else {
                // Who waits for its turn to be sent a block keeps it.
                if !queue.is_empty() {
                    break;
                }
                (device.turn, refused) = (device.turn + 1, refused + 1);
                continue;
            };
            let there = device.has.contains(&hash);
            if there {
                device.credit -= f64::from(LEN);
                device.sent += u64::from(LEN);
            } else {
                device.in_vain += 1;
            }
            queue.pop_front();
            (device.turn, refused) = (device.turn + 1, 0);
            answers.push((from, hash, there));
        }
        for (from, hash, there) in answers {
            self.hand_over(number, from, hash, there);
        }
    }

    fn hand_over(&mut self, from: usize, to: usize, hash: Hash, there: bool) {
        let (now, source) = (self.now, source(from));
        let device = &mut self.devices[to];
        if !there {
            return device.scheduler.lacks(&source, &hash, now);
        }
        for job in device.scheduler.arrived(&source, &hash, LEN, now) {
            device.scheduler.consumed(job, u64::from(LEN));
            assert!(device.has.insert(hash), "each block comes once");
            device.open -= 1;
        }
        if device.open == 0 && device.rest.is_empty() {
            device.done_at.get_or_insert(now);
        }
    }
}

#[test]
fn those_who_join_at_once_fill_each_other() {
    let (joiners, blocks, rate) = (5, 1000, 10e6);
    let mut swarm = Swarm::new(joiners, blocks, rate);
    swarm.run(60_000_000);
    let size = u64::from(blocks) * u64::from(LEN);
    // The one that has it all could send everything to everybody in 33 s; each block once in 6.6 s.
    let last = swarm.devices.iter().filter_map(|device| device.done_at).max().unwrap();
    let seconds = last as f64 / 1e6;
    let alone = joiners as f64 * size as f64 / rate;
    assert!(seconds < 0.3 * alone, "{seconds} s, from one source {alone} s");
    let copies = swarm.devices[0].sent as f64 / size as f64;
    assert!(copies < 1.5, "the first has sent everything {copies} times");
    let in_vain: u64 = swarm.devices.iter().map(|device| device.in_vain).sum();
    assert_eq!(in_vain, 0, "nobody was asked for what it lacks");
}

#[test]
fn each_device_has_an_order_of_its_own_and_misses_nothing() {
    let block = |i: u32| BlockRef { hash: Hash::of(&i.to_le_bytes()), len: LEN };
    let all: Vec<BlockRef> = (0..1000).map(block).collect();
    let order = |number| {
        let mut order = all.clone();
        spread(&id(number), &mut order);
        order
    };
    let (one, other) = (order(1), order(2));
    assert_eq!(one, order(1));
    let same = one.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same < 100, "{same} blocks are at the same place");
    let set = |blocks: &[BlockRef]| blocks.iter().map(|b| b.hash).collect::<BTreeSet<_>>();
    assert!(one.len() == 1000 && set(&one) == set(&all));
    spread(&id(1), &mut Vec::new());
}
