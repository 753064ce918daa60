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
                if !shows_the_same(&there, &expected) {
                    let apart = differences(&expected, &there);
                    let why = format!("after {path} was deleted, the {what} of {device}: {apart}");
                    return self.fail(why);
                }
            }
        }
    }
}

/// Whether two views show the same. Copies stand for the names that theirs are derived from: when a
/// name becomes free, a copy's own may become another. One that its user has renamed, which a removal
/// has taken back, is an entry of its own again when what it was a copy of is deleted, and has its
/// name: so copies of one directory may change names altogether.
fn shows_the_same(one: &BTreeMap<RelPath, Shown>, other: &BTreeMap<RelPath, Shown>) -> bool {
    let (one, other) = (by_plain_names(one), by_plain_names(other));
    nameless_rest(&one, &other) == nameless_rest(&other, &one)
}

/// What is shown: directory, name, which is none of a copy that may have any, and what it is.
type Plain = (String, Option<String>, String);

/// Gives what is shown, and of each whether it is a copy: then its name is the one that its own is
/// derived from. The times and modes of copies do not count: equal contents are
/// shown as one, and which of them lends both may change with the name.
fn by_plain_names(view: &BTreeMap<RelPath, Shown>) -> Vec<(Plain, bool)> {
    let plain = |path: &RelPath| -> (String, Option<String>) {
        let names = path.names().iter().map(|name| {
            let name = name.as_str();
            name.split_once(COPY).map_or(name, |(plain, _)| plain).to_owned()
        });
        let mut names: Vec<String> = names.collect();
        let name = names.pop();
        (names.join("/"), name)
    };
    let content_of = |shown: &Shown| match shown {
        Shown::File { content, size, .. } => {
            Shown::File { content: *content, size: *size, mode: 0, mtime_ns: 0 }
        }
        other => other.clone(),
    };
    let described = |(path, shown): (&RelPath, &Shown)| {
        let is_copy = path.to_string().contains(COPY);
        let (directory, name) = plain(path);
        let shown = if is_copy { content_of(shown) } else { shown.clone() };
        ((directory, name, format!("{shown:?}")), is_copy)
    };
    view.iter().map(described).collect()
}

/// What one view shows and another one does not, copies without their names.
fn nameless_rest(view: &[(Plain, bool)], other: &[(Plain, bool)]) -> Vec<Plain> {
    let mut rest = view.to_vec();
    for (there, _) in other {
        if let Some(at) = rest.iter().position(|(here, _)| here == there) {
            rest.remove(at);
        }
    }
    let nameless =
        |((directory, name, what), is_copy)| (directory, if is_copy { None } else { name }, what);
    let mut rest: Vec<Plain> = rest.into_iter().map(nameless).collect();
    rest.sort();
    rest
}

/// Leaves out a path with all that is below it.
fn without(view: &BTreeMap<RelPath, Shown>, path: &RelPath) -> BTreeMap<RelPath, Shown> {
    let below = |other: &RelPath| other.names().starts_with(path.names());
    let left = view.iter().filter(|(other, _)| !below(other));
    left.map(|(path, shown)| (path.clone(), shown.clone())).collect()
}
