//! What all members of a folder have agreed on: single values by key, and lists of strings.
//!
//! The settings are a document of operations as a text's state is, small enough for one record of
//! the index. Whoever changes a setting writes the whole document; documents that were written
//! apart merge. Different keys do not touch each other; of two values written apart for one key one
//! holds, the same everywhere; what several devices add to a list is all in it.
//!
//! Limits: a document has at most [`SETTINGS_BYTES_MAX`] bytes, and at most [`VALUES_MAX`] are
//! merged.

use std::collections::BTreeMap;

use similar::{Algorithm, DiffOp, capture_diff_slices};
use yrs::{Any, Array, ArrayRef, Map, MapRef, Out, ReadTxn, StateVector, Transact, TransactionMut};

use crate::TextError;
use crate::client::{Client, Lineage};
use crate::doc::{Garbage, apply, empty, guarded};
use crate::state::{Blocks, Schema};

/// No settings are longer, in bytes, with what is left of their past.
pub const SETTINGS_BYTES_MAX: usize = 6 * 1024;

/// Of more documents that were written apart, only these count.
pub const VALUES_MAX: usize = 256;

/// The root of what has a key.
const MAP: &str = "values";
/// The lists that there are.
const LISTS: &[&str] = &[IGNORE, TEXT, FIRST];
/// The list of patterns of files that no member syncs.
pub const IGNORE: &str = "ignore";
/// The list of patterns of files that are texts.
pub const TEXT: &str = "text";
/// The list of patterns of files that are fetched first.
pub const FIRST: &str = "first";

const SCHEMA: Schema = Schema::Settings { map: MAP, lists: LISTS };

/// A folder's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Single values, by key.
    pub values: BTreeMap<String, String>,
    /// Patterns of files that no member syncs; the last one that matches decides.
    pub ignore: Vec<String>,
    /// Patterns of files that are texts, as [`Patterns`](crate::Patterns) reads them.
    pub text: Vec<String>,
    /// Patterns of files that are fetched before others; the last one that matches decides.
    pub first: Vec<String>,
}

impl Settings {
    /// Merges documents, which may come from anybody. What is no settings' document, as a newer
    /// version or a hostile member may write, does not count.
    #[must_use]
    pub fn read(documents: &[&[u8]]) -> Self {
        let documents = sound(documents);
        let read = || {
            let roots = Roots::new(0);
            let mut txn = roots.doc.transact_mut();
            documents.iter().try_for_each(|document| apply(&mut txn, document))?;
            txn.commit();
            Ok(roots.settings(&txn))
        };
        // Each was applied alone before, so only a panic inside `yrs` is left to fail.
        guarded(read).unwrap_or_default()
    }

    /// Gives the document to write in the place of `documents`, so that these settings hold.
    ///
    /// # Errors
    /// [`TextError::StateTooLong`] when the settings do not fit, [`TextError::Malformed`] when a
    /// key is empty, [`TextError::Library`] when `yrs` fails.
    pub fn write(&self, documents: &[&[u8]], client: Client) -> Result<Vec<u8>, TextError> {
        let documents = sound(documents);
        // Documents without their past know nothing of the numbers that this client used in it.
        let lineages = documents
            .iter()
            .filter_map(|document| Blocks::parse(document, SCHEMA).ok()?.lineages().max());
        let client = client.after(lineages.max());
        if let Ok(document) = self.over(&documents, client.id())
            && document.len() <= SETTINGS_BYTES_MAX
        {
            return Ok(document);
        }
        // Without their past. A device that has not seen this may bring back what was taken out.
        let lineage = Lineage::of(&format!("{self:?}"), &documents.concat());
        let document = self.over(&[], lineage.id())?;
        match document.len() {
            len if len > SETTINGS_BYTES_MAX => Err(TextError::StateTooLong(len)),
            _ => Ok(document),
        }
    }

