//! The authors' logs as they are stored: segments, joined as they grow, and heads.

use bincode::{Decode, Encode};
use dunlin_identity::Hash;

use super::{Committed, Head, Index, Signer, keys};
use crate::context::Context;
use crate::error::IndexError;
use crate::ids::{Author, Dot, Millis};
use crate::record::Op;
use crate::segment::{Part, SEGMENT_BYTES_TARGET, SEGMENT_RECORDS_MAX, Segment, chain_start};
use crate::storage::Storage;

/// Of this many segments at a log's end it is known how long they are, so that they can be joined.
const TAIL_LEN_MAX: usize = 12;

/// A stored segment that may still be joined with the next.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct TailSegment {
    first: u64,
    records: usize,
    bytes: usize,
}

/// How far an author's log is held.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct LogHead {
    pub(super) seq: u64,
    pub(super) chain: Hash,
    tail: Vec<TailSegment>,
}

impl<S: Storage> Index<S> {
    /// Gives how far each author's log is held, in the authors' order.
    pub fn heads(&self) -> Vec<Head> {
        let heads = self.heads.iter();
        heads
            .map(|(author, head)| Head { author: *author, seq: head.seq, chain: head.chain })
            .collect()
    }

    /// Puts an own change in force and stages its record.
    pub(super) fn log_local(&mut self, now: Millis, op: Op) -> Result<Dot, IndexError> {
        let bytes = op.encode().ok_or(IndexError::Content("the record would be too large"))?;
        let dot = Dot { author: self.author, seq: self.next_seq() };
        self.apply(dot, op, now)?;
        self.pending.push(bytes);
        self.settle_waiting()?;
        Ok(dot)
    }

    /// Signs the staged local changes and makes them durable, with all else that is staged.
    /// The segments may leave the device after this, not before.
    pub fn commit(&mut self, signer: &dyn Signer) -> Result<Committed, IndexError> {
        let mut segments = Vec::new();
        let mut records = std::mem::take(&mut self.pending).into_iter().peekable();
        while records.peek().is_some() {
            let mut bytes = 0;
            let mut parts = Vec::new();
            while let Some(record) = records.next_if(|record| {
                parts.is_empty()
                    || parts.len() < SEGMENT_RECORDS_MAX
                        && bytes + record.len() <= SEGMENT_BYTES_TARGET
            }) {
                bytes += record.len();
                parts.push(Part::Record(record));
            }
            let (seq, chain) = self.head_of(&self.author);
            let folder = self.config.folder;
            let segment = Segment::sign(folder, self.author, seq + 1, chain, parts, signer);
            segments.push(segment.encode());
            self.append(segment)?;
        }
        if !segments.is_empty() {
            self.overlay.delete(keys::PENDING.to_vec());
        }
        self.write_back(true)?;
        Ok(Committed { segments, changed: std::mem::take(&mut self.changed) })
    }

    /// Gives the last number and the chain of a log; of one that is not held, its start.
    pub(crate) fn head_of(&self, author: &Author) -> (u64, Hash) {
        match self.heads.get(author) {
            Some(head) => (head.seq, head.chain),
            None => (0, chain_start(&self.config.folder, author)),
        }
    }

    /// Stores a segment that follows what is held, joining it with short ones before it.
    ///
    /// Segments are joined like the digits of a binary counter, so that each record is rewritten
    /// only some eight times while a log grows by single records.
    pub(super) fn append(&mut self, segment: Segment) -> Result<(), IndexError> {
        let author = segment.author;
        let (held, _) = self.head_of(&author);
        debug_assert!(segment.first <= held + 1 && segment.last() > held);
        let mut tail = self.heads.remove(&author).map(|head| head.tail).unwrap_or_default();
        if segment.first <= held {
            // Its author left records out, so it keeps its cut and takes the place of what was held.
            tail.clear();
        }
        let (seq, chain) = (segment.last(), segment.chain_at(segment.last()));
        let mut joined = segment;
        let mut bytes = joined.record_bytes();
        while let Some(last) = tail.last() {
            let fits = last.records <= joined.parts.len()
                && last.records + joined.parts.len() <= SEGMENT_RECORDS_MAX
                && last.bytes + bytes <= SEGMENT_BYTES_TARGET
                && !joined.has_omissions();
            let key = keys::segment(&author, last.first);
            let earlier = if fits { self.overlay.get(&key)? } else { None };
            let Some(earlier) = earlier else { break };
            let earlier =
                Segment::decode(&earlier).map_err(|_| IndexError::Damaged("a segment"))?;
            if earlier.has_omissions() {
                break;
            }
            bytes += last.bytes;
            joined = earlier.join(joined);
            tail.pop();
        }
        tail.push(TailSegment { first: joined.first, records: joined.parts.len(), bytes });
        if tail.len() > TAIL_LEN_MAX {
            tail.remove(0);
        }
        self.remove_joined(&joined, held);
        self.overlay.put(keys::segment(&author, joined.first), joined.encode());
        let head = LogHead { seq, chain, tail };
        self.overlay.put(keys::head(&author), super::to_stored(&head));
        self.heads.insert(author, head);
        self.context.raise(author, seq);
        Ok(())
    }

