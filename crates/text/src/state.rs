//! The bytes of a state, checked before `yrs` reads them.
//!
//! A state is an update of `yrs` (lib0's encoding, version 1) that holds a document from its first
//! operation on. Of what the format can say, only what a text or a folder's settings need is let
//! through: inserted and deleted runs of text in one root, or of strings in a few. Every count is compared with the bytes that are left, and every
//! reference with the operations that are there, so that `yrs` never allocates for what is not
//! there, never waits for what is missing, and never meets a kind of content that is not text.
//!
//! ```text
//! state   = count client-section…  count deletions…
//! section = count-of-blocks client first-number(0) block…
//! block   = info [left origin] [right origin] [root name [key]] content
//! content = string, or count of values and the values, or length of what was deleted
//! ```

mod agree;
mod reader;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use self::reader::Reader;
use crate::client::{Lineage, is_id};
use crate::{BLOCKS_MAX, CLIENTS_MAX, STATE_BYTES_MAX, TextError};

/// The name of the one root in a text's document.
pub(crate) const ROOT: &str = "text";

const HAS_LEFT: u8 = 0x80;
const HAS_RIGHT: u8 = 0x40;
const HAS_KEY: u8 = 0x20;
const DELETED: u8 = 1;
const STRING: u8 = 4;
const VALUES: u8 = 8;
/// What a value that is a string begins with.
const STRING_VALUE: u8 = 119;
/// Bytes of the shortest block: info, an origin (client, number), and a length.
const BLOCK_BYTES_MIN: usize = 4;
/// Bytes of the shortest section: a count, a client, a number, one block.
const SECTION_BYTES_MIN: usize = 3 + BLOCK_BYTES_MIN;
/// No client has made more operations, so that sums of two numbers fit.
const CLOCK_MAX: u32 = u32::MAX / 2;

/// Names a character (in units of UTF-16) that was once inserted: by whom, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    client: u64,
    clock: u32,
}

/// What a document may hold.
#[derive(Clone, Copy)]
pub(crate) enum Schema {
    /// Text in [`ROOT`].
    Text,
    /// Strings: by key in the root of this name, and in the lists of these names.
    Settings { map: &'static str, lists: &'static [&'static str] },
}

impl Schema {
    /// Whether there is such a root; `keyed` says whether something stands under a key in it.
    fn allows(self, root: &str, keyed: bool) -> bool {
        match self {
            Self::Text => root == ROOT && !keyed,
            Self::Settings { map, lists } => {
                if keyed {
                    root == map
                } else {
                    lists.contains(&root)
                }
            }
        }
    }
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content<'a> {
    /// Text; its length is counted in units of UTF-16.
    Str(&'a str),
    /// Strings, each of which has a number of its own.
    Values,
    /// Text that is gone.
    Deleted,
}

/// A run of characters that one client inserted at once.
#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    clock: u32,
    len: u32,
    /// What was to the left when it was inserted.
    left: Option<Id>,
    /// What was to the right.
    right: Option<Id>,
    content: Content<'a>,
}

/// The blocks of a document that was found sound.
pub(crate) struct Blocks<'a>(BTreeMap<u64, Vec<Block<'a>>>);

/// A text's state that was found sound.
pub(crate) struct Layout<'a> {
    state: &'a [u8],
    blocks: Blocks<'a>,
    /// Where the text began.
    pub(crate) lineage: Lineage,
    /// Where the list of deletions begins, if it says nothing that the blocks do not.
    repeats_from: Option<usize>,
}

impl<'a> Layout<'a> {
    /// Checks a text's state.
    pub(crate) fn parse(state: &'a [u8]) -> Result<Self, TextError> {
        let (blocks, repeats_from) = Blocks::parse_with_repeats(state, Schema::Text)?;
        let mut lineages = blocks.lineages();
        let (Some(lineage), None) = (lineages.next(), lineages.next()) else {
            return Err(TextError::Malformed("a text has one beginning"));
        };
        drop(lineages);
        Ok(Self { state, blocks, lineage, repeats_from })
    }

