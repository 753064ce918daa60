//! What the thread of a folder does on a real device, here for all devices in turn.

use std::collections::BTreeMap;

use bytes::Bytes;
use dunlin_blocks::{BlockRef, FileHash, ManifestWalk};
use dunlin_engine::assemble::Assembly;
use dunlin_engine::download::{self, DownloadError};
use dunlin_engine::folder::{Action, Announce, DOWNLOADS_MAX, Folder, LargeFile, SMALL_IN_FLIGHT};
use dunlin_engine::network::ServeBlocks;
use dunlin_identity::Hash;
use dunlin_index::{Kind, Millis, RelPath};
use dunlin_tree::fs::{FileKind, Fs, MemFs, Stat, TempName, Touched};
use dunlin_tree::settle::{Node, RawEvent, RawKind};

use super::{Downloaded, Event, World};
use crate::database::Space;
use crate::oracle::Files;
use crate::scenario::Plant;

/// A folder that cannot be opened is tried again after this time, as on a real device.
const REOPEN_MS: Millis = 2_000;
/// Manifest pieces that are asked for at a time.
const PIECES_AT_ONCE: usize = 256;

impl World {
    /// Lets the state machine of a device do something, and does what it then asks for.
    pub(super) fn with_folder(
        &mut self,
        device: usize,
        turn: impl FnOnce(&mut Folder<MemFs, Space>, Millis),
    ) {
        let now = self.now;
        let raced = self.races.iter().any(|race| race.device == device);
        let before = raced.then(|| Files::on(&self.devices[device].disk));
        let there = &mut self.devices[device];
        there.set_disk_time(now);
        let wall = there.wall(now);
        if let Some(running) = &mut there.running {
            turn(&mut running.folder, wall);
        }
        self.after_turn(device);
        if let Some(before) = before {
            self.races_over(device, &before);
        }
        self.note_members(device);
    }

    /// What a folder's thread does when its timer is due.
    pub(super) fn tick(&mut self, device: usize) {
        self.with_folder(device, |folder, wall| folder.tick(wall));
    }

    fn after_turn(&mut self, device: usize) {
        if self.devices[device].database.is_dead() {
            return self.died(device);
        }
        self.perform(device);
        self.devices[device].after_turn(self.now);
        if self.devices[device].database.is_dead() {
            return self.died(device);
        }
        self.tell_watcher(device, None);
        let there = &mut self.devices[device];
        if there.running.as_ref().is_some_and(|running| running.folder.must_reopen()) {
            there.running = None;
            there.timer = None;
            there.life += 1;
            let life = there.life;
            self.note(|| format!("{device}: the folder is given up"));
            self.soon(REOPEN_MS, Event::Start(device, life));
        }
    }

    fn perform(&mut self, device: usize) {
        let life = self.devices[device].life;
        while let Some(action) =
            self.devices[device].running.as_mut().and_then(|running| running.folder.poll())
        {
            match action {
                Action::Send(peer, message) => self.send(device, peer, &message),
                Action::Broadcast(message) => self.broadcast(device, &message),
                Action::Hash(path, stat) => {
                    let delay = self.random.between(1, 50);
                    self.soon(delay, Event::Hash { device, life, path, stat });
                }
                Action::FetchSmall(blocks) => {
                    if blocks.len() > SMALL_IN_FLIGHT {
                        self.fail(format!("{} contents asked for at once", blocks.len()));
                    }
                    let delay = self.random.between(1, 60);
                    self.soon(delay, Event::Fetch { device, life, blocks });
                }
                Action::Download(file) => {
                    let delay = self.random.between(1, 200);
                    self.soon(delay, Event::Download { device, life, file });
                }
                Action::Event(event) => self.note(|| format!("{device}: {event:?}")),
            }
        }
        let under_way = self.queue.iter().filter(|due| {
            matches!(&due.0.event, Event::Download { device: d, life: l, .. } if (*d, *l) == (device, life))
        });
        if under_way.count() > DOWNLOADS_MAX {
            self.fail("more downloads at once than the bound".to_owned());
        }
    }

