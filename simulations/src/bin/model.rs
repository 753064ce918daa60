//! Visits every state of small scopes and checks it: see [`simulations::model`].

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use simulations::model::{Start, explore};

/// Checks the merge rules in every state that a few operations of three devices can lead to.
#[derive(Parser)]
struct Arguments {
    /// How many operations, of all devices together.
    #[arg(long, default_value_t = 4)]
    operations: usize,
    /// Lets devices remove each other, once at least in every run.
    #[arg(long)]
    removals: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    for start in [Start::DirectoryAndFile, Start::TwoDirectories, Start::FileInDirectory] {
        let begun = Instant::now();
        match explore(start, arguments.operations, arguments.removals) {
            Ok(explored) => println!(
                "{start:?}, {} operations: {} states, {} steps, {:.1} s, no fault",
                arguments.operations,
                explored.states,
                explored.steps,
                begun.elapsed().as_secs_f64(),
            ),
            Err(error) => {
                eprintln!("{start:?}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
