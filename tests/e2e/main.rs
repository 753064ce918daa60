//! End to end: the program as its users run it, and what its first issue says that it must show.
//!
//! `docs/testing.md` says how to run these tests and what they need.

#[path = "../support/mod.rs"]
mod support;
