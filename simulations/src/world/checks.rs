//! The end of a run: everything comes to rest, and is looked at.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_identity::Hash;
use dunlin_index::{Content, EntryId, Millis, RelPath};
use dunlin_tree::fs::{FileKind, Fs};

use dunlin_engine::types::FolderState;

use super::World;
use crate::oracle::Files;
use crate::user::look;

/// Everything comes to rest within this virtual time after the last fault.
const QUIET_MS_MAX: Millis = 15 * 60 * 1000;
/// How long nothing may happen before a run counts as quiet.
const CALM_MS: Millis = 3_000;
/// With texts: the state of one that nobody had is asked for again after 5 s, and until then the text
/// stands on one disk as it was.
const CALM_TEXTS_MS: Millis = 6_000;

/// What a path shows: kind, content, mode, time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Directory { mode: u32 },
    File { content: Hash, size: u64, mode: u32, mtime_ns: i64 },
    Symlink { target: String },
}

impl Shown {
    /// A text that is made of several versions: what it comes to is in no record.
    fn merged(mode: u32, mtime_ns: i64) -> Self {
        Self::File { content: Hash([0; 32]), size: 0, mode, mtime_ns }
    }
}

/// Leaves out of a disk the contents of what the view shows as merged.
pub(super) fn forget_merged(disk: &mut BTreeMap<RelPath, Shown>, view: &BTreeMap<RelPath, Shown>) {
    for (path, shown) in disk {
        if let (Shown::File { mode, mtime_ns, .. }, Some(Shown::File { content, .. })) =
            (&*shown, view.get(path))
            && content.0 == [0; 32]
        {
            *shown = Shown::merged(*mode, *mtime_ns);
        }
    }
}

impl World {
    /// Lets all faults end and everything come to rest, twice: the second time after a scan, which
    /// must find nothing.
    pub(super) fn run_to_quiet(&mut self) {
        self.calm_down();
        self.rest();
        if self.failure.is_some() {
            return;
        }
        let before = self.contexts();
        for device in 0..self.devices.len() {
            self.with_folder(device, |folder, _| folder.scan());
        }
        self.rest();
        if self.failure.is_none() && before != self.contexts() {
            self.fail("a scan of a folder at rest has found changes".to_owned());
        }
    }

    fn contexts(&self) -> Vec<Option<dunlin_index::Context>> {
        let context = |device: usize| {
            let running = self.devices[device].running.as_ref();
            running.map(|running| running.folder.index().context().clone())
        };
        self.groups().into_iter().flatten().map(context).collect()
    }

    pub(super) fn rest(&mut self) {
        let limit = self.now + QUIET_MS_MAX;
        let calm = if self.scenario.texts { CALM_TEXTS_MS } else { CALM_MS };
        while self.failure.is_none() {
            let until = self.now + calm;
            while self.failure.is_none() && self.advance(until) {}
            if self.failure.is_some() {
                return;
            }
            let acted = self.decide_held() | self.mend_suspects();
            if !acted && self.is_quiet() {
                return;
            }
            if self.now > limit {
                let mut unrest = self.unrest();
                let unavailable = self.unavailable();
                if !unavailable.is_empty() {
                    unrest.push(format!("no disk has {}", unavailable.join(", ")));
                }
                let unrest = unrest.join("; ");
                return self.fail(format!("not at rest after {QUIET_MS_MAX} ms: {unrest}"));
            }
        }
    }

    /// The users decide about deletions that are held; tells whether there were any.
    fn decide_held(&mut self) -> bool {
        let mut acted = false;
        for device in 0..self.devices.len() {
            let Some(running) = &self.devices[device].running else { continue };
            if running.folder.state() != FolderState::Held {
                continue;
            }
            acted = true;
            let approve = self.scenario.seed.is_multiple_of(2);
            if !approve {
                // What a removed device takes back is its own affair.
                self.held_undone |= self.groups().iter().any(|group| group.contains(&device));
                self.oracle.taken_back();
            }
            self.note(|| format!("{device}: held: approve {approve}"));
            self.with_folder(device, |folder, wall| {
                // A database that fails shows in the folder's state.
                let _ = if approve { folder.approve(wall) } else { folder.undo(wall) };
            });
        }
        acted
    }

