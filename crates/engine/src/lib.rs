//! Placeholder.
pub mod types;
