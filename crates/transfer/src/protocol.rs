//! The block protocol: what goes over one stream between a device that asks and one that serves.
//!
//! Goals: nothing is said to a stranger; questions go in a pipeline, so that the line is never
//! idle; the one who asks can take questions back, and be told who has what; every length is
//! bounded before memory is taken. Non-goal: asking in both directions over one stream (each side
//! opens its own).
//!
//! Opening, numbers little endian, `I` opened the stream, `R` serves:
//!
//! ```text
//! I -> R  magic "dunb", version u16, nonce [32]
//! R -> I  magic "dunb", version u16, nonce [32]      R's own version; both stop when they differ
//! I -> R  folder id [32], takes u8, proof [32]       what `I` takes: 1, bundles; the rest is free
//! R -> I  proof [32]                                 or the end of the stream, for a stranger
//! ```
//!
//! A proof is the folder key's over [`binding`]: the channel's own keying material (over QUIC),
//! what `I` takes, both nonces and both device ids with their roles, so that it holds in no other
//! channel, at no other time and for no one else. Then, until `I` ends the stream:
//!
//! ```text
//! I -> R  1, count u16 (1 ..= BATCH_MAX), count * (hash [32], longest length u32)
//!         2, number u64                              take back question `number` (from 0 on)
//!         3, count u16 (1 ..= BATCH_MAX), count * hash [32]
//!                                                    watch: tell whether they are here, and when
//!                                                    they come; watches count from 0 on
//! R -> I  0, length u32, bytes                       for each question, in order: the block,
//!         1                                          not here,
//!         2                                          or skipped, since it was taken back;
//!         3, count u16 (1 ..= BUNDLE_BLOCKS), count * length u32, packed u32, bytes
//!                                                    for the next `count` questions: a bundle, all
//!                                                    blocks one after the other as a zstd frame
//! ```
//!
//! and between the answers, news of what is watched:
//!
//! ```text
//! R -> I  4, watches looked up so far u64, count u16 (0 ..= NEWS_MAX), count * number u64
//! ```
//!
//! The watches with these numbers are here; those below the first number of which no news ever said
//! so are not. Of all but the last [`WATCHES_MAX`] watches, `R` may tell nothing.
//!
//! A bundle is shorter than what it holds, which is at most [`BUNDLE_BYTES`] or one block. Who
//! takes none gets none.

use std::io;

use dunlin_blocks::{BLOCK_MAX, BlockRef};
use dunlin_identity::{DeviceId, FolderId, FolderKeys, Hash, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::api::Gate;
use crate::packing::{BUNDLE_BLOCKS, BUNDLE_BYTES};
use crate::scheduler::WATCHES_MAX;

/// The version of the protocol, first thing in each direction.
pub(crate) const VERSION: u16 = 3;
/// The one who asks takes bundles.
pub(crate) const TAKES_BUNDLES: u8 = 1;
/// Questions in one frame at most.
pub(crate) const BATCH_MAX: usize = 256;
/// Questions without an answer at most; more is a breach of the protocol.
pub(crate) const OUTSTANDING_MAX: usize = 4096;

const MAGIC: [u8; 4] = *b"dunb";
const GREETING_LEN: usize = 38;
const CLAIM_LEN: usize = 65;
const QUESTION_LEN: usize = 36;
const ASK: u8 = 1;
const TAKE_BACK: u8 = 2;
const WATCH: u8 = 3;
const FOUND: u8 = 0;
const MISSING: u8 = 1;
const SKIPPED: u8 = 2;
const BUNDLE: u8 = 3;
/// What news begin with, where an answer's tag may be.
pub(crate) const NEWS: u8 = 4;
/// Watches that news tell of at most.
pub(crate) const NEWS_MAX: usize = WATCHES_MAX;

/// Why a stream of the block protocol ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProtocolError {
    /// Reading or writing failed.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The other side does not speak the block protocol.
    #[error("the other device does not speak the block protocol")]
    NotBlocks,
    /// The other side speaks another version.
    #[error("the other device speaks version {theirs} of the block protocol, this one {VERSION}")]
    Version {
        /// Its version.
        theirs: u16,
    },
    /// The other side did not prove to be a member, or does not take this device for one.
    #[error("not a member of the folder, on either side")]
    Refused,
    /// The other side broke a rule of the protocol.
    #[error("the other device broke the block protocol: {0}")]
    Breach(&'static str),
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Silent,
}

/// The ends of a channel, for proofs that hold in it alone.
#[derive(Clone, Copy)]
pub(crate) struct Channel {
    /// This device.
    pub(crate) me: DeviceId,
    /// The device at the other end, as the channel below has proved.
    pub(crate) peer: DeviceId,
    /// Keying material that both ends of the channel below share, if it has any.
    pub(crate) exported: [u8; 32],
}

/// What a request frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Ask(Vec<BlockRef>),
    TakeBack(u64),
    Watch(Vec<Hash>),
}

