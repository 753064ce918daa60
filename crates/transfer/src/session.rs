//! The asking side of one stream of the block protocol: sends the scheduler's questions, checks
//! every answer, and reports.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dunlin_blocks::BlockRef;
use dunlin_identity::Hash;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, timeout};

use crate::limits::Way;
use crate::protocol::{
    Answer, ProtocolError, encode_questions, encode_take_back, read_answer, read_answer_tag,
};
use crate::scheduler::Source;
use crate::shared::Shared;

/// A session without a question for this long ends.
const IDLE: Duration = Duration::from_secs(30);
/// Orders that are sent in one go.
const ORDERS: usize = 64;
/// While a block comes slowly, progress is reported this often.
const PROGRESS: Duration = Duration::from_secs(1);

/// What a session is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    Ask(Vec<BlockRef>),
    TakeBack(Hash),
}

/// What a session tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// Both sides have proved to be members; questions can be asked.
    Up,
    Arrived(Hash, Bytes),
    Lacks(Hash),
    Skipped(Hash),
    /// The bytes under the block's name are something else.
    Lied(Hash),
    /// A part of a block came.
    Progress,
    /// The session has ended, with what went wrong if anything did.
    Down(Option<ProtocolError>),
}

/// A report, with the session that it comes from.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) source: Source,
    pub(crate) session: u64,
    pub(crate) report: Report,
}

/// Questions without an answer, in order, and the number of the first.
#[derive(Debug, Default)]
struct Outstanding {
    first: u64,
    blocks: VecDeque<BlockRef>,
}

/// One session; its stream has been opened and proved.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) source: Source,
    pub(crate) session: u64,
    pub(crate) reports: Sender<Reported>,
}

impl Session {
    /// Returns false when nobody listens any more.
    pub(crate) async fn report(&self, report: Report) -> bool {
        let reported = Reported { source: self.source, session: self.session, report };
        self.reports.send(reported).await.is_ok()
    }

    /// Runs until the orders end, it was idle for long, or something fails.
    pub(crate) async fn run<R, W>(
        &self,
        reader: R,
        mut writer: W,
        orders: Receiver<Order>,
    ) -> Result<(), ProtocolError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let outstanding = Mutex::new(Outstanding::default());
        // Either half ends the session: the writer when there is no more to ask, the reader when
        // the other side ends the stream.
        tokio::select! {
            asked = ask(&mut writer, orders, &outstanding) => {
                asked?;
                // The end of questions lets the other side end its stream in order.
                let _ = writer.shutdown().await;
                Ok(())
            }
            read = self.read_answers(reader, &outstanding) => read,
        }
    }

    async fn read_answers<R>(
        &self,
        reader: R,
        outstanding: &Mutex<Outstanding>,
    ) -> Result<(), ProtocolError>
    where
        R: AsyncRead + Unpin,
    {
        let mut reader = BufReader::with_capacity(64 * 1024, reader);
        while let Some(tag) = read_answer_tag(&mut reader).await? {
            let block = {
                let mut outstanding = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
                outstanding.first += 1;
                outstanding.blocks.pop_front()
            };
            let block = block.ok_or(ProtocolError::Breach("an answer without a question"))?;
            let report = match read_answer(&mut reader, tag, block.len).await? {
                Answer::Found(len) => self.read_block(&mut reader, &block.hash, len).await?,
                Answer::Missing => Report::Lacks(block.hash),
                Answer::Skipped => Report::Skipped(block.hash),
            };
            if !self.report(report).await {
                return Ok(());
            }
        }
        // Ending while answers are owed is a failure, so that the device is not asked again at
        // once.
        let outstanding = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        if outstanding.blocks.is_empty() {
            Ok(())
        } else {
            Err(ProtocolError::Io(std::io::ErrorKind::UnexpectedEof.into()))
        }
    }

    async fn read_block<R>(
        &self,
        reader: &mut R,
        hash: &Hash,
        len: u32,
    ) -> Result<Report, ProtocolError>
    where
        R: AsyncRead + Unpin,
    {
        let len = len as usize;
        let mut bytes = BytesMut::with_capacity(len);
        let mut reported = Instant::now();
        while bytes.len() < len {
            let piece = self.shared.limits.piece(&self.source.device, Way::Down);
            let piece = piece.min(len - bytes.len());
            let read = (&mut *reader).take(piece as u64).read_buf(&mut bytes).await?;
            if read == 0 {
                return Err(ProtocolError::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
            self.wait_for_turn(read).await;
            if bytes.len() < len && reported.elapsed() >= PROGRESS {
                reported = Instant::now();
                self.report(Report::Progress).await;
            }
        }
        if Hash::of(&bytes) == *hash {
            self.shared.received(self.source.folder, self.source.device, len as u64);
            Ok(Report::Arrived(*hash, bytes.freeze()))
        } else {
            Ok(Report::Lied(*hash))
        }
    }

    /// Takes so many bytes from the limits. Waiting for them is no silence of the source's.
    async fn wait_for_turn(&self, bytes: usize) {
        let limits = &self.shared.limits;
        let mut turn = std::pin::pin!(limits.take(&self.source.device, Way::Down, bytes));
        while timeout(PROGRESS, &mut turn).await.is_err() {
            self.report(Report::Progress).await;
        }
    }
}

/// Sends what is ordered until the orders end or none came for long.
async fn ask<W>(
    writer: &mut W,
    mut orders: Receiver<Order>,
    outstanding: &Mutex<Outstanding>,
) -> Result<(), ProtocolError>
where
    W: AsyncWrite + Unpin,
{
    let mut batch = Vec::with_capacity(ORDERS);
    let mut frame = Vec::new();
    loop {
        match timeout(IDLE, orders.recv_many(&mut batch, ORDERS)).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(_) => {
                let outstanding = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
                if outstanding.blocks.is_empty() {
                    return Ok(());
                }
            }
        }
        for order in batch.drain(..) {
            let mut outstanding = outstanding.lock().unwrap_or_else(PoisonError::into_inner);
            match order {
                Order::Ask(blocks) => {
                    encode_questions(&blocks, &mut frame);
                    outstanding.blocks.extend(blocks);
                }
                Order::TakeBack(hash) => {
                    let place = outstanding.blocks.iter().position(|block| block.hash == hash);
                    if let Some(place) = place {
                        encode_take_back(outstanding.first + place as u64, &mut frame);
                    }
                }
            }
        }
        writer.write_all(&frame).await?;
        writer.flush().await?;
        frame.clear();
    }
}
