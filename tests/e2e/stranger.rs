//! Someone who has the network and not the code learns no names and gets no blocks.
//!
//! The only tests that look behind the command line: they knock at a node with
//! its own crates, `dunlin-mesh` for libp2p and `dunlin-transfer` for quinn. Every refusal is
//! paired with the same attempt by a member, which succeeds: a refusal for another reason, such
//! as a wrong address, would prove nothing.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys, Hash, JoinCode};
use dunlin_mesh::{Mesh, MeshConfig, MeshEvent};
use dunlin_transfer::{BlockSource, FetchError, Gate, Priority, Transfer, TransferConfig};
use tokio::sync::mpsc;

use crate::support::files::{bytes, read, write};
use crate::support::network::Network;
use crate::support::node::Group;
use crate::support::wait::PATIENCE;

/// How long a stranger listens after a member has been let in: many times what that took.
const LISTENS: Duration = Duration::from_secs(3);

/// A folder on two nodes on the loopback, where this process can reach them, with one file of one
/// block.
struct Target {
    group: Group,
    keys: FolderKeys,
    content: Vec<u8>,
    device: DeviceId,
    address: String,
}

impl Target {
    fn new() -> Self {
        let mut group = Group::on(Network::loopback(2), 2);
        let content = bytes(1, 50_000);
        write(group.nodes[0].at("a name to keep secret"), &content);
        group.start(&[0, 1]);
        group.converge(&[0, 1]);
        let code: JoinCode = group.code().parse().expect("the code that share prints");
        let device = group.nodes[0].status().device.parse().expect("a PeerId");
        let address = group.network.place(0).multiaddr();
        Self { group, keys: code.keys, content, device, address }
    }

    fn block(&self) -> BlockRef {
        let len = u32::try_from(self.content.len()).expect("a small block");
        BlockRef { hash: Hash::of(&self.content), len }
    }