    /// Users save anew what a power cut has emptied, as they are told to; tells whether there was
    /// anything.
    fn mend_suspects(&mut self) -> bool {
        let mut acted = false;
        for device in 0..self.devices.len() {
            let Some(running) = &self.devices[device].running else { continue };
            let suspects: Vec<RelPath> = running
                .folder
                .problems()
                .filter(|problem| problem.reason.starts_with("it is empty since"))
                .filter_map(|problem| RelPath::parse(&problem.path).ok())
                // A problem is shown until the next scan; it may be mended already.
                .filter(|path| {
                    self.devices[device].disk.content(path).is_some_and(|there| there.is_empty())
                })
                .collect();
            for path in suspects {
                acted = true;
                self.mend(device, path);
            }
        }
        acted
    }

    fn unrest(&self) -> Vec<String> {
        let groups = self.groups();
        if groups.is_empty() {
            return vec!["who takes part is not agreed upon".to_owned()];
        }
        groups.iter().flat_map(|members| self.unrest_among(members)).collect()
    }

    fn unrest_among(&self, members: &[usize]) -> Vec<String> {
        let mut unrest = Vec::new();
        for number in members.iter().copied() {
            let device = &self.devices[number];
            let Some(running) = &device.running else {
                unrest.push(format!("{number} does not run"));
                continue;
            };
            if !running.folder.is_settled() {
                let (state, why) = (running.folder.state(), running.folder.reason());
                let problems: Vec<_> = running.folder.problems().collect();
                unrest.push(format!(
                    "{number} is {state:?} {why:?} {:?} {problems:?}",
                    running.folder.need()
                ));
            }
            for peer in members.iter().filter(|peer| **peer != number) {
                let peer = &self.devices[*peer];
                if !running.folder.in_sync(&peer.id) {
                    unrest.push(format!("{number} is not in sync with {}", peer.number));
                }
            }
        }
        unrest
    }

    fn is_quiet(&self) -> bool {
        self.unrest().is_empty()
    }

    /// Compares all devices with each other, their disks with their views, and all with what the
    /// users did.
    pub(super) fn check_end(&mut self) {
        let groups = self.groups();
        for members in &groups {
            self.check_members(members);
        }
        // Where removals have parted the devices, each part has only some of what was written.
        if let ([members], None) = (groups.as_slice(), &self.failure) {
            let missing = self.oracle.missing(&self.holdings(), members);
            if !missing.is_empty() {
                self.fail(format!("lost: {}", missing.join("; ")));
            }
        }
    }

    fn check_members(&mut self, members: &[usize]) {
        let views: Result<Vec<_>, _> = members.iter().map(|d| self.view(*d)).collect();
        let views = match views {
            Ok(views) => views,
            Err(error) => return self.fail(format!("a view cannot be read: {error}")),
        };
        let first_one = members[0];
        for (device, view) in members.iter().zip(&views) {
            if *view != views[0] {
                let apart = differences(&views[0], view);
                return self.fail(format!("the views of {first_one} and {device} differ: {apart}"));
            }
            if let Some(path) = self.shown_past_its_end(*device) {
                return self.fail(format!("{device} shows {path} of a removed device"));
            }
        }
        let first = self.disk(first_one);
        for (device, view) in members.iter().copied().zip(&views) {
            let mut disk = self.disk(device);
            if disk != first {
                let apart = differences(&first, &disk);
                return self.fail(format!("the disks of {first_one} and {device} differ: {apart}"));
            }
            forget_merged(&mut disk, view);
            if disk != *view {
                let apart = differences(view, &disk);
                return self.fail(format!("view and disk of {device} differ: {apart}"));
            }
        }
    }

    /// Gives the paths that an index shows with contents that are in no folder of a member.
    fn unavailable(&self) -> Vec<String> {
        self.groups().iter().flat_map(|members| self.unavailable_among(members)).collect()
    }

