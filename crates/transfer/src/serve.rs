//! The serving side of one stream of the block protocol.
//!
//! Three parts work at once: one reads questions, one reads blocks ahead on the blocking pool, one
//! writes answers. Bounded queues between them keep memory at some three portions a stream.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{DeviceId, FolderId, Hash};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use crate::api::BlockSource;
use crate::limits::Way;
use crate::protocol::{
    Answer, Channel, OUTSTANDING_MAX, ProtocolError, Request, read_request, respond, write_answer,
};
use crate::shared::Shared;

/// Bytes of blocks that are read from the source at a time, at most (one block may be longer).
const PORTION_BYTES: u64 = 1 << 20;
/// Blocks that are read from the source at a time, at most.
const PORTION_BLOCKS: usize = 128;
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
    reader: R,
    writer: W,
    proved: impl FnOnce(),
) -> Result<(), ProtocolError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut reader = BufReader::with_capacity(16 * 1024, reader);
    let mut writer = BufWriter::with_capacity(64 * 1024, writer);
    let nonce = shared.nonce()?;
    let opening = respond(&mut reader, &mut writer, &channel, &*shared.gate, nonce);
    let folder = timeout(OPENING, opening).await.map_err(|_| ProtocolError::Silent)??;
    proved();
    let (questions_send, questions) = mpsc::channel(OUTSTANDING_MAX);
    let (portions_send, portions) = mpsc::channel(1);
    let taken_back = TakenBack::default();
    let stream = Stream { shared, folder, peer: channel.peer, taken_back: &taken_back };
    tokio::try_join!(
        stream.read_questions(&mut reader, questions_send),
        stream.read_blocks(questions, portions_send),
        stream.write_answers(&mut writer, portions),
    )?;
    Ok(())
}

struct Stream<'a> {
    shared: &'a Arc<Shared>,
    folder: FolderId,
    peer: DeviceId,
    taken_back: &'a TakenBack,
}

/// Answers that are ready to be written: a question and its block, if it is here.
type Portion = Vec<(Question, Option<Bytes>)>;

impl Stream<'_> {
    async fn read_questions<R>(
        &self,
        reader: &mut R,
        questions: Sender<Question>,
    ) -> Result<(), ProtocolError>
    where
        R: AsyncRead + Unpin,
    {
        let mut next = 0;
        loop {
            let request = timeout(SILENCE, read_request(reader));
            match request.await.map_err(|_| ProtocolError::Silent)?? {
                None => return Ok(()),
                Some(Request::Ask(blocks)) => {
                    // Asked at every batch, so that a removed member is cut off at once.
                    if !self.shared.gate.is_member(self.folder, &self.peer) {
                        return Err(ProtocolError::Refused);
                    }
                    for block in blocks {
                        questions
                            .try_send(Question { number: next, block })
                            .map_err(|_| ProtocolError::Breach("too many questions"))?;
                        next += 1;
                    }
                }
                Some(Request::TakeBack(number)) => self.take_back(number)?,
            }
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
            let portion = self.read_portion(&mut queue).await?;
            if portions.send(portion).await.is_err() {
                // The writer has failed and says why.
                return Ok(());
            }
        }
    }

    /// Reads the first questions' blocks, up to the size of a portion.
    async fn read_portion(&self, queue: &mut VecDeque<Question>) -> Result<Portion, ProtocolError> {
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
        let wanted: Vec<bool> = asked.iter().map(|asked| !self.is_taken_back(asked)).collect();
        let hashes: Vec<Hash> = asked
            .iter()
            .zip(&wanted)
            .filter(|(_, wanted)| **wanted)
            .map(|(asked, _)| asked.block.hash)
            .collect();
        let (source, folder) = (self.shared.source.clone(), self.folder);
        let read = move || read_exactly_as_many(&*source, folder, &hashes);
        let mut blocks = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ProtocolError::Breach("the source of blocks failed"))?
            .into_iter();
        let mut portion = Vec::with_capacity(asked.len());
        for (question, wanted) in asked.into_iter().zip(wanted) {
            let block = if wanted { blocks.next().flatten() } else { None };
            portion.push((question, block));
        }
        Ok(portion)
    }

    async fn write_answers<W>(
        &self,
        writer: &mut W,
        mut portions: Receiver<Portion>,
    ) -> Result<(), ProtocolError>
    where
        W: AsyncWrite + Unpin,
    {
        while let Some(portion) = portions.recv().await {
            for (question, block) in portion {
                let fits = |block: &Bytes| block.len() as u64 <= u64::from(question.block.len);
                if self.settle(&question) {
                    write_answer(writer, Answer::Skipped).await?;
                } else if let Some(block) = block.filter(fits) {
                    write_answer(writer, Answer::Found(block.len() as u32)).await?;
                    self.write_block(writer, &block).await?;
                    self.shared.sent(self.folder, self.peer, block.len() as u64);
                } else {
                    write_answer(writer, Answer::Missing).await?;
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

    /// Writes a block, no faster than the limit allows.
    async fn write_block<W>(&self, writer: &mut W, block: &Bytes) -> std::io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        let limits = &self.shared.limits;
        let mut rest = &block[..];
        while !rest.is_empty() {
            // Asked for anew each time, since limits change while a long block goes out.
            let len = limits.piece(&self.peer, Way::Up).min(rest.len());
            let (piece, later) = rest.split_at(len);
            limits.take(&self.peer, Way::Up, len).await;
            writer.write_all(piece).await?;
            if len < block.len() {
                // What may go goes out, so that the other side sees that something comes.
                writer.flush().await?;
            }
            rest = later;
        }
        Ok(())
    }
}

/// Reads the blocks; a source that returns too few or too many answers is made to fit.
fn read_exactly_as_many(
    source: &dyn BlockSource,
    folder: FolderId,
    hashes: &[Hash],
) -> Vec<Option<Bytes>> {
    let mut blocks = if hashes.is_empty() { Vec::new() } else { source.read_many(folder, hashes) };
    blocks.resize(hashes.len(), None);
    blocks
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
        let stream = Stream { shared: &shared, folder, peer: key.device(), taken_back: &marks };
        taken_back.iter().for_each(|number| stream.take_back(*number).unwrap());
        let (questions_send, questions) = mpsc::channel(16);
        for (number, block) in blocks.iter().enumerate() {
            questions_send.try_send(Question { number: number as u64, block: *block }).unwrap();
        }
        drop(questions_send);
        let (portions_send, portions) = mpsc::channel(1);
        let mut wire = Vec::new();
        tokio::try_join!(
            stream.read_blocks(questions, portions_send),
            stream.write_answers(&mut wire, portions),
        )
        .unwrap();
        assert!(marks.into_inner().unwrap().is_empty(), "marks go with their answers");
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
