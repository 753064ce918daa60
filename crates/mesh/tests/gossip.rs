//! Broadcasts and the DHT among several meshes on the loopback interface.

mod common;

use common::{both_up, folder, pair, seed};
use dunlin_mesh::{MeshEvent, SendError, limits};

#[tokio::test]
async fn a_broadcast_right_after_a_member_is_up_arrives() {
    let mut a = seed(1).start().await;
    let mut b = seed(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    let id = folder(1).folder();
    a.wait_up(b.device).await;
    // From the very first moment on, none of a stream of broadcasts may be lost or come twice.
    for n in 0..200_u32 {
        a.mesh.broadcast(id, n.to_be_bytes().to_vec()).unwrap();
        tokio::task::yield_now().await;
    }
    let mut got = Vec::new();
    while got.len() < 200 {
        let (from, message) = b.wait_gossip().await;
        assert_eq!(from, a.device);
        got.push(u32::from_be_bytes(message.try_into().unwrap()));
    }
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn broadcasts_pass_through_a_node_in_the_middle() {
    let mut b = seed(2).start().await;
    let mut a = seed(1).peer(&b).start().await;
    let mut c = seed(3).peer(&b).start().await;
    for node in [&a, &b, &c] {
        node.mesh.add_folder(folder(1));
    }
    tokio::join!(a.wait_up(b.device), c.wait_up(b.device));
    let (mut a_up, mut c_up) = (false, false);
    b.wait(|event| {
        if let MeshEvent::MemberUp { peer, .. } = event {
            a_up |= peer == a.device;
            c_up |= peer == c.device;
        }
        (a_up && c_up).then_some(())
    })
    .await;
    for n in 0..50_u8 {
        let body = vec![n; limits::BROADCAST_BYTES_MAX];
        a.mesh.broadcast(folder(1).folder(), body.clone()).unwrap();
        for node in [&mut b, &mut c] {
            assert!(node.wait_gossip().await == (a.device, body.clone()), "broadcast {n}");
        }
    }
    c.mesh.broadcast(folder(1).folder(), b"back".to_vec()).unwrap();
    assert_eq!(a.wait_gossip().await, (c.device, b"back".to_vec()));
    assert_eq!(b.wait_gossip().await, (c.device, b"back".to_vec()));
}

#[tokio::test]
async fn a_broadcast_that_is_too_large_is_refused() {
    let (a, _b) = pair().await;
    let body = vec![0; limits::BROADCAST_BYTES_MAX + 1];
    let refused = a.mesh.broadcast(folder(1).folder(), body);
    assert!(matches!(refused, Err(SendError::TooLarge { .. })));
}

#[tokio::test]
async fn members_that_know_only_a_third_node_find_each_other_in_the_dht() {
    let dht = |n| common::Start { dht: true, ..seed(n) };
    // The node in the middle is a stranger to the folder.
    let b = dht(2).start().await;
    let mut a = dht(1).peer(&b).start().await;
    a.mesh.add_folder(folder(1));
    let mut c = dht(3).peer(&b).start().await;
    c.mesh.add_folder(folder(1));
    both_up(&mut a, &mut c).await;
    a.mesh.broadcast(folder(1).folder(), b"found".to_vec()).unwrap();
    assert_eq!(c.wait_gossip().await, (a.device, b"found".to_vec()));
}
