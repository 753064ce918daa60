//! The swarm: transports, behaviours and their limits.

use std::num::NonZeroU8;
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    PeerId, StreamProtocol, Swarm, SwarmBuilder, connection_limits, gossipsub, identify, identity,
    kad, mdns, noise, ping, tcp, yamux,
};

use crate::gate::Gated;
use crate::limits::GOSSIP_TRANSMIT_MAX;
use crate::{MeshConfig, MeshError};

/// The protocol of member streams.
pub(crate) const MEMBER_PROTOCOL: StreamProtocol = StreamProtocol::new("/dunlin/member/1");
/// The protocol of block streams.
pub(crate) const BLOCKS_PROTOCOL: StreamProtocol = StreamProtocol::new("/dunlin/blocks/1");
/// The private name of the DHT.
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/dunlin/kad/1");
/// What identify says the network is.
const IDENTIFY_PROTOCOL: &str = "/dunlin/id/1";
/// What gossipsub's own protocol names begin with.
const GOSSIP_PREFIX: &str = "/dunlin/gossip";

const CONNECTIONS_MAX: u32 = 512;
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
const PENDING_MAX: u32 = 64;
/// A stranger's connection is closed after this long without a stream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Nothing that a person waits for depends on the heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(7);
/// Neighbours in the gossip mesh: aimed for, at least, at most, and of them dialled by this device.
const MESH_N: usize = 4;
const MESH_N_LOW: usize = 3;
const MESH_N_HIGH: usize = 8;
const MESH_OUTBOUND_MIN: usize = 2;
const PING_INTERVAL: Duration = Duration::from_secs(20);
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(5);
const QUIC_IDLE_MS_MAX: u32 = 12_000;
const DIAL_CONCURRENCY: NonZeroU8 = NonZeroU8::new(8).expect("eight is not zero");

/// All behaviours of the swarm.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) gossip: Gated,
    pub(crate) kad: Toggle<kad::Behaviour<MemoryStore>>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) streams: libp2p_stream::Behaviour,
}

/// Builds the swarm.
pub(crate) fn build(config: &MeshConfig<'_>) -> Result<Swarm<Behaviour>, MeshError> {
    let mut seed = *config.key.seed();
    let keypair = identity::Keypair::ed25519_from_bytes(&mut seed).map_err(setup)?;
    let behaviour = behaviour(config, &keypair)?;
    let swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(setup)?
        .with_quic_config(|mut quic| {
            quic.keep_alive_interval = QUIC_KEEP_ALIVE;
            quic.max_idle_timeout = QUIC_IDLE_MS_MAX;
            quic
        })
        .with_dns()
        .map_err(setup)?
        .with_behaviour(|_| behaviour)
        .map_err(setup)?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(IDLE_TIMEOUT)
                .with_dial_concurrency_factor(DIAL_CONCURRENCY)
        })
        .build();
    Ok(swarm)
}

fn behaviour(config: &MeshConfig<'_>, keypair: &identity::Keypair) -> Result<Behaviour, MeshError> {
    let me = keypair.public().to_peer_id();
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_MAX))
        .with_max_pending_outgoing(Some(PENDING_MAX))
        .with_max_established(Some(CONNECTIONS_MAX))
        // Strangers must not take all the places: some are left for those that we dial.
        .with_max_established_incoming(Some(CONNECTIONS_MAX - CONNECTIONS_MAX / 4))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), keypair.public())
        .with_agent_version(config.agent.to_owned())
        .with_push_listen_addr_updates(true);
    let mdns = config
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), me))
        .transpose()
        .unwrap_or_else(|reason| {
            tracing::warn!(%reason, "no discovery on the local network");
            None
        });
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        gossip: Gated::new(gossip()?),
        kad: config.dht.then(|| kad(me)).into(),
        mdns: mdns.into(),
        streams: libp2p_stream::Behaviour::new(),
    })
}

/// Makes gossipsub as Dunlin uses it; the tests make their plain nodes with it as well.
pub(crate) fn gossip() -> Result<gossipsub::Behaviour, MeshError> {
    let config = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(GOSSIP_PREFIX)
        .heartbeat_interval(HEARTBEAT)
        // Fewer neighbours than by default: among 1,000 devices a payload then comes 6 times
        // instead of 9, and is everywhere some 50 ms later (docs/scale.md).
        .mesh_n(MESH_N)
        .mesh_n_low(MESH_N_LOW)
        .mesh_n_high(MESH_N_HIGH)
        .mesh_outbound_min(MESH_OUTBOUND_MIN)
        // A new neighbour must not wait a minute, as it would by default, to be taken back.
        .prune_backoff(Duration::from_secs(15))
        .unsubscribe_backoff(Duration::from_secs(2))
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .flood_publish(true)
        .max_transmit_size(GOSSIP_TRANSMIT_MAX)
        .message_id_fn(|message| gossipsub::MessageId::new(blake3::hash(&message.data).as_bytes()))
        .build()
        .map_err(setup)?;
    gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).map_err(setup)
}

fn kad(me: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config
        .set_query_timeout(Duration::from_secs(20))
        .set_provider_record_ttl(Some(Duration::from_secs(36 * 3600)))
        .set_provider_publication_interval(Some(Duration::from_secs(6 * 3600)))
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(900)));
    // Only provider records are used; nobody may store values here.
    let store = MemoryStoreConfig {
        max_records: 0,
        max_provided_keys: 4096,
        max_providers_per_key: 32,
        ..MemoryStoreConfig::default()
    };
    let mut kad = kad::Behaviour::with_config(me, MemoryStore::with_config(me, store), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn setup(reason: impl std::fmt::Display) -> MeshError {
    MeshError::Setup(reason.to_string())
}
