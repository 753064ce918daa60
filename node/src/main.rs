//! The program `dunlin`: the command line, and the wiring of a node. No logic of its own.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod cli;
mod commands;
mod context;
mod failure;
mod logging;
mod offline;
mod output;
mod progress;
mod qr;
mod rate;
mod signals;
mod when;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Fewer workers than this, and one busy task holds up all others.
const WORKERS_MIN: usize = 2;
/// How long threads may still run once a command is at its end.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli.global);
    let json = cli.global.json;
    match start(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(json),
    }
}

fn start(cli: Cli) -> Result<Exit, Failure> {
    let context = Context::new(&cli.global)?;
    let runtime = runtime(runs_node(&cli.command))?;
    let result = runtime.block_on(commands::run(&context, cli.command));
    // A thread may hang in a write to a pipe that nobody reads: the end does not wait for it.
    runtime.shutdown_timeout(SHUTDOWN_TIME_MAX);
    result
}

/// Whether a command may run a node itself, rather than ask one.
fn runs_node(command: &Command) -> bool {
    matches!(command, Command::Up(_) | Command::Join(_) | Command::Sync(_))
}

/// The runtime: with workers for all cores for a node, on this thread alone for a question to one.
fn runtime(for_node: bool) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = if for_node {
        let cores = std::thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(cores.max(WORKERS_MIN));
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build().map_err(|error| Failure::new(format!("cannot start: {error}")))
}
