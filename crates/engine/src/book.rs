//! The address book: where devices were reached before.

use std::collections::BTreeMap;

use dunlin_identity::DeviceId;
use dunlin_index::{Batch, Millis, Storage, StorageError};

/// An address that was not used for so long is forgotten.
const FORGET_MS: Millis = 90 * 24 * 60 * 60 * 1000;
/// Longest address that is kept, in bytes.
const ADDRESS_BYTES_MAX: usize = 200;

/// The addresses that worked before, the latest first; at most `limit`.
///
/// # Errors
/// Fails when the storage does.
pub(crate) fn load<S: Storage>(book: &S, limit: usize) -> Result<Vec<String>, StorageError> {
    let mut by_time: BTreeMap<(Millis, Vec<u8>), String> = BTreeMap::new();
    let mut stale = Batch::new();
    for (key, value) in book.scan(&[], None, usize::MAX)? {
        let Some(address) = key.get(32..).and_then(|a| std::str::from_utf8(a).ok()) else {
            stale.delete(key);
            continue;
        };
        let address = address.to_owned();
        let at = value.as_slice().try_into().map_or(0, Millis::from_le_bytes);
        by_time.insert((at, key), address);
    }
    let latest = by_time.keys().next_back().map_or(0, |(at, _)| *at);
    let mut addresses = Vec::new();
    for ((at, key), address) in by_time.into_iter().rev() {
        if addresses.len() < limit && at + FORGET_MS >= latest {
            addresses.push(address);
        } else {
            stale.delete(key);
        }
    }
    if !stale.is_empty() {
        book.commit(stale)?;
    }
    Ok(addresses)
}

/// Notes that a device was reached at an address.
pub(crate) fn keep<S: Storage>(book: &S, device: &DeviceId, address: &str, now: Millis) {
    if address.len() > ADDRESS_BYTES_MAX {
        return;
    }
    let mut key = device.as_bytes().to_vec();
    key.extend_from_slice(address.as_bytes());
    let mut batch = Batch::new();
    batch.put(key, now.to_le_bytes().to_vec());
    if let Err(error) = book.commit(batch) {
        tracing::warn!(%error, "the address book was not written");
    }
}

#[cfg(test)]
mod tests {
    use dunlin_identity::DeviceKey;
    use dunlin_index::storage::MemStore;

    use super::*;

    #[test]
    fn the_latest_addresses_come_first_and_old_ones_go() {
        let book = MemStore::default();
        let device = DeviceKey::from_seed([1; 32]).device();
        keep(&book, &device, "/ip4/192.0.2.1/udp/1/quic-v1", 1);
        keep(&book, &device, "/ip4/192.0.2.2/udp/1/quic-v1", FORGET_MS + 2);
        keep(&book, &device, "/ip4/192.0.2.3/udp/1/quic-v1", FORGET_MS + 3);
        let all = load(&book, 10).expect("memory does not fail");
        assert_eq!(all, ["/ip4/192.0.2.3/udp/1/quic-v1", "/ip4/192.0.2.2/udp/1/quic-v1"]);
        assert_eq!(load(&book, 1).expect("memory does not fail").len(), 1);
        assert_eq!(book.scan(&[], None, usize::MAX).expect("memory does not fail").len(), 1);
    }
}
