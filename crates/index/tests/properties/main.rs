//! Properties of the index, seen from outside: against a model of the rules, over logs that get
//! lost, doubled and reordered on the way, and with an author who writes what nobody should.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod delivery;
mod hostile;
mod removals;
mod state_machine;
mod world;
