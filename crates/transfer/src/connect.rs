//! Ways to a device: connections that are there, new ones, and the fallback; and what comes in.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dunlin_identity::DeviceId;
use quinn::{Connection, Incoming, VarInt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::debug;

use crate::api::BlockIo;
use crate::protocol::{Channel, ProtocolError, initiate};
use crate::quic::{exported, peer_of};
use crate::serve::{Link, serve};
use crate::session::{Order, Report, Session};
use crate::shared::Shared;

/// QUIC has this long to connect before the fallback is tried.
const QUIC_TIME: Duration = Duration::from_secs(3);
/// The fallback has this long to open a stream.
const FALLBACK_TIME: Duration = Duration::from_secs(10);
/// Opening the protocol on a stream takes at most this long.
const OPENING: Duration = Duration::from_secs(5);
/// An incoming connection must have proved a membership after this long.
const STRANGER_TIME: Duration = Duration::from_secs(10);
/// Incoming connections that have not proved a membership, at most.
const STRANGERS_MAX: usize = 64;
/// Streams that are served at once, over all peers.
const STREAMS_MAX: usize = 512;
/// Tells a peer that it is not known here; without words, since it may be a stranger.
const CLOSE_STRANGER: u32 = 1;
/// Tells a peer that there are enough connections with it already.
const CLOSE_SURPLUS: u32 = 2;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Counts what strangers and members may hold open.
pub(crate) struct Doors {
    strangers: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

impl Doors {
    pub(crate) fn new() -> Self {
        Self {
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }
}

/// Opens a session with its source and runs it; always ends with a report that it is down.
pub(crate) async fn run_session(session: Session, doors: Arc<Doors>, orders: Receiver<Order>) {
    let ended = open_and_run(&session, &doors, orders).await;
    if let Err(error) = &ended {
        debug!(device = %session.source.device, %error, "a block session ended");
    }
    session.report(Report::Down(ended.err())).await;
}

async fn open_and_run(
    session: &Session,
    doors: &Arc<Doors>,
    orders: Receiver<Order>,
) -> Result<(), ProtocolError> {
    let shared = &session.shared;
    let source = session.source;
    let keys = shared.gate.keys(source.folder).ok_or(ProtocolError::Refused)?;
    let (mut reader, mut writer, channel) = open(session, doors).await?;
    let opening = initiate(&mut reader, &mut writer, &channel, &keys, shared.nonce()?);
    timeout(OPENING, opening).await.map_err(|_| ProtocolError::Silent)??;
    if session.report(Report::Up).await {
        session.run(reader, writer, orders).await?;
    }
    Ok(())
}

/// Opens a stream to the session's device: over a connection that is there, a new one, or the
/// fallback.
async fn open(
    session: &Session,
    doors: &Arc<Doors>,
) -> Result<(Reader, Writer, Channel), ProtocolError> {
    let (shared, source) = (&session.shared, &session.source);
    let quic = timeout(QUIC_TIME, connection(shared, doors, source.device)).await;
    let failure = match quic {
        Ok(Ok(connection)) => {
            let (writer, reader) = connection.open_bi().await.map_err(io::Error::from)?;
            let exported = exported(&connection)?;
            let channel = Channel { me: shared.me, peer: source.device, exported };
            return Ok((Box::new(reader), Box::new(writer), channel));
        }
        Ok(Err(error)) => error,
        Err(_) => io::ErrorKind::TimedOut.into(),
    };
    let fallback = shared.directory().fallback.clone();
    let Some(fallback) = fallback else { return Err(failure.into()) };
    debug!(device = %source.device, error = %failure, "no QUIC, trying the fallback");
    let opening = fallback.open(source.device, source.folder);
    let stream = timeout(FALLBACK_TIME, opening).await.map_err(|_| ProtocolError::Silent)??;
    let (reader, writer) = tokio::io::split(stream);
    let channel = Channel { me: shared.me, peer: source.device, exported: [0; 32] };
    Ok((Box::new(reader), Box::new(writer), channel))
}

/// Returns a connection with the device: one that is there, or a new one.
async fn connection(
    shared: &Arc<Shared>,
    doors: &Arc<Doors>,
    device: DeviceId,
) -> io::Result<Connection> {
    let dialling = shared.directory().dialling(device);
    // Several folders with one device share a connection, so one task dials and the others wait.
    let _dialling = dialling.lock().await;
    let (connection, addrs) = {
        let mut directory = shared.directory();
        let addrs = directory.addrs.get(&device).cloned().unwrap_or_default();
        (directory.connection(&device), addrs)
    };
    if let Some(connection) = connection {
        return Ok(connection);
    }
    let connection = shared.quic.connect(device, &addrs).await?;
    if shared.directory().add_connection(device, &connection) {
        // This side chose the device, so it is no stranger.
        let (proved, _) = watch::channel(true);
        let (shared, doors) = (shared.clone(), doors.clone());
        tokio::spawn(serve_connection(shared, doors, device, connection.clone(), proved));
    }
    Ok(connection)
}

/// Accepts connections until the endpoint is closed.
pub(crate) async fn accept_all(shared: Arc<Shared>, doors: Arc<Doors>) {
    while let Some(incoming) = shared.quic.accept().await {
        // The permit is held until a membership is proved, so strangers compete with each other.
        let Ok(permit) = doors.strangers.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (shared, doors) = (shared.clone(), doors.clone());
        tokio::spawn(async move {
            let Some((device, connection)) = accept(incoming).await else { return };
            if !shared.directory().add_connection(device, &connection) {
                connection.close(VarInt::from_u32(CLOSE_SURPLUS), b"");
                return;
            }
            shared.changed.notify_one();
            let (proved_send, mut proved) = watch::channel(false);
            let serving = serve_connection(shared, doors, device, connection.clone(), proved_send);
            tokio::spawn(serving);
            let proving = proved.wait_for(|proved| *proved);
            if timeout(STRANGER_TIME, proving).await.is_err() {
                connection.close(VarInt::from_u32(CLOSE_STRANGER), b"");
            }
            drop(permit);
        });
    }
}

async fn accept(incoming: Incoming) -> Option<(DeviceId, Connection)> {
    let connection = match timeout(STRANGER_TIME, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            debug!(%error, "an incoming connection failed");
            return None;
        }
        Err(_) => return None,
    };
    Some((peer_of(&connection)?, connection))
}

/// Serves the streams that the device opens on a connection, until it is closed.
async fn serve_connection(
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    device: DeviceId,
    connection: Connection,
    proved: watch::Sender<bool>,
) {
    let Ok(exported) = exported(&connection) else { return };
    let channel = Channel { me: shared.me, peer: device, exported };
    while let Ok((writer, reader)) = connection.accept_bi().await {
        let Ok(permit) = doors.streams.clone().try_acquire_owned() else { continue };
        let (shared, connection, proved) = (shared.clone(), connection.clone(), proved.clone());
        tokio::spawn(async move {
            let mark = || {
                proved.send_replace(true);
            };
            let link = Link::Quic(connection.clone());
            let served = serve(&shared, channel, link, (reader, writer), mark).await;
            if let Err(error) = served {
                debug!(%device, %error, "a served stream ended");
                if !*proved.borrow() {
                    connection.close(VarInt::from_u32(CLOSE_STRANGER), b"");
                }
            }
            drop(permit);
        });
    }
    shared.directory().remove_connection(&device, &connection);
}

/// Serves a stream that the device opened by another way than QUIC.
pub(crate) async fn serve_other(
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    device: DeviceId,
    stream: Box<dyn BlockIo>,
) {
    let Ok(_permit) = doors.streams.clone().try_acquire_owned() else { return };
    let channel = Channel { me: shared.me, peer: device, exported: [0; 32] };
    let ends = tokio::io::split(stream);
    if let Err(error) = serve(&shared, channel, Link::Other, ends, || {}).await {
        debug!(%device, %error, "a served stream ended");
    }
}
