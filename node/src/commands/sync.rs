//! `dunlin sync`.

use std::time::Duration;

use dunlin_engine::pair::{Pair, PairConfig};
use dunlin_engine::types::WaitOutcome;

use crate::adapter::fault;
use crate::cli::Sync;
use crate::commands::narrator::Narrator;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::signals::Signals;

/// How keeping two directories the same came to its end.
enum End {
    /// They are the same.
    Same,
    /// They will not be.
    Stopped(String),
    /// A signal asked for it.
    Signal,
}

pub(crate) async fn run(context: &Context, sync: Sync) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let config = config(context, &sync)?;
    let pair = Pair::start(config)
        .await
        .map_err(|error| Failure::from(fault(&error)).during("cannot sync"))?;
    let events = pair.subscribe();
    let end = async {
        tokio::select! {
            end = keep(&pair, context, sync.once) => end,
            () = signals.next() => End::Signal,
        }
    };
    let end = Narrator::new(context.output).tell(None, events, async || None, end).await;
    let problems = pair.problems();
    pair.shutdown().await;
    for problem in problems {
        context.output.note(&format!("not synced: {}: {}", problem.path, problem.reason));
    }
    match end {
        Some(End::Same) if context.output.json => {
            context.output.document(&WaitOutcome::InSync)?;
            Ok(Exit::Done)
        }
        Some(End::Same) => Ok(Exit::Done),
        Some(End::Stopped(reason)) => Err(Failure::new(format!("cannot sync: {reason}"))),
        Some(End::Signal) | None if sync.once => {
            Err(Failure::new("stopped before both directories were the same"))
        }
        Some(End::Signal) | None => Ok(Exit::Done),
    }
}

fn config(context: &Context, sync: &Sync) -> Result<PairConfig, Failure> {
    let interval = sync.interval.map(Duration::try_from_secs_f64).transpose();
    Ok(PairConfig {
        home: context.home.clone(),
        a: absolute(&sync.a)?,
        b: absolute(&sync.b)?,
        one_way: sync.one_way,
        interval: interval.map_err(|error| Failure::usage(format!("--interval: {error}")))?,
    })
}

/// Waits until both are the same, and, unless that is all, goes on for as long as it may.
async fn keep(pair: &Pair, context: &Context, once: bool) -> End {
    match pair.settled().await {
        Ok(()) if once => return End::Same,
        Ok(()) => context.output.note("both directories are the same; watching them"),
        Err(reason) if once => return End::Stopped(reason),
        // What stopped it may go away while it runs.
        Err(reason) => context.output.note(&reason),
    }
    pair.run().await;
    End::Signal
}
