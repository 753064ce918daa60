//! Whether two states mean the same by the numbers that both know.
//!
//! `yrs` trusts that a number is used once. A device that was set back (a restored backup, a copied
//! machine) or a hostile one may use it twice, and what merging made of that would depend on the
//! order. Here it is found, and the versions stay apart.

use super::{Block, Content, Id, Layout};

impl Layout<'_> {
    /// Whether every character that both know was inserted at the same place and is the same, as
    /// far as it is not deleted in one of them.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.blocks.0.iter().all(|(client, blocks)| {
            other.blocks.0.get(client).is_none_or(|others| sections_agree(*client, blocks, others))
        })
    }
}

/// Goes through the blocks of one client side by side. The same run may be cut differently.
fn sections_agree(client: u64, one: &[Block<'_>], other: &[Block<'_>]) -> bool {
    let (mut one, mut other) = (one.iter().copied(), other.iter().copied());
    let (mut here, mut there) = (one.next(), other.next());
    while let (Some(a), Some(b)) = (here, there) {
        debug_assert_eq!(a.clock, b.clock);
        let len = a.len.min(b.len);
        let (Some((a_text, a_rest)), Some((b_text, b_rest))) =
            (split(client, a, len), split(client, b, len))
        else {
            return false;
        };
        let same_text = match (a_text, b_text) {
            (Content::Str(a), Content::Str(b)) => a == b,
            _ => true,
        };
        if !same_text || a.left != b.left || a.right != b.right {
            return false;
        }
        here = if a_rest.len > 0 { Some(a_rest) } else { one.next() };
        there = if b_rest.len > 0 { Some(b_rest) } else { other.next() };
    }
    true
}

/// Cuts a block after `len` units, as `yrs` does: what is cut off has the last character before it
/// to its left. Returns nothing if the cut goes through a character.
fn split<'a>(client: u64, block: Block<'a>, len: u32) -> Option<(Content<'a>, Block<'a>)> {
    if len == block.len {
        return Some((block.content, Block { len: 0, ..block }));
    }
    let (first, second) = match block.content {
        whole @ (Content::Deleted | Content::Values) => (whole, whole),
        Content::Str(text) => {
            let (first, second) = text.split_at(bytes_of(text, len)?);
            (Content::Str(first), Content::Str(second))
        }
    };
    let clock = block.clock + len;
    let left = Some(Id { client, clock: clock - 1 });
    Some((first, Block { clock, len: block.len - len, left, content: second, ..block }))
}

/// Returns how many bytes the first `units` units of UTF-16 take.
fn bytes_of(text: &str, units: u32) -> Option<usize> {
    let mut left = units as usize;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(c.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}
