//! After the end: with everything at rest, one user deletes one thing. It must go everywhere and
//! stay away, and nothing else may go with it; whatever the run has left behind in the index.

use std::collections::BTreeMap;

use dunlin_index::RelPath;
use dunlin_tree::fs::UserOp;

use super::World;
use super::checks::{Shown, differences, forget_merged};
use crate::random::Random;
use crate::user::Deed;

/// Tells this draw apart from the others of a seed.
const SALT: u64 = 0x1a57_0000_de1e_7e00;
/// What has more in it may be held for the user's word.
const ENTRIES_MAX: usize = 20;
/// What the name of a conflict copy has in it.
const COPY: &str = " (conflict ";

impl World {
    /// Deletes something, waits until all is quiet, and looks at every device.
    pub(super) fn check_deletion(&mut self) {
        let mut random = Random::new(self.scenario.seed ^ SALT);
        let groups = self.groups();
        let [members] = groups.as_slice() else { return };
        let device = members[random.index(members.len())];
        let before = match self.view(device) {
            Ok(view) => view,
            Err(error) => return self.fail(format!("a view cannot be read: {error}")),
        };
        // A copy has no name of its own until somebody touches it.
        let copy = |path: &RelPath| path.to_string().contains(COPY);
        let paths: Vec<&RelPath> = before.keys().filter(|path| !copy(path)).collect();
        if paths.is_empty() {
            return;
        }
        let path = (*random.pick(&paths)).clone();
        let after = without(&before, &path);
        if before.len() - after.len() > ENTRIES_MAX {
            return;
        }
        self.held_undone = false;
        self.user(device, &Deed::Op(UserOp::Remove(path.clone())));
        self.rest();
        if self.failure.is_some() {
            return;
        }
        // Together with what went before it may have been a mass deletion that a user took back.
        let expected = if self.held_undone { before } else { after };
        for device in members.iter().copied() {
            let view = self.view(device).unwrap_or_default();
            let mut disk = self.disk(device);
            forget_merged(&mut disk, &view);
            for (what, there) in [("view", view), ("disk", disk)] {
                if by_plain_names(&there) != by_plain_names(&expected) {
                    let apart = differences(&expected, &there);
                    let why = format!("after {path} was deleted, the {what} of {device}: {apart}");
                    return self.fail(why);
                }
            }
        }
    }
}

/// Gives what is shown, sorted, with copies under the names that theirs are derived from: when a
/// name becomes free, a copy's own may become another. Nor do their times count: equal contents are
/// shown as one, and which of them lends its time may change with the name.
fn by_plain_names(view: &BTreeMap<RelPath, Shown>) -> Vec<(String, String)> {
    let plain = |path: &RelPath| -> String {
        let names = path.names().iter().map(|name| {
            let name = name.as_str();
            name.split_once(COPY).map_or(name, |(plain, _)| plain)
        });
        names.collect::<Vec<_>>().join("/")
    };
    let timeless = |shown: &Shown| match shown {
        Shown::File { content, size, mode, .. } => {
            Shown::File { content: *content, size: *size, mode: *mode, mtime_ns: 0 }
        }
        other => other.clone(),
    };
    let described = |path: &RelPath, shown: &Shown| {
        let is_copy = path.to_string().contains(COPY);
        format!("{:?}", if is_copy { timeless(shown) } else { shown.clone() })
    };
    let mut shown: Vec<_> =
        view.iter().map(|(path, shown)| (plain(path), described(path, shown))).collect();
    shown.sort();
    shown
}

/// Leaves out a path with all that is below it.
fn without(view: &BTreeMap<RelPath, Shown>, path: &RelPath) -> BTreeMap<RelPath, Shown> {
    let below = |other: &RelPath| other.names().starts_with(path.names());
    let left = view.iter().filter(|(other, _)| !below(other));
    left.map(|(path, shown)| (path.clone(), shown.clone())).collect()
}
