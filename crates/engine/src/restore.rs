//! Restores from the history, beside the folder's thread: contents are brought together and
//! verified first, and handed over to be put in place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dunlin_index::Storage;
use dunlin_tree::fs::Fs;
use tokio::sync::{mpsc, oneshot};

use crate::download::blocking;
use crate::folder::{Plan, Put};
use crate::gather::{Gathered, batches, bytes_of, gather};
use crate::runner::{Command, Shell};
use crate::types::RestoreReport;

mod outside;

/// Where a restore writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The file or directory to write.
    pub to: PathBuf,
    /// The path in the folder that becomes it.
    pub from: dunlin_index::RelPath,
    /// Whether what is there is replaced.
    pub force: bool,
}

/// Carries a plan out. What fails is told in the report, and the rest is done all the same.
pub(crate) async fn run<F, S>(
    shell: Arc<Shell<F, S>>,
    commands: mpsc::Sender<Command>,
    plan: Plan,
    outside: Option<Outside>,
) -> RestoreReport
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let mut report = RestoreReport {
        unchanged: plan.unchanged,
        stayed: plan.stayed,
        ..RestoreReport::default()
    };
    for path in &plan.newer {
        report.add_newer(path.to_string());
    }
    let single = plan.single;
    for batch in batches(plan.targets) {
        let paths: Vec<String> = batch.iter().map(|target| target.path.to_string()).collect();
        let (mut whole, missed) = match gather(&shell, batch).await {
            Ok(gathered) => gathered,
            Err(error) => {
                paths.into_iter().for_each(|path| report.add_failed(path, &error.to_string()));
                continue;
            }
        };
        for (target, error) in missed {
            report.add_failed(target.path.to_string(), &error.to_string());
        }
        whole.sort_by(|a, b| a.target.path.cmp(&b.target.path));
        match &outside {
            Some(outside) => write_out(&shell, whole, outside, single, &mut report).await,
            None => put(&commands, whole, &mut report).await,
        }
    }
    report
}

/// Has the folder's thread put things in place.
async fn put(commands: &mpsc::Sender<Command>, whole: Vec<Gathered>, report: &mut RestoreReport) {
    let told: Vec<_> =
        whole.iter().map(|one| (one.target.path.to_string(), bytes_of(&one.target))).collect();
    let puts = whole
        .into_iter()
        .map(|Gathered { target, temp, blocks }| Put { target, temp, blocks, repair: false })
        .collect();
    let (answer, answered) = oneshot::channel();
    let sent = commands.send(Command::Put(puts, answer)).await;
    let outcomes = match sent {
        Ok(()) => answered.await.ok(),
        Err(_) => None,
    };
    let Some(outcomes) = outcomes else {
        told.into_iter().for_each(|(path, _)| report.add_failed(path, "the folder is closed"));
        return;
    };
    for ((path, bytes), outcome) in told.into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => {
                report.restored += 1;
                report.bytes += bytes;
            }
            Err(error) => report.add_failed(path, &error.to_string()),
        }
    }
}

async fn write_out<F, S>(
    shell: &Arc<Shell<F, S>>,
    whole: Vec<Gathered>,
    outside: &Outside,
    single: bool,
    report: &mut RestoreReport,
) where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    for one in whole {
        let (path, bytes) = (one.target.path.clone(), bytes_of(&one.target));
        let to = if single { outside.to.clone() } else { below(outside, &path) };
        let (fs, force) = (Arc::clone(&shell.fs), outside.force);
        let written = blocking(move || outside::write(&*fs, &one, &to, force)).await;
        match written.map_err(|error| error.to_string()).and_then(|done| done) {
            Ok(()) => {
                report.restored += 1;
                report.bytes += bytes;
            }
            Err(reason) => report.add_failed(path.to_string(), &reason),
        }
    }
}

/// Where something below the restored directory goes.
fn below(outside: &Outside, path: &dunlin_index::RelPath) -> PathBuf {
    let depth = if path.starts_with(&outside.from) { outside.from.names().len() } else { 0 };
    let names = path.names().iter().skip(depth).map(|name| Path::new(name.as_str()));
    names.fold(outside.to.clone(), |to, name| to.join(name))
}

#[cfg(test)]
mod tests {
    use dunlin_index::RelPath;

    use super::*;

    #[test]
    fn what_is_below_the_directory_goes_below_the_other_one() {
        let path = |text| RelPath::parse(text).expect("a path");
        let outside = Outside { to: "/out".into(), from: path("a/b"), force: false };
        assert_eq!(below(&outside, &path("a/b/c/d")), Path::new("/out/c/d"));
        assert_eq!(below(&outside, &path("a/b")), Path::new("/out"));
        // It was moved out since, and keeps its whole path.
        assert_eq!(below(&outside, &path("x/c")), Path::new("/out/x/c"));
    }
}
