//! A few devices whose users do what comes to mind, and all records that they have made.

use std::collections::BTreeMap;

use dunlin_index::{Content, Dot, EntryId, IndexError, Item, Kind, MergeError, NewEntry};
use proptest::prelude::*;

use crate::common::model::Model;
use crate::common::wire::{self, Op};
use crate::common::{Device, name, version, word};

const NAMES: [&str; 4] = ["a", "b.txt", "c", "d.d"];

/// What happens; numbers pick from what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Mkdir {
        at: u8,
        dir: u8,
        name: u8,
    },
    Create {
        at: u8,
        dir: u8,
        name: u8,
        text: u8,
    },
    Link {
        at: u8,
        dir: u8,
        name: u8,
        text: u8,
    },
    Write {
        at: u8,
        item: u8,
        text: u8,
    },
    Mode {
        at: u8,
        item: u8,
        mode: u8,
    },
    Rename {
        at: u8,
        item: u8,
        dir: u8,
        name: u8,
    },
    Delete {
        at: u8,
        item: u8,
    },
    Settings {
        at: u8,
        text: u8,
    },
    Withdraw {
        at: u8,
        item: u8,
    },
    /// One device removes another one, which may not know and go on.
    Remove {
        at: u8,
        who: u8,
    },
    /// A device comes back with a code of the generation that it knows of.
    Return {
        at: u8,
    },
    Deliver {
        to: u8,
        from: u8,
        count: u8,
    },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    let four = || (byte(), byte(), byte(), byte());
    prop_oneof![
        2 => (byte(), byte(), byte()).prop_map(|(at, dir, name)| Step::Mkdir { at, dir, name }),
        3 => four().prop_map(|(at, dir, name, text)| Step::Create { at, dir, name, text }),
        1 => four().prop_map(|(at, dir, name, text)| Step::Link { at, dir, name, text }),
        3 => (byte(), byte(), byte()).prop_map(|(at, item, text)| Step::Write { at, item, text }),
        1 => (byte(), byte(), byte()).prop_map(|(at, item, mode)| Step::Mode { at, item, mode }),
        5 => four().prop_map(|(at, item, dir, name)| Step::Rename { at, item, dir, name }),
        3 => (byte(), byte()).prop_map(|(at, item)| Step::Delete { at, item }),
        1 => (byte(), byte()).prop_map(|(at, text)| Step::Settings { at, text }),
        1 => (byte(), byte()).prop_map(|(at, item)| Step::Withdraw { at, item }),
        5 => (byte(), byte(), 1..20_u8)
            .prop_map(|(to, from, count)| Step::Deliver { to, from, count }),
    ]
}

/// Steps with removals and returns among the others.
pub(crate) fn step_with_removals() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        20 => step(),
        3 => (byte(), byte()).prop_map(|(at, who)| Step::Remove { at, who }),
        1 => byte().prop_map(|at| Step::Return { at }),
    ]
}

/// The devices and what they have said.
pub(crate) struct World {
    pub(crate) devices: Vec<Device>,
    pub(crate) records: BTreeMap<Dot, Op>,
    fresh: u32,
}

impl World {
    pub(crate) fn new(count: u8) -> Self {
        let devices = (1..=count).map(Device::new).collect();
        let mut world = Self { devices, records: BTreeMap::new(), fresh: 0 };
        for at in 0..count {
            world.note(usize::from(at), 0);
        }
        world
    }

    /// Gives which device a number picks.
    pub(crate) fn pick(&self, at: u8) -> usize {
        usize::from(at) % self.devices.len()
    }

    fn note(&mut self, at: usize, segments_before: usize) {
        for segment in &self.devices[at].log[segments_before..] {
            self.records.extend(wire::records(segment));
        }
    }

    fn item(&self, at: usize, item: u8) -> Option<Item> {
        let items = self.devices[at].items();
        let number = usize::from(item) % items.len().max(1);
        items.into_iter().nth(number).map(|(_, item)| item)
    }

    fn dir(&self, at: usize, dir: u8) -> EntryId {
        let items = self.devices[at].items().into_iter().map(|(_, item)| item);
        let mut dirs: Vec<EntryId> =
            items.filter(|item| item.kind == Kind::Directory).map(|item| item.key.entry).collect();
        dirs.push(EntryId::ROOT);
        dirs[usize::from(dir) % dirs.len()]
    }

    /// Some contents are versions of one of two texts.
    fn content(&mut self, text: u8) -> Content {
        let (said, at) = (self.text(text), u64::from(text % 5));
        match text % 3 {
            0 => word(&said, at),
            _ => version(&said, at, u8::from(text > 200)),
        }
    }

    /// Some contents are the same everywhere, most are unique.
    fn text(&mut self, text: u8) -> String {
        self.fresh += 1;
        if text < 50 { format!("common{}", text % 2) } else { format!("fresh{}", self.fresh) }
    }

    /// Does one step, and gives the device that it concerned.
    pub(crate) fn run(&mut self, step: &Step) -> usize {
        let at = match *step {
            Step::Deliver { to, from, count } => return self.deliver(to, from, count),
            Step::Mkdir { at, .. }
            | Step::Create { at, .. }
            | Step::Link { at, .. }
            | Step::Write { at, .. }
            | Step::Mode { at, .. }
            | Step::Rename { at, .. }
            | Step::Delete { at, .. }
            | Step::Settings { at, .. }
            | Step::Withdraw { at, .. }
            | Step::Remove { at, .. }
            | Step::Return { at } => self.pick(at),
        };
        let before = self.devices[at].log.len();
        match self.act(at, step) {
            Ok(()) | Err(IndexError::Taken | IndexError::IntoItself | IndexError::Removed) => {}
            Err(error) => panic!("{step:?}: {error}"),
        }
        self.devices[at].commit();
        self.note(at, before);
        at
    }

