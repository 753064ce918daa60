//! The serving side of one stream of the block protocol.
//!
//! Three parts work at once: one reads questions, one reads blocks ahead (and compresses them where
//! that pays) on the blocking pool, one writes answers. Bounded queues between them keep memory at
//! some three portions a stream.

mod out;
mod watch;
mod watchers;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use self::out::write_bytes;
pub(crate) use self::out::{Link, Out};
use self::watchers::Watcher;
pub(crate) use self::watchers::Watchers;
use crate::api::BlockSource;
use crate::limits::Way;
use crate::packing::{Bundle, Packer};
use crate::protocol::{
    Answer, BundleHead, Channel, OUTSTANDING_MAX, ProtocolError, Request, read_request, respond,
    write_answer, write_bundle_head, write_news,
};
use crate::shared::Shared;

/// Bytes of blocks that are read from the source at a time, at most (one block may be longer).
const PORTION_BYTES: u64 = 1 << 20;
/// Blocks that are read from the source at a time, at most.
const PORTION_BLOCKS: usize = 128;
/// Watched blocks that are looked up at a time.
const LOOKED_UP: usize = 256;
/// Opening a stream takes at most this long.
const OPENING: Duration = Duration::from_secs(5);
/// A stream on which nothing is asked for this long is closed.
const SILENCE: Duration = Duration::from_secs(120);

/// A question with its number in the stream.
struct Question {
    number: u64,
    block: BlockRef,
}

/// Questions that were taken back and not answered yet.
type TakenBack = Mutex<HashSet<u64>>;

/// Opens the stream as the serving side and serves it until the other side ends it; `proved` is
/// called when the other side has proved to be a member.
pub(crate) async fn serve<R, W>(
    shared: &Arc<Shared>,
    channel: Channel,
    link: Link,
    (reader, writer): (R, W),
    proved: impl FnOnce(),
) -> Result<(), ProtocolError>
where
    R: AsyncRead + Unpin,
    W: Out,
{
    let mut reader = BufReader::with_capacity(16 * 1024, reader);
    let mut writer = BufWriter::with_capacity(64 * 1024, writer);
    let nonce = shared.nonce()?;
    let opening = respond(&mut reader, &mut writer, &channel, &*shared.gate, nonce);
    let opened = timeout(OPENING, opening).await.map_err(|_| ProtocolError::Silent)??;
    proved();
    let (questions_send, questions) = mpsc::channel(OUTSTANDING_MAX);
    let (portions_send, portions) = mpsc::channel(1);
    let taken_back = TakenBack::default();
    let (folder, peer) = (opened.folder, channel.peer);
    let watcher = Arc::new(Watcher::new());
    let stream = Stream { shared, folder, peer, link, taken_back: &taken_back, watcher: &watcher };
    let packer = opened.takes_bundles.then(Packer::new);
    let serving = async {
        tokio::try_join!(
            stream.read_questions(&mut reader, questions_send),
            stream.read_blocks(packer, questions, portions_send),
            stream.write_answers(&mut writer, portions),
        )
    };
    tokio::select! {
        served = serving => served.map(|_| ()),
        failed = stream.look_up() => failed,
    }
}

struct Stream<'a> {
    shared: &'a Arc<Shared>,
    folder: FolderId,
    peer: DeviceId,
    link: Link,
    taken_back: &'a TakenBack,
    watcher: &'a Arc<Watcher>,
}

/// Answers that are ready to be written.
#[derive(Default)]
struct Portion {
    /// The questions, and their blocks, if they are here.
    asked: Vec<Question>,
    blocks: Vec<Option<Bytes>>,
    /// Those of them that go compressed.
    bundles: Vec<Bundle>,
}