/// News of what is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// So many watches have been looked up.
    pub(crate) looked_up: u64,
    /// The watches that are here now, of which no news said so yet.
    pub(crate) here: Vec<u64>,
}

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many bytes follow.
    Found(u32),
    Missing,
    Skipped,
    /// A bundle for so many questions follows, this one included.
    Bundle(usize),
}

/// The head of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BundleHead {
    /// The lengths of its blocks.
    pub(crate) lens: Vec<u32>,
    /// The bytes of the frame that follows.
    pub(crate) packed: u32,
}

/// What the one who opened a stream has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Of which folder it asks.
    pub(crate) folder: FolderId,
    /// Whether it takes bundles.
    pub(crate) takes_bundles: bool,
}

/// What a proof is made over.
fn binding(
    exported: &[u8; 32],
    takes: u8,
    initiator: (&DeviceId, &[u8; 32]),
    responder: (&DeviceId, &[u8; 32]),
) -> Vec<u8> {
    let mut bytes = b"dunlin/blocks/3 proof".to_vec();
    bytes.extend_from_slice(exported);
    bytes.push(takes);
    for (device, nonce) in [initiator, responder] {
        bytes.extend_from_slice(device.as_bytes());
        bytes.extend_from_slice(nonce);
    }
    bytes
}

/// Opens the protocol as the one who asks; `nonce` must be fresh and random.
pub(crate) async fn initiate<R, W>(
    reader: &mut R,
    writer: &mut W,
    channel: &Channel,
    keys: &FolderKeys,
    nonce: [u8; 32],
) -> Result<(), ProtocolError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    write_greeting(writer, &nonce).await?;
    let their_nonce = read_greeting(reader).await?;
    let takes = TAKES_BUNDLES;
    let ends = ((&channel.me, &nonce), (&channel.peer, &their_nonce));
    let binding = binding(&channel.exported, takes, ends.0, ends.1);
    let mut claim = Vec::with_capacity(CLAIM_LEN);
    claim.extend_from_slice(&keys.folder().0);
    claim.push(takes);
    claim.extend_from_slice(&keys.prove(Role::Initiator, &binding));
    writer.write_all(&claim).await?;
    writer.flush().await?;
    let mut proof = [0; 32];
    match reader.read_exact(&mut proof).await {
        Ok(_) if keys.proof_fits(Role::Responder, &binding, &proof) => Ok(()),
        Ok(_) => Err(ProtocolError::Refused),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ProtocolError::Refused),
        Err(error) => Err(error.into()),
    }
}

/// Opens the protocol as the one who serves. A stranger sees a nonce and the end of the stream,
/// whatever folders are here.
pub(crate) async fn respond<R, W>(
    reader: &mut R,
    writer: &mut W,
    channel: &Channel,
    gate: &dyn Gate,
    nonce: [u8; 32],
) -> Result<Opened, ProtocolError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let their_greeting = read_greeting(reader).await;
    if !matches!(their_greeting, Err(ProtocolError::NotBlocks | ProtocolError::Io(_))) {
        // Who speaks another version is told ours, so that it can say what is wrong.
        write_greeting(writer, &nonce).await?;
    }
    let their_nonce = their_greeting?;
    let mut claim = [0; CLAIM_LEN];
    reader.read_exact(&mut claim).await?;
    let (mut folder, takes, mut proof) = (FolderId([0; 32]), claim[32], [0; 32]);
    folder.0.copy_from_slice(&claim[..32]);
    proof.copy_from_slice(&claim[33..]);
    let ends = ((&channel.peer, &their_nonce), (&channel.me, &nonce));
    let binding = binding(&channel.exported, takes, ends.0, ends.1);
    let keys = gate.keys(folder).ok_or(ProtocolError::Refused)?;
    let fits = keys.proof_fits(Role::Initiator, &binding, &proof);
    if !fits || !gate.is_member(folder, &channel.peer) {
        return Err(ProtocolError::Refused);
    }
    writer.write_all(&keys.prove(Role::Responder, &binding)).await?;
    writer.flush().await?;
    Ok(Opened { folder, takes_bundles: takes & TAKES_BUNDLES != 0 })
}

