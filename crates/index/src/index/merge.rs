//! Taking what others have logged.

use std::collections::BTreeSet;

use dunlin_identity::Tier;

use super::{Index, Merged};
use crate::error::{IndexError, MergeError};
use crate::ids::{Dot, EntryId, Millis};
use crate::record::Op;
use crate::segment::{Part, Segment};
use crate::storage::Storage;

impl<S: Storage> Index<S> {
    /// Takes a segment of anyone's log, from whomever it came. Taking it again changes nothing.
    /// The changes are staged: see [`write_back`](Self::write_back).
    ///
    /// Nothing is taken of a log whose author is no member, unless it begins with the author's
    /// admission, nor what would leave a gap in it.
    pub fn merge(&mut self, segment: &[u8], now: Millis) -> Result<Merged, MergeError> {
        let segment = Segment::decode(segment)?;
        if segment.folder != self.config.folder {
            return Err(MergeError::OtherFolder);
        }
        let author = segment.author;
        let (have, chain) = self.head_of(&author);
        if segment.first > have + 1 {
            return Err(MergeError::Gap { author, have, first: segment.first });
        }
        let common = have.min(segment.last());
        let ours = if common == have { chain } else { self.chain_at(&author, common)? };
        let same = segment.chain_at(common) == ours;
        if same && segment.last() <= have {
            return Ok(Merged { changed: BTreeSet::new(), new_records: 0, from: author });
        }
        segment.verify(&*self.config.verifier)?;
        if !same {
            return Err(MergeError::Fork { author, seq: common });
        }
        if author == self.author {
            return Err(MergeError::OwnEpochAhead { seq: segment.last() });
        }
        self.check_allowed(&segment, have)?;
        Ok(self.take(segment, have, now)?)
    }

    /// Checks that the author may write what the segment holds beyond `have`.
    fn check_allowed(&self, segment: &Segment, have: u64) -> Result<(), MergeError> {
        let refused = Err(MergeError::NotAllowed(segment.author));
        if segment.first == 1 && matches!(segment.parts.first(), Some(Part::Omitted(_))) {
            // What a log begins with tells which removals it was begun after.
            return refused;
        }
        let new = &segment.parts[(have + 1 - segment.first) as usize..];
        let mut tier = self.tier_of(&segment.author.device);
        if have == 0 {
            // Every log begins with the admission of its author, so that it can be checked alone.
            let Some(Part::Record(first)) = new.first() else { return refused };
            match Op::decode(first, &segment.author) {
                Some(Op::Member { admission, .. }) if self.config.verifier.admits(&admission) => {
                    tier = tier.max(Some(admission.tier));
                }
                _ => return refused,
            }
        }
        let member_records_only = || {
            new.iter().all(|part| match part {
                Part::Record(bytes) => {
                    matches!(Op::decode(bytes, &segment.author), Some(Op::Member { .. }))
                }
                Part::Omitted(_) => false,
            })
        };
        match tier {
            Some(Tier::Write) => Ok(()),
            Some(_) if member_records_only() => Ok(()),
            _ => refused,
        }
    }

    fn take(&mut self, segment: Segment, have: u64, now: Millis) -> Result<Merged, IndexError> {
        let earlier = std::mem::take(&mut self.changed);
        let author = segment.author;
        let segment = segment.beyond(have);
        let new_records = (segment.last() - have) as usize;
        for (seq, part) in (segment.first..).zip(&segment.parts) {
            if let Part::Record(bytes) = part
                && seq > have
                && let Some(op) = Op::decode(bytes, &author)
            {
                self.apply(Dot { author, seq }, op, now)?;
            }
            self.context.raise(author, seq);
        }
        self.append(segment)?;
        self.settle_waiting()?;
        if self.stale {
            self.rebuild()?;
        }
        let changed: BTreeSet<EntryId> = std::mem::replace(&mut self.changed, earlier);
        Ok(Merged { changed, new_records, from: author })
    }
}
