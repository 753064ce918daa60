//! Segments: runs of an author's records, signed, as they are stored and passed on.
//!
//! An author's log is a hash chain: `c(0)` is derived from folder and author, and
//! `c(n) = BLAKE3(c(n-1) ‖ BLAKE3(record n))`. The signature covers folder, author, the number of
//! the last record and the chain up to it, and so, through the chain, everything before. Therefore
//! anyone, not the author alone, can join neighbouring segments (the last one's signature proves
//! all) or cut off a segment's front, and heads stay comparable however a log is cut. An author
//! may leave out records that were superseded; the numbers of those left out are signed as well,
//! so that nobody else can drop any.

use bincode::{Decode, Encode};
use dunlin_identity::{FolderId, Hash, Signature};

use crate::ids::Author;
use crate::index::{Signer, Verifier};
use crate::record::RECORD_BYTES_MAX;

/// The most records in a segment.
pub(crate) const SEGMENT_RECORDS_MAX: usize = 256;

/// Segments are not joined beyond this many bytes of records.
pub(crate) const SEGMENT_BYTES_TARGET: usize = 64 * 1024;

/// The most bytes of an encoded segment.
pub(crate) const SEGMENT_BYTES_MAX: usize = 128 * 1024;

const VERSION: u8 = 1;

/// Why a segment could not be read or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The bytes are no segment.
    #[error("malformed")]
    Malformed,
    /// The segment was written by a newer version of Dunlin.
    #[error("of an unknown version")]
    Version,
    /// The signature is not the author's.
    #[error("wrong signature")]
    Signature,
    /// A bound is exceeded.
    #[error("too large")]
    TooLarge,
}

/// One record's place in a segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Part {
    /// The record's bytes.
    Record(Vec<u8>),
    /// The hash of a record that its author left out.
    Omitted(Hash),
}

impl Part {
    fn hash(&self) -> Hash {
        match self {
            Self::Record(bytes) => Hash(*blake3::hash(bytes).as_bytes()),
            Self::Omitted(hash) => *hash,
        }
    }
}

/// A run of an author's records.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Segment {
    pub(crate) folder: FolderId,
    pub(crate) author: Author,
    /// The sequence number of the first record.
    pub(crate) first: u64,
    /// The chain up to the record before the first.
    pub(crate) before: Hash,
    pub(crate) parts: Vec<Part>,
    pub(crate) signature: Signature,
}

/// Gives the chain of a log without records.
pub(crate) fn chain_start(folder: &FolderId, author: &Author) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("dunlin index log v1");
    hasher.update(&folder.0);
    hasher.update(author.device.as_bytes());
    hasher.update(&author.epoch.to_le_bytes());
    Hash(*hasher.finalize().as_bytes())
}

/// Gives the chain after one more record.
pub(crate) fn chain_next(chain: &Hash, part: &Part) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&chain.0);
    hasher.update(&part.hash().0);
    Hash(*hasher.finalize().as_bytes())
}

impl Segment {
    /// Gives the number of the last record; segments are never empty.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.parts.len() as u64 - 1
    }

    /// Gives the chain up to the record with this number, which must not lie outside.
    pub(crate) fn chain_at(&self, seq: u64) -> Hash {
        debug_assert!(seq + 1 >= self.first && seq <= self.last());
        let count = (seq + 1).saturating_sub(self.first) as usize;
        self.parts.iter().take(count).fold(self.before, |chain, part| chain_next(&chain, part))
    }

    /// Makes and signs a segment; `parts` must not be empty.
    pub(crate) fn sign(
        folder: FolderId,
        author: Author,
        first: u64,
        before: Hash,
        parts: Vec<Part>,
        signer: &dyn Signer,
    ) -> Self {
        assert!(!parts.is_empty(), "a segment has at least one record");
        let unsigned = Signature([0; 64]);
        let mut segment = Self { folder, author, first, before, parts, signature: unsigned };
        segment.signature = signer.sign(&segment.message());
        segment
    }

    /// Checks the author's signature.
    pub(crate) fn verify(&self, verifier: &dyn Verifier) -> Result<(), SegmentError> {
        let signed = verifier.verify(&self.author.device, &self.message(), &self.signature);
        if signed { Ok(()) } else { Err(SegmentError::Signature) }
    }

    fn message(&self) -> Vec<u8> {
        let mut omitted = blake3::Hasher::new();
        for (seq, part) in (self.first..).zip(&self.parts) {
            if matches!(part, Part::Omitted(_)) {
                omitted.update(&seq.to_le_bytes());
            }
        }
        let mut message = b"dunlin index segment v1\0".to_vec();
        message.extend_from_slice(&self.folder.0);
        message.extend_from_slice(self.author.device.as_bytes());
        message.extend_from_slice(&self.author.epoch.to_le_bytes());
        message.extend_from_slice(&self.last().to_le_bytes());
        message.extend_from_slice(&self.chain_at(self.last()).0);
        message.extend_from_slice(omitted.finalize().as_bytes());
        message
    }

    /// Gives the number of bytes of the records.
    pub(crate) fn record_bytes(&self) -> usize {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Record(bytes) => bytes.len(),
                Part::Omitted(hash) => hash.0.len(),
            })
            .sum()
    }

    /// Tells whether the author left out records: then its cut must stay as it was signed.
    pub(crate) fn has_omissions(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Omitted(_)))
    }

    /// Gives the part that follows record `have`: fewer bytes, as well proved.
    pub(crate) fn beyond(mut self, have: u64) -> Self {
        if have >= self.first && have < self.last() && !self.has_omissions() {
            self.before = self.chain_at(have);
            self.parts.drain(..(have + 1 - self.first) as usize);
            self.first = have + 1;
        }
        self
    }

    /// Joins the segment that follows this one; the signature of the later one proves both.
    pub(crate) fn join(mut self, next: Self) -> Self {
        debug_assert!(self.author == next.author && self.last() + 1 == next.first);
        self.parts.extend(next.parts);
        self.signature = next.signature;
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let body = bincode::encode_to_vec(self, bincode::config::standard())
            .expect("encoding into memory cannot fail");
        bytes.extend_from_slice(&body);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        if bytes.len() > SEGMENT_BYTES_MAX {
            return Err(SegmentError::TooLarge);
        }
        let (version, body) = bytes.split_first().ok_or(SegmentError::Malformed)?;
        if *version != VERSION {
            return Err(SegmentError::Version);
        }
        let config = bincode::config::standard().with_limit::<{ 2 * SEGMENT_BYTES_MAX }>();
        let (segment, read): (Self, usize) =
            bincode::decode_from_slice(body, config).map_err(|_| SegmentError::Malformed)?;
        let sound = read == body.len()
            && !segment.parts.is_empty()
            && segment.first >= 1
            && segment.first <= u64::MAX / 2;
        if !sound {
            return Err(SegmentError::Malformed);
        }
        let too_large = segment.parts.len() > SEGMENT_RECORDS_MAX
            || segment
                .parts
                .iter()
                .any(|part| matches!(part, Part::Record(bytes) if bytes.len() > RECORD_BYTES_MAX));
        if too_large { Err(SegmentError::TooLarge) } else { Ok(segment) }
    }
}
