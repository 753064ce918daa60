//! Texts that merge: what is kept beside a text's file so that an edit of it becomes operations,
//! and so that versions made apart become one.
//!
//! An editor leaves nothing but the new bytes. So for every text on this disk its *base* is kept:
//! the versions that the file was made of, each with its state. An edit is compared with the base;
//! a version that arrives is merged with others by their states. Nobody writes a record about a
//! merge: whoever has the states makes the same text of them.
//!
//! # Limits
//! A text without a base (the database was lost, say) begins a new lineage with the next edit, and
//! versions of two lineages stand side by side, as those of any other file.

mod store;

use bytes::Bytes;
use dunlin_blocks::hash_bytes;
use dunlin_identity::Hash;
use dunlin_index::{Content, Dot, Item, Text};
use dunlin_text::{
    Client, Doc, RULES, RULES_UNCHECKED, TextError, breaks, is_text, may_compact, merge,
    must_compact,
};

pub use store::TextStore;

/// One version of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The change that made it.
    pub dot: Dot,
    /// What its record says.
    pub content: Content,
    /// Its state; of a fresh one the text itself, from which the state follows. Among several
    /// versions a fresh one needs none, since the others have grown from it.
    pub data: Bytes,
}

/// What a file on this disk was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The root of the file's content.
    pub root: Hash,
    /// The versions, the one that the view shows first.
    pub versions: Vec<Version>,
}

impl Base {
    /// The base of a file that holds a fresh version; none for any other item.
    pub(crate) fn of_fresh(item: &Item, data: &[u8]) -> Option<Self> {
        let (dot, content) = (item.key.dot?, item.content.clone());
        let version = Version { dot, content, data: Bytes::copy_from_slice(data) };
        let (root, _) = address_of(&version.content).filter(|_| version.is_fresh())?;
        Some(Self { root, versions: vec![version] })
    }

    /// The versions' dots, the shown one first.
    pub fn dots(&self) -> Vec<Dot> {
        self.versions.iter().map(|version| version.dot).collect()
    }

    /// The text that the versions come to.
    pub(crate) fn text(&self) -> Option<String> {
        if let [only] = self.versions.as_slice() {
            return only.text();
        }
        let docs = docs_of(&self.versions).ok()?;
        united(&docs).ok().map(|doc| doc.text().to_owned())
    }

    /// The dots of all but the shown one.
    pub fn also(&self) -> Vec<Dot> {
        self.versions.iter().skip(1).map(|version| version.dot).collect()
    }
}

/// Under which hash a version's data is kept and asked for, and its length; none for what is no
/// text.
pub fn address_of(content: &Content) -> Option<(Hash, u64)> {
    match content {
        Content::File { text: Some(Text::Fresh { .. }), root, size, .. } => Some((*root, *size)),
        Content::File { text: Some(Text::Grown { state, size, .. }), .. } => {
            Some((*state, u64::from(*size)))
        }
        _ => None,
    }
}

impl Version {
    /// Whether a lineage begins with it.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(&self.content, Content::File { text: Some(Text::Fresh { .. }), .. })
    }

    /// Whether its data are a state by the rules of this version.
    fn is_grown(&self) -> bool {
        matches!(&self.content, Content::File { text: Some(Text::Grown { rules, .. }), .. }
            if is_known(*rules))
    }

    /// The text; none when the data are not what the record says.
    pub fn text(&self) -> Option<String> {
        if self.is_fresh() {
            return self.fresh_text().ok().map(str::to_owned);
        }
        self.doc().ok().map(|doc| doc.text().to_owned())
    }

    /// The state, checked against what the record says: whoever wrote it may be lying.
    fn doc(&self) -> Result<Doc, TextError> {
        if self.is_grown() {
            let doc = Doc::decode(&self.data)?;
            self.check(doc.text())?;
            return Ok(doc);
        }
        Doc::fresh(self.fresh_text()?)
    }

    /// The text of a version without a state, which need not be made to read it.
    fn fresh_text(&self) -> Result<&str, TextError> {
        let Content::File { text: Some(Text::Fresh { rules }), .. } = &self.content else {
            return Err(TextError::Malformed("it follows other rules"));
        };
        if !is_known(*rules) {
            return Err(TextError::Malformed("it follows other rules"));
        }
        let text = is_text(&self.data).ok_or(TextError::Malformed("it is no text"))?;
        self.check(text)?;
        Ok(text)
    }

    /// Checks that the record says this text.
    fn check(&self, text: &str) -> Result<(), TextError> {
        match &self.content {
            Content::File { root, .. } if *root == hash_bytes(text.as_bytes()).root => Ok(()),
            _ => Err(TextError::Malformed("it says another text")),
        }
    }
}

