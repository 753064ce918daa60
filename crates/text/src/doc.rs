//! One text as a document of operations.
//!
//! The document holds the text behind one line break that is not part of it (as CR LF, if the
//! text's own first break is): so that the first word, too, has white space before it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::{
    GetString, OffsetKind, Options, ReadTxn, StateVector, Text, TextRef, Transact, TransactionMut,
    Update,
};

use crate::client::{Client, Lineage};
use crate::diff::{Hunk, hunks};
use crate::state::{Layout, ROOT};
use crate::{BLOCKS_MAX, CLIENTS_MAX, STATE_BYTES_MAX, TEXT_BYTES_MAX, TextError};

/// States up to this many bytes longer than a multiple of their text are not compacted.
const SLACK: usize = 4096;

/// Of a text's state, whether it is so long that it should be compacted: longer than three times
/// the text and 4 KiB. Both lengths in bytes.
#[must_use]
pub fn must_compact(state_len: usize, text_len: usize) -> bool {
    state_len > text_len.saturating_mul(3).saturating_add(SLACK)
}

/// Of a text's state, whether it is worth compacting when nobody loses by it, because all who share
/// the text have seen the version: longer than one and a half times the text and 4 KiB. Both
/// lengths in bytes.
#[must_use]
pub fn may_compact(state_len: usize, text_len: usize) -> bool {
    state_len > text_len.saturating_add(text_len / 2).saturating_add(SLACK)
}

/// A hunk cuts a block at both ends of what it takes out, and puts in one block and a deletion.
const BLOCKS_A_HUNK: usize = 4;

/// A version of a text: all operations that made it, and what they come to.
///
/// Equality is that of the encoded states: two documents with one text may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    state: Vec<u8>,
    /// With the line break in front.
    inner: String,
    lineage: Lineage,
}

impl Doc {
    /// Begins a text. The same text gives the same state everywhere, so devices that begin with
    /// equal texts can merge what they write from then on.
    ///
    /// # Errors
    /// [`TextError::TextTooLong`].
    pub fn fresh(text: &str) -> Result<Self, TextError> {
        Self::begin(text, b"")
    }

    /// Begins the text anew without its past, as short as it can be. Versions of before cannot be
    /// merged with what is written from then on: only one device should do it (the author of the
    /// latest version), when all have that version.
    ///
    /// # Errors
    /// [`TextError::Library`], which would be a fault of `yrs`.
    pub fn compact(&self) -> Result<Self, TextError> {
        Self::begin(self.text(), &self.state)
    }