    /// Opens the folder of a device, at its start or after it had to be given up.
    pub(super) fn start(&mut self, device: usize, life: u64) {
        if self.devices[device].life != life || self.devices[device].running.is_some() {
            return;
        }
        let fresh = !self.devices[device].alive;
        let there = &mut self.devices[device];
        there.alive = true;
        there.set_disk_time(self.now);
        // What happened while nobody watched is found by the scan.
        there.disk.take_touched();
        let epoch = (self.scenario.plant == Some(Plant::DropEpoch)).then_some(1);
        match there.open(&self.keys, self.now, &mut self.random, epoch) {
            Ok(()) => self.note(|| format!("{device}: started")),
            Err(error) => {
                self.note(|| format!("{device}: cannot start: {error}"));
                let dead = self.devices[device].database.is_dead();
                if dead {
                    return self.died(device);
                }
                self.soon(REOPEN_MS, Event::Start(device, life));
            }
        }
        if fresh {
            self.update_links();
        }
        let there = &self.devices[device];
        let peers: Vec<_> = there.peers.iter().map(|peer| self.devices[*peer].id).collect();
        self.with_folder(device, |folder, wall| {
            for peer in peers {
                folder.peer_up(peer, wall);
            }
            folder.tick(wall);
        });
    }

    /// Gives the watcher of a device what has changed on its disk.
    pub(super) fn tell_watcher(&mut self, device: usize, moved: Option<(&RelPath, &RelPath)>) {
        let there = &self.devices[device];
        let touched = there.disk.take_touched();
        if !there.alive || there.running.is_none() || there.deaf_until.is_some() {
            return;
        }
        let events = match touched {
            Some(touched) if touched.is_empty() => return,
            Some(touched) => self.raw_events(device, &touched, moved),
            None => vec![RawEvent::overflow()],
        };
        let life = there.life;
        let delay = self.random.below(4) * self.random.below(6);
        // Late, but in their order.
        let at = (self.now + delay).max(self.devices[device].watched_at);
        self.devices[device].watched_at = at;
        self.at(at, Event::Watch { device, life, events });
    }

    fn raw_events(
        &self,
        device: usize,
        touched: &[Touched],
        moved: Option<(&RelPath, &RelPath)>,
    ) -> Vec<RawEvent> {
        let there = &self.devices[device];
        let mut events = Vec::new();
        for Touched { path, gone } in touched {
            let stat = there.user.stat(path).ok().flatten();
            let known = there.running.as_ref().and_then(|r| r.folder.rows().find(path).ok()?);
            let was_dir = known.is_some_and(|row| row.kind == Kind::Directory);
            let is_dir = stat.map_or(was_dir, |stat| stat.kind == FileKind::Directory);
            let mut push = |kind| events.push(RawEvent { kind, path: path.clone(), is_dir });
            let cookie = Some(there.life as u32 ^ self.numbers as u32);
            match (moved, stat.map(|stat| stat.kind)) {
                (Some((from, _)), _) if path == from => push(RawKind::MovedFrom(cookie)),
                (Some((_, to)), _) if path == to => push(RawKind::MovedTo(cookie)),
                (_, None) => push(RawKind::Remove),
                _ if *gone => push(RawKind::Remove),
                (_, Some(FileKind::Directory)) => push(RawKind::Create(Node::Directory)),
                (_, Some(FileKind::Symlink)) => push(RawKind::Create(Node::Symlink)),
                (_, Some(_)) => {
                    push(RawKind::Modify);
                    push(RawKind::CloseWrite);
                }
            }
        }
        if moved.is_some() {
            // The name that is left is told first.
            events.sort_by_key(|event| matches!(event.kind, RawKind::MovedTo(_)));
        }
        events
    }

    pub(super) fn watched(&mut self, device: usize, life: u64, events: Vec<RawEvent>) {
        let again = || Event::Watch { device, life, events: events.clone() };
        if !self.reaches(device, life, again) {
            return;
        }
        self.note(|| {
            let shown: Vec<_> = events.iter().map(|e| format!("{:?} {}", e.kind, e.path)).collect();
            format!("{device}: watcher: {}", shown.join(", "))
        });
        self.with_folder(device, |folder, wall| {
            for event in events {
                folder.event(event, wall);
            }
        });
    }

    pub(super) fn hash(&mut self, device: usize, life: u64, path: &RelPath, stat: Stat) {
        let again = || Event::Hash { device, life, path: path.clone(), stat };
        if !self.reaches(device, life, again) {
            return;
        }
        let Some(running) = &self.devices[device].running else { return };
        let result = download::hash_file(&*running.blocks.fs, path, &stat, 1, Announce::Durable);
        self.with_folder(device, |folder, wall| folder.hashed(path, stat, result, wall));
    }

