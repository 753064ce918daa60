//! Faults: processes that end, disks and databases that fail, clocks that jump, devices that lie.

use std::cmp::Reverse;

use dunlin_index::{Millis, StorageError};
use dunlin_tree::fs::{Fault, FsErrorKind};

use super::{Due, Ends, Event, World};
use crate::oracle::{Files, Holdings};
use crate::scenario::{Before, Loss, What};

/// What happens when a process that was told to end does.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    power_cut: bool,
    database: Loss,
    down_ms: Millis,
}

impl World {
    pub(super) fn crash_soon(
        &mut self,
        device: usize,
        power_cut: bool,
        before: Before,
        database: Loss,
        down_ms: Millis,
    ) {
        let there = &mut self.devices[device];
        if !there.alive || there.death.is_some() {
            return;
        }
        there.death = Some(Death { power_cut, database, down_ms });
        match before {
            Before::Now => self.died(device),
            Before::Commit(commit) => {
                there.database.die_before(&there.disk, Some(commit), None);
            }
            Before::Operation(operation) => {
                there.database.die_before(&there.disk, None, Some(operation));
            }
        }
    }

    /// The process has ended; whatever it had in memory is gone.
    pub(super) fn died(&mut self, device: usize) {
        let Some(death) = self.devices[device].death.take() else {
            return self.fail(format!("{device} died of nothing"));
        };
        self.note(|| format!("{device}: dead: {death:?}"));
        self.stop_process(device);
        let before = Files::on(&self.devices[device].disk);
        let there = &mut self.devices[device];
        // All folders of a device share its database: another one may have flushed it.
        there.database.restart(death.power_cut, death.down_ms.is_multiple_of(2));
        if death.power_cut {
            there.disk.crash();
        } else {
            there.disk.heal();
        }
        let after = Files::on(&there.disk);
        match death.database {
            Loss::Kept => {}
            Loss::RolledBack => {
                if let Some(backup) = &there.backup {
                    there.database.restore(backup);
                }
            }
            Loss::Lost => there.database.lose(),
        }
        // Whoever waited for a moment in this process waits no more.
        self.races_over(device, &before);
        self.races.retain(|race| race.device != device);
        if death.power_cut {
            let mut others = self.holdings();
            others.remove(device);
            let [before, after] =
                [&before, &after].map(|files| Holdings::of(files, self.oracle.unit));
            self.oracle.power_cut(device, &before, &after, &others);
        }
        let life = self.devices[device].life;
        self.soon(death.down_ms, Event::Start(device, life));
    }

    /// The process ends in good order.
    pub(super) fn restart(&mut self, device: usize, ms: Millis) {
        if !self.devices[device].alive {
            return;
        }
        self.devices[device].set_disk_time(self.now);
        self.devices[device].close();
        if self.devices[device].database.is_dead() {
            return self.died(device);
        }
        self.stop_process(device);
        let life = self.devices[device].life;
        self.soon(ms, Event::Start(device, life));
    }

    fn stop_process(&mut self, device: usize) {
        let there = &mut self.devices[device];
        there.running = None;
        there.alive = false;
        there.life += 1;
        there.timer = None;
        there.peers.clear();
        there.gossip.clear();
        there.reset_clock();
        self.update_links();
    }

    pub(super) fn inject(&mut self, device: usize, fault: What) {
        let there = &mut self.devices[device];
        let (ms, ends) = match fault {
            What::Backup => {
                there.backup = Some(there.database.backup());
                return;
            }
            What::Clock(ms) => {
                there.clock_error += ms;
                // A new time makes all timers new.
                there.after_turn(self.now);
                return;
            }
            What::Fail(after) => {
                there.disk.inject(Fault::Once(after, FsErrorKind::Io));
                return;
            }
            What::DiskFull(ms) => {
                let used: u64 = there.disk.all_contents().iter().map(|(_, c)| c.len() as u64).sum();
                there.disk.inject(Fault::Capacity(used + 16));
                (ms, Ends::Disk)
            }
            What::ReadOnly(ms) => {
                there.disk.inject(Fault::ReadOnly);
                (ms, Ends::Disk)
            }
            What::Unmounted(ms) => {
                there.disk.inject(Fault::Unmounted);
                (ms, Ends::Disk)
            }
            What::DatabaseFull(ms) => {
                there.database.fail_writes(Some(&StorageError::NoSpace));
                (ms, Ends::Database)
            }
            What::Deaf(ms) => {
                there.deaf_until = Some(self.now + ms);
                (ms, Ends::Deafness)
            }
            What::Lie(ms) => {
                there.lies_until = Some(self.now + ms);
                (ms, Ends::Lies)
            }
            other => return self.fail(format!("{other:?} is no fault")),
        };
        self.soon(ms, Event::Over(device, ends));
    }

    /// A fault is over.
    pub(super) fn over(&mut self, device: usize, ends: Ends) {
        self.note(|| format!("{device}: over: {ends:?}"));
        let now = self.now;
        let there = &mut self.devices[device];
        match ends {
            Ends::Sleep => {
                if there.asleep_until.is_some_and(|until| until <= now) {
                    there.asleep_until = None;
                    there.after_turn(now);
                }
                self.update_links();
            }
            Ends::Partition => {
                self.partition = None;
                self.update_links();
            }
            Ends::Cut => {
                self.cuts.retain(|_, until| *until > now);
                self.update_links();
            }
            Ends::Disk => self.heal_disk(device),
            Ends::Database => there.database.fail_writes(None),
            Ends::Deafness => {
                there.deaf_until = None;
                // Who has missed events knows it, and looks at everything.
                there.disk.take_touched();
                self.with_folder(device, |folder, _| folder.scan());
            }
            Ends::Pause => self.with_folder(device, |folder, wall| folder.resume(wall)),
            Ends::Lies => there.lies_until = None,
        }
    }

    /// Ends the faults of a disk; what kills the process stays.
    fn heal_disk(&mut self, device: usize) {
        if self.devices[device].death.is_some() {
            // It dies with the fault; the restart heals it.
            return;
        }
        let before = Files::on(&self.devices[device].disk);
        self.races_over(device, &before);
        self.races.retain(|race| race.device != device);
        self.devices[device].disk.heal();
    }

    /// Ends all faults, and wakes all devices.
    pub(super) fn calm_down(&mut self) {
        self.note(|| "all faults end".to_owned());
        self.calm = true;
        self.partition = None;
        self.cuts.clear();
        for device in 0..self.devices.len() {
            self.wake(device);
            let there = &mut self.devices[device];
            there.lies_until = None;
            there.database.fail_writes(None);
            if there.death.is_some() {
                self.died(device);
            }
            self.heal_disk(device);
            // The watcher may have missed what was going on.
            self.devices[device].deaf_until = None;
            self.with_folder(device, |folder, wall| {
                folder.resume(wall);
                folder.scan();
            });
        }
        self.update_links();
    }

    /// Wakes a suspended device before its time: what has waited for it reaches it now. If that came
    /// when the sleep was to end, the watcher would tell of a file's last write after its removal.
    fn wake(&mut self, device: usize) {
        let Some(until) = self.devices[device].asleep_until.take() else { return };
        let now = self.now;
        let waits = |due: &Due| due.at == until + 1 && due.event.process() == Some(device);
        let woken = |Reverse(due): Reverse<Due>| {
            Reverse(if waits(&due) { Due { at: now, ..due } } else { due })
        };
        self.queue = std::mem::take(&mut self.queue).into_iter().map(woken).collect();
    }
}
