//! One simulated device: a disk, a database, a clock, and the state machine that ships.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use dunlin_engine::folder::{Announce, Folder};
use dunlin_engine::history::policy::Policy;
use dunlin_engine::manifests::ManifestStore;
use dunlin_engine::serve::FolderBlocks;
use dunlin_engine::take_up::{self, Start};
use dunlin_engine::texts::TextStore;
use dunlin_identity::{Admission, DeviceId, Hash};
use dunlin_index::{Config, Millis, Signer};
use dunlin_tree::disk::DiskTable;
use dunlin_tree::fs::{Fs, MemFs, Memory};
use dunlin_tree::marker::Marker;

use crate::database::{Backup, Database, Space};
use crate::keys::Keys;
use crate::random::Random;

/// Virtual time 0 by a right clock, in milliseconds since 1970.
const BASE_MS: i64 = 1_790_000_000_000;
/// A folder that is not busy looks at the whole disk this often, as on a real device.
const RESCAN_MS: Millis = 60 * 60 * 1000;

/// What was moved aside is packed after this time: soon, so that runs are long enough for it.
const PACK_DELAY_MS: Millis = 3_000;

/// What runs while the process does.
pub struct Running {
    /// The state machine.
    pub folder: Folder<MemFs, Space>,
    /// What others are served from.
    pub blocks: FolderBlocks<MemFs, Space>,
    applied: Option<Hash>,
    rescan_at: Millis,
}

/// A device.
pub struct Device {
    /// Its number.
    pub number: usize,
    /// Its name in the mesh.
    pub id: DeviceId,
    /// Its disk.
    pub disk: Memory,
    /// The disk as its user has it open.
    pub user: MemFs,
    /// Its database.
    pub database: Database,
    /// The last backup of it.
    pub backup: Option<Backup>,
    /// Whether the process runs; while the folder cannot be opened, it runs without one.
    pub alive: bool,
    /// Counts the processes, so that what belonged to an older one is known.
    pub life: u64,
    /// What runs.
    pub running: Option<Running>,
    /// The members that it was told are connected.
    pub peers: BTreeSet<usize>,
    /// Gossip that it has seen.
    pub gossip: BTreeSet<u64>,
    /// Suspended until then.
    pub asleep_until: Option<Millis>,
    /// Without events of the watcher until then.
    pub deaf_until: Option<Millis>,
    /// When the last events of the watcher arrive.
    pub watched_at: Millis,
    /// Lies until then.
    pub lies_until: Option<Millis>,
    /// Whom it refuses, because it knows that they were removed; kept while it does not run.
    pub refuses: BTreeSet<DeviceId>,
    /// When the state machine wants to be called, in virtual time.
    pub timer: Option<Millis>,
    /// How the process is to end.
    pub death: Option<crate::world::Death>,
    /// Its clock's error, in milliseconds.
    pub clock_error: i64,
    clock: dunlin_engine::clock::Steady,
    /// The last time that was given to its disk.
    disk_ns: i64,
    signer: Arc<dyn Signer + Send + Sync>,
    admission: Admission,
}

impl Device {
    /// A device with an empty disk.
    pub fn new(number: usize, keys: &Keys, seed: u64) -> Self {
        let (signer, admission) = keys.devices[number].clone();
        let user = MemFs::new(seed);
        let id = signer.device();
        user.init(&Marker::new(keys.folder, id)).expect("an empty disk takes a folder");
        // That the folder was added is an older, durable fact.
        user.sync_all().expect("a disk without faults can be synced");
        Self {
            number,
            id,
            disk: user.volume().clone(),
            user,
            database: Database::new(),
            backup: None,
            alive: false,
            life: 0,
            running: None,
            peers: BTreeSet::new(),
            gossip: BTreeSet::new(),
            asleep_until: None,
            deaf_until: None,
            watched_at: 0,
            lies_until: None,
            refuses: BTreeSet::new(),
            timer: None,
            death: None,
            clock_error: 0,
            clock: Default::default(),
            disk_ns: 0,
            signer,
            admission,
        }
    }

