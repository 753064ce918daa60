//! The asking side of one stream of the block protocol: sends the scheduler's questions, checks
//! every answer, and reports.

mod watched;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dunlin_blocks::BlockRef;
use dunlin_identity::Hash;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, timeout};

use self::watched::Watched;
use crate::limits::Way;
use crate::packing::unpack;
use crate::protocol::{
    Answer, NEWS, ProtocolError, encode_questions, encode_take_back, encode_watches, read_answer,
    read_answer_tag, read_bundle_head, read_news,
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
    Watch(Vec<Hash>),
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
    /// Which of the watched blocks are there, and which are not so far.
    Told(Vec<Hash>, Vec<Hash>),
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

/// Questions without an answer, in order, and the number of the first; and what is watched.
#[derive(Debug, Default)]
struct Outstanding {
    first: u64,
    blocks: VecDeque<BlockRef>,
    watched: Watched,
}

impl Outstanding {
    /// Takes the first questions, which have an answer now.
    fn take(&mut self, count: usize) -> Result<Vec<BlockRef>, ProtocolError> {
        if count > self.blocks.len() {
            return Err(ProtocolError::Breach("an answer without a question"));
        }
        self.first += count as u64;
        Ok(self.blocks.drain(..count).collect())
    }
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
        let lock = || outstanding.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(tag) = read_answer_tag(&mut reader).await? {
            if tag == NEWS {
                let news = read_news(&mut reader).await?;
                let (has, lacks) = lock().watched.news(&news)?;
                if !self.report(Report::Told(has, lacks)).await {
                    return Ok(());
                }
                continue;
            }
            let take = |count| lock().take(count);
            let block = take(1)?[0];
            let report = match read_answer(&mut reader, tag, block.len).await? {
                Answer::Found(len) => self.read_block(&mut reader, &block.hash, len).await?,
                Answer::Missing => Report::Lacks(block.hash),
                Answer::Skipped => Report::Skipped(block.hash),
                Answer::Bundle(count) => {
                    let blocks = [vec![block], take(count - 1)?].concat();
                    if !self.read_bundle(&mut reader, &blocks).await? {
                        return Ok(());
                    }
                    continue;
                }
            };
            if !self.report(report).await {
                return Ok(());
            }
        }
        // Ending while answers are owed is a failure, so that the device is not asked again at
        // once.
        if lock().blocks.is_empty() {
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
        let bytes = self.read_bytes(reader, len as usize).await?;
        Ok(self.checked(hash, bytes, u64::from(len)))
    }

    /// Reads a bundle that answers these questions, and reports each. Returns false when nobody
    /// listens any more.
    async fn read_bundle<R>(
        &self,
        reader: &mut R,
        blocks: &[BlockRef],
    ) -> Result<bool, ProtocolError>
    where
        R: AsyncRead + Unpin,
    {
        let head = read_bundle_head(reader, blocks).await?;
        let frame = self.read_bytes(reader, head.packed as usize).await?;
        // A frame that holds something else is as good as wrong blocks.
        let unpacked = unpack(&frame, &head.lens);
        let total: u64 = head.lens.iter().map(|len| u64::from(*len)).sum();
        for (number, block) in blocks.iter().enumerate() {
            let report = match &unpacked {
                Some(plain) => {
                    let share = u64::from(head.lens[number]) * frame.len() as u64 / total;
                    self.checked(&block.hash, plain[number].clone(), share)
                }
                None => Report::Lied(block.hash),
            };
            if !self.report(report).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks a block for which so many bytes came.
    fn checked(&self, hash: &Hash, block: Bytes, came: u64) -> Report {
        if Hash::of(&block) == *hash {
            self.shared.received(self.source.folder, self.source.device, came);
            Report::Arrived(*hash, block)
        } else {
            Report::Lied(*hash)
        }
    }

    /// Reads so many bytes, no faster than the limits allow.
    async fn read_bytes<R>(&self, reader: &mut R, len: usize) -> Result<Bytes, ProtocolError>
    where
        R: AsyncRead + Unpin,
    {
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
        Ok(bytes.freeze())
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
                Order::Watch(hashes) => {
                    encode_watches(&hashes, &mut frame);
                    outstanding.watched.watch(&hashes);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use dunlin_identity::{DeviceId, DeviceKey, FolderId, FolderKeys};
    use tokio::sync::mpsc;

    use super::*;
    use crate::api::{BlockSource, Gate};
    use crate::protocol::{BundleHead, write_answer, write_bundle_head};
    use crate::quic::Quic;

    struct Nothing;

    impl BlockSource for Nothing {
        fn read(&self, _folder: FolderId, _hash: &Hash) -> Option<Bytes> {
            None
        }
    }

    impl Gate for Nothing {
        fn keys(&self, _folder: FolderId) -> Option<FolderKeys> {
            None
        }

        fn is_member(&self, _folder: FolderId, _device: &DeviceId) -> bool {
            false
        }
    }

    const PLAIN: &[u8] = b"the words of a text, the words of a text, the words of a text";

    /// Asks for two halves of a text from a source that answers with this bundle. Returns what is
    /// reported, and the bytes that count as received.
    async fn answered(lens: [u32; 2], frame: &[u8]) -> (Vec<String>, bool, u64) {
        let key = DeviceKey::from_seed([1; 32]);
        let quic = Quic::bind(&key, &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let shared =
            Arc::new(Shared::new(key.device(), quic, Arc::new(Nothing), Arc::new(Nothing)));
        let source = Source { folder: FolderId([0; 32]), device: key.device() };
        let (reports, mut reported) = mpsc::channel(16);
        let session = Session { shared: shared.clone(), source, session: 1, reports };
        let (orders, orders_receive) = mpsc::channel(1);
        let halves = [&PLAIN[..20], &PLAIN[20..]];
        let blocks = halves.map(|half| BlockRef { hash: Hash::of(half), len: half.len() as u32 });
        orders.try_send(Order::Ask(blocks.to_vec())).unwrap();
        let (mine, mut theirs) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(mine);
        let answering = async {
            let mut questions = [0; 75];
            theirs.read_exact(&mut questions).await.unwrap();
            let head = BundleHead { lens: lens.to_vec(), packed: frame.len() as u32 };
            write_answer(&mut theirs, Answer::Bundle(2)).await.unwrap();
            write_bundle_head(&mut theirs, &head).await.unwrap();
            theirs.write_all(frame).await.unwrap();
            theirs.shutdown().await.unwrap();
        };
        let (ended, ()) = tokio::join!(session.run(reader, writer, orders_receive), answering);
        drop(session);
        let mut all = Vec::new();
        while let Some(Reported { report, .. }) = reported.recv().await {
            all.push(format!("{report:?}").split('(').next().unwrap().to_owned());
        }
        let breach = matches!(ended, Err(ProtocolError::Breach(_)));
        (all, breach, shared.device_traffic(&key.device()).received)
    }

    #[tokio::test]
    async fn a_bundle_answers_each_of_its_questions() {
        let frame = zstd::bulk::compress(PLAIN, 1).unwrap();
        let (reports, breach, received) = answered([20, 41], &frame).await;
        assert_eq!((reports, breach), (vec!["Arrived".to_owned(); 2], false));
        assert!(received > 0 && received <= frame.len() as u64);
    }

    #[tokio::test]
    async fn a_bundle_with_something_else_in_it_is_a_lie() {
        let mut other = PLAIN.to_vec();
        other[0] ^= 1;
        let frame = zstd::bulk::compress(&other, 1).unwrap();
        assert_eq!(answered([20, 41], &frame).await.0, ["Lied", "Arrived"]);
        let bomb = zstd::bulk::compress(&[0; 1 << 20], 1).unwrap();
        for frame in [&b"no frame"[..], &frame[..frame.len() - 1], &bomb[..bomb.len().min(60)]] {
            assert_eq!(answered([20, 41], frame).await, (vec!["Lied".to_owned(); 2], false, 0));
        }
    }

    #[tokio::test]
    async fn a_bundle_that_claims_too_much_ends_the_session() {
        let frame = zstd::bulk::compress(PLAIN, 1).unwrap();
        assert_eq!(answered([21, 41], &frame).await, (Vec::new(), true, 0));
        assert_eq!(answered([20, 41], &[0; 61]).await, (Vec::new(), true, 0));
    }
}