    /// Returns how many blocks and ranges of deletions there are.
    pub(crate) fn blocks(&self) -> usize {
        // A deletion is of at least one character of a block that is there: at worst, there is one
        // for every block.
        2 * self.blocks.0.values().map(Vec::len).sum::<usize>()
    }

    /// Returns how many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.blocks.0.len()
    }

    /// Returns the state for a document that is empty yet: without the list of deletions if the
    /// blocks say the same. Going through that list takes a third of the time of reading a state.
    pub(crate) fn alone(&self) -> Cow<'a, [u8]> {
        match self.repeats_from {
            // A list of none.
            Some(at) => Cow::Owned([&self.state[..at], &[0]].concat()),
            None => Cow::Borrowed(self.state),
        }
    }
}

impl<'a> Blocks<'a> {
    /// Checks a state of that schema.
    pub(crate) fn parse(state: &'a [u8], schema: Schema) -> Result<Self, TextError> {
        Self::parse_with_repeats(state, schema).map(|(blocks, _)| blocks)
    }

    /// The same, with where the list of deletions begins, if it only repeats the blocks.
    fn parse_with_repeats(
        state: &'a [u8],
        schema: Schema,
    ) -> Result<(Self, Option<usize>), TextError> {
        if state.len() > STATE_BYTES_MAX {
            return Err(TextError::StateTooLong(state.len()));
        }
        let mut reader = Reader::new(state);
        let sections = reader.count(SECTION_BYTES_MIN)?;
        if sections > CLIENTS_MAX {
            return Err(TextError::StateTooComplex);
        }
        let mut clients = BTreeMap::new();
        let mut blocks_left = BLOCKS_MAX;
        for _ in 0..sections {
            let (client, blocks) = section(&mut reader, schema, &mut blocks_left)?;
            if clients.insert(client, blocks).is_some() {
                return Err(TextError::Malformed("a client stands twice"));
            }
        }
        let blocks = Self(clients);
        blocks.check_origins()?;
        let deletions_at = state.len() - reader.left();
        let repeats = blocks.check_deletions(&mut reader, blocks_left)?;
        if reader.left() > 0 {
            return Err(TextError::Malformed("trailing bytes"));
        }
        Ok((blocks, repeats.then_some(deletions_at)))
    }

