//! What happens in a run, drawn from its seed: a list of steps, each whole in itself, so that a
//! failing run can be shrunk by leaving steps out.

use dunlin_index::Millis;

use crate::oracle::Unit;
use crate::random::Random;

/// A step of a run.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, kept when others are left out.
    pub number: usize,
    /// When it happens, in virtual milliseconds.
    pub at: Millis,
    /// On which device.
    pub device: usize,
    /// What happens.
    pub what: What,
    /// Decides the details, together with what the device looks like then.
    pub salt: u64,
}

/// What happens in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The user does something.
    User(Act),
    /// The user does something just before one of Dunlin's next operations on the disk.
    Race(Act, u64),
    /// The process ends, and starts again after a while.
    Crash {
        /// Whether the power is cut: then what was not synced is lost.
        power_cut: bool,
        /// In the midst of what: before the so-many-th write to the database or disk.
        before: Before,
        /// What happens to the database while the device is down.
        database: Loss,
        /// How long it stays down.
        down_ms: Millis,
    },
    /// The process ends in good order, and starts again after a while.
    Restart(Millis),
    /// The device is suspended.
    Sleep(Millis),
    /// Everybody is away for so many days.
    Days(u64),
    /// The network falls apart: devices whose bits differ do not reach each other.
    Partition(u64, Millis),
    /// One link is down.
    Cut(usize, Millis),
    /// A backup of the database is made.
    Backup,
    /// The clock jumps by so many milliseconds.
    Clock(i64),
    /// The disk is full.
    DiskFull(Millis),
    /// The disk is mounted read-only.
    ReadOnly(Millis),
    /// One of the next operations on the disk fails.
    Fail(u64),
    /// The folder's disk is not mounted.
    Unmounted(Millis),
    /// The database cannot be written.
    DatabaseFull(Millis),
    /// The watcher sees nothing; a scan follows.
    Deaf(Millis),
    /// The device lies to all others.
    Lie(Millis),
    /// The user pauses the folder for a while.
    Pause(Millis),
    /// The user asks for a scan.
    Scan,
    /// The user removes another device from the folder.
    Remove(usize),
}

/// Where a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Between two things that it does.
    Now,
    /// Before a write to the database.
    Commit(u64),
    /// Before an operation on the disk.
    Operation(u64),
}

/// What happens to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    Kept,
    /// It is replaced by the last backup.
    RolledBack,
    /// It is gone.
    Lost,
}

/// What a user does; the salt decides where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Makes a file.
    Create,
    /// Writes a file anew, in place.
    Edit,
    /// Adds to the end of a file.
    Append,
    /// Empties a file.
    Truncate,
    /// Writes a new file and renames it over the old one.
    Replace,
    /// Moves the old file aside, writes the new one, removes the old one.
    SaveAside,
    /// Renames something within its directory.
    Rename,
    /// Moves something to another directory.
    Move,
    /// Renames something over another file.
    RenameOver,
    /// Removes a file.
    Delete,
    /// Removes a directory with all that is in it.
    DeleteTree,
    /// Makes a directory.
    Mkdir,
    /// Puts a directory where a file was.
    FileToDirectory,
    /// Puts a file where a directory was.
    DirectoryToFile,
    /// Changes permission bits.
    Chmod,
    /// Sets the time of the last change.
    Touch,
    /// Makes a symlink.
    Symlink,
    /// Swaps the names of two things.
    Swap,
    /// Makes many files at once.
    Many,
    /// Makes a file of more than one block.
    Large,
    /// Removes everything.
    DeleteAll,
}

/// Acts with their weights.
const ACTS: &[(Act, u64)] = &[
    (Act::Create, 18),
    (Act::Edit, 16),
    (Act::Append, 4),
    (Act::Truncate, 1),
    (Act::Replace, 8),
    (Act::SaveAside, 4),
    (Act::Rename, 10),
    (Act::Move, 10),
    (Act::RenameOver, 4),
    (Act::Delete, 8),
    (Act::DeleteTree, 4),
    (Act::Mkdir, 7),
    (Act::FileToDirectory, 2),
    (Act::DirectoryToFile, 2),
    (Act::Chmod, 3),
    (Act::Touch, 3),
    (Act::Symlink, 3),
    (Act::Swap, 3),
];

