//! Where answers go: the stream below, what it can do beside taking bytes, and what it carries.

use std::io;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter, WriteHalf};

/// Shorter pieces are copied into the buffer, so that many of them travel together.
const COPIED_MAX: usize = 8 << 10;

/// A stream to which blocks are written.
pub(crate) trait Out: AsyncWrite + Unpin + Send {
    /// Writes all of it, without a copy where the stream can.
    fn write_bytes(&mut self, bytes: Bytes) -> impl Future<Output = io::Result<()>> + Send;
}

impl Out for SendStream {
    async fn write_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        Ok(self.write_chunk(bytes).await?)
    }
}

impl<T: AsyncWrite + Send> Out for WriteHalf<T> {
    async fn write_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.write_all(&bytes).await
    }
}

#[cfg(test)]
impl Out for Vec<u8> {
    async fn write_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.write_all(&bytes).await
    }
}

/// Writes bytes after what is in the buffer.
pub(super) async fn write_bytes<W: Out>(writer: &mut BufWriter<W>, bytes: Bytes) -> io::Result<()> {
    if bytes.len() <= COPIED_MAX {
        return writer.write_all(&bytes).await;
    }
    writer.flush().await?;
    writer.get_mut().write_bytes(bytes).await
}

/// What is below a stream that is served.
pub(crate) enum Link {
    /// A QUIC connection.
    Quic(Connection),
    /// A stream of which nothing is known but that QUIC did not get through where it goes.
    Other,
}

impl Link {
    /// Returns what the link carries, in bytes a second, as far as is known: congestion control
    /// lets a window go in each round trip. Of other ways it is taken for little.
    pub(super) fn rate(&self) -> f64 {
        match self {
            Self::Quic(connection) => {
                let path = connection.stats().path;
                path.cwnd as f64 / path.rtt.as_secs_f64().max(1e-6)
            }
            Self::Other => 0.0,
        }
    }
}
