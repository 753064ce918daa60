//! One device with a folder in memory, for the tests of the folder's parts.

use std::num::NonZeroUsize;
use std::sync::Arc;

use dunlin_identity::{DeviceId, DeviceKey, FolderKeys, Hash};
use dunlin_index::storage::MemStore;
use dunlin_index::{Config, KeyVerifier, Millis, RelPath};
use dunlin_tree::disk::Row;
use dunlin_tree::fs::{Fs, MemFs, Memory, UserOp};
use dunlin_tree::marker::Marker;

use super::{Action, Announce, Folder};
use crate::history::policy::Policy;
use crate::take_up::{Spaces, Start, take_up};

/// The time at which tests begin.
pub(crate) const NOW: Millis = 1_795_255_374_000;
/// How long what was moved aside stays as it is.
pub(crate) const DELAY_MS: Millis = 5_000;

/// A device with one folder; its database outlives its process.
pub(crate) struct Rig {
    seed: u8,
    pub(crate) disk: Memory,
    pub(crate) folder: Folder<MemFs, MemStore>,
    pub(crate) now: Millis,
    pub(crate) spaces: Spaces<MemStore>,
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("a path")
}

/// The folder's keys, and those of one of its devices.
fn keys(seed: u8) -> (FolderKeys, DeviceKey) {
    (FolderKeys::create([7; 32]), DeviceKey::from_seed([seed; 32]))
}

fn open(
    seed: u8,
    disk: &Memory,
    spaces: &Spaces<MemStore>,
    now: Millis,
) -> Folder<MemFs, MemStore> {
    let (keys, key) = keys(seed);
    let device = key.device();
    let config = Config {
        folder: keys.folder(),
        id_key: keys.id_key().expect("a writer has it"),
        device,
        tier: keys.tier(),
        admission: keys.admit(device),
        name: "here".to_owned(),
        verifier: Arc::new(KeyVerifier(keys)),
        fresh_epoch: now,
    };
    let start = Start {
        name: "folder".to_owned(),
        fs: Arc::new(MemFs::on(disk.clone()).expect("the disk is there")),
        spaces: spaces.clone(),
        config,
        signer: Arc::new(key),
        seed: now,
        scan_threads: NonZeroUsize::MIN,
        versions: Policy { delay_ms: DELAY_MS, ..Policy::default() },
        announce: Announce::Durable,
    };
    Folder::new(take_up(start, now).expect("the folder can be taken up"))
}