/// The documents of versions. Those that have grown hold all of what they have grown from.
fn docs_of(versions: &[Version]) -> Result<Vec<Doc>, TextError> {
    let counts = |version: &&Version| versions.len() == 1 || !version.is_fresh();
    versions.iter().filter(counts).map(Version::doc).collect()
}

fn united(docs: &[Doc]) -> Result<Doc, TextError> {
    let states: Vec<&[u8]> = docs.iter().map(Doc::encode).collect();
    merge(&states)
}

/// What versions made apart come to; none when they cannot be merged, or when the merge of what
/// each parses would not parse (`name` tells as what), unless their rules leave that out. All who
/// have the states find the same.
pub fn merged(name: &str, versions: &[Version]) -> Option<String> {
    let docs = docs_of(versions).ok()?;
    let doc = united(&docs).ok()?;
    let sides: Vec<&str> = docs.iter().map(Doc::text).collect();
    let rules = versions.first().and_then(|version| version.content.lineage())?.0;
    let safe = rules == RULES_UNCHECKED || !breaks(name, &sides, doc.text());
    safe.then(|| doc.text().to_owned())
}

/// What the next version of a text carries, and its data, when `client` has made `text` of what
/// `base` says, by these rules. Without a base a lineage begins; also where the state has grown too long, or, when
/// all members have seen the base (`seen`), so long that it is worth it.
pub fn next_version(
    base: Option<&Base>,
    (client, rules): (Client, u8),
    text: &str,
    seen: bool,
) -> (Text, Bytes) {
    let begun = || (Text::Fresh { rules }, Bytes::copy_from_slice(text.as_bytes()));
    base.and_then(|base| grown(base, (client, rules), text, seen)).unwrap_or_else(begun)
}

fn is_known(rules: u8) -> bool {
    matches!(rules, RULES | RULES_UNCHECKED)
}

fn grown(
    base: &Base,
    (client, rules): (Client, u8),
    text: &str,
    seen: bool,
) -> Option<(Text, Bytes)> {
    let (_, lineage) = base.versions.first()?.content.lineage()?;
    if let [only] = base.versions.as_slice()
        && base.root == hash_bytes(text.as_bytes()).root
        && let Content::File { text: Some(same), .. } = &only.content
    {
        // Only its time has changed.
        return Some((same.clone(), only.data.clone()));
    }
    let doc = match base.versions.as_slice() {
        // What is kept was checked when it came.
        [only] if only.is_grown() => Doc::edited(&only.data, client, text).ok()?,
        versions => {
            let mut doc = united(&docs_of(versions).ok()?).ok()?;
            doc.edit(client, text).ok()?;
            doc
        }
    };
    let state = doc.encode();
    let compact = if seen { may_compact } else { must_compact };
    if compact(state.len(), text.len()) {
        return None;
    }
    let size = u32::try_from(state.len()).ok()?;
    let grown = Text::Grown { rules, lineage, state: Hash::of(state), size };
    Some((grown, Bytes::copy_from_slice(state)))
}

#[cfg(test)]
mod tests;
