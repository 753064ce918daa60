//! What can go wrong in an index.

use dunlin_identity::DeviceId;

use crate::ids::{Author, EntryId};
use crate::segment::SegmentError;
use crate::storage::StorageError;

/// Why a local operation or a read failed. Nothing was changed by the failed operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The storage failed.
    #[error("the index's storage failed: {0}")]
    Storage(#[from] StorageError),
    /// What the storage gave back is not what was put there.
    #[error("the stored index is damaged: {0}")]
    Damaged(&'static str),
    /// The name is taken by another item in that directory.
    #[error("the name is taken by another entry")]
    Taken,
    /// The entry is not known, deleted, or not shown.
    #[error("there is no such entry in the view: {0}")]
    NotShown(EntryId),
    /// The parent is no directory that is shown.
    #[error("there is no such directory in the view: {0}")]
    NotADirectory(EntryId),
    /// A directory cannot be moved below itself.
    #[error("a directory cannot be moved into itself")]
    IntoItself,
    /// The content is not of the entry's kind, or too large for a record.
    #[error("the content does not fit the entry: {0}")]
    Content(&'static str),
    /// The folder's settings do not fit into a record.
    #[error("the folder's settings would take {0} bytes, and at most 6,144 can be shared")]
    SettingsTooLarge(usize),
    /// The name is private to Dunlin there.
    #[error("this name is private to Dunlin at a folder's root")]
    Private,
    /// The folder's root cannot be changed like an entry.
    #[error("the folder's root cannot be moved, deleted or written")]
    Root,
    /// This device's tier does not let it change the folder.
    #[error("this device may read the folder but not change it")]
    ReadOnly,
    /// This device was removed from the folder: what it writes counts nowhere.
    #[error("this device was removed from the folder")]
    Removed,
    /// The device takes no part in the folder, or no more.
    #[error("{0} is no member of the folder")]
    NotAMember(DeviceId),
    /// A device does not remove itself: it leaves.
    #[error("a device cannot remove itself from a folder")]
    ThisDevice,
    /// No generation is left to which the folder could be raised.
    #[error("the folder's generation cannot be raised any more")]
    LastGeneration,
    /// More of this device's own log exists elsewhere than here (a restored backup, or two devices
    /// with one key). Merge the rest after [`open_new_epoch`](crate::Index::open_new_epoch).
    #[error("other devices hold more of this device's own log than it does itself")]
    OwnEpochAhead,
    /// There are changes that were not committed yet, where none may be.
    #[error("there are uncommitted changes")]
    Uncommitted,
}

/// Why a segment was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The segment could not be read, or its signature is wrong.
    #[error("a segment was refused: {0}")]
    Segment(#[from] SegmentError),
    /// The segment belongs to another folder.
    #[error("a segment of another folder")]
    OtherFolder,
    /// The author is no member, or its tier does not allow what it wrote.
    #[error("{0:?} is no member that may write this")]
    NotAllowed(Author),
    /// Records before these are missing here: ask for what follows `have`.
    #[error("a gap in the log of {author:?}: have {have}, got {first} and later")]
    Gap {
        /// Whose log.
        author: Author,
        /// The last sequence number held.
        have: u64,
        /// The first sequence number of the segment.
        first: u64,
    },
    /// The author signed two different records with one number: two devices run with one key, or
    /// one was rolled back (rule 8).
    #[error("{author:?} signed two different histories, around record {seq}")]
    Fork {
        /// Whose log.
        author: Author,
        /// A number up to which the histories differ.
        seq: u64,
    },
    /// The segment is this device's own, and beyond what it holds (a restored backup): see
    /// [`open_new_epoch`](crate::Index::open_new_epoch).
    #[error("a segment of this device's own log that it does not hold: up to record {seq}")]
    OwnEpochAhead {
        /// The highest number that was seen.
        seq: u64,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}
