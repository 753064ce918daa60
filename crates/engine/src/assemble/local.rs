//! What other files on this disk hold of a new one.
//!
//! Blocks that are neighbours in one file mostly are so in the other. Such a stretch is copied by
//! the kernel in one go, and a file system that can share blocks does that instead: then a large
//! file of which little has changed takes little room, and hardly any time to write.

use std::ops::Range;

use dunlin_blocks::BlockRef;
use dunlin_index::Storage;
use dunlin_tree::disk::{BlockLocation, DiskTable, RowId};

/// The longest stretch, in bytes.
const STRETCH_MAX: u64 = 16 << 20;

/// A block that is not in the new file yet.
pub(super) struct Wanted {
    pub(super) number: usize,
    pub(super) offset: u64,
    pub(super) block: BlockRef,
}

/// Two blocks or more that follow each other in a file here as they should in the new one. That is
/// a hint: the file may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// The file that has them.
    pub(super) row: RowId,
    /// Where they begin in it.
    pub(super) from: u64,
    /// Where they begin in the new one.
    pub(super) to: u64,
    pub(super) len: u64,
    /// Which of the wanted blocks they are.
    pub(super) blocks: Range<usize>,
}

impl Stretch {
    fn of(at: usize, offset: u64, place: &BlockLocation) -> Self {
        let BlockLocation { row, offset: from, len } = *place;
        Self { row, from, to: offset, len: u64::from(len), blocks: at..at + 1 }
    }

    /// Takes the next wanted block in, if it goes on there; tells whether it does.
    fn go_on(&mut self, next: &Wanted, places: &[BlockLocation]) -> bool {
        let (row, offset) = (self.row, self.from + self.len);
        let there = BlockLocation { row, offset, len: next.block.len };
        let longer = self.len + u64::from(next.block.len);
        let goes_on =
            next.offset == self.to + self.len && longer <= STRETCH_MAX && places.contains(&there);
        if goes_on {
            self.len = longer;
            self.blocks.end += 1;
        }
        goes_on
    }
}

/// Finds the stretches among blocks that are wanted, in the order of the new file.
pub(super) fn stretches<S: Storage>(rows: &DiskTable<S>, wanted: &[Wanted]) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    for (at, next) in wanted.iter().enumerate() {
        // A table that cannot be read only means that the block is fetched.
        let places = rows.locate_all(&next.block.hash).unwrap_or_default();
        let last = found.last_mut().filter(|last| last.blocks.end == at);
        if last.is_some_and(|last| last.go_on(next, &places)) {
            continue;
        }
        let place = places.iter().find(|place| place.len == next.block.len);
        found.extend(place.map(|place| Stretch::of(at, next.offset, place)));
    }
    found.retain(|stretch| stretch.blocks.len() > 1);
    found
}
