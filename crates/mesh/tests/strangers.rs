//! What a node without the folder's secret gets from a mesh: nothing.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::time::Duration;

use common::{Node, PATIENCE, both_up, folder, key, seed};
use dunlin_mesh::MeshEvent;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identity};

const MEMBER: StreamProtocol = StreamProtocol::new("/dunlin/member/1");

/// A libp2p node that speaks the same protocols, without any of Dunlin's care.
#[derive(NetworkBehaviour)]
struct Plain {
    gossip: gossipsub::Behaviour,
    identify: libp2p::identify::Behaviour,
    streams: libp2p_stream::Behaviour,
}

fn plain() -> Swarm<Plain> {
    // A seed whose device id is the lower one, so that it is the plain node that opens streams.
    let lower = (1..=20).min_by_key(|n| key(*n).device()).unwrap();
    let keypair = identity::Keypair::ed25519_from_bytes(*key(lower).seed()).unwrap();
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix("/dunlin/gossip")
        .heartbeat_interval(Duration::from_millis(100))
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .build()
        .unwrap();
    let identify = libp2p::identify::Config::new("/dunlin/id/1".into(), keypair.public());
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_quic()
        .with_behaviour(|_| Plain {
            gossip: gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config)
                .unwrap(),
            identify: libp2p::identify::Behaviour::new(identify),
            streams: libp2p_stream::Behaviour::new(),
        })
        .unwrap()
        .build()
}

fn higher_seed() -> u8 {
    (1..=20).max_by_key(|n| key(*n).device()).unwrap()
}

async fn connect(swarm: &mut Swarm<Plain>, node: &Node) -> PeerId {
    let addr: Multiaddr = node.mesh.listen_addrs()[0].parse().unwrap();
    swarm.dial(addr).unwrap();
    loop {
        if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
            return peer_id;
        }
    }
}

fn topic_of(keys: &dunlin_identity::FolderKeys) -> gossipsub::IdentTopic {
    gossipsub::IdentTopic::new(blake3::Hash::from_bytes(keys.topic()).to_hex().as_str())
}

/// Sends and reads raw frames on a member stream; gives what came until the peer closed it, or
/// the first `enough` bytes.
async fn raw_member(
    mut control: libp2p_stream::Control,
    peer: PeerId,
    sent: &[u8],
    enough: usize,
) -> Vec<u8> {
    let mut stream = control.open_stream(peer, MEMBER).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream.flush().await.unwrap();
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    while got.len() < enough {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => got.extend_from_slice(&chunk[..read]),
        }
    }
    got
}

fn hello() -> Vec<u8> {
    [34_u32.to_be_bytes().as_slice(), &[1, 1], &[9; 32]].concat()
}

/// Drives the plain swarm until `done` ends; fails if gossipsub hears anything meanwhile.
async fn while_nothing_is_heard<T>(swarm: &mut Swarm<Plain>, done: impl Future<Output = T>) -> T {
    let watched = async {
        tokio::pin!(done);
        loop {
            tokio::select! {
                result = &mut done => return result,
                event = swarm.select_next_some() => {
                    if let SwarmEvent::Behaviour(PlainEvent::Gossip(event)) = event {
                        assert!(
                            matches!(event, gossipsub::Event::GossipsubNotSupported { .. }),
                            "a stranger heard {event:?}"
                        );
                    }
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, watched).await.expect("not in time")
}

#[tokio::test]
async fn a_stranger_hears_no_topics_and_its_gossip_goes_nowhere() {
    let gossip = |n| common::Start { direct: 0, ..seed(n) };
    let mut a = gossip(higher_seed()).start().await;
    let mut b = gossip(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;

    let mut stranger = plain();
    // It even knows the topic, and subscribes to it.
    stranger.behaviour_mut().gossip.subscribe(&topic_of(&folder(1))).unwrap();
    let peer = connect(&mut stranger, &a).await;
    let control = stranger.behaviour().streams.new_control();
    // The handshake to its end, as far as a stranger gets: `a` has offered what it offers.
    let greeting = hello();
    let offer = raw_member(control, peer, &greeting, 299);
    let offer = while_nothing_is_heard(&mut stranger, offer).await;
    assert_eq!(offer.len(), 38 + 5 + 8 * 32);
    let _ = stranger.behaviour_mut().gossip.publish(topic_of(&folder(1)), b"forged".to_vec());

    // Members gossip on; all of it passes the stranger by.
    let id = folder(1).folder();
    let talk = async {
        for n in 0..20_u8 {
            a.mesh.broadcast(id, vec![n]).unwrap();
            assert_eq!(b.wait_gossip().await, (a.device, vec![n]));
            b.mesh.broadcast(id, vec![n]).unwrap();
            assert_eq!(a.wait_gossip().await, (b.device, vec![n]));
        }
    };
    while_nothing_is_heard(&mut stranger, talk).await;
    assert_eq!(stranger.behaviour().gossip.all_peers().map(|(_, t)| t.len()).sum::<usize>(), 0);
}

#[tokio::test]
async fn malformed_frames_close_the_stream_only() {
    let node = seed(higher_seed()).start().await;
    node.mesh.add_folder(folder(1));
    let mut stranger = plain();
    let peer = connect(&mut stranger, &node).await;
    let malformed: [Vec<u8>; 6] = [
        // A length without end, an unknown kind, an empty frame, a message before the hello,
        // another version, and an offer that is no list of tags.
        vec![0xff; 64],
        vec![0, 0, 0, 1, 99],
        vec![0; 8],
        vec![0, 0, 0, 6, 6, 0, 0, 0, 1, 42],
        [34_u32.to_be_bytes().as_slice(), &[1, 2], &[9; 32]].concat(),
        [hello().as_slice(), &[0, 0, 0, 4, 2, 1, 2, 3]].concat(),
    ];
    for bytes in malformed {
        let control = stranger.behaviour().streams.new_control();
        let ended = raw_member(control, peer, &bytes, usize::MAX);
        let got = while_nothing_is_heard(&mut stranger, ended).await;
        // Its own hello, and at most the noise that everybody is offered.
        assert!(got.len() <= 38 + 5 + 8 * 32, "{} bytes after {bytes:?}", got.len());
        assert!(stranger.is_connected(&peer));
    }
}

#[tokio::test]
async fn noise_on_a_block_stream_is_refused() {
    let mut node = seed(higher_seed()).start().await;
    node.mesh.add_folder(folder(1));
    let mut stranger = plain();
    let peer = connect(&mut stranger, &node).await;
    let mut control = stranger.behaviour().streams.new_control();
    let attempt = async {
        let protocol = StreamProtocol::new("/dunlin/blocks/1");
        let mut stream = control.open_stream(peer, protocol).await.unwrap();
        stream.write_all(&[7; 32]).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    assert!(while_nothing_is_heard(&mut stranger, attempt).await.is_empty());
    while let Ok(event) = node.events.try_recv() {
        assert!(!matches!(event, MeshEvent::BlockStream { .. } | MeshEvent::MemberUp { .. }));
    }
}