    /// B's key; B must be stopped, or two would run with it.
    fn key_of_b(&mut self) -> DeviceKey {
        self.group.nodes[1].stop();
        let text = read(self.group.nodes[1].home.join("dunlin/key"));
        let text = String::from_utf8(text).expect("hexadecimal digits");
        let seed: Hash = text.trim().parse().expect("64 hexadecimal digits");
        DeviceKey::from_seed(seed.0)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// Starts a mesh that dials the target, with the keys of one folder.
async fn knock(
    target: &Target,
    key: &DeviceKey,
    keys: FolderKeys,
) -> (Mesh, mpsc::Receiver<MeshEvent>) {
    let listen = ["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()];
    let peers = [target.address.clone()];
    let config = MeshConfig {
        listen: &listen,
        peers: &peers,
        mdns: false,
        dht: false,
        ..MeshConfig::new(key)
    };
    let (mesh, events) = Mesh::start(config).await.expect("a mesh on the loopback");
    mesh.add_folder(keys);
    (mesh, events)
}

/// Waits until the target is up as a member; gives where its blocks are.
async fn let_in(events: &mut mpsc::Receiver<MeshEvent>, target: &Target) -> Vec<SocketAddr> {
    let wait = async {
        while let Some(event) = events.recv().await {
            if let MeshEvent::MemberUp { peer, block_addrs, .. } = event
                && peer == target.device
            {
                return block_addrs;
            }
        }
        panic!("the mesh ended");
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("a member is let in")
}

struct Nothing;

impl BlockSource for Nothing {
    fn read(&self, _: FolderId, _: &Hash) -> Option<Bytes> {
        None
    }
}

/// Has some keys for every folder.
struct Claims(FolderKeys);

impl Gate for Claims {
    fn keys(&self, _: FolderId) -> Option<FolderKeys> {
        Some(self.0.clone())
    }

    fn is_member(&self, _: FolderId, _: &DeviceId) -> bool {
        true
    }
}

/// Asks the target for the block of its file, as the device `key` with the secret `keys`.
async fn ask(
    target: &Target,
    at: &[SocketAddr],
    key: &DeviceKey,
    keys: FolderKeys,
) -> Result<Bytes, FetchError> {
    let config = TransferConfig {
        key,
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        source: Arc::new(Nothing),
        gate: Arc::new(Claims(keys)),
    };
    let transfer = Transfer::bind(config).await.expect("an endpoint on the loopback");
    let folder = target.keys.folder();
    transfer.set_peer(target.device, at.to_vec());
    transfer.members(folder, vec![target.device]);
    let (sink, mut answers) = mpsc::channel(1);
    let answer = async {
        transfer.fetch(folder, vec![target.block()], Priority::High, sink).await;
        answers.recv().await.expect("each block gets an answer").data
    };
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time");
    transfer.shutdown().await;
    answer
}

#[test]
fn without_the_code_nobody_is_let_in_over_libp2p() {
    let mut target = Target::new();
    let before = target.group.nodes[0].folder();
    runtime().block_on(async {
        let stranger_key = DeviceKey::from_seed([7; 32]);
        let own_folder = FolderKeys::create([8; 32]);
        let (stranger, mut heard) = knock(&target, &stranger_key, own_folder).await;
        // A device with the code that comes later is let in, so the stranger has been heard, too.
        let member_key = DeviceKey::from_seed([9; 32]);
        let (member, mut events) = knock(&target, &member_key, target.keys.clone()).await;
        let_in(&mut events, &target).await;
        let folder = target.keys.folder();
        assert!(stranger.open_block_stream(target.device, folder).await.is_err());
        assert!(stranger.send(target.device, folder, b"hello".to_vec()).is_err());
        let listen = async {
            while let Some(event) = heard.recv().await {
                let harmless = matches!(event, MeshEvent::Listening(_) | MeshEvent::DhtAlone);
                assert!(harmless, "the stranger was told: {event:?}");
            }
        };
        let _ = tokio::time::timeout(LISTENS, listen).await;
        stranger.shutdown().await;
        member.shutdown().await;
    });
    let after = target.group.nodes[0].folder();
    assert_eq!(after.sent_bytes, before.sent_bytes, "blocks were sent");
    let stranger = DeviceKey::from_seed([7; 32]).device().to_string();
    assert!(after.devices.iter().all(|device| device.device != stranger), "{:?}", after.devices);
    // The node has not suffered.
    write(target.group.nodes[0].at("after"), "the visit");
    target.group.converge(&[0, 1]);
    target.group.stop(&[0, 1]);
}

#[test]
fn without_the_code_nobody_gets_a_block_over_quic() {
    let mut target = Target::new();
    let member_key = target.key_of_b();
    runtime().block_on(async {
        // Only members are told where the blocks are. This stranger has found it out, and knows
        // the folder's id and the block's hash as well.
        let (mesh, mut events) = knock(&target, &member_key, target.keys.clone()).await;
        let at = let_in(&mut events, &target).await;
        assert!(!at.is_empty(), "no address for blocks");
        let other_keys = FolderKeys::create([8; 32]);
        let stranger_key = DeviceKey::from_seed([7; 32]);
        let refused = ask(&target, &at, &stranger_key, other_keys.clone()).await;
        assert_eq!(refused, Err(FetchError::Unavailable), "a stranger");
        let refused = ask(&target, &at, &member_key, other_keys).await;
        assert_eq!(refused, Err(FetchError::Unavailable), "a member's key without the secret");
        let given = ask(&target, &at, &member_key, target.keys.clone()).await;
        assert_eq!(given.as_deref(), Ok(&target.content[..]), "a member");
        mesh.shutdown().await;
    });
}

#[test]
fn noise_at_its_port_does_not_disturb_a_node() {
    let target = Target::new();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free UDP port");
    let port = target.group.network.place(0).port;
    for i in 0..2000_u64 {
        // Of all lengths, some with the first bits of a QUIC packet.
        let mut packet = bytes(i, 1 + (i as usize * 7) % 1400);
        packet[0] |= if i % 2 == 0 { 0xc0 } else { 0 };
        let _ = socket.send_to(&packet, ("127.0.0.1", port));
    }
    write(target.group.nodes[0].at("after"), "the noise");
    target.group.converge(&[0, 1]);
    assert_eq!(target.group.nodes[0].folder().error, None);
}
