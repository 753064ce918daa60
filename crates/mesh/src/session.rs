//! One member stream: the shell around [`Peering`] that reads, writes and tells.
//!
//! The device with the lower id opens the stream, so that there is one for each pair without
//! any race. Reading and writing go on side by side: a peer that does not read cannot keep this
//! side from reading. When the owner of the mesh is slow to take events, the stream is read
//! more slowly, and in the end the peer's [`Mesh::send`](crate::Mesh::send) says `Full`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dunlin_identity::{DeviceId, Role};
use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::peering::{Action, Party, Peering, PeeringError};
use crate::shared::{Command, Link, Outbound, Received, Shared, Spread};
use crate::wire::{Frame, MEMBER_FRAME_MAX, STRANGER_FRAME_MAX, WireError};
use crate::{MeshEvent, limits};

/// How long a peer may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at once.
const READ_BYTES: usize = 32 * 1024;

/// Control frames that may wait to be written; more means that the peer does not read.
const CONTROL_FRAMES_MAX: usize = 4096;

/// Why a member stream ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SessionError {
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The peer sent no frame.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer broke the protocol.
    #[error(transparent)]
    Peering(#[from] PeeringError),
    /// The peer said nothing.
    #[error("no hello within {HELLO_TIMEOUT:?}")]
    Silent,
    /// The peer does not read what it is sent.
    #[error("the peer does not take control frames")]
    Stuck,
}

/// A member stream and what it needs.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: DeviceId,
    pub(crate) role: Role,
    /// Unlike that of any other stream of this process.
    pub(crate) id: u64,
    pub(crate) seed: [u8; 32],
    pub(crate) cancel: CancellationToken,
}

impl Session {
    /// Runs the stream until it ends; by then the peer is down in every folder.
    pub(crate) async fn run(self, mut stream: Stream) {
        // A stranger's open stream is no reason to keep the connection; a member's gate is.
        stream.ignore_for_keep_alive();
        let mut folders = self.shared.folders.subscribe();
        let now_open = folders.borrow_and_update().clone();
        let party = Party {
            me: self.shared.me,
            peer: self.peer,
            role: self.role,
            seed: self.seed,
            transfer_port: self.shared.transfer_port,
        };
        let (mut core, hello) = Peering::new(party, now_open);
        let (control, control_frames) = mpsc::channel(CONTROL_FRAMES_MAX);
        let (link, messages) = Link::new(self.id, control.clone());
        self.shared.link(self.peer, link);

        let (reading, writing) = stream.split();
        let read = async {
            queue_control(&control, &hello)?;
            let mut reader = FrameReader::new(reading);
            let first = timeout(HELLO_TIMEOUT, reader.next(STRANGER_FRAME_MAX)).await;
            let first = first.map_err(|_| SessionError::Silent)??;
            let actions = core.on_frame(first)?;
            self.act(&control, actions).await?;
            loop {
                let max = if core.is_member() { MEMBER_FRAME_MAX } else { STRANGER_FRAME_MAX };
                let actions = tokio::select! {
                    frame = reader.next(max) => core.on_frame(frame?)?,
                    changed = folders.changed() => {
                        if changed.is_err() {
                            return Ok(());
                        }
                        let now_open = folders.borrow_and_update().clone();
                        core.set_folders(&now_open)?
                    }
                };
                self.act(&control, actions).await?;
            }
        };
        let result: Result<(), SessionError> = tokio::select! {
            result = read => result,
            result = write_all(writing, control_frames, messages) => result.map_err(Into::into),
            () = self.cancel.cancelled() => Ok(()),
        };
        if let Err(reason) = result {
            tracing::debug!(peer = %self.peer, %reason, "member stream ended");
        }
        self.shared.unlink(&self.peer, self.id);
        for folder in core.up() {
            self.shared.command(Command::Down(self.peer)).await;
            self.shared.tell(MeshEvent::MemberDown { peer: self.peer, folder }).await;
        }
    }

