//! What the mesh tells its owner.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use dunlin_identity::{DeviceId, FolderId, Tier};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _};

/// Which way a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// Over the local network: a private, link-local or loopback address, or found by mDNS.
    Lan,
    /// Over a public address.
    Direct,
    /// Through a relay.
    Relayed,
}

/// Something that happened in the mesh.
#[derive(Debug)]
#[non_exhaustive]
pub enum MeshEvent {
    /// The addresses that the mesh listens on have changed; this is the whole new list.
    Listening(Vec<String>),
    /// A peer proved that it is a member of a folder, and this device proved it to the peer.
    MemberUp {
        /// The peer.
        peer: DeviceId,
        /// The folder.
        folder: FolderId,
        /// What the peer's admission lets it do.
        tier: Tier,
        /// How the peer is reached.
        path: PathKind,
        /// Where the peer's block transfer listens; empty when it has none.
        block_addrs: Vec<SocketAddr>,
    },
    /// A member is no longer reached in this folder. Messages to it that had not been sent are
    /// lost.
    MemberDown {
        /// The peer.
        peer: DeviceId,
        /// The folder.
        folder: FolderId,
    },
    /// A device that holds the folder does not let this one in with the keys that it has: it was
    /// removed, or its code is of an earlier generation.
    Outdated {
        /// The device that says so; that it is a member has not been proved.
        peer: DeviceId,
        /// The folder.
        folder: FolderId,
    },
    /// A direct message from a member, in the order in which it was sent.
    Message {
        /// The sender.
        peer: DeviceId,
        /// The folder.
        folder: FolderId,
        /// The bytes that were sent.
        message: Vec<u8>,
    },
    /// A broadcast, opened and with its signature checked.
    Gossip {
        /// The folder.
        folder: FolderId,
        /// The device that signed it, which need not be connected.
        from: DeviceId,
        /// The bytes that were broadcast.
        message: Vec<u8>,
    },
    /// A member opened a stream for blocks.
    BlockStream {
        /// The member.
        peer: DeviceId,
        /// The folder.
        folder: FolderId,
        /// The stream.
        stream: BlockStream,
    },
    /// A member was reached at an address that can be dialled again later.
    AddressLearned {
        /// The member.
        peer: DeviceId,
        /// The multiaddr, with `/p2p/…`.
        addr: String,
    },
    /// The DHT is on, but there is no address to enter it by: nobody new is found through it.
    DhtAlone,
}

/// A stream of bytes to a member, for blocks.
pub struct BlockStream {
    inner: Compat<libp2p::Stream>,
}

impl BlockStream {
    pub(crate) fn new(stream: libp2p::Stream) -> Self {
        Self { inner: stream.compat() }
    }
}

impl fmt::Debug for BlockStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockStream")
    }
}

impl AsyncRead for BlockStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for BlockStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
