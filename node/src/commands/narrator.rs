//! The standard output of a command that runs on: what happens, as it happens.

use std::future::Future;
use std::io;
use std::pin::pin;

use dunlin_engine::types::{Event, Status};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval};

use crate::commands::narrate;
use crate::output::{Output, printable, printable_lines};
use crate::progress::{self, Progress};
use crate::qr;

/// Tells on stdout what a node does.
pub(crate) struct Narrator {
    output: Output,
    progress: Option<Progress>,
    /// Whether anybody still reads; the node runs on if not.
    heard: bool,
}

impl Narrator {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, progress: output.is_watched().then(Progress::new), heard: true }
    }

    /// Tells that the node runs, and then its events, until `end` is there, whose value it gives;
    /// `None` if the events end first. A reader that does not read holds up neither the node nor
    /// its end.
    pub(crate) async fn tell<T>(
        mut self,
        ready: Option<&Event>,
        mut events: broadcast::Receiver<Event>,
        status: impl AsyncFn() -> Option<Status>,
        end: impl Future<Output = T>,
    ) -> Option<T> {
        let mut end = pin!(end);
        let mut ticks = interval(progress::INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut text = ready.map(|ready| self.ready_text(ready));
        let result = loop {
            if let Some(text) = text.take() {
                tokio::select! {
                    result = &mut end => break Some(result),
                    () = self.write(text) => {}
                }
            }
            tokio::select! {
                result = &mut end => break Some(result),
                received = events.recv() => match received {
                    Ok(event) => text = self.event_text(&event),
                    Err(RecvError::Lagged(missed)) => {
                        text = self.event_text(&Event::Lagged { missed });
                    }
                    Err(RecvError::Closed) => break None,
                },
                _ = ticks.tick(), if self.progress.is_some() => {
                    if let (Some(status), Some(progress)) = (status().await, &mut self.progress) {
                        progress.update(&status);
                    }
                }
            }
        };
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        result
    }

    fn ready_text(&self, event: &Event) -> String {
        let Event::Ready { device, listen, api, folders } = event else { return String::new() };
        if self.output.json {
            return json(event);
        }
        let text = narrate::ready(device, listen, api.as_deref(), folders);
        let mut text = printable_lines(&text);
        if self.progress.is_some() {
            let columns = qr::columns();
            for picture in folders.iter().filter_map(|folder| qr::picture(&folder.join, columns)) {
                text.push_str(&format!("\n{picture}\n"));
            }
            text.push_str("Stop with Ctrl-C.\n");
        }
        text
    }

    fn event_text(&self, event: &Event) -> Option<String> {
        match self.output.json {
            true => Some(json(event)),
            false => narrate::event(event).map(|line| printable(&line).into_owned()),
        }
    }

    /// Writes a text on a thread that may wait; what happens meanwhile waits, too, in the bounded
    /// queue of events.
    async fn write(&mut self, text: String) {
        if !self.heard {
            return;
        }
        let (output, bar) = (self.output, self.progress.as_ref().and_then(Progress::bar));
        let write = move || match bar {
            Some(bar) => bar.suspend(|| output.text(&text)),
            None => output.text(&text),
        };
        let written = tokio::task::spawn_blocking(write).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
            tracing::info!(%error, "nobody reads what this node tells; it runs on");
            self.heard = false;
        }
    }
}

fn json(event: &Event) -> String {
    // Events hold texts, numbers and lists alone, so this cannot fail.
    serde_json::to_string(event).unwrap_or_default()
}
