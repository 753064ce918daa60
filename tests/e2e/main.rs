//! End to end: the program as its users run it, and what its first issue says that it must show.
//!
//! `docs/testing.md` says how to run these tests and what they need.

mod apart;
mod command_line;
mod conflict;
mod conflict_commands;
mod control;
mod first_sync;
mod full_disk;
mod harness;
mod history;
mod ignoring;
mod interrupted;
mod joining;
mod limits;
mod local_sync;
mod mass_deletion;
mod mass_overwrite;
mod online;
mod operations;
mod priorities;
mod removal;
mod save_patterns;
mod settings;
mod stranger;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod vanished;
