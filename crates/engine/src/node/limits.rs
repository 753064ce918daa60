//! The node's limits: kept in its settings, told to the transfer whenever what holds changes.

use std::collections::HashMap;
use std::time::Duration;

use crate::limits::{LimitChange, LimitStatus, local_moment};

use super::{Node, NodeError};

/// A schedule's spans begin and end on whole minutes.
const MINUTE_MS: u64 = 60_000;

impl Node {
    /// The limits of this device.
    ///
    /// # Errors
    /// When the settings of the home cannot be read.
    pub fn limits(&self) -> Result<LimitStatus, NodeError> {
        let settings = self.0.home.config()?.limits;
        let folders = self.status().folders;
        let names: HashMap<String, String> = folders
            .into_iter()
            .flat_map(|folder| folder.devices)
            .map(|device| (device.device, device.name))
            .collect();
        let name = |device: &str| names.get(device).cloned().unwrap_or_default();
        Ok(settings.status(local_moment(self.0.clock.now()), name))
    }

    /// Changes the limits, from now on and over restarts; transfers that are under way follow at
    /// once.
    ///
    /// # Errors
    /// When the change is wrong, or cannot be kept.
    pub fn set_limits(&self, change: &LimitChange) -> Result<(), NodeError> {
        let mut config = self.0.home.config()?;
        config.limits.change(change)?;
        self.0.home.save(&config)?;
        self.apply_limits();
        // A schedule may begin or end to matter.
        self.0.limits_changed.notify_one();
        Ok(())
    }

    /// Tells the transfer what holds now. Returns whether that changes with time.
    pub(super) fn apply_limits(&self) -> bool {
        let settings = match self.0.home.config() {
            Ok(config) => config.limits,
            Err(error) => {
                tracing::warn!(%error, "the limits stay as they are");
                return true;
            }
        };
        let force = settings.at(local_moment(self.0.clock.now()));
        self.0.transfer.set_limits(force.all);
        self.0.transfer.set_device_limits(&force.devices);
        self.0.transfer.set_metered(force.metered);
        settings.schedule.is_some()
    }

    /// Follows the schedule, as long as there is one.
    pub(super) async fn keep_limits(self) {
        loop {
            let changed = self.0.limits_changed.notified();
            if !self.apply_limits() {
                changed.await;
                continue;
            }
            // Not the time until the next span: the clock may be set, and the machine may sleep.
            let rest = MINUTE_MS - self.0.clock.now() % MINUTE_MS;
            // Either way it is looked at again.
            let _ = tokio::time::timeout(Duration::from_millis(rest), changed).await;
        }
    }
}
