//! The handle to block transfer.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dunlin_blocks::{BLOCK_MAX, BlockRef};
use dunlin_identity::{DeviceId, FolderId, Hash};
use quinn::VarInt;
use tokio::sync::{Semaphore, mpsc};

use crate::api::{
    BlockIo, FetchError, Fetched, FolderPriority, Limits, OpenStream, Priority, Traffic,
    TransferConfig, TransferError,
};
use crate::connect::{Doors, accept_all, serve_other};
use crate::driver::{Command, Driver};
use crate::quic::Quic;
use crate::scheduler::{JobId, spread};
use crate::shared::Shared;

/// Blocks that one fetch has wanted and not been answered for, at most; the rest waits in the
/// fetch.
const WANTED_MAX: usize = 2048;
/// Fetches at once; more wait for their turn.
const FETCHES_MAX: usize = 1024;
/// Commands that wait for the driver.
const COMMANDS_MAX: usize = 256;
/// Answers that are passed on at a time.
const ANSWERS: usize = 64;
/// Addresses that are kept for one device.
const ADDRS_MAX: usize = 32;

/// The handle to block transfer; cheap to clone. When the last handle is dropped, all ends.
#[derive(Clone)]
pub struct Transfer {
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    commands: mpsc::Sender<Command>,
    fetches: Arc<Semaphore>,
    next_job: Arc<AtomicU64>,
}

impl Transfer {
    /// Binds the QUIC endpoint and starts to serve members.
    ///
    /// # Errors
    /// [`TransferError::Bind`] when none of the addresses can be bound; [`TransferError::Tls`] when
    /// the key does not do for TLS.
    // It is a future so that it must be called where a runtime is there to carry the endpoint.
    #[allow(clippy::unused_async)]
    pub async fn bind(config: TransferConfig<'_>) -> Result<Self, TransferError> {
        let quic = Quic::bind(config.key, &config.listen)?;
        let shared = Arc::new(Shared::new(config.key.device(), quic, config.source, config.gate));
        let doors = Arc::new(Doors::new());
        let (commands, commands_receive) = mpsc::channel(COMMANDS_MAX);
        let (driver, reports) = Driver::new(shared.clone(), doors.clone());
        tokio::spawn(driver.run(reports, commands_receive));
        tokio::spawn(accept_all(shared.clone(), doors.clone()));
        Ok(Self {
            shared,
            doors,
            commands,
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            next_job: Arc::default(),
        })
    }

    /// Returns the bound address, whose port is what peers must be told.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.shared.quic.local_addr().into_iter().collect()
    }

    /// Sets where a device can be reached; replaces what was known. The first 32 are kept.
    pub fn set_peer(&self, device: DeviceId, mut addrs: Vec<SocketAddr>) {
        addrs.truncate(ADDRS_MAX);
        self.shared.change(|directory| directory.addrs.insert(device, addrs));
    }

    /// Forgets a device's addresses and closes connections to it; it is a member of no folder
    /// until [`members`](Self::members) says so again.
    pub fn peer_gone(&self, device: &DeviceId) {
        let connections = self.shared.change(|directory| {
            directory.members.values_mut().for_each(|members| {
                members.remove(device);
            });
            directory.remove_device(device)
        });
        for connection in connections {
            connection.close(VarInt::from_u32(0), b"");
        }
    }

    /// Sets which devices can be asked for this folder's blocks; replaces what was known.
    ///
    /// Connections are made when something is wanted.
    pub fn members(&self, folder: FolderId, peers: Vec<DeviceId>) {
        self.shared.change(|directory| {
            if peers.is_empty() {
                directory.members.remove(&folder);
            } else {
                directory.members.insert(folder, peers.into_iter().collect());
            }
        });
    }

    /// Fetches blocks from all members that have them, and puts each into the sink as it comes.
    ///
    /// Each distinct hash gets exactly one answer: its bytes, checked against the hash, or an
    /// error. A block's `len` is an upper bound: a longer block under that name is not accepted.
    /// A block that no reachable member has is asked for again, and at once when a member
    /// appears, for as long as [`set_patience`](Self::set_patience) says before it is
    /// [`FetchError::Unavailable`].
    ///
    /// Blocks are asked for in the order given; with several members, in an order that differs from
    /// device to device, so that those who fetch the same at once can help each other.
    ///
    /// Memory is bounded: when the sink is full, nothing more is asked for. Returns when all
    /// answers are in the sink or the sink is closed; dropping the future ends the fetch too.
    pub async fn fetch(
        &self,
        folder: FolderId,
        blocks: Vec<BlockRef>,
        priority: Priority,
        sink: mpsc::Sender<Fetched>,
    ) {
        let mut known = HashSet::with_capacity(blocks.len());
        let (mut wanted, mut refused) = (Vec::with_capacity(blocks.len()), Vec::new());
        for block in blocks.into_iter().filter(|block| known.insert(block.hash)) {
            if block.len > BLOCK_MAX { refused.push(block) } else { wanted.push(block) }
        }
        drop(known);
        if self.shared.has_several_members(&folder) {
            spread(&self.shared.me, &mut wanted);
        }
        for block in refused {
            let data = Err(FetchError::TooLarge);
            if sink.send(Fetched { hash: block.hash, data }).await.is_err() {
                return;
            }
        }
        if wanted.is_empty() {
            return;
        }
        let Ok(_permit) = self.fetches.acquire().await else { return };
        let job = JobId(self.next_job.fetch_add(1, Ordering::Relaxed));
        let mut fetch = Fetch { commands: &self.commands, job, folder, priority, sink };
        fetch.run(&wanted).await;
    }

    /// Tells that blocks have come which this device can serve from now on: members that want them
    /// are told.
    pub fn came(&self, folder: FolderId, hashes: &[Hash]) {
        self.shared.watchers.came(&folder, hashes);
    }

    /// Returns what was moved for a folder since the start.
    #[must_use]
    pub fn stats(&self, folder: FolderId) -> Traffic {
        self.shared.folder_traffic(&folder)
    }

    /// Returns what was moved to and from a device since the start.
    #[must_use]
    pub fn device_stats(&self, device: &DeviceId) -> Traffic {
        self.shared.device_traffic(device)
    }

    /// Sets the limits for all devices together, from now on; who waits for a limit follows the
    /// change at once.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.limits.set_all(limits);
    }

    /// Sets the limits of single devices, from now on, besides those for all together; devices
    /// that are not named have none of their own any more.
    pub fn set_device_limits(&self, limits: &HashMap<DeviceId, Limits>) {
        self.shared.limits.set_devices(limits);
    }

    /// Sets whether a folder's blocks are asked for before others', from now on.
    pub fn set_folder_priority(&self, folder: FolderId, priority: FolderPriority) {
        self.shared.change(|directory| directory.priorities.insert(folder, priority));
    }

    /// Sets whether bytes cost money, from now on: then only [`Priority::High`] is asked for, and
    /// the rest waits. What others ask of this device is served all the same.
    pub fn set_metered(&self, metered: bool) {
        self.shared.metered.store(metered, Ordering::Relaxed);
        self.shared.changed.notify_one();
    }

    /// Sets after how long a block that no reachable member has is
    /// [`FetchError::Unavailable`]; ten seconds unless set.
    pub fn set_patience(&self, patience: Duration) {
        let patience_us = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        self.shared.patience_us.store(patience_us, Ordering::Relaxed);
    }

    /// Serves the block protocol on a stream that the device opened by another way than QUIC, and
    /// that has proved to be from that device. Must be called inside a tokio runtime.
    pub fn serve_stream(&self, device: DeviceId, stream: Box<dyn BlockIo>) {
        tokio::spawn(serve_other(self.shared.clone(), self.doors.clone(), device, stream));
    }

    /// Sets how to reach a device when QUIC does not within three seconds.
    pub fn set_fallback(&self, fallback: Arc<dyn OpenStream>) {
        self.shared.change(|directory| directory.fallback = Some(fallback));
    }

    /// Stops: fetches that are under way get [`FetchError::Closed`], connections are closed, and
    /// peers are told before this returns.
    pub async fn shutdown(&self) {
        // An error means that it has stopped already.
        let _ = self.commands.send(Command::Stop).await;
        self.shared.quic.shutdown().await;
    }
}

