//! The index's public operations.

use crate::*;

impl<S: Storage> Index<S> {
    /// Opens.
    pub fn open(storage: S, config: Config, now: Millis) -> Result<Self, IndexError> { unimplemented!() }
    /// Author.
    pub fn author(&self) -> Author { unimplemented!() }
    /// Context.
    pub fn context(&self) -> &Context { unimplemented!() }
    /// Fingerprint.
    pub fn fingerprint(&self) -> dunlin_identity::Hash { unimplemented!() }
    /// Counts.
    pub fn counts(&self) -> Counts { unimplemented!() }
    /// Heads.
    pub fn heads(&self) -> Vec<Head> { unimplemented!() }
    /// Members.
    pub fn members(&self) -> Vec<Member> { unimplemented!() }
    /// Is a member.
    pub fn is_member(&self, device: &dunlin_identity::DeviceId) -> bool { unimplemented!() }
    /// Create.
    pub fn create(&mut self, now: Millis, parent: EntryId, name: &SafeName, new: NewEntry) -> Result<ItemKey, IndexError> { unimplemented!() }
    /// Write.
    pub fn write(&mut self, now: Millis, item: &ItemKey, content: Content) -> Result<ItemKey, IndexError> { unimplemented!() }
    /// Mode.
    pub fn set_mode(&mut self, now: Millis, item: &ItemKey, mode: u32) -> Result<ItemKey, IndexError> { unimplemented!() }
    /// Rename.
    pub fn rename(&mut self, now: Millis, item: &ItemKey, parent: EntryId, name: &SafeName) -> Result<ItemKey, IndexError> { unimplemented!() }
    /// Delete.
    pub fn delete(&mut self, now: Millis, item: &ItemKey) -> Result<(), IndexError> { unimplemented!() }
    /// Approve.
    pub fn approve(&mut self, now: Millis, device: dunlin_identity::DeviceId, until: u64) -> Result<(), IndexError> { unimplemented!() }
    /// Commit.
    pub fn commit(&mut self, signer: &dyn Signer) -> Result<Committed, IndexError> { unimplemented!() }
    /// Merge.
    pub fn merge(&mut self, segment: &[u8], now: Millis) -> Result<Merged, MergeError> { unimplemented!() }
    /// Write back.
    pub fn write_back(&mut self, durable: bool) -> Result<(), IndexError> { unimplemented!() }
    /// Segments beyond a context.
    pub fn segments_beyond(&self, theirs: &Context, max_bytes: usize) -> Result<(Vec<Vec<u8>>, bool), IndexError> { unimplemented!() }
    /// New epoch.
    pub fn open_new_epoch(&mut self, fresh_epoch: u64, now: Millis) -> Result<(), IndexError> { unimplemented!() }
    /// Items.
    pub fn items(&self, entry: EntryId) -> Result<Vec<Item>, IndexError> { unimplemented!() }
    /// Canonical.
    pub fn canonical(&self, dir: EntryId) -> Result<EntryId, IndexError> { unimplemented!() }
    /// Children.
    pub fn children(&self, dir: EntryId, after: Option<&SafeName>, limit: usize) -> Result<Vec<Item>, IndexError> { unimplemented!() }
    /// Lookup.
    pub fn lookup(&self, dir: EntryId, name: &SafeName) -> Result<Option<Item>, IndexError> { unimplemented!() }
}