/// A whole run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// How many devices there are.
    pub devices: usize,
    /// Whether signatures and admissions are real ones.
    pub real_keys: bool,
    /// Whether the users write texts, which merge.
    pub texts: bool,
    /// A fault that was planted on purpose.
    pub plant: Option<Plant>,
    /// A part of a content: the trace says where it is, whenever that changes.
    pub follow: Option<String>,
    /// How the network behaves.
    pub network: NetworkPlan,
    /// What happens, in the order of time.
    pub steps: Vec<Step>,
}

/// A fault planted on purpose: it must be found. The first two are in what the simulator stands in
/// for, the others in the code that ships, where the feature `planted-faults` compiles them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Blocks are taken from peers without a look at their hashes.
    TrustHash,
    /// A lost or rolled-back database goes on in the epoch that it had.
    DropEpoch,
    /// The deletion of a directory takes what its author had not seen.
    #[cfg(feature = "planted-faults")]
    SkipVersion,
    /// What was deleted before it arrived is not remembered until it does.
    #[cfg(feature = "planted-faults")]
    ForgetTombstone,
    /// What is replaced on a disk is not compared with what is expected there.
    #[cfg(feature = "planted-faults")]
    TrustTarget,
}

#[cfg(feature = "planted-faults")]
impl Plant {
    /// Gives the fault in the code that ships, if it is one there.
    pub(crate) fn in_shipped_code(self) -> Option<dunlin_index::planted::Fault> {
        use dunlin_index::planted::Fault;
        match self {
            Self::TrustHash | Self::DropEpoch => None,
            Self::SkipVersion => Some(Fault::SkipVersion),
            Self::ForgetTombstone => Some(Fault::ForgetTombstone),
            Self::TrustTarget => Some(Fault::TrustTarget),
        }
    }
}

/// How the network behaves until the faults end.
#[derive(Clone, Copy, Debug)]
pub struct NetworkPlan {
    /// The least time that a message takes.
    pub latency_ms: Millis,
    /// At most so much comes on top, by chance.
    pub jitter_ms: Millis,
    /// So many of 1,000 gossip messages are lost on a hop.
    pub loss: u64,
    /// So many of 1,000 arrive twice.
    pub twice: u64,
}

/// Which kinds of faults a run has.
#[derive(Clone, Copy, Debug)]
struct Mix {
    race: u64,
    crash: u64,
    network: u64,
    disk: u64,
    database: u64,
    clock: u64,
    lie: u64,
    pause: u64,
}

impl Scenario {
    /// What is followed through the run.
    pub fn unit(&self) -> Unit {
        if self.texts { Unit::Word } else { Unit::Content }
    }

    /// Draws the run of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let devices = match random.below(10) {
            0..=5 => 3,
            6..=8 => 4,
            _ => 5,
        };
        let some = |random: &mut Random, weight| if random.permille(350) { weight } else { 0 };
        let mix = Mix {
            race: some(&mut random, 8),
            crash: some(&mut random, 6),
            network: some(&mut random, 8),
            disk: some(&mut random, 4),
            database: some(&mut random, 5),
            clock: some(&mut random, 3),
            lie: some(&mut random, 3),
            pause: some(&mut random, 3),
        };
        let network = NetworkPlan {
            latency_ms: *random.pick(&[1, 5, 20, 80]),
            jitter_ms: *random.pick(&[1, 10, 100, 900]),
            loss: *random.pick(&[0, 0, 50, 300, 900]),
            twice: *random.pick(&[0, 0, 100, 400]),
        };
        let large = random.permille(40);
        let count = random.between(6, 44) as usize;
        let mut at = random.between(0, 2_000);
        let mut steps = Vec::with_capacity(count);
        for number in 0..count {
            at += gap(&mut random);
            let device = random.index(devices);
            let what = draw_what(&mut random, &mix, devices, large);
            steps.push(Step { number, at, device, what, salt: random.draw() });
        }
        let (real_keys, texts) = (seed % 64 == 63, seed % 8 == 5);
        let (plant, follow) = (None, None);
        if seed % 32 == 11 {
            add_removals(seed, devices, &mut steps);
        }
        Self { seed, devices, real_keys, texts, plant, follow, network, steps }
    }
}

