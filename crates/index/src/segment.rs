//! Segments.

/// Why a segment could not be read or verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The bytes are no segment.
    #[error("malformed")]
    Malformed,
    /// The segment was written by a newer version of Dunlin.
    #[error("of an unknown version")]
    Version,
    /// The signature is not the author's.
    #[error("wrong signature")]
    Signature,
    /// A bound is exceeded.
    #[error("too large")]
    TooLarge,
}
