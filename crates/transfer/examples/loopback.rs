//! Measures block transfer between two devices in one process, over loopback.
//!
//! `cargo run --release -p dunlin-transfer --example loopback`

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Hash};
use dunlin_transfer::{BlockSource, Gate, Priority, Transfer, TransferConfig, TransferError};
use tokio::sync::mpsc;

struct Store(HashMap<Hash, Bytes>);

impl BlockSource for Store {
    fn read(&self, _folder: FolderId, hash: &Hash) -> Option<Bytes> {
        self.0.get(hash).cloned()
    }
}

struct Everyone(FolderKeys);

impl Gate for Everyone {
    fn keys(&self, _folder: FolderId) -> Option<FolderKeys> {
        Some(self.0.clone())
    }

    fn is_member(&self, _folder: FolderId, _device: &DeviceId) -> bool {
        true
    }
}

async fn start(seed: u8, keys: &FolderKeys, store: Store) -> Result<Transfer, TransferError> {
    let listen = vec![std::net::SocketAddr::from(([127, 0, 0, 1], 0))];
    Transfer::bind(TransferConfig {
        key: &DeviceKey::from_seed([seed; 32]),
        listen,
        source: Arc::new(store),
        gate: Arc::new(Everyone(keys.clone())),
    })
    .await
}

fn blocks(count: u64, len: usize) -> HashMap<Hash, Bytes> {
    let block = |number: u64| {
        let mut block = vec![0x5A; len];
        block[..8].copy_from_slice(&number.to_le_bytes());
        (Hash::of(&block), Bytes::from(block))
    };
    (0..count).map(block).collect()
}

#[tokio::main]
async fn main() -> Result<(), TransferError> {
    let keys = FolderKeys::create([1; 32]);
    for (name, count, len) in
        [("4,000 blocks of 80 KiB", 4000, 80 << 10), ("10,000 blocks of 8 KiB", 10_000, 8 << 10)]
    {
        let blocks = blocks(count, len);
        let wanted: Vec<BlockRef> =
            blocks.keys().map(|hash| BlockRef { hash: *hash, len: len as u32 }).collect();
        let giver = start(1, &keys, Store(blocks)).await?;
        let taker = start(2, &keys, Store(HashMap::new())).await?;
        let device = DeviceKey::from_seed([1; 32]).device();
        taker.set_peer(device, giver.local_addrs());
        taker.members(keys.folder(), vec![device]);
        let (sink, mut answers) = mpsc::channel(64);
        let begin = Instant::now();
        let fetching = taker.fetch(keys.folder(), wanted, Priority::Normal, sink);
        let counting = async {
            let mut bytes = 0;
            while let Some(fetched) = answers.recv().await {
                bytes += fetched.data.map_or(0, |data| data.len());
            }
            bytes
        };
        let ((), bytes) = tokio::join!(fetching, counting);
        let seconds = begin.elapsed().as_secs_f64();
        let rate = bytes as f64 / seconds / 1e6;
        println!("{name}: {bytes} bytes in {seconds:.2} s, {rate:.0} MB/s");
        taker.shutdown().await;
        giver.shutdown().await;
    }
    Ok(())
}
