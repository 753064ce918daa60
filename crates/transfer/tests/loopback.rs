//! Transfers between devices over real sockets on loopback.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::{
    PATIENCE, Pipes, Store, all_came, blocks, device, fetch, folder_keys, introduce, refs, texts,
};
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceKey, FolderKeys, Hash};
use dunlin_transfer::{FetchError, Fetched, Limits, Priority};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long tests wait that want to see a block given up; long enough to connect and be refused.
const IMPATIENCE: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_small_blocks_come() {
    let keys = folder_keys();
    let blocks = blocks(1, 10_000, 1000);
    let (a, b) =
        (device(1, &keys, Store::of(&blocks)).await, device(2, &keys, Store::default()).await);
    introduce(&[&a, &b]);
    assert!(all_came(&fetch(&b, &refs(&blocks)).await));
    let (sent, received) = (a.transfer.stats(keys.folder()), b.transfer.stats(keys.folder()));
    assert_eq!((sent.sent, received.received), (10_000_000, 10_000_000));
    assert_eq!(b.transfer.device_stats(&a.id).received, 10_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_comes_in_both_directions_at_once() {
    let keys = folder_keys();
    let (left, right) = (blocks(1, 512, 128 << 10), blocks(2, 16, 4 << 20));
    let a = device(1, &keys, Store::of(&left)).await;
    let b = device(2, &keys, Store::of(&right)).await;
    introduce(&[&a, &b]);
    let (left, right) = (refs(&left), refs(&right));
    let (to_b, to_a) = tokio::join!(fetch(&b, &left), fetch(&a, &right));
    assert!(all_came(&to_b) && all_came(&to_a));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_come_from_all_that_have_some() {
    let keys = folder_keys();
    let blocks = blocks(1, 600, 64 << 10);
    let a = device(1, &keys, Store::of(&blocks[..400])).await;
    let b = device(2, &keys, Store::of(&blocks[200..])).await;
    let c = device(3, &keys, Store::default()).await;
    introduce(&[&a, &b, &c]);
    assert!(all_came(&fetch(&c, &refs(&blocks)).await));
    for source in [&a, &b] {
        assert!(c.transfer.device_stats(&source.id).received >= 200 * (64 << 10));
    }
}

#[tokio::test]
async fn what_nobody_has_is_unavailable_and_holds_nothing_up() {
    let keys = folder_keys();
    let blocks = blocks(1, 10, 1000);
    let a = device(1, &keys, Store::of(&blocks[..9])).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_patience(IMPATIENCE);
    let answers = fetch(&b, &refs(&blocks)).await;
    let missing = Hash::of(&blocks[9]);
    for (hash, data) in &answers {
        let right =
            if *hash == missing { data == &Err(FetchError::Unavailable) } else { data.is_ok() };
        assert!(right, "{hash}: {data:?}");
    }
}

#[tokio::test]
async fn who_gets_a_block_tells_who_waits_for_it_and_is_not_asked_before() {
    let keys = folder_keys();
    let (first, later) = (blocks(1, 2, 1000), blocks(2, 20, 1000));
    let a = device(1, &keys, Store::of(&first[..1])).await;
    let b = device(2, &keys, Store::of(&first[1..])).await;
    let c = device(3, &keys, Store::default()).await;
    introduce(&[&a, &b, &c]);
    // Both are connected when these two have come.
    assert!(all_came(&fetch(&c, &refs(&first)).await));
    let before = *a.store.reads.lock().unwrap();
    *b.store.reads.lock().unwrap() = 0;
    c.transfer.set_patience(PATIENCE);
    let wanted = refs(&later);
    let coming = async {
        tokio::task::yield_now().await;
        let hashes: Vec<Hash> = later.iter().map(|block| Hash::of(block)).collect();
        for (hash, block) in hashes.iter().zip(&later) {
            b.store.blocks.lock().unwrap().insert(*hash, block.clone());
        }
        b.transfer.came(keys.folder(), &hashes);
    };
    let (answers, ()) = tokio::join!(fetch(&c, &wanted), coming);
    assert!(all_came(&answers));
    let read = [&a, &b].map(|device| *device.store.reads.lock().unwrap());
    assert_eq!(read, [before, 20], "nobody was asked for what it lacked");
}

#[tokio::test]
async fn a_member_that_appears_later_is_asked_at_once() {
    let keys = folder_keys();
    let blocks = blocks(1, 10, 1000);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    let wanted = refs(&blocks);
    let (sink, mut answers) = mpsc::channel(16);
    let fetching = b.transfer.fetch(keys.folder(), wanted, Priority::High, sink);
    tokio::pin!(fetching);
    // Nobody is known: the fetch is under way, but nothing comes.
    let nothing = timeout(Duration::from_millis(100), &mut fetching).await;
    assert!(nothing.is_err() && answers.is_empty());
    introduce(&[&a, &b]);
    timeout(Duration::from_secs(5), fetching).await.expect("blocks come well before giving up");
    while let Some(Fetched { data, .. }) = answers.recv().await {
        assert!(data.is_ok());
    }
}

#[tokio::test]
async fn one_who_is_no_member_gets_nothing() {
    let keys = folder_keys();
    let blocks = blocks(1, 5, 1000);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_patience(IMPATIENCE);
    a.gate.devices.lock().unwrap().clear();
    let answers = fetch(&b, &refs(&blocks)).await;
    assert!(answers.values().all(Result::is_err));
    assert_eq!(*a.store.reads.lock().unwrap(), 0, "not even read");
}

#[tokio::test]
async fn one_without_the_folders_secret_gets_nothing() {
    let keys = folder_keys();
    let blocks = blocks(1, 5, 1000);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let mut b = device(2, &FolderKeys::create([8; 32]), Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_patience(IMPATIENCE);
    b.transfer.members(b.gate.keys.folder(), vec![a.id]);
    let answers = fetch(&b, &refs(&blocks)).await;
    assert!(answers.values().all(Result::is_err));
    b.store = Arc::default();
    assert_eq!(*a.store.reads.lock().unwrap(), 0, "not even read");
}

#[tokio::test]
async fn another_device_at_the_address_is_refused() {
    let keys = folder_keys();
    let blocks = blocks(1, 5, 1000);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_patience(IMPATIENCE);
    // The address of a is told as that of a third device, who is a member too.
    let third = DeviceKey::from_seed([3; 32]).device();
    b.transfer.peer_gone(&a.id);
    b.transfer.set_peer(third, a.transfer.local_addrs());
    b.transfer.members(keys.folder(), vec![third]);
    let answers = fetch(&b, &refs(&blocks)).await;
    assert!(answers.values().all(Result::is_err));
    assert_eq!(*a.store.reads.lock().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_costs_nothing_but_its_turn() {
    let keys = folder_keys();
    let blocks = blocks(1, 300, 16 << 10);
    let liar = device(1, &keys, Store { lies: true, ..Store::of(&blocks) }).await;
    let honest = device(2, &keys, Store::of(&blocks)).await;
    let c = device(3, &keys, Store::default()).await;
    introduce(&[&liar, &honest, &c]);
    assert!(all_came(&fetch(&c, &refs(&blocks)).await));
    assert_eq!(c.transfer.device_stats(&liar.id).received, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_peer_dies_another_takes_over() {
    let keys = folder_keys();
    let blocks = blocks(1, 400, 64 << 10);
    let slow = Store { slow: Some(Duration::from_millis(5)), ..Store::of(&blocks) };
    let (a, b) = (device(1, &keys, slow).await, device(2, &keys, Store::of(&blocks)).await);
    let c = device(3, &keys, Store::default()).await;
    introduce(&[&a, &c]);
    let (sink, mut answers) = mpsc::channel(4);
    let transfer = c.transfer.clone();
    let (folder, wanted) = (keys.folder(), refs(&blocks));
    let fetching = tokio::spawn(async move {
        transfer.fetch(folder, wanted, Priority::Normal, sink).await;
    });
    let mut came = 0;
    while let Some(Fetched { data, .. }) = timeout(PATIENCE, answers.recv()).await.unwrap() {
        assert!(data.is_ok());
        came += 1;
        if came == 10 {
            introduce(&[&b, &c]);
            a.transfer.shutdown().await;
        }
    }
    fetching.await.unwrap();
    assert_eq!(came, 400);
    assert!(c.transfer.device_stats(&b.id).received > 0);
}

#[tokio::test]
async fn the_fallback_carries_blocks_where_quic_does_not_reach() {
    let keys = folder_keys();
    let blocks = blocks(1, 200, 32 << 10);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_peer(a.id, Vec::new());
    let to = HashMap::from([(a.id, a.transfer.clone())]);
    b.transfer.set_fallback(Arc::new(Pipes { from: b.id, to }));
    assert!(all_came(&fetch(&b, &refs(&blocks)).await));
}

#[tokio::test]
async fn texts_go_compressed_over_a_slow_way_and_come_whole() {
    let keys = folder_keys();
    let texts = [texts(80, 5_000), texts(5, 300_000)].concat();
    let plain: u64 = texts.iter().map(|text| text.len() as u64).sum();
    let a = device(1, &keys, Store::of(&texts)).await;
    let (b, c) =
        (device(2, &keys, Store::default()).await, device(3, &keys, Store::default()).await);
    introduce(&[&a, &b]);
    // One link is held to a rate; of the other, nothing is known.
    a.transfer.set_limits(Limits { up: Some(1_000_000), down: None });
    assert!(all_came(&fetch(&b, &refs(&texts)).await));
    a.transfer.set_limits(Limits::default());
    introduce(&[&a, &c]);
    c.transfer.set_peer(a.id, Vec::new());
    let to = HashMap::from([(a.id, a.transfer.clone())]);
    c.transfer.set_fallback(Arc::new(Pipes { from: c.id, to }));
    assert!(all_came(&fetch(&c, &refs(&texts)).await));
    for device in [&b, &c] {
        let came = device.transfer.device_stats(&a.id).received;
        assert!(came > 0 && came < plain / 3, "{came} bytes came for {plain}");
    }
}

#[tokio::test]
async fn what_does_not_become_shorter_goes_as_it_is() {
    let keys = folder_keys();
    let mut blocks = blocks(1, 20, 20_000);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_patience(IMPATIENCE);
    a.transfer.set_limits(Limits { up: Some(1_000_000), down: None });
    blocks.push(texts(1, 5_000).remove(0));
    let answers = fetch(&b, &refs(&blocks)).await;
    assert_eq!(answers[&Hash::of(&blocks[20])], Err(FetchError::Unavailable));
    assert_eq!(answers.values().filter(|answer| answer.is_ok()).count(), 20);
    assert_eq!(a.transfer.stats(keys.folder()).sent, 400_000);
}

#[tokio::test]
async fn a_connection_serves_both_sides() {
    let keys = folder_keys();
    let (left, right) = (blocks(1, 20, 1000), blocks(2, 20, 1000));
    let a = device(1, &keys, Store::of(&left)).await;
    let b = device(2, &keys, Store::of(&right)).await;
    introduce(&[&a, &b]);
    assert!(all_came(&fetch(&b, &refs(&left)).await));
    // a cannot dial b, but b's connection is there.
    a.transfer.set_peer(b.id, Vec::new());
    assert!(all_came(&fetch(&a, &refs(&right)).await));
}

#[tokio::test]
async fn a_block_longer_than_was_asked_for_does_not_come() {
    let keys = folder_keys();
    let blocks = blocks(1, 1, 1000);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    b.transfer.set_patience(IMPATIENCE);
    let hash = Hash::of(&blocks[0]);
    let answers = fetch(&b, &[BlockRef { hash, len: 999 }]).await;
    assert_eq!(answers[&hash], Err(FetchError::Unavailable));
    let answers = fetch(&b, &[BlockRef { hash, len: u32::MAX }]).await;
    assert_eq!(answers[&hash], Err(FetchError::TooLarge));
    // An upper bound is enough, as for manifests.
    assert!(all_came(&fetch(&b, &[BlockRef { hash, len: 5000 }]).await));
}

#[tokio::test]
async fn a_full_sink_stops_the_asking() {
    let keys = folder_keys();
    let blocks = blocks(1, 100, 1 << 20);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    let (sink, mut answers) = mpsc::channel(1);
    let fetching = b.transfer.fetch(keys.folder(), refs(&blocks), Priority::Normal, sink);
    tokio::pin!(fetching);
    // Nobody takes anything out of the sink, so the fetch cannot end.
    assert!(timeout(Duration::from_millis(600), &mut fetching).await.is_err());
    assert!(b.transfer.stats(keys.folder()).received <= 33 << 20, "memory is bounded");
    let drained = async {
        let mut came = 0;
        while answers.recv().await.is_some() {
            came += 1;
        }
        came
    };
    let both = async { tokio::join!(fetching, drained).1 };
    assert_eq!(timeout(PATIENCE, both).await.unwrap(), 100);
}

#[tokio::test]
async fn a_limit_slows_down_and_shutdown_answers() {
    let keys = folder_keys();
    let blocks = blocks(1, 50, 64 << 10);
    let a = device(1, &keys, Store::of(&blocks)).await;
    let b = device(2, &keys, Store::default()).await;
    introduce(&[&a, &b]);
    a.transfer.set_limits(Limits { up: Some(200_000), down: None });
    let wanted = refs(&blocks);
    let stop = async {
        // Stop as soon as something came, long before all could have.
        while b.transfer.stats(keys.folder()).received == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        b.transfer.shutdown().await;
    };
    let (answers, ()) = tokio::join!(fetch(&b, &wanted), stop);
    let came = answers.values().filter(|data| data.is_ok()).count();
    assert!((1..=5).contains(&came), "{came} blocks came at 3 a second");
    assert!(answers.values().filter(|data| data.is_err()).all(|d| d == &Err(FetchError::Closed)));
}