    /// Asks the connected members for a block, in an order by chance.
    fn ask(&mut self, device: usize, hash: &Hash, len: u32) -> Option<Bytes> {
        let mut peers: Vec<usize> = self.devices[device].peers.iter().copied().collect();
        while !peers.is_empty() {
            let peer = peers.swap_remove(self.random.index(peers.len()));
            let there = &self.devices[peer];
            let refused = there.refuses.contains(&self.devices[device].id);
            if !there.is_reachable() || !there.peers.contains(&device) || refused {
                continue;
            }
            let Some(running) = &there.running else { continue };
            let mut data = running.blocks.read(hash).map(|data| data.to_vec());
            if there.lies_until.is_some()
                && let Some(data) = &mut data
                && !data.is_empty()
            {
                let at = self.random.index(data.len());
                data[at] ^= 1 << self.random.below(8);
            }
            // Who fetches checks length and hash, as the block transfer does.
            let trusted = self.scenario.plant == Some(Plant::TrustHash);
            if let Some(data) = data
                && data.len() <= len as usize
                && (trusted || dunlin_blocks::address(&data) == *hash)
            {
                return Some(data.into());
            }
        }
        None
    }

    pub(super) fn fetch(&mut self, device: usize, life: u64, blocks: &[BlockRef]) {
        let again = || Event::Fetch { device, life, blocks: blocks.to_vec() };
        if !self.reaches(device, life, again) {
            return;
        }
        let blobs =
            blocks.iter().map(|block| (block.hash, self.ask(device, &block.hash, block.len)));
        let blobs: Vec<_> = blobs.collect();
        let delay = self.random.between(1, 60);
        self.soon(delay, Event::Fetched { device, life, blobs });
    }

    pub(super) fn fetched(&mut self, device: usize, life: u64, blobs: Vec<(Hash, Option<Bytes>)>) {
        let again = || Event::Fetched { device, life, blobs: blobs.clone() };
        if self.reaches(device, life, again) {
            self.note(|| {
                let missing = blobs.iter().filter(|(_, data)| data.is_none()).count();
                format!("{device}: fetched {}, {missing} of them nowhere", blobs.len())
            });
            self.with_folder(device, |folder, wall| folder.blobs(blobs, wall));
        }
    }

    pub(super) fn download(&mut self, device: usize, life: u64, file: &LargeFile) {
        let again = || Event::Download { device, life, file: file.clone() };
        if !self.reaches(device, life, again) {
            return;
        }
        self.devices[device].set_disk_time(self.now);
        let result = self.assemble(device, file);
        if self.devices[device].database.is_dead() {
            return self.died(device);
        }
        let root = file.root;
        let delay = self.random.between(1, 100);
        let result = Box::new(result);
        self.soon(delay, Event::Downloaded { device, life, root, result });
    }

    /// Brings a large content together, as the shell of a real device does.
    fn assemble(
        &mut self,
        device: usize,
        file: &LargeFile,
    ) -> Result<(TempName, FileHash), DownloadError> {
        let Some(running) = &self.devices[device].running else {
            return Err(DownloadError::Closed);
        };
        let blocks = (
            std::sync::Arc::clone(&running.blocks.fs),
            std::sync::Arc::clone(&running.blocks.rows),
            running.blocks.manifests.clone(),
        );
        let (fs, rows, manifests) = blocks;
        let mut walk = ManifestWalk::new(file.root, file.size)?;
        let mut pieces = BTreeMap::new();
        while !walk.is_complete() {
            for piece in walk.wanted(PIECES_AT_ONCE) {
                let here = manifests.get(&piece.hash).ok().flatten();
                let data = here.or_else(|| self.ask(device, &piece.hash, piece.len));
                let data = data.ok_or(DownloadError::Unavailable)?;
                walk.supply(&piece.hash, &data)?;
                pieces.insert(piece.hash, data.to_vec());
            }
        }
        let manifest = walk.finish()?;
        let mut assembly = Assembly::begin(&*fs, &*rows, &manifests, &manifest, &file.temp)?;
        for block in assembly.missing().to_vec() {
            // A transfer may break off in the middle.
            let broken = !self.calm && self.random.permille(30);
            let data = if broken { None } else { self.ask(device, &block.hash, block.len) };
            if let Some(data) = data {
                assembly.supply(&block.hash, &data)?;
            }
        }
        assembly.checkpoint().save(&manifests)?;
        if !assembly.is_complete() {
            return Err(DownloadError::Unavailable);
        }
        let (root, size, temp) = (file.root, file.size, file.temp.clone());
        let manifest_blocks = pieces.into_iter().collect();
        let blocks = manifest.offsets().collect();
        Ok((temp, FileHash { root, size, blocks, manifest_blocks }))
    }

    pub(super) fn downloaded(&mut self, device: usize, life: u64, root: Hash, result: Downloaded) {
        // What came for a suspended device is found by it when it wakes: nothing is lost by telling
        // it now, since its timers stand still.
        let there = &self.devices[device];
        if there.life == life && there.running.is_some() {
            self.note(|| format!("{device}: downloaded {root}: {}", result.is_ok()));
            self.with_folder(device, |folder, wall| folder.downloaded(root, result, wall));
        }
    }
}