impl Rig {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self::of_device(8)
    }

    /// The same folder, empty, on a device of its own.
    pub(crate) fn of_device(seed: u8) -> Self {
        let fs = MemFs::new(1);
        let (keys, key) = keys(seed);
        fs.init(&Marker::new(keys.folder(), key.device())).expect("an empty disk takes a folder");
        fs.sync_all().expect("a disk without faults can be synced");
        let disk = fs.volume().clone();
        disk.set_time(i64::try_from(NOW).expect("a date of our time") * 1_000_000);
        let spaces = Spaces {
            index: MemStore::new(),
            rows: MemStore::new(),
            manifests: MemStore::new(),
            meta: MemStore::new(),
            history: MemStore::new(),
            texts: MemStore::new(),
        };
        let folder = open(seed, &disk, &spaces, NOW);
        let mut rig = Self { seed, disk, folder, now: NOW, spaces };
        rig.pass(1_000);
        rig
    }

    /// The file system, as the folder has it.
    pub(crate) fn fs(&self) -> MemFs {
        MemFs::on(self.disk.clone()).expect("the disk is there")
    }

    /// Lets time pass, and does what the folder asks for.
    pub(crate) fn pass(&mut self, ms: Millis) {
        let until = self.now + ms;
        while self.now < until {
            self.folder.tick(self.now);
            self.perform();
            let next = self.folder.next_tick(self.now).max(self.now + 1);
            self.now = next.min(until);
        }
    }

    fn perform(&mut self) {
        while let Some(action) = self.folder.poll() {
            if let Action::Hash(path, stat) = action {
                let announce = Announce::Durable;
                let hash = crate::download::hash_file(&self.fs(), &path, &stat, 1, announce);
                self.folder.hashed(&path, stat, hash, self.now);
            }
        }
    }

    /// Lets the user do something, and the folder see it.
    pub(crate) fn user(&mut self, op: &UserOp) {
        self.disk.user(op);
        self.folder.scan();
        self.pass(2_000);
    }

    /// Lets the user write a file.
    pub(crate) fn write(&mut self, at: &str, bytes: &[u8]) -> Row {
        self.user(&UserOp::Write(path(at), bytes.to_vec()));
        self.row(at)
    }

    /// What the user's files hold, by name.
    pub(crate) fn users(&self) -> Vec<(String, Vec<u8>)> {
        let all = self.disk.all_contents().into_iter();
        all.filter(|(path, _)| !path.starts_with(".dunlin/"))
            .map(|(path, content)| (path, content.to_vec()))
            .collect()
    }

    /// The row of what is at a path.
    pub(crate) fn row(&self, at: &str) -> Row {
        self.folder.rows().find(&path(at)).expect("read").expect("it is there")
    }

    /// Starts anew after the process was killed, or, with `power_cut`, the machine.
    pub(crate) fn restart(&mut self, power_cut: bool) {
        if power_cut {
            self.disk.crash();
            let Spaces { index, rows, manifests, meta, history, texts } = &self.spaces;
            [index, rows, manifests, meta, history, texts].into_iter().for_each(MemStore::crash);
        } else {
            self.disk.heal();
        }
        self.now += 1_000;
        self.folder = open(self.seed, &self.disk, &self.spaces, self.now);
    }

    /// Connects with another device, and lets both hear of each other's changes; what they then ask
    /// for is not answered.
    pub(crate) fn meet(&mut self, other: &mut Self) {
        self.folder.peer_up(other.device(), self.now);
        other.folder.peer_up(self.device(), other.now);
        while self.tell(other) | other.tell(self) {}
    }

    /// Connects with another device; see [`Rig::live`].
    pub(crate) fn connect(&mut self, other: &mut Self) {
        self.folder.peer_up(other.device(), self.now);
        other.folder.peer_up(self.device(), other.now);
    }

    /// Ends that.
    pub(crate) fn part(&mut self, other: &mut Self) {
        self.folder.peer_down(&other.device());
        other.folder.peer_down(&self.device());
    }

    /// Lets time pass for this device and another one that it is connected with: each hears what the other says,
    /// and gets the small contents that the other has.
    pub(crate) fn live(&mut self, other: &mut Self, ms: Millis) {
        let until = self.now + ms;
        while self.now < until {
            other.now = self.now;
            self.folder.tick(self.now);
            other.folder.tick(other.now);
            while self.trade(other) | other.trade(self) {}
            let next = self.folder.next_tick(self.now).min(other.folder.next_tick(other.now));
            self.now = next.max(self.now + 1).min(until);
        }
    }

    /// Does what the folder asks for, with the help of another device; false when that was nothing.
    fn trade(&mut self, other: &mut Self) -> bool {
        let Some(action) = self.folder.poll() else { return false };
        match action {
            Action::Send(_, message) | Action::Broadcast(message) => {
                let heard = other.folder.message(self.device(), message, other.now);
                heard.expect("an honest message can be taken");
            }
            Action::FetchSmall(blocks) => {
                let blobs = blocks.iter().map(|block| (block.hash, other.block(&block.hash)));
                self.folder.blobs(blobs.collect(), self.now);
            }
            _ => {}
        }
        true
    }

    pub(crate) fn device(&self) -> DeviceId {
        keys(self.seed).1.device()
    }

    /// Gives another device what there is to say; false when that was nothing.
    fn tell(&mut self, other: &mut Self) -> bool {
        let mut told = false;
        while let Some(action) = self.folder.poll() {
            if let Action::Send(_, message) | Action::Broadcast(message) = action {
                let heard = other.folder.message(self.device(), message, other.now);
                heard.expect("an honest message can be taken");
                told = true;
            }
        }
        told
    }

    /// A block, if this device can serve it.
    pub(crate) fn block(&self, hash: &Hash) -> Option<bytes::Bytes> {
        let manifests = crate::manifests::ManifestStore::new(self.spaces.manifests.clone());
        let here = crate::serve::read_block(&self.fs(), self.folder.rows(), hash).expect("read");
        let texts = crate::texts::TextStore::new(self.spaces.texts.clone());
        here.or_else(|| crate::serve::read_kept(&self.fs(), &manifests, hash).expect("read"))
            .or_else(|| texts.find(hash).expect("read"))
    }
}

/// Bytes that no compression shortens.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}
