//! Blocks of files that are still on their way: others can have them before the file is whole, so
//! that many devices that join at once fill each other and not all of them the one that has it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use dunlin_blocks::{BlockRef, address};
use dunlin_identity::Hash;
use dunlin_tree::fs::WriteAt;

use crate::serve::read_whole;

/// Blocks that are told of at most, some 5 MB of memory; those of a larger file that come later
/// can be had when it is whole.
const BLOCKS_MAX: usize = 65_536;

struct Place {
    file: Arc<dyn WriteAt>,
    offset: u64,
    len: u32,
}

/// Where the blocks are that have come of files that are not whole yet.
#[derive(Default)]
pub struct Partials(RwLock<HashMap<Hash, Place>>);

impl Partials {
    /// Notes that a block is in a temporary file, checked.
    pub(crate) fn add(&self, file: &Arc<dyn WriteAt>, offset: u64, block: BlockRef) {
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if places.len() < BLOCKS_MAX {
            let place = Place { file: Arc::clone(file), offset, len: block.len };
            places.entry(block.hash).or_insert(place);
        }
    }

    /// Forgets a file: it is whole and in its place, or given up.
    pub(crate) fn remove(&self, file: &Arc<dyn WriteAt>) {
        let mut places = self.0.write().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| !Arc::ptr_eq(&place.file, file));
    }

    /// Returns whether the block was here when it was last looked at.
    pub(crate) fn contains(&self, hash: &Hash) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(hash)
    }

    /// Returns a block, if it is here and as it should be.
    pub(crate) fn read(&self, hash: &Hash) -> Option<Bytes> {
        let (file, offset, len) = {
            let places = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let place = places.get(hash)?;
            (Arc::clone(&place.file), place.offset, place.len)
        };
        let data = read_whole(&*file, offset, len)?;
        (address(&data) == *hash).then(|| Bytes::from(data))
    }
}

#[cfg(test)]
mod tests {
    use dunlin_tree::fs::{Fs, MemFs, TempName};

    use super::*;

    #[test]
    fn a_block_can_be_had_until_its_file_is_done_and_only_as_it_should_be() {
        let fs = MemFs::new(1);
        let name = TempName::parse("file-x").expect("a legal name");
        let file: Arc<dyn WriteAt> = Arc::from(fs.temp_create(&name, 1000).expect("a file"));
        let partials = Partials::default();
        let block = BlockRef { hash: address(b"block"), len: 5 };
        file.write_at(b"block", 100).expect("written");
        assert_eq!(partials.read(&block.hash), None);
        partials.add(&file, 100, block);
        assert_eq!(partials.read(&block.hash).as_deref(), Some(&b"block"[..]));
        assert!(partials.contains(&block.hash) && !partials.contains(&address(b"other")));
        file.write_at(b"!", 100).expect("written");
        assert_eq!(partials.read(&block.hash), None, "it has another hash now");
        file.write_at(b"b", 100).expect("written");
        partials.remove(&file);
        assert_eq!(partials.read(&block.hash), None);
    }
}
