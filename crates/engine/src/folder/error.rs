//! Why something could not be done to a folder. The disk and the index (with all that is stored
//! beside it) are acted on differently: see [`Folder`](super::Folder).

use dunlin_index::{IndexError, StorageError};
use dunlin_tree::disk::DiskError;
use dunlin_tree::fs::FsError;

use crate::conflict::ConflictError;
use crate::history::HistoryError;

/// Why an entry could not be brought to the disk, or kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Blocked {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Why a local change could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error(transparent)]
    Index(#[from] IndexError),
    /// It is changing just now, or its parent is not known yet: look again soon.
    #[error("it is changing just now")]
    Again,
}

impl Refused {
    /// For callers that have looked at the disk before and only expect the index to fail.
    pub(super) fn into_index(self) -> IndexError {
        match self {
            Self::Index(error) => error,
            Self::Fs(_) | Self::Again => IndexError::Damaged("a held deletion cannot be done"),
        }
    }
}

impl From<Blocked> for Refused {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Fs(error) => Self::Fs(error),
            Blocked::Index(error) => Self::Index(error),
        }
    }
}

impl From<Blocked> for ConflictError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Fs(error) => error.into(),
            Blocked::Index(error) => error.into(),
        }
    }
}

impl From<DiskError> for Blocked {
    fn from(error: DiskError) -> Self {
        Self::Index(error.into())
    }
}

impl From<StorageError> for Blocked {
    fn from(error: StorageError) -> Self {
        Self::Index(error.into())
    }
}

impl From<HistoryError> for Blocked {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Fs(error) => Self::Fs(error),
            HistoryError::Storage(error) => error.into(),
        }
    }
}

impl From<DiskError> for Refused {
    fn from(error: DiskError) -> Self {
        Self::Index(error.into())
    }
}

impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Self {
        Self::Index(error.into())
    }
}
