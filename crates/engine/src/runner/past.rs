//! What a user asks of a folder's past.

use std::sync::Arc;

use dunlin_index::{Millis, Storage};
use dunlin_tree::fs::Fs;

use super::{Command, Worker};

impl<F, S> Worker<'_, F, S>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    /// Answers a question about the past, or begins what it takes.
    pub(super) fn take_past(&mut self, command: Command, now: Millis) {
        // Nobody need wait for an answer any more.
        match command {
            Command::Past(path, limit, answer) => {
                let past = self.folder.past(&path, limit).map_err(|error| error.to_string());
                let _ = answer.send(past);
            }
            Command::Put(puts, answer) => {
                let _ = answer.send(self.folder.put(puts, now));
            }
            Command::Restore(wanted, outside, answer) => match self.folder.plan_restore(&wanted) {
                Ok(plan) => {
                    let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
                    self.outer.handle.spawn(async move {
                        let report = crate::restore::run(shell, commands, plan, outside).await;
                        let _ = answer.send(Ok(report));
                    });
                }
                Err(error) => {
                    let _ = answer.send(Err(error.to_string()));
                }
            },
            Command::Verify(answer) => {
                let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
                self.outer.handle.spawn(async move {
                    let _ = answer.send(Ok(crate::verify::run(shell, commands).await));
                });
            }
            _ => {}
        }
    }
}
