//! The steps of a scenario: what users do.

use dunlin_index::{Millis, RelPath};
use dunlin_tree::fs::{Acted, Fs, UserOp};

use super::{Ends, Event, Race, World};
use crate::oracle::{Files, is_at_or_below};
use crate::random::Random;
use crate::scenario::{Act, Step, What};
use crate::user::{Actor, Deed, look, written};

impl World {
    pub(super) fn step(&mut self, step: &Step) {
        let device = step.device;
        if self.devices[device].asleep_until.is_some() {
            // Nobody can do anything with a suspended device.
            return;
        }
        self.note(|| format!("step {} on {device}: {:?}", step.number, step.what));
        match step.what {
            What::User(act) => {
                for deed in self.deeds(step, act) {
                    self.user(device, &deed);
                }
            }
            What::Race(act, operation) => {
                // Only what one operation of the user's does can come between two of Dunlin's.
                if let Some(Deed::Op(op)) = self.deeds(step, act).into_iter().next() {
                    self.race(device, op, operation);
                }
            }
            What::Crash { power_cut, before, database, down_ms } => {
                self.crash_soon(device, power_cut, before, database, down_ms);
            }
            What::Restart(ms) => self.restart(device, ms),
            What::Sleep(ms) => {
                self.devices[device].asleep_until = Some(self.now + ms);
                self.devices[device].timer = None;
                self.soon(ms, Event::Over(device, Ends::Sleep));
                self.update_links();
            }
            What::Days(days) => self.skip(days * 24 * 60 * 60 * 1000),
            What::Partition(mask, ms) => {
                self.partition = Some(mask);
                self.soon(ms, Event::Over(device, Ends::Partition));
                self.update_links();
            }
            What::Cut(other, ms) if other != device => {
                self.cuts.insert((device.min(other), device.max(other)), self.now + ms);
                self.soon(ms, Event::Over(device, Ends::Cut));
                self.update_links();
            }
            What::Cut(..) => {}
            What::Pause(ms) => {
                self.with_folder(device, |folder, wall| folder.pause(wall));
                self.soon(ms, Event::Over(device, Ends::Pause));
            }
            What::Remove(other) => self.remove(device, other),
            What::Scan => self.with_folder(device, |folder, _| folder.scan()),
            fault => self.inject(device, fault),
        }
    }

    /// Everybody's time jumps ahead: nobody was there.
    fn skip(&mut self, ms: Millis) {
        let queue = std::mem::take(&mut self.queue);
        for std::cmp::Reverse(mut due) in queue {
            // What was to come comes after the jump, as far away as before.
            due.at += ms;
            self.queue.push(std::cmp::Reverse(due));
        }
        for link in self.links.values_mut() {
            link.shift(ms);
        }
        for device in &mut self.devices {
            for moment in [&mut device.asleep_until, &mut device.deaf_until, &mut device.lies_until]
            {
                *moment = moment.map(|at| at + ms);
            }
        }
        for until in self.cuts.values_mut() {
            *until += ms;
        }
        self.now += ms;
    }

    fn deeds(&mut self, step: &Step, act: Act) -> Vec<Deed> {
        let there = &self.devices[step.device];
        let seen = look(&there.user);
        let stamp = format!("{}@{}", step.number, step.device);
        let random = Random::new(step.salt);
        let texts = self.scenario.texts;
        Actor { seen: &seen, random, stamp, fs: &there.user, texts }.deeds(act)
    }

    pub(super) fn user(&mut self, device: usize, deed: &Deed) {
        self.note(|| format!("{device}: user: {}", shown(deed)));
        self.tell_watcher(device, None);
        let there = &mut self.devices[device];
        there.set_disk_time(self.now);
        let before = Files::on(&there.disk);
        let mut moved = None;
        match deed {
            Deed::Op(op) => {
                there.disk.user(op);
                if let UserOp::Rename(from, to) = op {
                    moved = Some((from, to));
                }
            }
            Deed::Touch(path, time) => {
                // A touch that fails is none.
                let _ = there.user.set_mtime(path, *time);
            }
        }
        let after = Files::on(&there.disk);
        let wrote: Vec<Vec<u8>> = written(deed).cloned().into_iter().collect();
        self.oracle.user(device, &before, &after, &wrote);
        self.tell_watcher(device, moved);
        if self.devices[device].database.is_dead() {
            self.died(device);
        }
    }

