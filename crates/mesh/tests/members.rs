//! Two meshes on the loopback interface: proof of membership, messages, blocks, reconnecting.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use common::{PATIENCE, QUIC, TCP, both_down, both_up, folder, key, pair, seed};
use dunlin_identity::Tier;
use dunlin_mesh::{Mesh, MeshConfig, MeshError, MeshEvent, PathKind, SendError, limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn two_nodes_find_each_other_by_address_and_prove_membership() {
    for listen in [QUIC, TCP] {
        let mut a = common::Start { listen, transfer_port: 4001, ..seed(1) }.start().await;
        let mut b = common::Start { listen, ..seed(2) }.peer(&a).start().await;
        a.mesh.add_folder(folder(1));
        b.mesh.add_folder(folder(1).weaken(Tier::Read).unwrap());
        let up = |event| match event {
            MeshEvent::MemberUp { peer, folder, tier, path, block_addrs } => {
                Some((peer, folder, tier, path, block_addrs))
            }
            _ => None,
        };
        let id = folder(1).folder();
        let at_a = a.wait(up).await;
        assert_eq!(at_a, (b.device, id, Tier::Read, PathKind::Lan, Vec::new()));
        let at_b = b.wait(up).await;
        let addrs = vec!["127.0.0.1:4001".parse().unwrap()];
        assert_eq!(at_b, (a.device, id, Tier::Write, PathKind::Lan, addrs));
    }
}

#[tokio::test]
async fn a_dialled_member_has_its_address_learned() {
    let mut a = seed(1).start().await;
    let mut b = seed(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    let learned = |event| match event {
        MeshEvent::AddressLearned { peer, addr } => Some((peer, addr)),
        _ => None,
    };
    assert_eq!(b.wait(learned).await, (a.device, a.mesh.listen_addrs()[0].clone()));
    assert_eq!(a.wait(learned).await, (b.device, b.mesh.listen_addrs()[0].clone()));
}

#[tokio::test]
async fn members_of_other_folders_do_not_come_up() {
    let mut a = seed(1).start().await;
    let mut b = seed(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(2));
    b.mesh.add_folder(folder(3));
    a.mesh.add_folder(folder(3));
    let up = |event| match event {
        MeshEvent::MemberUp { folder, .. } => Some(folder),
        _ => None,
    };
    assert_eq!(a.wait(up).await, folder(3).folder());
    assert_eq!(b.wait(up).await, folder(3).folder());
    let id = folder(1).folder();
    assert_eq!(a.mesh.send(b.device, id, vec![1]), Err(SendError::NotMember));
    assert_eq!(b.mesh.broadcast(id, vec![1]), Err(SendError::UnknownFolder));
}

#[tokio::test]
async fn folders_come_and_go_while_connected() {
    let (mut a, mut b) = pair().await;
    b.mesh.remove_folder(folder(1).folder());
    both_down(&mut a, &mut b).await;
    b.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;
    a.mesh.send(b.device, folder(1).folder(), b"again".to_vec()).unwrap();
    assert_eq!(b.wait_message().await, (a.device, b"again".to_vec()));
}

#[tokio::test]
async fn large_messages_arrive_whole_and_in_order_both_ways() {
    let (mut a, mut b) = pair().await;
    let id = folder(1).folder();
    let body = |from: u8, n: u8| {
        let mut body = vec![n; 1024 * 1024];
        body[0] = from;
        body
    };
    for n in 0..12 {
        a.mesh.send(b.device, id, body(1, n)).unwrap();
        b.mesh.send(a.device, id, body(2, n)).unwrap();
    }
    for n in 0..12 {
        let (from_a, from_b) = tokio::join!(b.wait_message(), a.wait_message());
        assert!(from_a.1 == body(1, n) && from_b.1 == body(2, n), "message {n}");
    }
    let largest = vec![3; limits::MESSAGE_BYTES_MAX];
    a.mesh.send(b.device, id, largest.clone()).unwrap();
    assert!(b.wait_message().await.1 == largest);
    let too_large = vec![0; limits::MESSAGE_BYTES_MAX + 1];
    assert!(matches!(a.mesh.send(b.device, id, too_large), Err(SendError::TooLarge { .. })));
}

#[tokio::test]
async fn a_full_queue_gives_the_message_back_and_drains() {
    let (a, mut b) = pair().await;
    let id = folder(1).folder();
    // The consumer at `b` takes nothing yet: in the end the queue at `a` fills.
    let mut sent = 0_u32;
    let body = vec![7; 512 * 1024];
    loop {
        match a.mesh.send(b.device, id, body.clone()) {
            Ok(()) => sent += 1,
            Err(SendError::Full(back)) => break assert!(back == body),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(sent >= 100, "{sent} messages in the queue");
    for n in 0..sent {
        assert!(b.wait_message().await.1 == body, "message {n}");
    }
    let retry = async {
        while a.mesh.send(b.device, id, vec![1]).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, retry).await.unwrap();
    assert_eq!(b.wait_message().await.1, [1]);
}

#[tokio::test]
async fn a_node_that_comes_back_is_found_again() {
    let mut a = seed(1).start().await;
    let mut b = seed(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;
    let addr = a.mesh.listen_addrs()[0].clone();
    let listen = addr.split("/p2p/").next().unwrap().to_owned();
    a.mesh.shutdown().await;
    b.wait_down(a.device).await;
    // Nobody tells the new `a` where `b` is.
    let mut a = common::Start { listen: &listen, ..seed(1) }.start().await;
    a.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;
    a.mesh.broadcast(folder(1).folder(), b"back".to_vec()).unwrap();
    assert_eq!(b.wait_gossip().await, (a.device, b"back".to_vec()));
}

#[tokio::test]
async fn a_member_that_was_only_accepted_is_looked_for_as_well() {
    let mut a = seed(1).start().await;
    let b = seed(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    let at = |event| match event {
        MeshEvent::AddressLearned { addr, .. } => Some(addr),
        _ => None,
    };
    let addr = a.wait(at).await;
    b.mesh.shutdown().await;
    a.wait_down(b.device).await;
    let listen = addr.split("/p2p/").next().unwrap();
    let mut b = common::Start { listen, ..seed(2) }.start().await;
    b.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_node_that_was_killed_is_back_at_once() {
    // Either of the two may be the one with the lower id, which has other duties.
    for (killed, other) in [(1, 2), (2, 1)] {
        let mut b = seed(other).start().await;
        b.mesh.add_folder(folder(1));
        let addrs = b.mesh.listen_addrs();
        // A runtime of its own, which ends without any farewell.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let peers = addrs.clone();
        let first = runtime.spawn(async move {
            let node = common::Start { peers, ..seed(killed) }.start().await;
            node.mesh.add_folder(folder(1));
            node
        });
        let first = first.await.unwrap();
        b.wait_up(first.device).await;
        // No process is started anew faster; what is faster counts as one start with two dials.
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        runtime.shutdown_background();
        let since = std::time::Instant::now();
        let mut again = common::Start { peers: addrs, ..seed(killed) }.start().await;
        again.mesh.add_folder(folder(1));
        b.wait_down(again.device).await;
        both_up(&mut again, &mut b).await;
        // Nobody waited for the dead connection's timeout of 12 s.
        assert!(since.elapsed() < std::time::Duration::from_secs(8), "{:?}", since.elapsed());
        b.mesh.broadcast(folder(1).folder(), b"back".to_vec()).unwrap();
        assert_eq!(again.wait_gossip().await.1, b"back");
    }
}

#[tokio::test]
async fn both_may_dial_at_once() {
    let mut a = seed(1).start().await;
    let mut b = seed(2).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    let (at_a, at_b) = (a.mesh.listen_addrs(), b.mesh.listen_addrs());
    a.mesh.add_peer_addr(at_b[0].clone());
    // Without the peer at its end.
    b.mesh.add_peer_addr(at_a[0].split("/p2p/").next().unwrap().to_owned());
    both_up(&mut a, &mut b).await;
    let send = async {
        // The stream may be made anew once, when the second connection goes.
        while a.mesh.send(b.device, folder(1).folder(), vec![5]).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, send).await.unwrap();
}

#[tokio::test]
async fn block_streams_carry_bytes_for_members_only() {
    let (a, mut b) = pair().await;
    let id = folder(1).folder();
    let open = a.mesh.open_block_stream(b.device, id);
    let taken = b.wait(|event| match event {
        MeshEvent::BlockStream { peer, folder, stream } => Some((peer, folder, stream)),
        _ => None,
    });
    let (opened, (peer, folder_id, mut far)) = tokio::join!(open, taken);
    let mut near = opened.unwrap();
    assert_eq!((peer, folder_id), (a.device, id));
    let data = vec![9; 300_000];
    let (write, read) = tokio::join!(
        async {
            near.write_all(&data).await?;
            near.shutdown().await
        },
        async {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.map(|_| got)
        }
    );
    write.unwrap();
    assert!(read.unwrap() == data);
    let other = a.mesh.open_block_stream(b.device, folder(2).folder()).await;
    assert!(matches!(other, Err(MeshError::NotMember(_))));
}

#[tokio::test]
async fn a_named_address_that_cannot_be_listened_on_is_an_error() {
    let a = seed(1).start().await;
    let taken = a.mesh.listen_addrs()[0].split("/p2p/").next().unwrap().to_owned();
    let key = key(2);
    for listen in [taken.as_str(), "/ip4/203.0.113.7/udp/0/quic-v1"] {
        let listen = [listen.to_owned()];
        let config = MeshConfig { listen: &listen, mdns: false, ..MeshConfig::new(&key) };
        let result = Mesh::start(config).await;
        assert!(matches!(result, Err(MeshError::Listen { .. })), "{listen:?}");
    }
    let listen = ["nonsense".to_owned()];
    let config = MeshConfig { listen: &listen, mdns: false, ..MeshConfig::new(&key) };
    assert!(matches!(Mesh::start(config).await, Err(MeshError::Address { .. })));
}

#[tokio::test]
async fn the_default_listens_on_quic_and_tcp() {
    let key = key(1);
    let config = MeshConfig { mdns: false, ..MeshConfig::new(&key) };
    let (mesh, mut events) = Mesh::start(config).await.unwrap();
    let addrs = mesh.listen_addrs();
    assert!(addrs.iter().any(|addr| addr.contains("/quic-v1/p2p/")));
    assert!(addrs.iter().any(|addr| addr.contains("/tcp/")));
    assert!(addrs.iter().all(|addr| addr.ends_with(&mesh.device().to_string())));
    // With the DHT on and nowhere to begin, the owner is told.
    let alone = async { while !matches!(events.recv().await, Some(MeshEvent::DhtAlone)) {} };
    tokio::time::timeout(PATIENCE, alone).await.unwrap();
    mesh.shutdown().await;
}
