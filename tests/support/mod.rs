//! What the end-to-end tests and the benchmarks share: real processes, real networks, real trees.
//!
//! Nothing here knows how Dunlin works inside. It starts the binary, reads what
//! the command line promises, and looks at directories.

#![allow(dead_code, reason = "each of the programs that share this module uses a part of it")]

pub(crate) mod files;
pub(crate) mod link;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod options;
pub(crate) mod process;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod wait;

/// Says loudly that something was not tested, and why.
pub(crate) fn skipped(what: &str, why: &str) {
    // To the file descriptor itself: libtest keeps what `eprintln!` says in a test that passes.
    use std::io::Write as _;
    let line = format!("\n*** SKIPPED: {what}: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Whether this process may mount file systems and make network namespaces.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