    /// Returns the authors that are no devices.
    pub(crate) fn lineages(&self) -> impl Iterator<Item = Lineage> + '_ {
        self.0.keys().filter_map(|id| Lineage::from_id(*id))
    }

    /// Returns how many characters this client has inserted, ever.
    fn end(&self, client: u64) -> u32 {
        self.0
            .get(&client)
            .and_then(|blocks| blocks.last())
            .map_or(0, |block| block.clock + block.len)
    }

    /// Every origin must be there; so the state needs no other to be complete.
    fn check_origins(&self) -> Result<(), TextError> {
        for (client, blocks) in &self.0 {
            for block in blocks {
                for origin in [block.left, block.right].into_iter().flatten() {
                    // A client knows its own characters only up to the block itself.
                    let end = if origin.client == *client {
                        block.clock
                    } else {
                        self.end(origin.client)
                    };
                    if origin.clock >= end {
                        return Err(TextError::Malformed("an origin is missing"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads which numbers of which clients are deleted, and returns whether these are exactly the
    /// ones whose blocks hold nothing any more.
    fn check_deletions(
        &self,
        reader: &mut Reader<'a>,
        mut ranges_left: usize,
    ) -> Result<bool, TextError> {
        let is_deleted = |block: &&Block<'_>| block.content == Content::Deleted;
        let in_blocks: u64 =
            self.0.values().flatten().filter(is_deleted).map(|block| u64::from(block.len)).sum();
        let (mut listed, mut repeated) = (0, 0);
        let mut seen = BTreeSet::new();
        for _ in 0..reader.count(4)? {
            let client = reader.id()?;
            if !seen.insert(client) {
                return Err(TextError::Malformed("a client's deletions stand twice"));
            }
            let end = self.end(client);
            let mut blocks = self.0.get(&client).map_or(&[][..], Vec::as_slice);
            let ranges = reader.count(2)?;
            ranges_left = ranges_left.checked_sub(ranges).ok_or(TextError::StateTooComplex)?;
            let mut from = 0;
            for _ in 0..ranges {
                let (clock, len) = (reader.number()?, reader.number()?);
                let sound = clock >= from && len > 0 && len <= CLOCK_MAX && clock <= CLOCK_MAX;
                if !sound || clock + len > end {
                    return Err(TextError::Malformed("a deletion of what is not there"));
                }
                from = clock + len;
                listed += u64::from(len);
                let before = blocks.iter().take_while(|block| block.clock + block.len <= clock);
                blocks = &blocks[before.count()..];
                let inside = blocks.iter().take_while(|block| block.clock < from);
                repeated += inside
                    .filter(is_deleted)
                    .map(|block| (block.clock + block.len).min(from) - block.clock.max(clock))
                    .map(u64::from)
                    .sum::<u64>();
            }
        }
        Ok(repeated == listed && listed == in_blocks)
    }
}

/// Reads the blocks of one client.
fn section<'a>(
    reader: &mut Reader<'a>,
    schema: Schema,
    blocks_left: &mut usize,
) -> Result<(u64, Vec<Block<'a>>), TextError> {
    let count = reader.count(BLOCK_BYTES_MIN)?;
    *blocks_left = blocks_left.checked_sub(count).ok_or(TextError::StateTooComplex)?;
    let client = reader.id()?;
    let mut clock = reader.number()?;
    if count == 0 || clock != 0 {
        return Err(TextError::Malformed("a client's first operations are missing"));
    }
    let mut blocks = Vec::with_capacity(count);
    for _ in 0..count {
        let block = block(reader, schema, clock)?;
        clock = clock
            .checked_add(block.len)
            .filter(|end| block.len > 0 && *end <= CLOCK_MAX)
            .ok_or(TextError::Malformed("a block of an impossible length"))?;
        blocks.push(block);
    }
    Ok((client, blocks))
}

fn block<'a>(reader: &mut Reader<'a>, schema: Schema, clock: u32) -> Result<Block<'a>, TextError> {
    let info = reader.byte()?;
    let left = if info & HAS_LEFT != 0 { Some(origin(reader)?) } else { None };
    let right = if info & HAS_RIGHT != 0 { Some(origin(reader)?) } else { None };
    if left.is_none() && right.is_none() {
        // A number that is not 1 says that it is in another item.
        let (is_root, root) = (reader.number()? == 1, reader.string()?);
        let keyed = info & HAS_KEY != 0;
        if !is_root || !schema.allows(root, keyed) || (keyed && reader.string()?.is_empty()) {
            return Err(TextError::Malformed("another root"));
        }
    }
    let (content, len) = match (info & !(HAS_LEFT | HAS_RIGHT | HAS_KEY), schema) {
        (STRING, Schema::Text) => {
            let string = reader.string()?;
            (Content::Str(string), length(string.encode_utf16().count())?)
        }
        (VALUES, Schema::Settings { .. }) => {
            // A value is at least its kind and its length.
            let count = reader.count(2)?;
            for _ in 0..count {
                if reader.byte()? != STRING_VALUE {
                    return Err(TextError::Malformed("a value that is no string"));
                }
                reader.string()?;
            }
            (Content::Values, length(count)?)
        }
        (DELETED, _) => (Content::Deleted, reader.number()?),
        _ => return Err(TextError::Malformed("a content that is not expected here")),
    };
    Ok(Block { clock, len, left, right, content })
}

fn length(count: usize) -> Result<u32, TextError> {
    u32::try_from(count).map_err(|_| TextError::StateTooLong(count))
}

fn origin(reader: &mut Reader<'_>) -> Result<Id, TextError> {
    let client = reader.id()?;
    debug_assert!(is_id(client));
    Ok(Id { client, clock: reader.number()? })
}
