//! What goes to stderr besides errors: the log.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::cli::Global;
use crate::output;

/// The variable that chooses what is logged, such as `dunlin_mesh=debug`; it outdoes the flags.
const FILTER_VARIABLE: &str = "DUNLIN_LOG";

/// Starts the log.
pub(crate) fn start(global: &Global) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE)
        .unwrap_or_else(|_| EnvFilter::new(directives(global)));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(output::wants_color(&io::stderr()))
        .init();
}

fn directives(global: &Global) -> &'static str {
    match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,libp2p_kad=error",
        (false, 1) => "warn,dunlin=info",
        (false, 2) => "info,dunlin=debug",
        (false, _) => "debug,dunlin=trace",
    }
}
