//! The scheduler among simulated sources, on virtual time: some slow, some lying, some lacking
//! blocks, some dying.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};
use dunlin_transfer::scheduler::{
    Action, Bounds, Fault, FolderPriority, JobId, Micros, Priority, Scheduler, Source,
};
use proptest::prelude::*;

const STEP: Micros = 5_000;
const JOB: JobId = JobId(1);

/// What a simulated source says when it is asked to tell what it has.
#[derive(Clone, Copy, Debug)]
enum Tells {
    Truth,
    Nothing,
    /// That it has everything, over and over.
    Everything,
    /// That it has nothing.
    Poverty,
}

/// How a simulated source behaves.
#[derive(Clone, Debug)]
struct Habit {
    /// Bytes a second; 0 never answers.
    rate: u64,
    /// It has a block when its number modulo 8 is below this.
    has: u64,
    lies: bool,
    tells: Tells,
    /// It goes away at this time.
    dies_at: Option<Micros>,
}

struct Sim {
    habit: Habit,
    queue: VecDeque<BlockRef>,
    /// Bytes that it could have sent by now and has not.
    credit: f64,
    up: bool,
}

struct World {
    scheduler: Scheduler,
    bounds: Bounds,
    sims: BTreeMap<Source, Sim>,
    numbers: HashMap<Hash, u64>,
    delivered: Vec<Hash>,
    failed: HashSet<Hash>,
    faults: Vec<(Source, Fault)>,
    asked: HashMap<Hash, usize>,
    /// What each source has brought, in order.
    brought: HashMap<Source, Vec<Hash>>,
    /// Questions for what was not there.
    in_vain: usize,
    now: Micros,
}

fn folder(number: u8) -> FolderId {
    FolderId([number; 32])
}

fn source(folder_number: u8, device: u8) -> Source {
    Source { folder: folder(folder_number), device: DeviceId::from_bytes([device; 32]) }
}

fn block(folder: u8, number: u64, len: u32) -> BlockRef {
    BlockRef { hash: Hash::of(&[&[folder], &number.to_le_bytes()[..]].concat()), len }
}

impl World {
    fn new(habits: &[Habit]) -> Self {
        let bounds = Bounds {
            bytes: 8 << 20,
            folder_bytes: 6 << 20,
            stall: 2_000_000,
            retry: 500_000,
            give_up: 2_000_000,
            ..Bounds::default()
        };
        let mut world = Self {
            scheduler: Scheduler::new(bounds),
            bounds,
            sims: BTreeMap::new(),
            numbers: HashMap::new(),
            delivered: Vec::new(),
            failed: HashSet::new(),
            faults: Vec::new(),
            asked: HashMap::new(),
            brought: HashMap::new(),
            in_vain: 0,
            now: 1,
        };
        for (device, habit) in habits.iter().enumerate() {
            world.add(source(1, device as u8), habit.clone());
        }
        world
    }

    fn add(&mut self, source: Source, habit: Habit) {
        assert!(self.scheduler.source_up(source, self.now));
        self.sims.insert(source, Sim { habit, queue: VecDeque::new(), credit: 0.0, up: true });
    }

    fn want(&mut self, job: JobId, folder_number: u8, priority: Priority, blocks: &[BlockRef]) {
        for (number, block) in blocks.iter().enumerate() {
            self.numbers.insert(block.hash, number as u64);
        }
        self.scheduler.want(job, folder(folder_number), priority, blocks);
    }

    /// Lets one step of time pass.
    fn step(&mut self) {
        self.act();
        self.now += STEP;
        let sources: Vec<Source> = self.sims.keys().copied().collect();
        for source in sources {
            self.answer(source);
        }
        self.scheduler.tick(self.now);
        self.act();
    }

    fn act(&mut self) {
        for action in self.scheduler.actions(self.now) {
            match action {
                Action::Request { source, blocks } => {
                    let sim = self.sims.get_mut(&source).unwrap();
                    assert!(sim.up, "nobody who is gone is asked");
                    for block in blocks {
                        *self.asked.entry(block.hash).or_default() += 1;
                        sim.queue.push_back(block);
                    }
                    assert!(sim.queue.len() <= self.bounds.window_blocks);
                    let bytes: u64 = sim.queue.iter().map(|block| u64::from(block.len)).sum();
                    assert!(bytes <= self.bounds.window_max.max(1 << 20));
                }
                Action::Watch { source, hashes } => self.tell(source, &hashes),
                // A cancelled block is answered all the same; here always too late.
                Action::Cancel { .. } => {}
                Action::Fail { jobs, hash } => {
                    assert!(!jobs.is_empty());
                    assert!(self.failed.insert(hash), "each block fails once");
                }
                Action::Drop { source, fault } => {
                    self.faults.push((source, fault));
                    let sim = self.sims.get_mut(&source).unwrap();
                    sim.up = false;
                    sim.queue.clear();
                }
            }
        }
        assert!(self.scheduler.load() <= self.bounds.bytes, "memory is bounded");
    }