impl Stream<'_> {
    async fn read_questions<R>(
        &self,
        reader: &mut R,
        questions: Sender<Question>,
    ) -> Result<(), ProtocolError>
    where
        R: AsyncRead + Unpin,
    {
        let (mut next, mut watching) = (0, None);
        loop {
            let request = timeout(SILENCE, read_request(reader));
            match request.await.map_err(|_| ProtocolError::Silent)?? {
                None => return Ok(()),
                Some(Request::Ask(blocks)) => {
                    self.check_member()?;
                    for block in blocks {
                        questions
                            .try_send(Question { number: next, block })
                            .map_err(|_| ProtocolError::Breach("too many questions"))?;
                        next += 1;
                    }
                }
                Some(Request::TakeBack(number)) => self.take_back(number)?,
                Some(Request::Watch(hashes)) => {
                    self.check_member()?;
                    let add = || self.shared.watchers.add(self.folder, self.watcher);
                    if *watching.get_or_insert_with(add) {
                        self.watcher.watches().watch(&hashes);
                        self.watcher.asked.notify_one();
                    }
                }
            }
        }
    }

    /// Asked at every batch and before all news, so that a removed member is cut off at once.
    fn check_member(&self) -> Result<(), ProtocolError> {
        match self.shared.gate.is_member(self.folder, &self.peer) {
            true => Ok(()),
            false => Err(ProtocolError::Refused),
        }
    }

    /// Looks up what is watched. Ends only when that fails.
    async fn look_up(&self) -> Result<(), ProtocolError> {
        loop {
            let hashes = self.watcher.watches().next_to_look_up(LOOKED_UP);
            if hashes.is_empty() {
                self.watcher.asked.notified().await;
                continue;
            }
            let (source, folder) = (self.shared.source.clone(), self.folder);
            let look = move || {
                let here = source.has_many(folder, &hashes);
                // What it says nothing of is not here.
                let here = here.into_iter().chain(std::iter::repeat(false));
                hashes.into_iter().zip(here).collect::<Vec<_>>()
            };
            let found = tokio::task::spawn_blocking(look)
                .await
                .map_err(|_| ProtocolError::Breach("the source of blocks failed"))?;
            self.watcher.looked_up(&found);
        }
    }

    fn take_back(&self, number: u64) -> Result<(), ProtocolError> {
        let mut taken_back = self.taken_back.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that come after their answer stay; old ones go before they can pile up.
        if taken_back.len() >= OUTSTANDING_MAX {
            taken_back.retain(|old| old + OUTSTANDING_MAX as u64 > number);
        }
        if taken_back.len() >= 2 * OUTSTANDING_MAX {
            return Err(ProtocolError::Breach("too many questions taken back"));
        }
        taken_back.insert(number);
        Ok(())
    }

    /// Returns whether the question was taken back; the mark stays for the writer.
    fn is_taken_back(&self, question: &Question) -> bool {
        let taken_back = self.taken_back.lock().unwrap_or_else(PoisonError::into_inner);
        taken_back.contains(&question.number)
    }

    /// As [`is_taken_back`](Self::is_taken_back), and forgets the question.
    fn settle(&self, question: &Question) -> bool {
        let mut taken_back = self.taken_back.lock().unwrap_or_else(PoisonError::into_inner);
        taken_back.remove(&question.number)
    }

    async fn read_blocks(
        &self,
        mut packer: Option<Packer>,
        mut questions: Receiver<Question>,
        portions: Sender<Portion>,
    ) -> Result<(), ProtocolError> {
        let mut batch = Vec::with_capacity(PORTION_BLOCKS);
        let mut queue: VecDeque<Question> = VecDeque::new();
        loop {
            if queue.is_empty() {
                if questions.recv_many(&mut batch, PORTION_BLOCKS).await == 0 {
                    return Ok(());
                }
                queue.extend(batch.drain(..));
            }
            let portion;
            (portion, packer) = self.read_portion(&mut queue, packer).await?;
            if portions.send(portion).await.is_err() {
                // The writer has failed and says why.
                return Ok(());
            }
        }
    }

    /// Reads the first questions' blocks, up to the size of a portion, and packs them where that
    /// pays. The packer goes along and comes back.
    async fn read_portion(
        &self,
        queue: &mut VecDeque<Question>,
        mut packer: Option<Packer>,
    ) -> Result<(Portion, Option<Packer>), ProtocolError> {
        let mut bytes = 0;
        let mut count = 0;
        for question in &*queue {
            bytes += u64::from(question.block.len);
            if count > 0 && bytes > PORTION_BYTES {
                break;
            }
            count += 1;
        }
        let asked: Vec<Question> = queue.drain(..count).collect();
        let wanted: Vec<Option<Hash>> = asked
            .iter()
            .map(|asked| (!self.is_taken_back(asked)).then_some(asked.block.hash))
            .collect();
        // Its frames must not hold more than was asked for.
        let lens: Vec<u32> = asked.iter().map(|asked| asked.block.len).collect();
        let (source, folder) = (self.shared.source.clone(), self.folder);
        let link = self.link.rate().min(self.shared.limits.rate(&self.peer, Way::Up));
        let read = move || {
            let mut blocks = read_exactly_as_many(&*source, folder, &wanted);
            for (block, len) in blocks.iter_mut().zip(lens) {
                block.take_if(|block| block.len() > len as usize);
            }
            let bundles = packer.as_mut().map(|packer| packer.pack(&blocks, link));
            (blocks, bundles.unwrap_or_default(), packer)
        };
        let (blocks, bundles, packer) = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ProtocolError::Breach("the source of blocks failed"))?;
        Ok((Portion { asked, blocks, bundles }, packer))
    }

    async fn write_answers<W>(
        &self,
        writer: &mut BufWriter<W>,
        mut portions: Receiver<Portion>,
    ) -> Result<(), ProtocolError>
    where
        W: Out,
    {
        loop {
            let portion = tokio::select! {
                portion = portions.recv() => portion,
                () = self.watcher.due() => {
                    self.check_member()?;
                    write_news(writer, &self.watcher.news()).await?;
                    writer.flush().await?;
                    continue;
                }
            };
            let Some(portion) = portion else { break };
            let Portion { asked, blocks, bundles } = portion;
            let mut bundles = bundles.into_iter().peekable();
            let mut answers = (0usize..).zip(asked.iter().zip(blocks));
            while let Some((number, (question, block))) = answers.next() {
                if let Some(bundle) = bundles.next_if(|bundle| bundle.range.start == number) {
                    let rest = answers.by_ref().take(bundle.range.len() - 1);
                    let lens = block.into_iter().chain(rest.filter_map(|(_, (_, block))| block));
                    let lens = lens.map(|block| block.len() as u32).collect();
                    self.write_bundle(writer, &asked[bundle.range], lens, bundle.frame).await?;
                } else {
                    self.write_one(writer, question, block).await?;
                }
            }
            if portions.is_empty() {
                writer.flush().await?;
            }
        }
        writer.flush().await?;
        writer.shutdown().await?;
        Ok(())
    }

    async fn write_one<W: Out>(
        &self,
        writer: &mut BufWriter<W>,
        question: &Question,
        block: Option<Bytes>,
    ) -> std::io::Result<()> {
        if self.settle(question) {
            return write_answer(writer, Answer::Skipped).await;
        }
        let Some(block) = block else { return write_answer(writer, Answer::Missing).await };
        write_answer(writer, Answer::Found(block.len() as u32)).await?;
        self.write_limited(writer, block).await
    }

    /// Writes a bundle. What was taken back meanwhile goes along, since it is packed already.
    async fn write_bundle<W: Out>(
        &self,
        writer: &mut BufWriter<W>,
        asked: &[Question],
        lens: Vec<u32>,
        frame: Bytes,
    ) -> std::io::Result<()> {
        for question in asked {
            self.settle(question);
        }
        write_answer(writer, Answer::Bundle(lens.len())).await?;
        write_bundle_head(writer, &BundleHead { lens, packed: frame.len() as u32 }).await?;
        self.write_limited(writer, frame).await
    }

    /// Writes bytes of blocks, no faster than the limit allows.
    async fn write_limited<W: Out>(
        &self,
        writer: &mut BufWriter<W>,
        mut bytes: Bytes,
    ) -> std::io::Result<()> {
        let limits = &self.shared.limits;
        let len = bytes.len();
        while !bytes.is_empty() {
            // Asked for anew each time, since limits change while a long block goes out.
            let piece = bytes.split_to(limits.piece(&self.peer, Way::Up).min(bytes.len()));
            limits.take(&self.peer, Way::Up, piece.len()).await;
            let slow = piece.len() < len;
            write_bytes(writer, piece).await?;
            if slow {
                // What may go goes out, so that the other side sees that something comes.
                writer.flush().await?;
            }
        }
        self.shared.sent(self.folder, self.peer, len as u64);
        Ok(())
    }
}

