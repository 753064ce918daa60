//! What all parts of a transfer share: who is where, what has been moved, the limits.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_identity::{DeviceId, FolderId};
use quinn::Connection;
use tokio::sync::Notify;

use crate::api::{BlockSource, FolderPriority, Gate, OpenStream, Traffic};
use crate::limits::Throttles;
use crate::quic::Quic;
use crate::scheduler::Bounds;
use crate::serve::Watchers;

/// Connections with one device at most; each side may have made one.
const CONNECTIONS_MAX: usize = 4;

/// Who can be reached, and how.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) addrs: HashMap<DeviceId, Vec<SocketAddr>>,
    pub(crate) members: HashMap<FolderId, BTreeSet<DeviceId>>,
    pub(crate) priorities: HashMap<FolderId, FolderPriority>,
    pub(crate) fallback: Option<Arc<dyn OpenStream>>,
    connections: HashMap<DeviceId, Vec<Connection>>,
    dialling: HashMap<DeviceId, Arc<tokio::sync::Mutex<()>>>,
    /// Counts changes, after which devices that could not be reached are tried again at once.
    pub(crate) version: u64,
}

impl Directory {
    /// Returns a live connection with the device, whoever made it.
    pub(crate) fn connection(&mut self, device: &DeviceId) -> Option<Connection> {
        let connections = self.connections.get_mut(device)?;
        connections.retain(|connection| connection.close_reason().is_none());
        connections.first().cloned()
    }

    /// Remembers a connection. Returns false when there are enough with this device.
    pub(crate) fn add_connection(&mut self, device: DeviceId, connection: &Connection) -> bool {
        let connections = self.connections.entry(device).or_default();
        connections.retain(|connection| connection.close_reason().is_none());
        if connections.len() >= CONNECTIONS_MAX {
            return false;
        }
        connections.push(connection.clone());
        self.version += 1;
        true
    }

    pub(crate) fn remove_connection(&mut self, device: &DeviceId, connection: &Connection) {
        if let Some(connections) = self.connections.get_mut(device) {
            connections.retain(|other| other.stable_id() != connection.stable_id());
            if connections.is_empty() {
                self.connections.remove(device);
            }
        }
    }

    /// Forgets a device and returns the connections that are to be closed.
    pub(crate) fn remove_device(&mut self, device: &DeviceId) -> Vec<Connection> {
        self.addrs.remove(device);
        self.dialling.remove(device);
        self.connections.remove(device).unwrap_or_default()
    }

    /// Returns the lock that lets only one task dial a device.
    pub(crate) fn dialling(&mut self, device: DeviceId) -> Arc<tokio::sync::Mutex<()>> {
        self.dialling.retain(|_, lock| Arc::strong_count(lock) > 1);
        self.dialling.entry(device).or_default().clone()
    }
}

/// What the tasks of a transfer share.
pub(crate) struct Shared {
    pub(crate) me: DeviceId,
    pub(crate) quic: Quic,
    pub(crate) source: Arc<dyn BlockSource>,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) limits: Throttles,
    /// A block that nobody has is given up after this many microseconds.
    pub(crate) patience_us: AtomicU64,
    /// Whether only what is urgent is asked for.
    pub(crate) metered: AtomicBool,
    /// Those who want to be told of blocks that come.
    pub(crate) watchers: Watchers,
    /// Woken when the directory has changed.
    pub(crate) changed: Notify,
    directory: Mutex<Directory>,
    traffic: Mutex<TrafficTable>,
}

#[derive(Default)]
struct TrafficTable {
    folders: HashMap<FolderId, Traffic>,
    devices: HashMap<DeviceId, Traffic>,
}

impl Shared {
    pub(crate) fn new(
        me: DeviceId,
        quic: Quic,
        source: Arc<dyn BlockSource>,
        gate: Arc<dyn Gate>,
    ) -> Self {
        Self {
            me,
            quic,
            source,
            gate,
            limits: Throttles::new(),
            patience_us: AtomicU64::new(Bounds::default().give_up),
            metered: AtomicBool::new(false),
            watchers: Watchers::default(),
            changed: Notify::new(),
            directory: Mutex::default(),
            traffic: Mutex::default(),
        }
    }

    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the directory and wakes who waits for that.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        let mut directory = self.directory();
        directory.version += 1;
        let result = change(&mut directory);
        drop(directory);
        self.changed.notify_one();
        result
    }

    /// Returns whether there are more sources of a folder than one.
    pub(crate) fn has_several_members(&self, folder: &FolderId) -> bool {
        self.directory().members.get(folder).is_some_and(|members| members.len() > 1)
    }

    /// Returns a fresh nonce from the system's randomness.
    pub(crate) fn nonce(&self) -> io::Result<[u8; 32]> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        Ok(nonce)
    }

    pub(crate) fn sent(&self, folder: FolderId, device: DeviceId, bytes: u64) {
        let mut table = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        table.folders.entry(folder).or_default().sent += bytes;
        table.devices.entry(device).or_default().sent += bytes;
    }

    pub(crate) fn received(&self, folder: FolderId, device: DeviceId, bytes: u64) {
        let mut table = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        table.folders.entry(folder).or_default().received += bytes;
        table.devices.entry(device).or_default().received += bytes;
    }

    pub(crate) fn folder_traffic(&self, folder: &FolderId) -> Traffic {
        let table = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        table.folders.get(folder).copied().unwrap_or_default()
    }

    pub(crate) fn device_traffic(&self, device: &DeviceId) -> Traffic {
        let table = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        table.devices.get(device).copied().unwrap_or_default()
    }
}
