//! Broadcasts and the DHT among several meshes on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use common::{Node, both_up, folder, gossip_reaches, pair, seed};
use dunlin_mesh::{MeshEvent, SendError, limits};

#[tokio::test]
async fn a_broadcast_right_after_a_member_is_up_arrives() {
    for direct in [0, 8] {
        broadcasts_from_the_first_moment(direct).await;
    }
}

async fn broadcasts_from_the_first_moment(direct: usize) {
    let mut a = common::Start { direct, ..seed(1) }.start().await;
    let mut b = common::Start { direct, ..seed(2) }.peer(&a).start().await;
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
    for direct in [0, 1, 8] {
        a_line_of_three(direct).await;
    }
}

async fn a_line_of_three(direct: usize) {
    let start = |n| common::Start { direct, ..seed(n) };
    let mut b = start(2).start().await;
    let mut a = start(1).peer(&b).start().await;
    let mut c = start(3).peer(&b).start().await;
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
    for n in 0..12_u8 {
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
async fn gossip_carries_a_mesh_in_which_each_knows_two() {
    a_mesh_in_which_each_knows_two(0).await;
}

#[tokio::test]
async fn members_pass_on_what_they_get_directly() {
    a_mesh_in_which_each_knows_two(8).await;
}

#[tokio::test]
async fn gossip_and_direct_members_work_together() {
    // Those at the ends know two others, the ones between them four.
    a_mesh_in_which_each_knows_two(3).await;
}

async fn a_mesh_in_which_each_knows_two(direct: usize) {
    let mut nodes: Vec<Node> = Vec::new();
    for n in 0..10_u8 {
        let mut start = common::Start { direct, ..seed(n + 1) };
        for known in nodes.iter().rev().take(2) {
            start = start.peer(known);
        }
        let mut node = start.start().await;
        node.mesh.add_folder(folder(1));
        let mut to_come = nodes.len().min(2);
        while to_come > 0 {
            node.wait(|event| matches!(event, MeshEvent::MemberUp { .. }).then_some(())).await;
            to_come -= 1;
        }
        for known in nodes.iter_mut().rev().take(2) {
            known.wait_up(node.device).await;
            gossip_reaches(&node, known.device).await;
            gossip_reaches(known, node.device).await;
        }
        nodes.push(node);
    }
    let ends = [nodes[0].device, nodes[9].device];
    for n in 0..10_u8 {
        for (sender, device) in [(0, ends[0]), (9, ends[1])] {
            let body = vec![n; 2_000];
            nodes[sender].mesh.broadcast(folder(1).folder(), body.clone()).unwrap();
            for node in nodes.iter_mut().filter(|node| node.device != device) {
                assert!(node.wait_gossip().await == (device, body.clone()), "broadcast {n}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_when_gossip_takes_over_or_comes_back() {
    let mut a = common::Start { direct: 0, ..seed(1) }.start().await;
    let mut b = common::Start { direct: 0, ..seed(2) }.peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;
    let id = folder(1).folder();
    gossip_reaches(&a, b.device).await;
    a.mesh.broadcast(id, b"by gossip".to_vec()).unwrap();
    assert_eq!(b.wait_gossip().await.1, b"by gossip");
    // `b` leaves and returns: gossip has to be taken up again, and must not wait for a minute.
    b.mesh.remove_folder(id);
    a.wait_down(b.device).await;
    b.mesh.add_folder(folder(1));
    a.wait_up(b.device).await;
    a.mesh.broadcast(id, b"at once".to_vec()).unwrap();
    assert_eq!(b.wait_gossip().await.1, b"at once");
    gossip_reaches(&a, b.device).await;
    a.mesh.broadcast(id, b"by gossip again".to_vec()).unwrap();
    assert_eq!(b.wait_gossip().await.1, b"by gossip again");
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