    fn race(&mut self, device: usize, op: UserOp, operation: u64) {
        self.note(|| {
            format!(
                "{device}: user, {operation} operations later: {}",
                shown(&Deed::Op(op.clone()))
            )
        });
        let there = &self.devices[device];
        let at = there.disk.operations() + operation;
        let wrote = written(&Deed::Op(op.clone())).cloned().into_iter().collect();
        let path = replaced_by(&op).to_string();
        there.disk.user_before(operation, op);
        self.races.push(Race { device, at, path, wrote });
    }

    /// Takes note of the users' acts whose moment has come.
    pub(super) fn races_over(&mut self, device: usize, before: &Files) {
        let operations = self.devices[device].disk.operations();
        let (over, left): (Vec<Race>, Vec<Race>) = std::mem::take(&mut self.races)
            .into_iter()
            .partition(|race| race.device == device && race.at < operations);
        self.races = left;
        if over.is_empty() {
            return;
        }
        let after = Files::on(&self.devices[device].disk);
        for race in &over {
            self.note(|| format!("{device}: the user was between two operations"));
            self.oracle.raced(device, before, &after, &race.wrote);
            self.free_at(device, &race.path, before);
        }
        // Which of several came first is not known: what one has written another may have destroyed.
        for (at, race) in over.iter().enumerate() {
            let replaces = |other: &Race| is_at_or_below(&race.path, &other.path);
            if over.iter().enumerate().any(|(other_at, other)| other_at != at && replaces(other)) {
                race.wrote.iter().for_each(|content| self.oracle.destroyed(content));
            }
        }
        // The moment may have come before this turn, when a user looked at the disk to act, or a file
        // was hashed: then `before` does not have what was destroyed.
        for Acted { before, after } in self.devices[device].disk.take_acted() {
            self.oracle.user(device, &Files(before), &Files(after), &[]);
        }
    }

    /// What stood at a path before, or others have there and may have been put there just before the
    /// user's act, may have been destroyed by it, though there is another copy of it here by now.
    fn free_at(&mut self, device: usize, path: &str, before: &Files) {
        let others = self.devices.iter().filter(|other| other.number != device);
        let elsewhere: Vec<_> = others.map(|other| Files::on(&other.disk)).collect();
        for content in elsewhere.iter().chain([before]).flat_map(|files| files.at(path)) {
            self.oracle.destroyed(content);
        }
    }
}

/// The path at which an act puts or removes something.
fn replaced_by(op: &UserOp) -> &RelPath {
    match op {
        UserOp::Write(path, _)
        | UserOp::Replace(path, _)
        | UserOp::Mkdir(path)
        | UserOp::Symlink(path, _)
        | UserOp::Fifo(path)
        | UserOp::Rename(_, path)
        | UserOp::Remove(path)
        | UserOp::Chmod(path, _) => path,
    }
}

fn shown(deed: &Deed) -> String {
    let content =
        |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    let path = |path: &RelPath| {
        let shown = path.to_string();
        if shown.len() > 60 {
            format!("{}…", shown.chars().take(40).collect::<String>())
        } else {
            shown
        }
    };
    match deed {
        Deed::Op(UserOp::Write(at, bytes)) => format!("write {} {:?}", path(at), content(bytes)),
        Deed::Op(UserOp::Replace(at, bytes)) => {
            format!("replace {} {:?}", path(at), content(bytes))
        }
        Deed::Op(UserOp::Mkdir(at)) => format!("mkdir {}", path(at)),
        Deed::Op(UserOp::Symlink(at, target)) => format!("symlink {} -> {target}", path(at)),
        Deed::Op(UserOp::Rename(from, to)) => format!("rename {} {}", path(from), path(to)),
        Deed::Op(UserOp::Remove(at)) => format!("remove {}", path(at)),
        Deed::Op(UserOp::Chmod(at, mode)) => format!("chmod {mode:o} {}", path(at)),
        Deed::Op(other) => format!("{other:?}"),
        Deed::Touch(at, time) => format!("touch {} {time}", path(at)),
    }
}