    fn act(&mut self, at: usize, step: &Step) -> Result<(), IndexError> {
        let now = self.devices[at].tick();
        match *step {
            Step::Mkdir { dir, name: new, .. } => {
                self.create(at, dir, new, Content::Directory)?;
            }
            Step::Create { dir, name: new, text, .. } => {
                let content = self.content(text);
                self.create(at, dir, new, content)?;
            }
            Step::Link { dir, name: new, text, .. } => {
                let target = self.text(text);
                self.create(at, dir, new, Content::Symlink { target })?;
            }
            Step::Write { item, text, .. } => {
                if let Some(item) = self.item(at, item).filter(|item| item.kind == Kind::File) {
                    let (content, also) = (self.content(text), seen(&item, text));
                    self.devices[at].index.write_merged(now, &item.key, &also, content)?;
                }
            }
            Step::Mode { item, mode, .. } => {
                if let Some(item) = self.item(at, item) {
                    self.devices[at].index.set_mode(now, &item.key, u32::from(mode))?;
                }
            }
            Step::Rename { item, dir, name: new, .. } => {
                let parent = self.dir(at, dir);
                if let Some(item) = self.item(at, item) {
                    let new = name(NAMES[usize::from(new) % NAMES.len()]);
                    self.devices[at].index.rename(now, &item.key, parent, &new)?;
                }
            }
            Step::Delete { item: chance, .. } => {
                if let Some(item) = self.item(at, chance) {
                    let also = seen(&item, chance);
                    self.devices[at].index.delete_merged(now, &item.key, &also)?;
                }
            }
            Step::Settings { text, .. } => {
                let value = self.text(text).into_bytes();
                self.devices[at].index.set_settings(now, value)?;
            }
            Step::Remove { who, .. } => {
                let who = self.devices[self.pick(who)].config.device;
                match self.devices[at].index.remove_device(now, who, &[]) {
                    Ok(_) | Err(IndexError::ThisDevice | IndexError::NotAMember(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Step::Return { .. } => {
                self.fresh += 1;
                let epoch = 1000 + u64::from(self.fresh);
                let device = &mut self.devices[at];
                device.config.admission.generation = device.index.generation();
                device.reopen();
                device.index.open_new_epoch(epoch, now)?;
            }
            Step::Withdraw { item, .. } => {
                if let Some(Item { key, content: Content::File { root, .. }, .. }) =
                    self.item(at, item)
                {
                    self.devices[at].index.withdraw(now, key.entry, &root)?;
                }
            }
            Step::Deliver { .. } => {}
        }
        Ok(())
    }

    fn create(&mut self, at: usize, dir: u8, new: u8, content: Content) -> Result<(), IndexError> {
        let parent = self.dir(at, dir);
        let new = name(NAMES[usize::from(new) % NAMES.len()]);
        let entry = NewEntry { kind: content.kind(), content, mode: 0o644 };
        let device = &mut self.devices[at];
        device.index.create(device.now, parent, &new, entry).map(|_| ())
    }

    /// Passes on segments of one device's own log: authors' logs arrive one by one, so that what a
    /// record refers to may be unknown where it arrives.
    fn deliver(&mut self, to: u8, from: u8, count: u8) -> usize {
        let (to, from) = (self.pick(to), self.pick(from));
        let log = self.devices[from].log.clone();
        let device = &mut self.devices[to];
        let mut left = count;
        for segment in log {
            if left > 0 {
                let merged = device.index.merge(&segment, device.now).unwrap();
                left -= u8::from(merged.new_records > 0);
            }
        }
        to
    }

    /// Compares a device with the model of what it knows.
    pub(crate) fn check(&mut self, at: usize) -> String {
        let device = &self.devices[at];
        let model = Model::new(&self.records, device.index.context());
        assert_eq!(device.view(), model.view());
        assert_eq!(device.index.settings(), model.settings());
        model.digest()
    }

    /// Gives all segments that were ever pushed.
    pub(crate) fn segments(&self) -> Vec<Vec<u8>> {
        self.devices.iter().flat_map(|device| device.log.iter().cloned()).collect()
    }
}

/// Gives which of the versions that merge into a text its user had on the disk.
fn seen(item: &Item, chance: u8) -> Vec<Dot> {
    let dots = item.merged.iter().map(|(dot, _)| *dot);
    dots.enumerate().filter(|(at, _)| (chance >> (at % 8)) & 1 == 0).map(|(_, dot)| dot).collect()
}

/// Lets a device take segments in any order: those that leave a gap are refused without effect, and
/// come again until all are in.
pub(crate) fn take_all(device: &mut Device, segments: &[Vec<u8>]) {
    loop {
        let mut news = 0;
        for segment in segments {
            let before = (device.index.context().clone(), device.index.fingerprint());
            match device.index.merge(segment, device.now) {
                Ok(merged) => news += merged.new_records,
                Err(MergeError::Gap { .. }) => {
                    assert_eq!(before.0, *device.index.context());
                    assert_eq!(before.1, device.index.fingerprint());
                }
                Err(error) => panic!("{error}"),
            }
        }
        if news == 0 {
            return;
        }
    }
}
