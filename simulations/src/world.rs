//! A mesh in one process: devices, a network between them, and virtual time.
//!
//! Everything that happens is an event in one queue, ordered by time and by number. Nothing here
//! reads a clock, starts a thread or depends on the order of a hash table: the seed decides all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::{BlockRef, FileHash};
use dunlin_engine::download::DownloadError;
use dunlin_engine::folder::LargeFile;
use dunlin_identity::{DeviceId, Hash};
use dunlin_index::{Millis, RelPath};
use dunlin_tree::fs::{Stat, TempName};
use dunlin_tree::settle::RawEvent;

use crate::device::Device;
use crate::keys::Keys;
use crate::oracle::{Files, Holdings, Oracle};
use crate::random::Random;
use crate::scenario::{Scenario, Step};

mod checks;
mod faults;
mod follow;
mod last_word;
mod members;
mod network;
mod shell;
mod steps;

pub use faults::Death;

/// Lines of trace that are kept: the last ones.
const TRACE_MAX: usize = 20_000;
/// More events than this in one run are a livelock.
const EVENTS_MAX: u64 = 400_000;

/// What happens at a moment.
#[derive(Debug)]
enum Event {
    Step(Step),
    /// The process of a device starts, or its folder is tried again.
    Start(usize, u64),
    /// A fault ends.
    Over(usize, Ends),
    Up {
        device: usize,
        peer: usize,
        link: u64,
    },
    Down {
        device: usize,
        peer: usize,
        link: u64,
    },
    Direct {
        from: usize,
        to: usize,
        link: u64,
        message: Arc<[u8]>,
    },
    Gossip {
        via: usize,
        to: usize,
        link: u64,
        author: DeviceId,
        id: u64,
        message: Arc<[u8]>,
    },
    Watch {
        device: usize,
        life: u64,
        events: Vec<RawEvent>,
    },
    Hash {
        device: usize,
        life: u64,
        path: RelPath,
        stat: Stat,
    },
    Fetch {
        device: usize,
        life: u64,
        blocks: Vec<BlockRef>,
    },
    Fetched {
        device: usize,
        life: u64,
        blobs: Vec<(Hash, Option<Bytes>)>,
    },
    Download {
        device: usize,
        life: u64,
        file: LargeFile,
    },
    Downloaded {
        device: usize,
        life: u64,
        root: Hash,
        result: Box<Downloaded>,
    },
}

impl Event {
    /// The device whose process this is for, if a suspended one gets it later.
    fn process(&self) -> Option<usize> {
        match self {
            Self::Watch { device, .. }
            | Self::Hash { device, .. }
            | Self::Fetch { device, .. }
            | Self::Fetched { device, .. }
            | Self::Download { device, .. } => Some(*device),
            _ => None,
        }
    }
}

type Downloaded = Result<(TempName, FileHash), DownloadError>;

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Sleep,
    Partition,
    Cut,
    Disk,
    Database,
    Deafness,
    Pause,
    Lies,
}

/// An event in the queue.
struct Due {
    at: Millis,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A user's act that waits for its moment between two operations of Dunlin.
struct Race {
    device: usize,
    /// The operation before which it comes.
    at: u64,
    /// The path at which it puts or removes something.
    path: String,
    wrote: Vec<Vec<u8>>,
}

/// One run.
pub struct World {
    now: Millis,
    scenario: Scenario,
    keys: Keys,
    random: Random,
    devices: Vec<Device>,
    queue: BinaryHeap<Reverse<Due>>,
    numbers: u64,
    events: u64,
    links: BTreeMap<(usize, usize), network::Link>,
    partition: Option<u64>,
    cuts: BTreeMap<(usize, usize), u64>,
    races: Vec<Race>,
    steps_left: usize,
    oracle: Oracle,
    /// No more faults come, and the network is a good one.
    calm: bool,
    failure: Option<String>,
    /// Whether a user has taken back a mass deletion lately.
    held_undone: bool,
    trace: Option<Vec<String>>,
    /// Where what is followed was when that was told last, by device.
    followed: Vec<Vec<String>>,
    /// Bytes that were sent before, for liars to repeat.
    overheard: Vec<Arc<[u8]>>,
}

/// How a run has ended.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong; nothing when all is well.
    pub failure: Option<String>,
    /// What happened, when that was asked for.
    pub trace: Vec<String>,
    /// How many events there were.
    pub events: u64,
}