async fn write_greeting<W>(writer: &mut W, nonce: &[u8; 32]) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut greeting = Vec::with_capacity(GREETING_LEN);
    greeting.extend_from_slice(&MAGIC);
    greeting.extend_from_slice(&VERSION.to_le_bytes());
    greeting.extend_from_slice(nonce);
    writer.write_all(&greeting).await?;
    writer.flush().await
}

async fn read_greeting<R>(reader: &mut R) -> Result<[u8; 32], ProtocolError>
where
    R: AsyncRead + Unpin,
{
    let mut greeting = [0; GREETING_LEN];
    reader.read_exact(&mut greeting).await?;
    if greeting[..4] != MAGIC {
        return Err(ProtocolError::NotBlocks);
    }
    let theirs = u16::from_le_bytes([greeting[4], greeting[5]]);
    if theirs != VERSION {
        return Err(ProtocolError::Version { theirs });
    }
    let mut nonce = [0; 32];
    nonce.copy_from_slice(&greeting[6..]);
    Ok(nonce)
}

/// Appends the frames that ask for these blocks.
pub(crate) fn encode_questions(blocks: &[BlockRef], frame: &mut Vec<u8>) {
    for batch in blocks.chunks(BATCH_MAX) {
        frame.push(ASK);
        frame.extend_from_slice(&(batch.len() as u16).to_le_bytes());
        for block in batch {
            frame.extend_from_slice(&block.hash.0);
            frame.extend_from_slice(&block.len.to_le_bytes());
        }
    }
}

/// Appends the frame that takes a question back.
pub(crate) fn encode_take_back(number: u64, frame: &mut Vec<u8>) {
    frame.push(TAKE_BACK);
    frame.extend_from_slice(&number.to_le_bytes());
}

/// Appends the frames that ask to be told of these blocks.
pub(crate) fn encode_watches(hashes: &[Hash], frame: &mut Vec<u8>) {
    for batch in hashes.chunks(BATCH_MAX) {
        frame.push(WATCH);
        frame.extend_from_slice(&(batch.len() as u16).to_le_bytes());
        for hash in batch {
            frame.extend_from_slice(&hash.0);
        }
    }
}

/// Reads the length of a batch.
async fn read_count<R>(reader: &mut R) -> Result<usize, ProtocolError>
where
    R: AsyncRead + Unpin,
{
    match usize::from(reader.read_u16_le().await?) {
        count @ 1..=BATCH_MAX => Ok(count),
        _ => Err(ProtocolError::Breach("a batch of impossible length")),
    }
}

/// Reads a request; `None` at the end of the stream.
pub(crate) async fn read_request<R>(reader: &mut R) -> Result<Option<Request>, ProtocolError>
where
    R: AsyncRead + Unpin,
{
    let tag = match reader.read_u8().await {
        Ok(tag) => tag,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match tag {
        ASK => {
            let mut questions = vec![0; read_count(reader).await? * QUESTION_LEN];
            reader.read_exact(&mut questions).await?;
            Ok(Some(Request::Ask(questions.chunks_exact(QUESTION_LEN).map(question).collect())))
        }
        TAKE_BACK => Ok(Some(Request::TakeBack(reader.read_u64_le().await?))),
        WATCH => {
            let mut hashes = vec![Hash([0; 32]); read_count(reader).await?];
            for hash in &mut hashes {
                reader.read_exact(&mut hash.0).await?;
            }
            Ok(Some(Request::Watch(hashes)))
        }
        _ => Err(ProtocolError::Breach("an unknown request")),
    }
}

fn question(bytes: &[u8]) -> BlockRef {
    let (mut hash, mut len) = ([0; 32], [0; 4]);
    hash.copy_from_slice(&bytes[..32]);
    len.copy_from_slice(&bytes[32..]);
    BlockRef { hash: Hash(hash), len: u32::from_le_bytes(len).min(BLOCK_MAX) }
}

/// Writes the head of an answer.
pub(crate) async fn write_answer<W>(writer: &mut W, answer: Answer) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    match answer {
        Answer::Found(len) => {
            let [a, b, c, d] = len.to_le_bytes();
            writer.write_all(&[FOUND, a, b, c, d]).await
        }
        Answer::Missing => writer.write_u8(MISSING).await,
        Answer::Skipped => writer.write_u8(SKIPPED).await,
        Answer::Bundle(count) => {
            let [a, b] = (count as u16).to_le_bytes();
            writer.write_all(&[BUNDLE, a, b]).await
        }
    }
}

