//! Records and segments as they are on the wire, written down a second time: a hostile author makes
//! what the index itself never would, and the model reads records with types of its own. A change
//! of the format by mistake fails here.

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId, FolderId, Hash, Signature};
use dunlin_index::{Author, Content, Context, Dot, EntryId, Kind, SafeName, Signer};

use super::{FOLDER, Fake};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Place {
    pub(crate) parent: EntryId,
    pub(crate) name: SafeName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub(crate) struct Stamp {
    pub(crate) moves: u64,
    pub(crate) hlc: u64,
    pub(crate) device: DeviceId,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LogEnd {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct WrappedKey {
    pub(crate) device: DeviceId,
    pub(crate) sealed: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Op {
    Member { admission: Admission, name: String, named_ms: u64 },
    Create { kind: Kind, first: bool, place: Place, content: Content, mode: u32 },
    Write { entry: EntryId, content: Content, replaces: Vec<Dot>, enables: Vec<Dot> },
    Move { entry: EntryId, place: Place, stamp: Stamp, from: Place, enables: Vec<Dot> },
    Mode { entry: EntryId, mode: u32, stamp: Stamp },
    Delete { entry: EntryId, presence: Vec<Dot> },
    DeleteTree { top: EntryId, seen: Option<Stamp>, context: Context },
    Promote { entry: EntryId, dot: Dot, place: Place, content: Content, mode: u32 },
    Enable { entry: EntryId, enables: Vec<Dot> },
    Approve { author: Author, until: u64 },
    Remove { device: DeviceId, ends: Vec<LogEnd>, generation: u32, keys: Vec<WrappedKey> },
    Settings { value: Vec<u8>, replaces: Vec<Dot> },
    Withdraw { entry: EntryId, values: Vec<Dot> },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum Part {
    Record(Vec<u8>),
    Omitted(Hash),
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Segment {
    folder: FolderId,
    author: Author,
    first: u64,
    before: Hash,
    parts: Vec<Part>,
    signature: Signature,
}

/// Reads the records of a segment, each with its dot.
pub(crate) fn records(segment: &[u8]) -> Vec<(Dot, Op)> {
    assert_eq!(segment[0], 1, "the version comes first");
    let config = bincode::config::standard();
    let (segment, read): (Segment, usize) =
        bincode::decode_from_slice(&segment[1..], config).unwrap();
    assert!(read > 0 && segment.folder == FOLDER);
    let author = segment.author;
    let numbered = (segment.first..).zip(segment.parts);
    let records = numbered.filter_map(|(seq, part)| match part {
        Part::Record(bytes) => {
            let (op, _) = bincode::decode_from_slice(&bytes, config).unwrap();
            Some((Dot { author, seq }, op))
        }
        Part::Omitted(_) => None,
    });
    records.collect()
}

/// A log whose author writes into it whatever it likes.
pub(crate) struct Hostile {
    pub(crate) author: Author,
    pub(crate) seq: u64,
    chain: Hash,
    pub(crate) log: Vec<Vec<u8>>,
}

impl Hostile {
    /// Begins the log of a member, with its admission.
    pub(crate) fn new(number: u8) -> Self {
        let device = DeviceId::from_bytes([number; 32]);
        let author = Author { device, epoch: u64::from(number) };
        let mut hasher = blake3::Hasher::new_derive_key("dunlin index log v1");
        hasher.update(&FOLDER.0).update(device.as_bytes()).update(&author.epoch.to_le_bytes());
        let chain = Hash(*hasher.finalize().as_bytes());
        let mut hostile = Self { author, seq: 0, chain, log: Vec::new() };
        hostile.say(&Op::Member {
            admission: super::admission(device),
            name: "wolf".to_owned(),
            named_ms: 0,
        });
        hostile
    }

    /// Signs one record as a segment of its own.
    pub(crate) fn say(&mut self, op: &Op) -> Dot {
        let record = bincode::encode_to_vec(op, bincode::config::standard()).unwrap();
        let before = self.chain;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&before.0).update(blake3::hash(&record).as_bytes());
        self.chain = Hash(*hasher.finalize().as_bytes());
        self.seq += 1;
        let mut message = b"dunlin index segment v1\0".to_vec();
        message.extend_from_slice(&FOLDER.0);
        message.extend_from_slice(self.author.device.as_bytes());
        message.extend_from_slice(&self.author.epoch.to_le_bytes());
        message.extend_from_slice(&self.seq.to_le_bytes());
        message.extend_from_slice(&self.chain.0);
        message.extend_from_slice(blake3::hash(b"").as_bytes());
        let segment = Segment {
            folder: FOLDER,
            author: self.author,
            first: self.seq,
            before,
            parts: vec![Part::Record(record)],
            signature: Fake(self.author.device).sign(&message),
        };
        let mut bytes = vec![1];
        bytes.extend(bincode::encode_to_vec(&segment, bincode::config::standard()).unwrap());
        self.log.push(bytes);
        Dot { author: self.author, seq: self.seq }
    }
}