    /// Removes the stored segments that have become part of a longer one.
    fn remove_joined(&mut self, joined: &Segment, held: u64) {
        // Numbers between are no keys: deleting them is harmless, and there are at most 256.
        for first in joined.first + 1..=held {
            self.overlay.delete(keys::segment(&joined.author, first));
        }
    }

    /// Gives segments that hold what `theirs` lacks, ordered by author and number, up to some
    /// `max_bytes` (at least one segment), and whether there are more.
    pub fn segments_beyond(
        &self,
        theirs: &Context,
        max_bytes: usize,
    ) -> Result<(Vec<Vec<u8>>, bool), IndexError> {
        let (segments, more, _) = self.segments_after(theirs, max_bytes)?;
        Ok((segments, more))
    }

    /// Like [`segments_beyond`](Self::segments_beyond), and up to where the segments reach.
    pub(crate) fn segments_after(
        &self,
        theirs: &Context,
        max_bytes: usize,
    ) -> Result<(Vec<Vec<u8>>, bool, Context), IndexError> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        let mut reached = Context::default();
        let mut bytes = 0;
        for (author, head) in &self.heads {
            let mut have = theirs.get(author);
            while have < head.seq {
                let segment = self.segment_with(author, have + 1)?;
                let last = segment.last();
                let encoded = segment.beyond(have).encode();
                if !found.is_empty() && bytes + encoded.len() > max_bytes {
                    return Ok((found, true, reached));
                }
                bytes += encoded.len();
                found.push(encoded);
                reached.raise(*author, last);
                have = last;
            }
        }
        Ok((found, false, reached))
    }

    /// Gives the stored segment that holds a record, which must be held.
    pub(super) fn segment_with(&self, author: &Author, seq: u64) -> Result<Segment, IndexError> {
        // A segment begins at most 255 records before any that it holds.
        let from = seq.saturating_sub(SEGMENT_RECORDS_MAX as u64);
        let mut after = keys::segment(author, from);
        let mut best: Option<Segment> = None;
        loop {
            let page = self.overlay.scan(&keys::log(author), Some(&after), 1)?;
            let Some((key, value)) = page.into_iter().next() else { break };
            let segment = Segment::decode(&value).map_err(|_| IndexError::Damaged("a segment"))?;
            if segment.first > seq {
                break;
            }
            let found = segment.last() >= seq;
            best = Some(segment);
            if found {
                break;
            }
            after = key;
        }
        let found = best.filter(|segment| segment.first <= seq && segment.last() >= seq);
        found.ok_or(IndexError::Damaged("a record is missing from a log"))
    }

    /// Gives the chain of a log up to a record that is held.
    pub(super) fn chain_at(&self, author: &Author, seq: u64) -> Result<Hash, IndexError> {
        let (held, chain) = self.head_of(author);
        if seq == 0 {
            return Ok(chain_start(&self.config.folder, author));
        }
        if seq == held {
            return Ok(chain);
        }
        Ok(self.segment_with(author, seq)?.chain_at(seq))
    }

    /// Gives the stored segments of a log one by one, from the first.
    pub(super) fn next_segment(
        &self,
        author: &Author,
        after: u64,
    ) -> Result<Option<Segment>, IndexError> {
        if after >= self.head_of(author).0 {
            return Ok(None);
        }
        self.segment_with(author, after + 1).map(Some)
    }

    pub(super) fn load_heads(&mut self) -> Result<(), IndexError> {
        self.overlay.each(keys::HEADS, |key, value| {
            let author = keys::parse_head(key).ok_or(IndexError::Damaged("a head's key"))?;
            let head: LogHead = super::stored(value, "a head")?;
            self.context.raise(author, head.seq);
            self.heads.insert(author, head);
            Ok(())
        })
    }
}