    async fn act(
        &self,
        control: &mpsc::Sender<Vec<u8>>,
        actions: Vec<Action>,
    ) -> Result<(), SessionError> {
        let (shared, peer) = (&self.shared, self.peer);
        for action in actions {
            match action {
                Action::Send(frame) => queue_control(control, &frame)?,
                Action::Up(up) => {
                    // The channel first: who hears of the member may send to it at once.
                    shared.channel_up(&peer, &up);
                    shared.command(Command::Up(peer)).await;
                    let (path, block_addrs) = shared.path(&peer, up.transfer_port);
                    let (folder, tier) = (up.folder, up.tier);
                    let event = MeshEvent::MemberUp { peer, folder, tier, path, block_addrs };
                    shared.tell(event).await;
                }
                Action::Down(folder) => {
                    shared.channel_down(&peer, &folder);
                    shared.command(Command::Down(peer)).await;
                    shared.tell(MeshEvent::MemberDown { peer, folder }).await;
                }
                Action::Refused(folder) => {
                    tracing::warn!(%peer, %folder, "refused a device whose admission is not valid");
                }
                Action::Outdated(folder) => {
                    shared.tell(MeshEvent::Outdated { peer, folder }).await;
                }
                Action::Message { folder, body } => {
                    shared.tell(MeshEvent::Message { peer, folder, message: body }).await;
                }
                Action::Gossip { folder, covered, envelope } => {
                    if let Received::New(opened) = shared.receive(&folder, &envelope) {
                        let (from, message) = (opened.author, opened.body);
                        let except = [peer, from];
                        if shared.hand_on(&folder, &envelope, &covered, &except, Spread::Usual) {
                            shared.command(Command::Publish { folder, envelope }).await;
                        }
                        shared.tell(MeshEvent::Gossip { folder, from, message }).await;
                    }
                }
                Action::Ready => shared.command(Command::Ready(peer)).await,
            }
        }
        Ok(())
    }
}

fn queue_control(control: &mpsc::Sender<Vec<u8>>, frame: &Frame) -> Result<(), SessionError> {
    control.try_send(frame.encode()).map_err(|_| SessionError::Stuck)
}

/// Writes control frames and messages, the former first, and flushes when nothing more waits.
async fn write_all(
    mut stream: impl AsyncWrite + Unpin,
    mut control: mpsc::Receiver<Vec<u8>>,
    mut messages: mpsc::Receiver<Outbound>,
) -> io::Result<()> {
    loop {
        // A message is queued only after the control frames that open its channel.
        let (bytes, room) = tokio::select! {
            biased;
            frame = control.recv() => match frame {
                Some(bytes) => (bytes, None),
                None => return Ok(()),
            },
            message = messages.recv() => match message {
                Some(message) => (message.bytes, Some(message.room)),
                // Another stream has taken this one's place.
                None => return Ok(()),
            },
        };
        stream.write_all(&bytes).await?;
        drop(room);
        if control.is_empty() && messages.is_empty() {
            stream.flush().await?;
        }
    }
}

/// Cuts a stream of bytes into frames.
struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    chunk: Box<[u8]>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new(), chunk: vec![0; READ_BYTES].into_boxed_slice() }
    }

    /// Reads one frame of at most `max` bytes. Nothing is lost when the future is dropped early.
    async fn next(&mut self, max: usize) -> Result<Frame, SessionError> {
        loop {
            if let Some((header, rest)) = self.buffer.split_first_chunk::<4>() {
                let len = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
                if len > max {
                    return Err(WireError::TooLong { len, max }.into());
                }
                if let Some(frame) = rest.get(..len) {
                    let frame = Frame::decode(frame)?;
                    self.buffer.drain(..4 + len);
                    if self.buffer.is_empty() && self.buffer.capacity() > 4 * READ_BYTES {
                        // One large message must not hold its memory for the stream's life.
                        self.buffer = Vec::new();
                    }
                    return Ok(frame);
                }
            }
            // The buffer grows with what arrives, not with what is announced.
            let read = self.stream.read(&mut self.chunk).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.buffer.extend_from_slice(&self.chunk[..read]);
        }
    }
}

const _: () = assert!(CONTROL_FRAMES_MAX > 2 * limits::FOLDERS_MAX);

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn frames(bytes: Vec<u8>, max: usize) -> (Vec<Frame>, SessionError) {
        let mut reader = FrameReader::new(Cursor::new(bytes));
        let mut frames = Vec::new();
        loop {
            match reader.next(max).await {
                Ok(frame) => frames.push(frame),
                Err(reason) => return (frames, reason),
            }
        }
    }

    #[tokio::test]
    async fn frames_are_cut_wherever_reads_end() {
        let sent = vec![
            Frame::Message { channel: 1, body: vec![7; 3 * READ_BYTES] },
            Frame::Ready,
            Frame::Leave { channel: 9 },
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
        let (got, end) = frames(bytes, MEMBER_FRAME_MAX).await;
        assert_eq!(got, sent);
        assert!(matches!(end, SessionError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof));
    }

    #[tokio::test]
    async fn a_frame_above_the_limit_is_refused_by_its_length_alone() {
        let bytes = u32::MAX.to_be_bytes().to_vec();
        let (_, end) = frames(bytes, STRANGER_FRAME_MAX).await;
        assert!(matches!(end, SessionError::Wire(WireError::TooLong { .. })));
    }
}