    fn over(&self, documents: &[&[u8]], client: u64) -> Result<Vec<u8>, TextError> {
        guarded(|| {
            let roots = Roots::new(client);
            let mut txn = roots.doc.transact_mut();
            documents.iter().try_for_each(|document| apply(&mut txn, document))?;
            roots.change(&mut txn, self);
            txn.commit();
            if roots.settings(&txn) != self.normal() {
                return Err(TextError::Library("the settings became others"));
            }
            let document = txn.encode_state_as_update_v1(&StateVector::default());
            Blocks::parse(&document, SCHEMA)?;
            Ok(document)
        })
    }

    /// The settings without what has no effect.
    fn normal(&self) -> Self {
        Self {
            values: self.values.clone(),
            ignore: last_of_each(self.ignore.clone()),
            text: last_of_each(self.text.clone()),
            first: last_of_each(self.first.clone()),
        }
    }
}

/// A document and what is in it.
struct Roots {
    doc: yrs::Doc,
    map: MapRef,
    ignore: ArrayRef,
    text: ArrayRef,
    first: ArrayRef,
}

impl Roots {
    fn new(client: u64) -> Self {
        let doc = empty(client, Garbage::Collect);
        let map = doc.get_or_insert_map(MAP);
        let (ignore, text) = (doc.get_or_insert_array(IGNORE), doc.get_or_insert_array(TEXT));
        let first = doc.get_or_insert_array(FIRST);
        Self { doc, map, ignore, text, first }
    }

    fn settings(&self, txn: &impl ReadTxn) -> Settings {
        let value = |(key, value): (&str, Out)| Some((key.to_owned(), string(&value)?));
        Settings {
            values: self.map.iter(txn).filter_map(value).collect(),
            ignore: last_of_each(strings(&self.ignore, txn)),
            text: last_of_each(strings(&self.text, txn)),
            first: last_of_each(strings(&self.first, txn)),
        }
    }

    /// Writes what differs, and nothing else: so it can merge with what others write.
    fn change(&self, txn: &mut TransactionMut<'_>, wanted: &Settings) {
        let now = self.settings(txn);
        for key in now.values.keys().filter(|key| !wanted.values.contains_key(*key)) {
            self.map.remove(txn, key);
        }
        for (key, value) in &wanted.values {
            if now.values.get(key) != Some(value) {
                self.map.insert(txn, key.as_str(), value.as_str());
            }
        }
        change_list(&self.ignore, txn, &wanted.ignore);
        change_list(&self.text, txn, &wanted.text);
        change_list(&self.first, txn, &wanted.first);
    }
}

fn change_list(list: &ArrayRef, txn: &mut TransactionMut<'_>, wanted: &[String]) {
    let now = strings(list, txn);
    let changes = capture_diff_slices(Algorithm::Myers, &now, wanted);
    // From the back, so that the places of the changes in front stay true.
    for change in changes.iter().rev().filter(|op| !matches!(op, DiffOp::Equal { .. })) {
        let (old, new) = (change.old_range(), change.new_range());
        let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        for value in wanted[new].iter().rev() {
            list.insert(txn, at(old.end), value.as_str());
        }
        if !old.is_empty() {
            list.remove_range(txn, at(old.start), at(old.len()));
        }
    }
}

fn strings(list: &ArrayRef, txn: &impl ReadTxn) -> Vec<String> {
    list.iter(txn).filter_map(|value| string(&value)).collect()
}

fn string(value: &Out) -> Option<String> {
    match value {
        Out::Any(Any::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// Of equal patterns only the last one has an effect, since the last that matches decides.
fn last_of_each(mut list: Vec<String>) -> Vec<String> {
    let mut at = 0;
    while at < list.len() {
        if list[at + 1..].contains(&list[at]) {
            list.remove(at);
        } else {
            at += 1;
        }
    }
    list
}

/// The documents that can be read, each once, in an order that is the same everywhere.
fn sound<'a>(documents: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let is_sound = |document: &&&[u8]| {
        let applies = || apply(&mut Roots::new(0).doc.transact_mut(), document);
        document.len() <= SETTINGS_BYTES_MAX
            && Blocks::parse(document, SCHEMA).is_ok()
            && guarded(applies).is_ok()
    };
    let mut sound: Vec<&[u8]> = documents.iter().filter(is_sound).copied().collect();
    sound.sort_unstable();
    sound.dedup();
    sound.truncate(VALUES_MAX);
    sound
}