/// Reads the blocks that are wanted; a source that returns too few or too many answers is made to
/// fit.
fn read_exactly_as_many(
    source: &dyn BlockSource,
    folder: FolderId,
    wanted: &[Option<Hash>],
) -> Vec<Option<Bytes>> {
    let hashes: Vec<Hash> = wanted.iter().flatten().copied().collect();
    let blocks = if hashes.is_empty() { Vec::new() } else { source.read_many(folder, &hashes) };
    let mut blocks = blocks.into_iter();
    wanted.iter().map(|wanted| wanted.and_then(|_| blocks.next().flatten())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use dunlin_identity::{DeviceKey, FolderKeys};

    use super::*;
    use crate::api::Gate;
    use crate::protocol::{read_answer, read_answer_tag};
    use crate::quic::Quic;

    #[derive(Default)]
    struct OneBlock {
        reads: AtomicUsize,
    }

    impl BlockSource for OneBlock {
        fn read(&self, _folder: FolderId, hash: &Hash) -> Option<Bytes> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            (*hash == Hash::of(b"here")).then(|| Bytes::from_static(b"here"))
        }
    }

    struct Nobody;

    impl Gate for Nobody {
        fn keys(&self, _folder: FolderId) -> Option<FolderKeys> {
            None
        }

        fn is_member(&self, _folder: FolderId, _device: &DeviceId) -> bool {
            false
        }
    }

    /// Answers these questions, of which the numbers in `taken_back` were taken back.
    async fn answers(
        blocks: &[BlockRef],
        taken_back: &[u64],
        source: Arc<OneBlock>,
    ) -> Vec<Answer> {
        let key = DeviceKey::from_seed([1; 32]);
        let quic = Quic::bind(&key, &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let shared = Arc::new(Shared::new(key.device(), quic, source, Arc::new(Nobody)));
        let marks = TakenBack::default();
        let folder = FolderId([0; 32]);
        let (peer, link) = (key.device(), Link::Other);
        let watcher = Arc::new(Watcher::new());
        let stream =
            Stream { shared: &shared, folder, peer, link, taken_back: &marks, watcher: &watcher };
        taken_back.iter().for_each(|number| stream.take_back(*number).unwrap());
        let (questions_send, questions) = mpsc::channel(16);
        for (number, block) in blocks.iter().enumerate() {
            questions_send.try_send(Question { number: number as u64, block: *block }).unwrap();
        }
        drop(questions_send);
        let (portions_send, portions) = mpsc::channel(1);
        let mut wire = BufWriter::new(Vec::new());
        tokio::try_join!(
            stream.read_blocks(Some(Packer::new()), questions, portions_send),
            stream.write_answers(&mut wire, portions),
        )
        .unwrap();
        assert!(marks.into_inner().unwrap().is_empty(), "marks go with their answers");
        let wire = wire.into_inner();
        let (mut rest, mut answers) = (&wire[..], Vec::new());
        while let Some(tag) = read_answer_tag(&mut rest).await.unwrap() {
            let answer = read_answer(&mut rest, tag, 100).await.unwrap();
            if let Answer::Found(len) = answer {
                rest = &rest[len as usize..];
            }
            answers.push(answer);
        }
        answers
    }

    #[tokio::test]
    async fn what_was_taken_back_is_skipped_and_not_even_read() {
        let here = BlockRef { hash: Hash::of(b"here"), len: 100 };
        let elsewhere = BlockRef { hash: Hash::of(b"elsewhere"), len: 100 };
        let source = Arc::new(OneBlock::default());
        let answers = answers(&[here, here, elsewhere, here], &[1], source.clone()).await;
        let expected = [Answer::Found(4), Answer::Skipped, Answer::Missing, Answer::Found(4)];
        assert_eq!(answers, expected);
        assert_eq!(source.reads.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_block_longer_than_asked_for_is_missing() {
        let short = BlockRef { hash: Hash::of(b"here"), len: 3 };
        assert_eq!(answers(&[short], &[], Arc::default()).await, [Answer::Missing]);
    }
}