    fn tell(&mut self, source: Source, hashes: &[Hash]) {
        let habit = &self.sims[&source].habit;
        let has = |hash: &Hash| match habit.tells {
            Tells::Truth => self.numbers[hash] % 8 < habit.has,
            Tells::Nothing | Tells::Everything => true,
            Tells::Poverty => false,
        };
        let (has, lacks): (Vec<Hash>, Vec<Hash>) = hashes.iter().partition(|hash| has(hash));
        if !matches!(habit.tells, Tells::Nothing) {
            self.scheduler.told(&source, &has, &lacks);
        }
    }

    fn answer(&mut self, source: Source) {
        let sim = self.sims.get_mut(&source).unwrap();
        if !sim.up {
            return;
        }
        if sim.habit.dies_at.is_some_and(|at| at <= self.now) {
            sim.up = false;
            sim.queue.clear();
            self.scheduler.source_down(&source);
            return;
        }
        sim.credit += sim.habit.rate as f64 * STEP as f64 / 1e6;
        while let Some(block) = sim.queue.front().copied() {
            if sim.habit.rate == 0 || sim.credit < f64::from(block.len) {
                return;
            }
            sim.queue.pop_front();
            if self.numbers[&block.hash] % 8 >= sim.habit.has {
                self.in_vain += 1;
                self.scheduler.lacks(&source, &block.hash, self.now);
                if matches!(sim.habit.tells, Tells::Everything) {
                    self.scheduler.told(&source, &[block.hash], &[]);
                }
                continue;
            }
            sim.credit -= f64::from(block.len);
            if sim.habit.lies {
                self.scheduler.lied(&source, &block.hash, self.now);
                continue;
            }
            self.brought.entry(source).or_default().push(block.hash);
            for job in self.scheduler.arrived(&source, &block.hash, block.len, self.now) {
                self.delivered.push(block.hash);
                self.scheduler.consumed(job, u64::from(block.len));
            }
        }
        sim.credit = 0.0;
    }

    fn run_until_idle(&mut self, limit: Micros) {
        while !self.scheduler.is_idle() && self.now < limit {
            self.step();
        }
    }
}

fn habits() -> impl Strategy<Value = Vec<Habit>> {
    let rate = prop_oneof![1 => Just(0u64), 2 => Just(300_000), 4 => 1_000_000u64..200_000_000];
    let dies = prop_oneof![3 => Just(None), 1 => (0u64..500_000).prop_map(Some)];
    let habit = (rate, 0u64..=8, prop::bool::weighted(0.2), tells(), dies)
        .prop_map(|(rate, has, lies, tells, dies_at)| Habit { rate, has, lies, tells, dies_at });
    prop::collection::vec(habit, 0..5)
}

fn tells() -> impl Strategy<Value = Tells> {
    let all = vec![Tells::Truth, Tells::Nothing, Tells::Everything, Tells::Poverty];
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn all_that_an_honest_source_has_is_delivered_exactly_once(
        habits in habits(),
        honest_has in 1u64..=8,
        honest_tells in prop::bool::ANY,
        count in 1u64..250,
        len in 1_000u32..100_000,
    ) {
        let mut habits = habits;
        let tells = if honest_tells { Tells::Truth } else { Tells::Nothing };
        let rate = 20_000_000;
        habits.push(Habit { rate, has: honest_has, lies: false, tells, dies_at: None });
        let mut world = World::new(&habits);
        let blocks: Vec<BlockRef> = (0..count).map(|number| block(1, number, len)).collect();
        world.want(JOB, 1, Priority::Normal, &blocks);
        world.run_until_idle(120_000_000);
        prop_assert!(world.scheduler.is_idle(), "it ends");
        let delivered: HashSet<Hash> = world.delivered.iter().copied().collect();
        prop_assert_eq!(delivered.len(), world.delivered.len(), "nothing is delivered twice");
        for (number, block) in blocks.iter().enumerate() {
            let came = delivered.contains(&block.hash);
            prop_assert!(came || number as u64 % 8 >= honest_has, "block {} came", number);
            prop_assert!(came != world.failed.contains(&block.hash), "one answer each");
        }
        prop_assert_eq!(world.scheduler.load(), 0);
    }
}

fn fast(rate: u64) -> Habit {
    Habit { rate, has: 8, lies: false, tells: Tells::Truth, dies_at: None }
}

fn many(folder: u8, count: u64, len: u32) -> Vec<BlockRef> {
    (0..count).map(|number| block(folder, number, len)).collect()
}