    /// The time that its process sees.
    pub fn wall(&mut self, now: Millis) -> Millis {
        let wall = BASE_MS + self.clock_error + i64::try_from(now).unwrap_or(i64::MAX / 4);
        self.clock.at(u64::try_from(wall).unwrap_or(0))
    }

    /// Gives the disk a time later than any before, but for jumps of the clock.
    pub fn set_disk_time(&mut self, now: Millis) {
        let wall = BASE_MS + self.clock_error + i64::try_from(now).unwrap_or(i64::MAX / 4);
        let ns = wall.saturating_mul(1_000_000);
        let drift = self.disk_ns - ns;
        // Two changes never have one time: the simulated clock of a disk has no grain.
        self.disk_ns = if (0..10_000_000_000).contains(&drift) { self.disk_ns } else { ns };
        self.disk_ns += 1_000_000;
        self.disk.set_time(self.disk_ns);
    }

    /// Forgets how time went in an older process.
    pub fn reset_clock(&mut self) {
        self.clock = Default::default();
    }

    /// Opens the folder; a new log begins in `epoch`, or in one drawn by chance.
    ///
    /// # Errors
    /// Why it cannot be opened now.
    pub fn open(
        &mut self,
        keys: &Keys,
        now: Millis,
        random: &mut Random,
        epoch: Option<u64>,
    ) -> Result<(), String> {
        let fs = Arc::new(MemFs::on(self.disk.clone()).map_err(|error| error.to_string())?);
        let wall = self.wall(now);
        let spaces = self.database.spaces();
        let config = Config {
            folder: keys.folder,
            id_key: keys.id_key,
            device: self.id,
            tier: self.admission.tier,
            admission: self.admission,
            name: format!("device {}", self.number),
            verifier: Arc::clone(&keys.verifier),
            fresh_epoch: epoch.unwrap_or(random.draw() | 1),
        };
        let start = Start {
            name: format!("f{}", self.number),
            fs: Arc::clone(&fs),
            spaces: spaces.clone(),
            config,
            signer: Arc::clone(&self.signer),
            seed: random.draw(),
            scan_threads: NonZeroUsize::MIN,
            versions: Policy { delay_ms: PACK_DELAY_MS, ..Policy::default() },
            announce: Announce::Durable,
        };
        let parts = take_up::take_up(start, wall).map_err(|error| error.to_string())?;
        let rows = DiskTable::open(spaces.rows).map_err(|error| error.to_string())?;
        let blocks = FolderBlocks {
            fs,
            rows: Arc::new(rows),
            manifests: ManifestStore::new(spaces.manifests),
            texts: TextStore::new(spaces.texts),
            partials: Arc::default(),
        };
        let folder = Folder::new(parts);
        let rescan_at = wall + RESCAN_MS;
        self.running = Some(Running { folder, blocks, applied: None, rescan_at });
        Ok(())
    }

    /// What the folder's thread does after each turn.
    pub fn after_turn(&mut self, now: Millis) {
        let wall = self.wall(now);
        let meta = self.database.spaces().meta;
        let asleep = self.asleep_until.is_some();
        let Some(running) = &mut self.running else {
            self.timer = None;
            return;
        };
        if wall >= running.rescan_at {
            running.rescan_at = wall + RESCAN_MS;
            running.folder.scan();
        }
        if let Some(applied) = running.folder.applied()
            && running.applied != Some(applied)
            && take_up::store_applied(&meta, &applied).is_ok()
        {
            running.applied = Some(applied);
        }
        let next = running.folder.next_tick(wall).min(running.rescan_at);
        // One millisecond is the least that a thread sleeps.
        let next = now + next.saturating_sub(wall).max(1);
        self.timer = (!asleep).then_some(next);
    }

    /// Ends the process in good order.
    pub fn close(&mut self) {
        if let Some(mut running) = self.running.take()
            && running.folder.close()
        {
            // An error only makes the next start take this for a crash.
            let _ = take_up::store_closed(&self.database.spaces().meta);
        }
    }

    /// Whether it takes part in the network now.
    pub fn is_reachable(&self) -> bool {
        self.alive && self.asleep_until.is_none()
    }
}