/// Lets users remove devices, mostly one. Drawn apart, so that the other steps stay as they are.
fn add_removals(seed: u64, devices: usize, steps: &mut Vec<Step>) {
    let mut random = Random::new(seed ^ 0x4e40_7ed0_dead);
    let last = steps.last().map_or(0, |step| step.at);
    for _ in 0..if random.permille(250) { 2 } else { 1 } {
        let (number, at) = (steps.len(), random.between(0, last));
        let device = random.index(devices);
        let other = (device + 1 + random.index(devices - 1)) % devices;
        steps.push(Step { number, at, device, what: What::Remove(other), salt: random.draw() });
    }
    steps.sort_by_key(|step| step.at);
}

/// The time between two steps: often so short that devices cannot know of each other.
fn gap(random: &mut Random) -> Millis {
    match random.below(100) {
        0..=29 => random.below(5),
        30..=64 => random.between(5, 400),
        65..=94 => random.between(400, 3_000),
        _ => random.between(3_000, 20_000),
    }
}

fn draw_act(random: &mut Random, large: bool) -> Act {
    if large && random.permille(100) {
        return Act::Large;
    }
    match random.below(200) {
        0 => return Act::Many,
        1 => return Act::DeleteAll,
        _ => {}
    }
    let total = ACTS.iter().map(|(_, weight)| weight).sum();
    let mut left = random.below(total);
    for (act, weight) in ACTS {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *act,
        }
    }
    Act::Create
}

fn duration(random: &mut Random) -> Millis {
    match random.below(3) {
        0 => random.between(1, 300),
        1 => random.between(300, 5_000),
        _ => random.between(5_000, 60_000),
    }
}

fn draw_what(random: &mut Random, mix: &Mix, devices: usize, large: bool) -> What {
    const USER: u64 = 60;
    let weights =
        [mix.race, mix.crash, mix.network, mix.disk, mix.database, mix.clock, mix.lie, mix.pause];
    let mut left = random.below(USER + weights.iter().sum::<u64>());
    let mut kind = weights.len();
    for (number, weight) in weights.into_iter().enumerate() {
        if left < weight {
            kind = number;
            break;
        }
        left -= weight;
    }
    let time = duration(random);
    match kind {
        0 => What::Race(draw_act(random, large), random.below(30)),
        1 => match random.below(6) {
            0 => What::Restart(time),
            _ => What::Crash {
                power_cut: random.permille(500),
                before: before(random),
                database: Loss::Kept,
                down_ms: time,
            },
        },
        2 => match random.below(8) {
            0..=2 => What::Partition(random.draw(), time),
            3..=4 => What::Cut(random.index(devices), time),
            5..=6 => What::Sleep(time),
            _ => What::Days(random.between(1, 40)),
        },
        3 => match random.below(6) {
            0 => What::DiskFull(time),
            1 => What::ReadOnly(time),
            2 => What::Unmounted(time),
            3 => What::DatabaseFull(time),
            _ => What::Fail(random.below(40)),
        },
        4 => match random.below(3) {
            0 => What::Backup,
            1 => What::Crash {
                power_cut: random.permille(300),
                before: before(random),
                database: Loss::RolledBack,
                down_ms: time,
            },
            _ => What::Crash {
                power_cut: random.permille(300),
                before: before(random),
                database: Loss::Lost,
                down_ms: time,
            },
        },
        5 => {
            const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1000;
            What::Clock(*random.pick(&[YEAR_MS, -YEAR_MS, 90_000, -90_000, 3_600_000, -3_600_000]))
        }
        6 => What::Lie(time),
        7 => match random.below(3) {
            0 => What::Pause(time),
            1 => What::Deaf(time),
            _ => What::Scan,
        },
        _ => What::User(draw_act(random, large)),
    }
}

fn before(random: &mut Random) -> Before {
    match random.below(3) {
        0 => Before::Now,
        1 => Before::Commit(random.below(8)),
        _ => Before::Operation(random.below(60)),
    }
}