#[test]
fn work_is_taken_back_from_a_slow_source() {
    let mut world = World::new(&[fast(100_000), fast(50_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 500, 64 << 10));
    world.run_until_idle(120_000_000);
    assert_eq!(world.delivered.len(), 500);
    // 33 MB at 50 MB/s, where the slow one's window alone would have taken ten seconds; what it
    // was still sending when the last block came is not waited for.
    let twice = world.asked.values().filter(|times| **times > 1).count();
    assert!((1..=40).contains(&twice), "{twice} blocks were asked for twice");
    assert!(world.asked.values().all(|times| *times <= 2));
}

#[test]
fn the_last_block_does_not_wait_for_the_slow_source() {
    let mut world = World::new(&[fast(100_000), fast(50_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 500, 64 << 10));
    while world.delivered.len() < 500 {
        world.step();
        assert!(world.now < 2_000_000, "{} blocks after two seconds", world.delivered.len());
    }
}

#[test]
fn sources_share_the_work_by_their_rate() {
    let mut world = World::new(&[fast(30_000_000), fast(10_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 1000, 64 << 10));
    let begin = world.now;
    while world.delivered.len() < 1000 {
        world.step();
    }
    let seconds = (world.now - begin) as f64 / 1e6;
    // 65.5 MB at 40 MB/s together would be 1.64 s; one alone takes 2.2 s.
    assert!(seconds < 1.95, "{seconds} s");
}

#[test]
fn a_liar_and_a_silent_source_are_dropped_and_shunned() {
    let liar = Habit { lies: true, ..fast(50_000_000) };
    let mut world = World::new(&[liar, fast(0), fast(1_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 200, 64 << 10));
    world.run_until_idle(120_000_000);
    assert_eq!(world.delivered.len(), 200);
    assert!(world.faults.contains(&(source(1, 0), Fault::Lied)));
    assert!(world.faults.contains(&(source(1, 1), Fault::Stalled)));
    assert!(!world.scheduler.is_welcome(&source(1, 0), world.now));
    assert!(!world.scheduler.source_up(source(1, 0), world.now));
}

#[test]
fn what_is_more_urgent_comes_first() {
    let mut world = World::new(&[fast(10_000_000)]);
    let (low, high) = (many(1, 200, 64 << 10), many(2, 10, 1000));
    world.want(JOB, 1, Priority::Low, &low);
    world.step();
    world.want(JobId(2), 1, Priority::High, &high);
    while !high.iter().all(|block| world.delivered.contains(&block.hash)) {
        world.step();
    }
    // No more than what was in flight already.
    assert!(world.delivered.len() < 60, "{} came before", world.delivered.len());
}

#[test]
fn on_a_metered_connection_only_what_is_urgent_comes_until_it_is_over() {
    let mut world = World::new(&[fast(10_000_000), fast(10_000_000)]);
    let (large, small) = (many(1, 50, 64 << 10), many(2, 10, 1000));
    world.scheduler.set_metered(true);
    world.want(JOB, 1, Priority::Normal, &large);
    world.want(JobId(2), 1, Priority::High, &small);
    for _ in 0..1000 {
        world.step();
    }
    // Five seconds, and patience is two: what waits for the end of metering is not given up.
    assert_eq!(world.delivered.len(), 10);
    assert!(small.iter().all(|block| world.delivered.contains(&block.hash)));
    assert!(world.failed.is_empty());
    world.scheduler.set_metered(false);
    world.run_until_idle(20_000_000);
    assert_eq!(world.delivered.len(), 60);
}

#[test]
fn folders_take_turns() {
    let mut world = World::new(&[fast(10_000_000)]);
    world.add(source(2, 0), fast(10_000_000));
    let (one, two) = (many(1, 300, 64 << 10), many(2, 300, 64 << 10));
    world.want(JOB, 1, Priority::Normal, &one);
    world.want(JobId(2), 2, Priority::Normal, &two);
    for _ in 0..100 {
        world.step();
    }
    let of = |blocks: &[BlockRef]| {
        blocks.iter().filter(|block| world.delivered.contains(&block.hash)).count()
    };
    let (one, two) = (of(&one), of(&two));
    assert!(one > 20 && one.abs_diff(two) < 20, "{one} and {two} came");
}

#[test]
fn a_source_that_comes_back_is_asked_for_what_it_lacked() {
    let mut world = World::new(&[Habit { has: 0, ..fast(10_000_000) }]);
    world.want(JOB, 1, Priority::Normal, &many(1, 20, 1000));
    for _ in 0..20 {
        world.step();
    }
    assert!(world.delivered.is_empty() && world.failed.is_empty());
    world.add(source(1, 9), fast(10_000_000));
    for _ in 0..20 {
        world.step();
    }
    assert_eq!(world.delivered.len(), 20);
}

#[test]
fn an_ended_job_leaves_nothing_behind() {
    let mut world = World::new(&[fast(1_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 100, 64 << 10));
    world.step();
    world.scheduler.end(JOB);
    world.run_until_idle(20_000_000);
    assert!(world.scheduler.is_idle());
    assert_eq!((world.scheduler.load(), world.scheduler.wanting().count()), (0, 0));
    assert!(world.delivered.is_empty());
}

#[test]
fn two_jobs_that_want_one_block_both_get_it_for_one_request() {
    let mut world = World::new(&[fast(10_000_000)]);
    let blocks = many(1, 5, 1000);
    world.want(JOB, 1, Priority::Normal, &blocks);
    world.want(JobId(2), 1, Priority::High, &blocks);
    world.run_until_idle(20_000_000);
    assert_eq!(world.delivered.len(), 10);
    assert!(world.asked.values().all(|times| *times == 1));
}

#[test]
fn the_rarest_comes_first_and_nobody_is_asked_for_what_it_lacks() {
    let half = Habit { has: 4, ..fast(10_000_000) };
    let mut world = World::new(&[fast(10_000_000), half.clone(), half]);
    let blocks = many(1, 400, 64 << 10);
    world.want(JOB, 1, Priority::Normal, &blocks);
    world.run_until_idle(20_000_000);
    assert_eq!(world.delivered.len(), 400);
    assert_eq!(world.in_vain, 0);
    let from_first = world.brought[&source(1, 0)].iter().take(150);
    let rare = from_first.filter(|hash| world.numbers[hash] % 8 >= 4).count();
    assert_eq!(rare, 150, "what only the first has is asked of it before all else");
}

#[test]
fn who_promises_in_vain_is_soon_not_believed_and_holds_nothing_up() {
    let boaster = Habit { has: 0, tells: Tells::Everything, ..fast(50_000_000) };
    let mut world = World::new(&[boaster, fast(10_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 200, 64 << 10));
    world.run_until_idle(20_000_000);
    assert_eq!(world.delivered.len(), 200);
    assert!(world.now < 4_000_000, "{} s", world.now as f64 / 1e6);
    assert!(world.in_vain < 2_000, "{} questions in vain", world.in_vain);
}

#[test]
fn what_was_not_asked_for_may_be_told_without_end() {
    let mut world = World::new(&[fast(10_000_000), fast(10_000_000)]);
    world.want(JOB, 1, Priority::Normal, &many(1, 10, 1000));
    world.act();
    for number in 0..10_000 {
        let hash = block(9, number, 1).hash;
        world.scheduler.told(&source(1, 0), &[hash], &[hash]);
        world.scheduler.told(&source(1, 7), &[hash], &[]);
    }
    world.run_until_idle(20_000_000);
    assert_eq!(world.delivered.len(), 10);
}

#[test]
fn a_huge_file_in_one_folder_does_not_starve_another() {
    let mut world = World::new(&[fast(10_000_000)]);
    world.add(source(2, 0), fast(10_000_000));
    world.want(JOB, 1, Priority::Normal, &many(1, 2_000, 64 << 10));
    for _ in 0..50 {
        world.step();
    }
    let small = many(2, 20, 64 << 10);
    world.want(JobId(2), 2, Priority::Normal, &small);
    let before = world.delivered.len();
    while !small.iter().all(|block| world.delivered.contains(&block.hash)) {
        world.step();
    }
    let huge = world.delivered.len() - before - small.len();
    assert!(huge < 60, "{huge} blocks of the huge file came meanwhile");
}

#[test]
fn a_folder_that_goes_before_others_has_them_wait_but_not_for_what_nobody_gives() {
    let mut world = World::new(&[Habit { has: 4, ..fast(10_000_000) }]);
    world.add(source(2, 0), fast(10_000_000));
    let ranks =
        HashMap::from([(folder(1), FolderPriority::High), (folder(3), FolderPriority::Low)]);
    world.scheduler.set_folder_priorities(&ranks);
    let (usual, before) = (many(2, 50, 64 << 10), many(1, 200, 64 << 10));
    world.want(JobId(2), 2, Priority::Normal, &usual);
    world.want(JOB, 1, Priority::Normal, &before);
    world.want(JobId(3), 2, Priority::High, &many(3, 5, 1_000));
    // Half of what goes first is nowhere; that is not waited for.
    while world.delivered.len() < 100 + 50 + 5 {
        world.step();
        assert!(world.now < 20_000_000, "{} blocks came", world.delivered.len());
    }
    let place = |block: &BlockRef| world.delivered.iter().position(|hash| *hash == block.hash);
    let last_before = before.iter().filter_map(place).max().unwrap();
    let first_usual = usual.iter().filter_map(place).min().unwrap();
    assert!(last_before < first_usual + 20, "{last_before} and {first_usual}");
    let urgent = many(3, 5, 1_000).iter().filter_map(place).max().unwrap();
    assert!(urgent < last_before, "what is urgent does not wait");
}
