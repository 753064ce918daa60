//! Meshes on the loopback interface, and waiting for what they report.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::time::Duration;

use dunlin_identity::{DeviceId, DeviceKey, FolderKeys};
use dunlin_mesh::{Mesh, MeshConfig, MeshEvent};
use tokio::sync::mpsc;

/// No test waits longer than this for one event.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";

pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) events: mpsc::Receiver<MeshEvent>,
    pub(crate) device: DeviceId,
}

/// What to start a node with.
pub(crate) struct Start<'a> {
    pub(crate) seed: u8,
    pub(crate) listen: &'a str,
    pub(crate) peers: Vec<String>,
    pub(crate) dht: bool,
    /// As in the configuration.
    pub(crate) direct: usize,
    pub(crate) transfer_port: u16,
}

pub(crate) fn seed(seed: u8) -> Start<'static> {
    Start { seed, listen: QUIC, peers: Vec::new(), dht: false, direct: 8, transfer_port: 0 }
}

impl<'a> Start<'a> {
    pub(crate) fn peer(mut self, node: &Node) -> Self {
        self.peers.extend(node.mesh.listen_addrs());
        self
    }

    pub(crate) async fn start(self) -> Node {
        let key = key(self.seed);
        let config = MeshConfig {
            listen: &[self.listen.to_owned()],
            peers: &self.peers,
            mdns: false,
            dht: self.dht,
            direct_members_max: self.direct,
            transfer_port: self.transfer_port,
            ..MeshConfig::new(&key)
        };
        let (mesh, events) = Mesh::start(config).await.unwrap();
        Node { mesh, events, device: key.device() }
    }
}

pub(crate) fn key(seed: u8) -> DeviceKey {
    DeviceKey::from_seed([seed; 32])
}

pub(crate) fn folder(secret: u8) -> FolderKeys {
    FolderKeys::create([secret; 32])
}

impl Node {
    /// Waits for the first event that `pick` takes; others are dropped.
    pub(crate) async fn wait<T>(&mut self, mut pick: impl FnMut(MeshEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the mesh has ended");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("no such event in time")
    }

    pub(crate) async fn wait_up(&mut self, other: DeviceId) {
        self.wait(|event| match event {
            MeshEvent::MemberUp { peer, .. } if peer == other => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn wait_down(&mut self, other: DeviceId) {
        self.wait(|event| match event {
            MeshEvent::MemberDown { peer, .. } if peer == other => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn wait_message(&mut self) -> (DeviceId, Vec<u8>) {
        self.wait(|event| match event {
            MeshEvent::Message { peer, message, .. } => Some((peer, message)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn wait_gossip(&mut self) -> (DeviceId, Vec<u8>) {
        self.wait(|event| match event {
            MeshEvent::Gossip { from, message, .. } => Some((from, message)),
            _ => None,
        })
        .await
    }
}

/// Waits until gossip carries folder 1 from a node to a device.
pub(crate) async fn gossip_reaches(from: &Node, to: DeviceId) {
    let reached = async {
        while !from.mesh.gossip_reaches(to, folder(1).folder()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("gossip never reaches the device");
}

/// Starts two nodes that share the folder 1 and know each other as members.
pub(crate) async fn pair() -> (Node, Node) {
    let mut a = seed(1).start().await;
    let mut b = seed(2).peer(&a).start().await;
    a.mesh.add_folder(folder(1));
    b.mesh.add_folder(folder(1));
    both_up(&mut a, &mut b).await;
    (a, b)
}

/// Waits until two nodes are up to each other.
pub(crate) async fn both_up(a: &mut Node, b: &mut Node) {
    let (at_a, at_b) = (a.device, b.device);
    tokio::join!(a.wait_up(at_b), b.wait_up(at_a));
}

/// Waits until two nodes are down to each other.
pub(crate) async fn both_down(a: &mut Node, b: &mut Node) {
    let (at_a, at_b) = (a.device, b.device);
    tokio::join!(a.wait_down(at_b), b.wait_down(at_a));
}