impl World {
    /// Prepares a run.
    pub fn new(scenario: Scenario, trace: bool) -> Self {
        let mut random = Random::new(scenario.seed ^ 0x5eed_0fd0_1e55);
        let keys = Keys::make(scenario.devices, scenario.real_keys, &mut random);
        let devices =
            (0..scenario.devices).map(|number| Device::new(number, &keys, random.draw())).collect();
        let unit = scenario.unit();
        let mut world = Self {
            now: 0,
            scenario,
            keys,
            random,
            devices,
            queue: BinaryHeap::new(),
            numbers: 0,
            events: 0,
            links: BTreeMap::new(),
            partition: None,
            cuts: BTreeMap::new(),
            races: Vec::new(),
            steps_left: 0,
            oracle: Oracle::of(unit),
            calm: false,
            failure: None,
            held_undone: false,
            trace: trace.then(Vec::new),
            followed: Vec::new(),
            overheard: Vec::new(),
        };
        for device in 0..world.devices.len() {
            let at = world.random.below(400);
            world.devices[device].life = 1;
            world.at(at, Event::Start(device, 1));
        }
        world.steps_left = world.scenario.steps.len();
        for step in world.scenario.steps.clone() {
            world.at(step.at, Event::Step(step));
        }
        world
    }

    /// Runs to the end, and says how it ended.
    pub fn run(mut self) -> Outcome {
        self.run_steps();
        if self.failure.is_none() {
            self.run_to_quiet();
        }
        if self.failure.is_none() {
            self.check_end();
        }
        if self.failure.is_none() {
            self.check_deletion();
        }
        Outcome {
            failure: self.failure,
            trace: self.trace.unwrap_or_default(),
            events: self.events,
        }
    }

    fn run_steps(&mut self) {
        while self.failure.is_none() && self.steps_left > 0 && self.advance(Millis::MAX) {}
        let until = self.now + 100;
        while self.failure.is_none() && self.advance(until) {}
    }

    /// Does what comes next, if it comes until then.
    fn advance(&mut self, until: Millis) -> bool {
        self.events += 1;
        if self.events > EVENTS_MAX {
            self.fail(format!("no end after {EVENTS_MAX} events"));
            return false;
        }
        let timer = self.devices.iter().filter_map(|d| Some((d.timer?, d.number))).min();
        let queued = self.queue.peek().map(|Reverse(due)| due.at);
        let next = match (timer, queued) {
            (Some((at, _)), Some(queued)) => at.min(queued),
            (Some((at, _)), None) => at,
            (None, Some(queued)) => queued,
            (None, None) => return false,
        };
        if next > until {
            self.now = self.now.max(until);
            return false;
        }
        self.now = self.now.max(next);
        match timer {
            Some((at, device)) if queued.is_none_or(|queued| at < queued) => self.tick(device),
            _ => {
                if let Some(Reverse(due)) = self.queue.pop() {
                    self.handle(due.event);
                }
            }
        }
        self.follow();
        true
    }

    fn at(&mut self, at: Millis, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse(Due { at, number: self.numbers, event }));
    }

    fn soon(&mut self, delay: Millis, event: Event) {
        self.at(self.now + delay, event);
    }

    fn fail(&mut self, why: String) {
        self.note(|| format!("FAILED: {why}"));
        self.failure.get_or_insert(why);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() >= TRACE_MAX {
                trace.drain(..TRACE_MAX / 2);
            }
            trace.push(format!("{:>8} {}", self.now, line()));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Step(step) => {
                self.steps_left -= 1;
                self.step(&step);
            }
            Event::Start(device, life) => self.start(device, life),
            Event::Over(device, ends) => self.over(device, ends),
            Event::Up { device, peer, link } => self.link_up(device, peer, link),
            Event::Down { device, peer, link } => self.link_down(device, peer, link),
            Event::Direct { from, to, link, message } => self.direct(from, to, link, &message),
            Event::Gossip { via, to, link, author, id, message } => {
                self.gossip(via, to, link, author, id, &message);
            }
            Event::Watch { device, life, events } => self.watched(device, life, events),
            Event::Hash { device, life, path, stat } => self.hash(device, life, &path, stat),
            Event::Fetch { device, life, blocks } => self.fetch(device, life, &blocks),
            Event::Fetched { device, life, blobs } => self.fetched(device, life, blobs),
            Event::Download { device, life, file } => self.download(device, life, &file),
            Event::Downloaded { device, life, root, result } => {
                self.downloaded(device, life, root, *result);
            }
        }
    }

    /// Whether an event that was meant for a process can reach it; a suspended one gets it later.
    fn reaches(&mut self, device: usize, life: u64, event: impl FnOnce() -> Event) -> bool {
        let there = &self.devices[device];
        if !there.alive || there.life != life || there.running.is_none() {
            return false;
        }
        if let Some(until) = there.asleep_until {
            let event = event();
            self.at(until.max(self.now) + 1, event);
            return false;
        }
        true
    }

    fn holdings(&self) -> Vec<Holdings> {
        let files = self.devices.iter().map(|device| Files::on(&device.disk));
        files.map(|files| Holdings::of(&files, self.oracle.unit)).collect()
    }
}
