//! One QUIC endpoint: client and server on one UDP socket, so that one port is told to peers.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use dunlin_identity::{DeviceId, DeviceKey};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, Incoming, MtuDiscoveryConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, Socket, Type};

use crate::api::TransferError;
use crate::congestion::FloorConfig;
use crate::tls::{self, Identity};

/// A connection on which nothing goes for this long ends; there is no keep-alive, so an idle node
/// sends nothing.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// Bytes that a stream may have under way. Blocks go over one stream a folder, so this bounds the
/// rate to 4 MiB a round trip; larger windows overrun socket buffers on fast links.
const STREAM_WINDOW: u32 = 4 << 20;
const RECEIVE_WINDOW: u32 = 8 << 20;
const SEND_WINDOW: u64 = 8 << 20;
/// The kernel's own default of some 200 kB loses packets above 1 Gbit/s.
const SOCKET_BUFFER: usize = 4 << 20;
/// Packets are probed up to this size: larger ones no longer fit into one batch for the kernel
/// (GSO), which costs more than it brings.
const MTU_MAX: u16 = 6000;
/// Streams that a peer may have open at once on a connection: one for each shared folder.
const STREAMS_MAX: u32 = 64;
/// Addresses of a device that are tried at once.
const ADDRS_MAX: usize = 8;

/// Names the purpose of exported keying material.
const EXPORT_LABEL: &[u8] = b"EXPORTER-dunlin-blocks-1";

/// The endpoint with this device's identity.
#[derive(Clone)]
pub(crate) struct Quic {
    endpoint: Endpoint,
    identity: Identity,
    transport: Arc<TransportConfig>,
}

impl Quic {
    /// Binds the first of the addresses that can be bound. Must run inside a tokio runtime.
    pub(crate) fn bind(key: &DeviceKey, listen: &[SocketAddr]) -> Result<Self, TransferError> {
        let identity = Identity::new(key)?;
        let transport = Arc::new(transport());
        let crypto = QuicServerConfig::try_from(identity.server()?)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(transport.clone());
        let mut config = EndpointConfig::default();
        config
            .max_udp_payload_size(MTU_MAX)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut failure = TransferError::NoAddress;
        for addr in listen {
            let bound = socket(*addr).and_then(|socket| {
                Endpoint::new(config.clone(), Some(server.clone()), socket, Arc::new(TokioRuntime))
            });
            match bound {
                Ok(endpoint) => return Ok(Self { endpoint, identity, transport }),
                Err(error) => failure = TransferError::Bind { addr: *addr, error },
            }
        }
        Err(failure)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    pub(crate) async fn accept(&self) -> Option<Incoming> {
        self.endpoint.accept().await
    }

    /// Connects to the device, at all addresses at once; the first connection that proves to be
    /// with the device wins.
    pub(crate) async fn connect(
        &self,
        device: DeviceId,
        addrs: &[SocketAddr],
    ) -> io::Result<Connection> {
        let tls = self.identity.client(device).map_err(io::Error::other)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.transport.clone());
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address of the device");
        let mut attempts = FuturesUnordered::new();
        for addr in addrs.iter().take(ADDRS_MAX) {
            match self.endpoint.connect_with(config.clone(), *addr, "dunlin") {
                Ok(connecting) => attempts.push(connecting),
                Err(error) => failure = io::Error::other(error),
            }
        }
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    /// Closes all connections and waits until the peers have been told.
    pub(crate) async fn shutdown(&self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
        self.endpoint.wait_idle().await;
    }

    /// Closes all connections.
    pub(crate) fn close(&self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_MAX);
    transport
        .max_idle_timeout(Some(IDLE.try_into().expect("30 s fit into QUIC's range")))
        .keep_alive_interval(None)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .congestion_controller_factory(Arc::new(FloorConfig::default()))
        .mtu_discovery_config(Some(mtu));
    transport
}

fn socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // One socket for both families, where the system allows it.
        let _ = socket.set_only_v6(false);
    }
    // The system may allow less, which costs speed and nothing else.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Returns the device at the other end, as TLS has proved.
pub(crate) fn peer_of(connection: &Connection) -> Option<DeviceId> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tls::device_of(identity.first()?)
}

/// Returns keying material that exactly the two ends of the connection share.
pub(crate) fn exported(connection: &Connection) -> io::Result<[u8; 32]> {
    let mut material = [0; 32];
    connection
        .export_keying_material(&mut material, EXPORT_LABEL, b"")
        .map_err(|_| io::Error::other("TLS exported no keying material"))?;
    Ok(material)
}