/// One fetch, between its caller's sink and the driver.
struct Fetch<'a> {
    commands: &'a mpsc::Sender<Command>,
    job: JobId,
    folder: FolderId,
    priority: Priority,
    sink: mpsc::Sender<Fetched>,
}

impl Fetch<'_> {
    async fn run(&mut self, wanted: &[BlockRef]) {
        let (answers, mut answered) = mpsc::channel(WANTED_MAX);
        let mut rest = wanted;
        let mut owed = HashSet::new();
        let mut batch = Vec::with_capacity(ANSWERS);
        while !rest.is_empty() || !owed.is_empty() {
            if owed.len() <= WANTED_MAX / 2 && !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(WANTED_MAX - owed.len()));
                rest = later;
                owed.extend(now.iter().map(|block| block.hash));
                if !self.want(now.to_vec(), answers.clone()).await {
                    break;
                }
            }
            tokio::select! {
                count = answered.recv_many(&mut batch, ANSWERS) => if count == 0 { break },
                () = self.sink.closed() => break,
                () = self.commands.closed() => break,
            }
            if !self.pass_on(&mut batch, &mut owed).await {
                break;
            }
        }
        let _ = self.commands.send(Command::End { job: self.job }).await;
        self.close(owed.into_iter().chain(rest.iter().map(|block| block.hash))).await;
    }

    async fn want(&self, blocks: Vec<BlockRef>, answers: mpsc::Sender<Fetched>) -> bool {
        let (job, folder, priority) = (self.job, self.folder, self.priority);
        let want = Command::Want { job, folder, priority, blocks, answers };
        self.commands.send(want).await.is_ok()
    }

    /// Passes answers on to the sink. Returns false when it or the driver is gone.
    async fn pass_on(&self, batch: &mut Vec<Fetched>, owed: &mut HashSet<Hash>) -> bool {
        let mut bytes = 0;
        for fetched in batch.drain(..) {
            bytes += fetched.data.as_ref().map_or(0, |data| data.len() as u64);
            owed.remove(&fetched.hash);
            if self.sink.send(fetched).await.is_err() {
                return false;
            }
        }
        self.commands.send(Command::Consumed { job: self.job, bytes }).await.is_ok()
    }

    /// Answers what is still owed when the transfer is shut down.
    async fn close(&self, owed: impl Iterator<Item = Hash>) {
        for hash in owed {
            if self.sink.send(Fetched { hash, data: Err(FetchError::Closed) }).await.is_err() {
                return;
            }
        }
    }
}
