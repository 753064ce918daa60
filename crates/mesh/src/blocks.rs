//! Block streams: the fallback of the block transfer, over a libp2p connection.
//!
//! The opener sends the tag by which it names the folder on the pair's member stream, and waits
//! for one byte. Only a member knows such a tag, and it is of no use to anyone else, since it is
//! bound to both devices and to that stream.

use std::sync::Arc;
use std::time::Duration;

use dunlin_identity::{DeviceId, FolderId};
use futures::StreamExt as _;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{PeerId, Stream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::behaviour::BLOCKS_PROTOCOL;
use crate::shared::{Command, Shared};
use crate::{BlockStream, MeshError, MeshEvent, addr};

/// Block streams whose opening is under way, from all peers together.
const OPENING_MAX: usize = 256;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream can be lost when many are opened at once: then it is opened again.
const ATTEMPTS: usize = 3;
const ACCEPTED: u8 = 1;

/// Opens a block stream to a member.
pub(crate) async fn open(
    shared: &Shared,
    mut control: libp2p_stream::Control,
    peer: DeviceId,
    folder: FolderId,
) -> Result<BlockStream, MeshError> {
    let id = addr::peer_id(&peer).ok_or(MeshError::NotMember(peer))?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let tag = shared.own_tag(&peer, &folder).ok_or(MeshError::NotMember(peer))?;
        let attempt = async {
            let mut stream =
                control.open_stream(id, BLOCKS_PROTOCOL).await.map_err(|e| e.to_string())?;
            let mut answer = [0];
            stream.write_all(&tag).await.map_err(|e| e.to_string())?;
            stream.flush().await.map_err(|e| e.to_string())?;
            stream.read_exact(&mut answer).await.map_err(|e| e.to_string())?;
            if answer == [ACCEPTED] { Ok(stream) } else { Err("the peer declined".to_owned()) }
        };
        match timeout(OPEN_TIMEOUT, attempt).await {
            Ok(Ok(stream)) => return Ok(BlockStream::new(stream)),
            Ok(Err(reason)) => last = reason,
            Err(_) => last = format!("no answer within {OPEN_TIMEOUT:?}"),
        }
    }
    Err(MeshError::Stream { peer, reason: last })
}

/// Takes the block streams that members open.
pub(crate) async fn accept(shared: Arc<Shared>, mut incoming: libp2p_stream::IncomingStreams) {
    let places = Arc::new(Semaphore::new(OPENING_MAX));
    loop {
        let next = tokio::select! {
            next = incoming.next() => next,
            () = shared.stop.cancelled() => return,
        };
        let Some((peer, stream)) = next else { return };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let opened = tokio::select! {
                opened = timeout(OPEN_TIMEOUT, greet(&shared, peer, stream)) => opened,
                () = shared.stop.cancelled() => return,
            };
            if let Ok(Some(event)) = opened {
                shared.tell(event).await;
            }
            drop(place);
        });
    }
}

async fn greet(shared: &Shared, peer: PeerId, mut stream: Stream) -> Option<MeshEvent> {
    let device = addr::device(&peer)?;
    let mut tag = [0; 32];
    stream.read_exact(&mut tag).await.ok()?;
    let folder = shared.folder_of_tag(&device, &tag)?;
    stream.write_all(&[ACCEPTED]).await.ok()?;
    stream.flush().await.ok()?;
    Some(MeshEvent::BlockStream { peer: device, folder, stream: BlockStream::new(stream) })
}

/// Passes the member streams that peers open to the swarm's task, which knows the peers.
pub(crate) async fn accept_members(
    shared: Arc<Shared>,
    mut incoming: libp2p_stream::IncomingStreams,
) {
    loop {
        let next = tokio::select! {
            next = incoming.next() => next,
            () = shared.stop.cancelled() => return,
        };
        let Some((peer, stream)) = next else { return };
        shared.command(Command::Inbound(peer, stream)).await;
    }
}