/// Writes the rest of a bundle's head, after [`Answer::Bundle`].
pub(crate) async fn write_bundle_head<W>(writer: &mut W, head: &BundleHead) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let numbers = head.lens.iter().chain([&head.packed]);
    let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
    writer.write_all(&bytes).await
}

/// Writes news.
pub(crate) async fn write_news<W>(writer: &mut W, news: &News) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut bytes = vec![NEWS];
    bytes.extend_from_slice(&news.looked_up.to_le_bytes());
    bytes.extend_from_slice(&(news.here.len() as u16).to_le_bytes());
    bytes.extend(news.here.iter().flat_map(|number| number.to_le_bytes()));
    writer.write_all(&bytes).await
}

/// Reads news after their tag.
pub(crate) async fn read_news<R>(reader: &mut R) -> Result<News, ProtocolError>
where
    R: AsyncRead + Unpin,
{
    let looked_up = reader.read_u64_le().await?;
    let count = usize::from(reader.read_u16_le().await?);
    if count > NEWS_MAX {
        return Err(ProtocolError::Breach("news of impossible length"));
    }
    let mut here = Vec::with_capacity(count);
    for _ in 0..count {
        here.push(reader.read_u64_le().await?);
    }
    Ok(News { looked_up, here })
}

/// Reads the first byte of an answer; `None` at the end of the stream.
pub(crate) async fn read_answer_tag<R>(reader: &mut R) -> Result<Option<u8>, ProtocolError>
where
    R: AsyncRead + Unpin,
{
    match reader.read_u8().await {
        Ok(tag) => Ok(Some(tag)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads the rest of an answer's head; a block longer than `len_max` is a breach.
pub(crate) async fn read_answer<R>(
    reader: &mut R,
    tag: u8,
    len_max: u32,
) -> Result<Answer, ProtocolError>
where
    R: AsyncRead + Unpin,
{
    match tag {
        FOUND => match reader.read_u32_le().await? {
            len if len <= len_max => Ok(Answer::Found(len)),
            _ => Err(ProtocolError::Breach("a block longer than was asked for")),
        },
        MISSING => Ok(Answer::Missing),
        SKIPPED => Ok(Answer::Skipped),
        BUNDLE => match usize::from(reader.read_u16_le().await?) {
            count @ 1..=BUNDLE_BLOCKS => Ok(Answer::Bundle(count)),
            _ => Err(ProtocolError::Breach("a bundle of impossible length")),
        },
        _ => Err(ProtocolError::Breach("an unknown answer")),
    }
}

/// Reads the rest of the head of a bundle that answers these questions.
pub(crate) async fn read_bundle_head<R>(
    reader: &mut R,
    asked: &[BlockRef],
) -> Result<BundleHead, ProtocolError>
where
    R: AsyncRead + Unpin,
{
    let (mut lens, mut total) = (Vec::with_capacity(asked.len()), 0);
    for block in asked {
        let len = reader.read_u32_le().await?;
        if len > block.len {
            return Err(ProtocolError::Breach("a block longer than was asked for"));
        }
        lens.push(len);
        total += len as usize;
    }
    let packed = reader.read_u32_le().await?;
    let too_long = total > BUNDLE_BYTES && asked.len() > 1;
    if too_long || packed as usize >= total {
        return Err(ProtocolError::Breach("a bundle that is too long"));
    }
    Ok(BundleHead { lens, packed })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    struct Door {
        keys: FolderKeys,
        open: AtomicBool,
    }

    impl Gate for Door {
        fn keys(&self, folder: FolderId) -> Option<FolderKeys> {
            (folder == self.keys.folder()).then(|| self.keys.clone())
        }

        fn is_member(&self, _folder: FolderId, _device: &DeviceId) -> bool {
            self.open.load(Ordering::Relaxed)
        }
    }

    fn door() -> Door {
        Door { keys: FolderKeys::create([1; 32]), open: AtomicBool::new(true) }
    }

    fn ends() -> (Channel, Channel) {
        let (a, b) = (DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32]));
        let exported = [9; 32];
        (Channel { me: a, peer: b, exported }, Channel { me: b, peer: a, exported })
    }

    /// Opens a stream between two ends; each closes it when it is done.
    async fn open(
        asks: Channel,
        serves: Channel,
        keys: &FolderKeys,
        door: &Door,
    ) -> (Result<(), ProtocolError>, Result<Opened, ProtocolError>) {
        let (mine, theirs) = duplex(1024);
        let asking = async move {
            let (mut reader, mut writer) = tokio::io::split(mine);
            initiate(&mut reader, &mut writer, &asks, keys, [3; 32]).await
        };
        let serving = async move {
            let (mut reader, mut writer) = tokio::io::split(theirs);
            respond(&mut reader, &mut writer, &serves, door, [4; 32]).await
        };
        tokio::join!(asking, serving)
    }

    #[tokio::test]
    async fn members_open_a_stream() {
        let ((asks, serves), door) = (ends(), door());
        let (asked, served) = open(asks, serves, &door.keys, &door).await;
        asked.unwrap();
        let opened = Opened { folder: door.keys.folder(), takes_bundles: true };
        assert_eq!(served.unwrap(), opened);
    }

    #[tokio::test]
    async fn strangers_are_refused() {
        let ((asks, serves), door) = (ends(), door());
        let other_folder = FolderKeys::create([2; 32]);
        let (asked, served) = open(asks, serves, &other_folder, &door).await;
        assert!(matches!(asked, Err(ProtocolError::Refused)), "{asked:?}");
        assert!(matches!(served, Err(ProtocolError::Refused)));
        // The right secret, but not (or no longer) a member.
        door.open.store(false, Ordering::Relaxed);
        let (asked, _) = open(asks, serves, &door.keys, &door).await;
        assert!(matches!(asked, Err(ProtocolError::Refused)));
    }

    #[tokio::test]
    async fn a_proof_holds_in_its_own_channel_only() {
        let ((asks, serves), door) = (ends(), door());
        let elsewhere = Channel { exported: [8; 32], ..serves };
        let for_another = Channel { peer: DeviceId::from_bytes([3; 32]), ..serves };
        for serves in [elsewhere, for_another] {
            let (asked, served) = open(asks, serves, &door.keys, &door).await;
            assert!(matches!((asked, served), (Err(_), Err(ProtocolError::Refused))));
        }
    }

    #[tokio::test]
    async fn another_version_is_named_on_both_sides() {
        let ((_, serves), door) = (ends(), door());
        let (mut mine, theirs) = duplex(1024);
        let serving = async {
            let (mut reader, mut writer) = tokio::io::split(theirs);
            respond(&mut reader, &mut writer, &serves, &door, [4; 32]).await
        };
        let asking = async {
            let mut greeting = [0; GREETING_LEN];
            greeting[..4].copy_from_slice(&MAGIC);
            greeting[4..6].copy_from_slice(&77u16.to_le_bytes());
            mine.write_all(&greeting).await.unwrap();
            mine.read_exact(&mut greeting).await.unwrap();
            u16::from_le_bytes([greeting[4], greeting[5]])
        };
        let (served, version) = tokio::join!(serving, asking);
        let error = served.unwrap_err();
        assert!(matches!(error, ProtocolError::Version { theirs: 77 }));
        assert_eq!(
            error.to_string(),
            "the other device speaks version 77 of the block protocol, this one 3"
        );
        assert_eq!(version, VERSION);
    }

    /// Runs a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        futures::FutureExt::now_or_never(future).expect("slices never wait")
    }

    proptest! {
        #[test]
        fn requests_survive_the_wire(count in 1usize..700, len in 1u32..=BLOCK_MAX, number: u64) {
            let blocks: Vec<BlockRef> = (0..count)
                .map(|i| BlockRef { hash: Hash::of(&i.to_le_bytes()), len })
                .collect();
            let mut wire = Vec::new();
            encode_questions(&blocks, &mut wire);
            encode_take_back(number, &mut wire);
            let (mut rest, mut read) = (&wire[..], Vec::new());
            while let Some(Request::Ask(batch)) = now(read_request(&mut rest)).unwrap() {
                prop_assert!(batch.len() <= BATCH_MAX);
                read.extend(batch);
                if read.len() == count {
                    break;
                }
            }
            prop_assert_eq!(read, blocks);
            prop_assert_eq!(now(read_request(&mut rest)).unwrap(), Some(Request::TakeBack(number)));
            prop_assert_eq!(now(read_request(&mut rest)).unwrap(), None);
        }

        #[test]
        fn watches_and_news_survive_the_wire(
            count in 1usize..700,
            looked_up: u64,
            here in prop::collection::vec(any::<u64>(), 0..100),
        ) {
            let hashes: Vec<Hash> = (0..count).map(|i| Hash::of(&i.to_le_bytes())).collect();
            let mut wire = Vec::new();
            encode_watches(&hashes, &mut wire);
            let (mut rest, mut read) = (&wire[..], Vec::new());
            while let Some(Request::Watch(batch)) = now(read_request(&mut rest)).unwrap() {
                read.extend(batch);
            }
            prop_assert_eq!(read, hashes);
            let news = News { looked_up, here };
            let mut wire = Vec::new();
            now(write_news(&mut wire, &news)).unwrap();
            prop_assert_eq!(now(read_news(&mut &wire[1..])).unwrap(), news);
        }

        #[test]
        fn heads_of_bundles_survive_the_wire(
            lens in prop::collection::vec(1u32..2_000, 1..=BUNDLE_BLOCKS),
        ) {
            let head = BundleHead { packed: lens.iter().sum::<u32>() - 1, lens };
            let mut wire = Vec::new();
            now(write_answer(&mut wire, Answer::Bundle(head.lens.len()))).unwrap();
            now(write_bundle_head(&mut wire, &head)).unwrap();
            let mut rest = &wire[..];
            let tag = now(read_answer_tag(&mut rest)).unwrap().unwrap();
            let answer = now(read_answer(&mut rest, tag, 0)).unwrap();
            prop_assert_eq!(answer, Answer::Bundle(head.lens.len()));
            let asked = |len| BlockRef { hash: Hash([0; 32]), len };
            let asked: Vec<BlockRef> = head.lens.iter().map(|len| asked(*len)).collect();
            prop_assert_eq!(now(read_bundle_head(&mut rest, &asked)).unwrap(), head);
        }

        #[test]
        fn hostile_bytes_are_refused_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..500),
        ) {
            let mut rest = &bytes[..];
            while let Ok(Some(request)) = now(read_request(&mut rest)) {
                if let Request::Ask(blocks) = request {
                    prop_assert!(blocks.len() <= BATCH_MAX);
                    prop_assert!(blocks.iter().all(|block| block.len <= BLOCK_MAX));
                }
            }
            let mut rest = &bytes[..];
            while let Ok(Some(tag)) = now(read_answer_tag(&mut rest)) {
                if tag == NEWS {
                    let Ok(news) = now(read_news(&mut rest)) else { break };
                    prop_assert!(news.here.len() <= NEWS_MAX);
                    continue;
                }
                match now(read_answer(&mut rest, tag, 1000)) {
                    Ok(Answer::Found(len)) => prop_assert!(len <= 1000),
                    Ok(Answer::Bundle(count)) => {
                        let asked = vec![BlockRef { hash: Hash([0; 32]), len: 1000 }; count];
                        let Ok(head) = now(read_bundle_head(&mut rest, &asked)) else { break };
                        prop_assert!(head.lens.iter().all(|len| *len <= 1000));
                        prop_assert!(head.lens.iter().sum::<u32>() > head.packed);
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