    fn unavailable_among(&self, members: &[usize]) -> Vec<String> {
        let Ok(view) = self.view(members[0]) else { return Vec::new() };
        let disks: Vec<_> = members.iter().map(|device| self.disk(*device)).collect();
        let on_disk: BTreeSet<Hash> =
            disks.iter().flat_map(|disk| disk.values().filter_map(content_of)).collect();
        let lost = view.iter().filter(|(_, shown)| {
            content_of(shown).is_some_and(|content| !on_disk.contains(&content))
        });
        lost.map(|(path, _)| path.to_string()).collect()
    }

    pub(super) fn view(&self, device: usize) -> Result<BTreeMap<RelPath, Shown>, String> {
        let running = self.devices[device].running.as_ref().ok_or("it does not run")?;
        let index = running.folder.index();
        let mut shown = BTreeMap::new();
        let mut todo = vec![(EntryId::ROOT, RelPath::root())];
        while let Some((dir, at)) = todo.pop() {
            let items = index.children(dir, None, usize::MAX).map_err(|e| e.to_string())?;
            for item in items {
                let path = at.join(&item.name).map_err(|e| e.to_string())?;
                let what = match item.content {
                    Content::Directory => {
                        todo.push((item.key.entry, path.clone()));
                        Shown::Directory { mode: item.mode }
                    }
                    Content::File { mtime_ns, .. } if !item.merged.is_empty() => {
                        Shown::merged(item.mode, mtime_ns)
                    }
                    Content::File { root, size, mtime_ns, .. } => {
                        Shown::File { content: root, size, mode: item.mode, mtime_ns }
                    }
                    Content::Symlink { target } => Shown::Symlink { target },
                };
                if shown.insert(path.clone(), what).is_some() {
                    return Err(format!("{path} is shown twice"));
                }
            }
        }
        Ok(shown)
    }

    pub(super) fn disk(&self, device: usize) -> BTreeMap<RelPath, Shown> {
        let there = &self.devices[device];
        let mut shown = BTreeMap::new();
        for seen in look(&there.user) {
            let Ok(Some(stat)) = there.user.stat(&seen.path) else { continue };
            let what = match seen.kind {
                FileKind::Directory => Shown::Directory { mode: stat.mode },
                FileKind::File => {
                    let content = there.disk.content(&seen.path).unwrap_or_default();
                    let content = dunlin_blocks::hash_bytes(&content).root;
                    let (size, mode, mtime_ns) = (stat.size, stat.mode, stat.mtime_ns);
                    Shown::File { content, size, mode, mtime_ns }
                }
                FileKind::Symlink => {
                    Shown::Symlink { target: there.user.read_link(&seen.path).unwrap_or_default() }
                }
                FileKind::Other => continue,
            };
            shown.insert(seen.path, what);
        }
        shown
    }

    fn mend(&mut self, device: usize, path: RelPath) {
        self.note(|| format!("{device}: the user saves {path} again"));
        let there = &mut self.devices[device];
        there.set_disk_time(self.now);
        let before = Files::on(&there.disk);
        let content = format!("saved again on {device} at {}", self.now).into_bytes();
        there.disk.user(&dunlin_tree::fs::UserOp::Write(path, content.clone()));
        let after = Files::on(&there.disk);
        self.oracle.user(device, &before, &after, &[content]);
        self.tell_watcher(device, None);
    }
}

fn content_of(shown: &Shown) -> Option<Hash> {
    match shown {
        Shown::File { content, .. } => Some(*content).filter(|content| content.0 != [0; 32]),
        _ => None,
    }
}

pub(super) fn differences(
    one: &BTreeMap<RelPath, Shown>,
    other: &BTreeMap<RelPath, Shown>,
) -> String {
    let mut lines = Vec::new();
    for (path, shown) in one {
        match other.get(path) {
            Some(there) if there == shown => {}
            there => lines.push(format!("{path}: {shown:?} against {there:?}")),
        }
    }
    for (path, shown) in other {
        if !one.contains_key(path) {
            lines.push(format!("{path}: nothing against {shown:?}"));
        }
    }
    lines.join("; ")
}
