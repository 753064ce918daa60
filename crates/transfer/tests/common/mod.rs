//! Devices in one process, on loopback.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Hash};
use dunlin_transfer::{
    BlockIo, BlockSource, BoxFuture, FetchError, Fetched, Gate, OpenStream, Priority, Transfer,
    TransferConfig,
};
use tokio::sync::mpsc;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Blocks in memory; may send garbage, and tells how many blocks were read.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) blocks: Mutex<HashMap<Hash, Bytes>>,
    pub(crate) lies: bool,
    pub(crate) slow: Option<Duration>,
    pub(crate) reads: Mutex<usize>,
}

impl Store {
    pub(crate) fn of(blocks: &[Bytes]) -> Self {
        let blocks = blocks.iter().map(|block| (Hash::of(block), block.clone())).collect();
        Self { blocks: Mutex::new(blocks), ..Self::default() }
    }
}

impl BlockSource for Store {
    fn read(&self, _folder: FolderId, hash: &Hash) -> Option<Bytes> {
        *self.reads.lock().unwrap() += 1;
        if let Some(slow) = self.slow {
            std::thread::sleep(slow);
        }
        let block = self.blocks.lock().unwrap().get(hash).cloned();
        if self.lies { block.map(|block| Bytes::from(vec![0xAB; block.len()])) } else { block }
    }

    fn has_many(&self, _folder: FolderId, hashes: &[Hash]) -> Vec<bool> {
        let blocks = self.blocks.lock().unwrap();
        hashes.iter().map(|hash| blocks.contains_key(hash)).collect()
    }
}

/// Lets members of one folder in.
pub(crate) struct Members {
    pub(crate) keys: FolderKeys,
    pub(crate) devices: Mutex<HashSet<DeviceId>>,
}

impl Gate for Members {
    fn keys(&self, folder: FolderId) -> Option<FolderKeys> {
        (folder == self.keys.folder()).then(|| self.keys.clone())
    }

    fn is_member(&self, folder: FolderId, device: &DeviceId) -> bool {
        folder == self.keys.folder() && self.devices.lock().unwrap().contains(device)
    }
}

/// One device.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) transfer: Transfer,
    pub(crate) store: Arc<Store>,
    pub(crate) gate: Arc<Members>,
}

pub(crate) fn folder_keys() -> FolderKeys {
    FolderKeys::create([7; 32])
}

pub(crate) async fn device(seed: u8, keys: &FolderKeys, store: Store) -> Device {
    let key = DeviceKey::from_seed([seed; 32]);
    let store = Arc::new(store);
    let gate = Arc::new(Members { keys: keys.clone(), devices: Mutex::default() });
    let transfer = Transfer::bind(TransferConfig {
        key: &key,
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        source: store.clone(),
        gate: gate.clone(),
    })
    .await
    .unwrap();
    Device { id: key.device(), transfer, store, gate }
}

/// Makes the devices known to each other as members.
pub(crate) fn introduce(devices: &[&Device]) {
    for device in devices {
        let others: Vec<&&Device> = devices.iter().filter(|other| other.id != device.id).collect();
        for other in &others {
            device.transfer.set_peer(other.id, other.transfer.local_addrs());
            device.gate.devices.lock().unwrap().insert(other.id);
        }
        let ids = others.iter().map(|other| other.id).collect();
        device.transfer.members(device.gate.keys.folder(), ids);
    }
}

/// Distinct blocks of this length each, the same for the same seed, which cannot be compressed.
pub(crate) fn blocks(seed: u8, count: usize, len: usize) -> Vec<Bytes> {
    let block = |number: usize| {
        let mut block = Vec::with_capacity(len + 32);
        while block.len() < len {
            let part = [&[seed], &number.to_le_bytes()[..], &block.len().to_le_bytes()].concat();
            block.extend_from_slice(&Hash::of(&part).0);
        }
        block.truncate(len);
        Bytes::from(block)
    };
    (0..count).map(block).collect()
}

/// Distinct blocks of this length each that become much shorter by compression.
pub(crate) fn texts(count: usize, len: usize) -> Vec<Bytes> {
    let text = |number: usize| {
        let mut text = String::with_capacity(len + 32);
        while text.len() < len {
            text += &format!("text {number}, byte {}\n", text.len());
        }
        text.truncate(len);
        Bytes::from(text)
    };
    (0..count).map(text).collect()
}

pub(crate) fn refs(blocks: &[Bytes]) -> Vec<BlockRef> {
    blocks.iter().map(|block| BlockRef { hash: Hash::of(block), len: block.len() as u32 }).collect()
}

/// Fetches and returns every answer; panics when a hash is answered twice or not at all, or when
/// bytes are not what the hash says.
pub(crate) async fn fetch(
    device: &Device,
    wanted: &[BlockRef],
) -> HashMap<Hash, Result<Bytes, FetchError>> {
    let (sink, mut answers) = mpsc::channel(16);
    let folder = device.gate.keys.folder();
    let fetching = device.transfer.fetch(folder, wanted.to_vec(), Priority::Normal, sink);
    let collecting = async {
        let mut all = HashMap::new();
        while let Some(Fetched { hash, data }) = answers.recv().await {
            if let Ok(data) = &data {
                assert_eq!(Hash::of(data), hash, "every block is verified");
            }
            assert!(all.insert(hash, data).is_none(), "each hash is answered once");
        }
        all
    };
    let both = async { tokio::join!(fetching, collecting).1 };
    let all = tokio::time::timeout(PATIENCE, both).await.expect("the fetch ends in time");
    let hashes: HashSet<Hash> = wanted.iter().map(|block| block.hash).collect();
    assert_eq!(all.keys().copied().collect::<HashSet<_>>(), hashes, "each hash is answered");
    all
}

pub(crate) fn all_came(answers: &HashMap<Hash, Result<Bytes, FetchError>>) -> bool {
    answers.values().all(Result::is_ok)
}

/// Opens pipes in memory to another device, as a relayed libp2p stream would.
pub(crate) struct Pipes {
    pub(crate) from: DeviceId,
    pub(crate) to: HashMap<DeviceId, Transfer>,
}

impl OpenStream for Pipes {
    fn open(
        &self,
        device: DeviceId,
        _folder: FolderId,
    ) -> BoxFuture<'_, io::Result<Box<dyn BlockIo>>> {
        Box::pin(async move {
            let to = self.to.get(&device).ok_or(io::ErrorKind::NotConnected)?;
            let (mine, theirs) = tokio::io::duplex(64 * 1024);
            to.serve_stream(self.from, Box::new(theirs));
            Ok(Box::new(mine) as Box<dyn BlockIo>)
        })
    }
}