    fn begin(text: &str, parent: &[u8]) -> Result<Self, TextError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TextError::TextTooLong(text.len()));
        }
        let lineage = Lineage::of(text, parent);
        let inner = with_break(text);
        let state = guarded(|| {
            let (doc, root) = library(lineage.id(), Garbage::Collect);
            let mut txn = doc.transact_mut();
            root.insert(&mut txn, 0, &inner);
            txn.commit();
            Ok(txn.encode_state_as_update_v1(&StateVector::default()))
        })?;
        Ok(Self { state, inner, lineage })
    }

    /// Decodes a state, as [`Doc::encode`] gave it; the bytes may come from anybody. Their counts,
    /// lengths and references are checked before `yrs` sees them.
    ///
    /// # Errors
    /// When they are no state, or one above the limits of this crate.
    pub fn decode(state: &[u8]) -> Result<Self, TextError> {
        let layout = Layout::parse(state)?;
        let lineage = layout.lineage;
        let inner = guarded(|| {
            let (doc, root) = library(lineage.id(), Garbage::Keep);
            let mut txn = doc.transact_mut();
            apply(&mut txn, &layout.alone())?;
            Ok(root.get_string(&txn))
        })?;
        Self { state: state.to_vec(), inner, lineage }.within_limits()
    }

    /// Applies states, which have been parsed, in the order given.
    pub(crate) fn unite(states: &[&[u8]], lineage: Lineage) -> Result<Self, TextError> {
        if let [state] = states {
            return Self::decode(state);
        }
        let (state, inner) = guarded(|| {
            let (doc, root) = library(lineage.id(), Garbage::Collect);
            let mut txn = doc.transact_mut();
            for state in states {
                apply(&mut txn, state)?;
            }
            txn.commit();
            let inner = root.get_string(&txn);
            Ok((txn.encode_state_as_update_v1(&StateVector::default()), inner))
        })?;
        Layout::parse(&state)?;
        Self { state, inner, lineage }.within_limits()
    }

    /// Records an edit by `client`: afterwards [`Doc::text`] is `text`, to the byte.
    ///
    /// The texts are compared by lines, and where lines changed by words: what stands between
    /// white space, with the white space before it. A changed word is replaced as a whole, and
    /// the white space belongs to the word behind it, so that words of different devices never
    /// grow together.
    ///
    /// # Errors
    /// [`TextError::TextTooLong`], [`TextError::StateTooLong`] or [`TextError::StateTooComplex`];
    /// the document is as it was then.
    pub fn edit(&mut self, client: Client, text: &str) -> Result<(), TextError> {
        if text != self.text() {
            *self = Self::edited(&self.state, client, text)?;
        }
        Ok(())
    }

    /// Decodes a state and records an edit in it: what [`Doc::decode`] and [`Doc::edit`] do, in
    /// half the time.
    ///
    /// # Errors
    /// Those of both.
    pub fn edited(state: &[u8], client: Client, text: &str) -> Result<Self, TextError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TextError::TextTooLong(text.len()));
        }
        let layout = Layout::parse(state)?;
        let lineage = layout.lineage;
        let inner = with_break(text);
        let (state, hunks) = guarded(|| {
            let (doc, root) = library(client.id(), Garbage::Keep);
            let mut txn = doc.transact_mut();
            apply(&mut txn, &layout.alone())?;
            let before = root.get_string(&txn);
            drop(txn);
            // What was deleted before was collected then: only what is deleted now is to be.
            let mut txn = doc.transact_mut();
            let hunks = hunks(&before, &inner);
            write(&mut txn, &root, &hunks)?;
            let deleted = txn.delete_set().clone();
            txn.gc(Some(&deleted));
            txn.commit();
            if root.get_string(&txn) != inner {
                return Err(TextError::Library("an edit gave another text"));
            }
            Ok((txn.encode_state_as_update_v1(&StateVector::default()), hunks.len()))
        })?;
        // What this device writes, others must be able to read. Where it cannot have come near a
        // limit, that is known without reading it again.
        let near = layout.blocks() + BLOCKS_A_HUNK * hunks >= BLOCKS_MAX;
        if near || state.len() > STATE_BYTES_MAX || layout.clients() >= CLIENTS_MAX {
            Layout::parse(&state)?;
        }
        debug_assert!(Layout::parse(&state).is_ok());
        Self { state, inner, lineage }.within_limits()
    }

    fn within_limits(self) -> Result<Self, TextError> {
        match self.text().len() {
            len if len > TEXT_BYTES_MAX => Err(TextError::TextTooLong(len)),
            _ => Ok(self),
        }
    }

    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> &str {
        let inner = self.inner.as_str();
        inner.strip_prefix("\r\n").or_else(|| inner.strip_prefix('\n')).unwrap_or(inner)
    }

    /// Returns the state, which holds the text and at most [`STATE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn encode(&self) -> &[u8] {
        debug_assert!(self.state.len() <= STATE_BYTES_MAX);
        &self.state
    }

    /// Returns where the text began.
    #[must_use]
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }
}

/// Writes an edit, from the back, so that the offsets of the hunks in front stay true.
fn write(
    txn: &mut TransactionMut<'_>,
    root: &TextRef,
    hunks: &[Hunk<'_>],
) -> Result<(), TextError> {
    for hunk in hunks.iter().rev() {
        let (start, len) = (index(hunk.old.start)?, index(hunk.old.len())?);
        // Put in before what goes, so that what others wrote in between comes after it.
        if !hunk.new.is_empty() {
            root.insert(txn, start, hunk.new);
        }
        if len > 0 {
            root.remove_range(txn, start + index(hunk.new.len())?, len);
        }
    }
    Ok(())
}

/// Puts a line break before the text, of the kind that the text has.
fn with_break(text: &str) -> String {
    let crlf = text.find('\n').is_some_and(|at| text[..at].ends_with('\r'));
    format!("{}{text}", if crlf { "\r\n" } else { "\n" })
}

fn index(at: usize) -> Result<u32, TextError> {
    u32::try_from(at).map_err(|_| TextError::TextTooLong(at))
}

/// Whether the text that a transaction deletes is forgotten at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    Keep,
    Collect,
}

/// Makes an empty document that will write as `client`, and draws nothing at random.
pub(crate) fn empty(client: u64, garbage: Garbage) -> yrs::Doc {
    yrs::Doc::with_options(Options {
        offset_kind: OffsetKind::Bytes,
        skip_gc: garbage == Garbage::Keep,
        ..Options::with_guid_and_client_id("".into(), ClientID::new(client))
    })
}

fn library(client: u64, garbage: Garbage) -> (yrs::Doc, TextRef) {
    let doc = empty(client, garbage);
    let root = doc.get_or_insert_text(ROOT);
    (doc, root)
}

pub(crate) fn apply(txn: &mut TransactionMut<'_>, state: &[u8]) -> Result<(), TextError> {
    let update = Update::decode_v1(state).map_err(|_| TextError::Malformed("undecodable"))?;
    txn.apply_update(update).map_err(|_| TextError::Malformed("inapplicable"))?;
    if txn.has_missing_updates() {
        return Err(TextError::Malformed("operations depend on each other in a circle"));
    }
    Ok(())
}

/// Runs `work`; a panic in `yrs` becomes an error. Nothing that `work` can see outlives it but
/// what it returns, so a document that a panic left half changed is never used.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, TextError>) -> Result<T, TextError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(TextError::Library("a panic")))
}
