//! One conformance suite for both file systems, and what each must withstand.

#![allow(clippy::unwrap_used)] // A test that panics has said what it had to say.

mod conformance;
mod hostile;
mod mounts;
mod races;
