//! Properties over a small universe: few names, few devices, much trouble.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use dunlin_identity::Hash;

use crate::item::{Content, Item, Kind, NewEntry, Text};
use crate::testing::{Replica, name, root_of, text};
use crate::{Dot, EntryId, IndexError, Millis};

const NAMES: [&str; 4] = ["a", "b.txt", "c", "d.d"];

/// What one device does; numbers pick from what it sees.
#[derive(Clone, Debug)]
enum Step {
    Mkdir { at: u8, dir: u8, name: u8 },
    Create { at: u8, dir: u8, name: u8, content: u8 },
    Write { at: u8, item: u8, content: u8 },
    Mode { at: u8, item: u8, mode: u8 },
    Rename { at: u8, item: u8, dir: u8, name: u8 },
    Delete { at: u8, item: u8 },
    Deliver { to: u8, from: u8, count: u8, again: bool },
    Reopen { at: u8 },
    Clock { at: u8, ahead: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    let byte = any::<u8>;
    prop_oneof![
        2 => (byte(), byte(), byte()).prop_map(|(at, dir, name)| Step::Mkdir { at, dir, name }),
        3 => (byte(), byte(), byte(), byte())
            .prop_map(|(at, dir, name, content)| Step::Create { at, dir, name, content }),
        3 => (byte(), byte(), byte()).prop_map(|(at, item, content)| Step::Write { at, item, content }),
        1 => (byte(), byte(), byte()).prop_map(|(at, item, mode)| Step::Mode { at, item, mode }),
        5 => (byte(), byte(), byte(), byte())
            .prop_map(|(at, item, dir, name)| Step::Rename { at, item, dir, name }),
        3 => (byte(), byte()).prop_map(|(at, item)| Step::Delete { at, item }),
        6 => (byte(), byte(), 1..20_u8, any::<bool>())
            .prop_map(|(to, from, count, again)| Step::Deliver { to, from, count, again }),
        1 => byte().prop_map(|at| Step::Reopen { at }),
        1 => (byte(), any::<u16>()).prop_map(|(at, ahead)| Step::Clock { at, ahead }),
    ]
}

/// The devices, and what must not have vanished.
struct World {
    replicas: Vec<Replica>,
    written: BTreeSet<String>,
    /// Contents that somebody who saw them has overwritten or deleted.
    superseded: BTreeSet<String>,
    fresh: u32,
}

/// Gives the contents that an item shows: its own, and those of the versions that merge into it.
fn roots_of(item: &Item) -> Vec<String> {
    let merged = item.merged.iter().map(|(_, content)| content);
    std::iter::once(&item.content).chain(merged).map(root_of).collect()
}

impl World {
    fn new(count: u8) -> Self {
        let replicas = (1..=count).map(Replica::new).collect();
        Self { replicas, written: BTreeSet::new(), superseded: BTreeSet::new(), fresh: 0 }
    }

    fn at(&mut self, at: u8) -> &mut Replica {
        let count = self.replicas.len();
        &mut self.replicas[usize::from(at) % count]
    }

    fn items(&mut self, at: u8) -> Vec<Item> {
        let index = &self.at(at).index;
        let mut items: Vec<Item> = Vec::new();
        let mut dirs = vec![EntryId::ROOT];
        while let Some(dir) = dirs.pop() {
            for item in index.children(dir, None, 1000).unwrap() {
                if item.kind == Kind::Directory {
                    dirs.push(item.key.entry);
                }
                items.push(item);
            }
        }
        items
    }

    fn pick(&mut self, at: u8, item: u8) -> Option<Item> {
        let items = self.items(at);
        (!items.is_empty()).then(|| items[usize::from(item) % items.len()].clone())
    }

    fn pick_dir(&mut self, at: u8, dir: u8) -> EntryId {
        let dirs = self.items(at).into_iter().filter(|item| item.kind == Kind::Directory);
        let mut dirs: Vec<EntryId> = dirs.map(|item| item.key.entry).collect();
        dirs.push(EntryId::ROOT);
        dirs[usize::from(dir) % dirs.len()]
    }

    /// Half of the contents come from a few, so that equal ones meet; the rest are unique.
    fn content(&mut self, content: u8) -> Content {
        self.fresh += 1;
        let words = match content {
            0..=40 => format!("common {}", content % 3),
            _ => format!("fresh {}", self.fresh),
        };
        let content = match text(&words) {
            Content::File { root, size, .. } => {
                let (state, lineage) = (root, Hash([u8::from(content > 200); 32]));
                let text = Text::Grown { rules: 1, lineage, state, size: 1 };
                let text = (!content.is_multiple_of(3)).then_some(text);
                Content::File { root, size, mtime_ns: i64::from(content % 5), text }
            }
            other => other,
        };
        if let Content::File { root, .. } = &content {
            self.written.insert(root.to_string());
        }
        content
    }

    fn supersede(&mut self, at: u8, item: &Item) {
        if item.kind != Kind::Directory {
            self.superseded.extend(roots_of(item));
            return;
        }
        let index = &self.at(at).index;
        let mut found = Vec::new();
        let mut dirs = vec![item.key.entry];
        while let Some(dir) = dirs.pop() {
            for item in index.children(dir, None, 1000).unwrap() {
                match item.kind {
                    Kind::Directory => dirs.push(item.key.entry),
                    _ => found.extend(roots_of(&item)),
                }
            }
        }
        self.superseded.extend(found);
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Mkdir { at, dir, name: number } => {
                let parent = self.pick_dir(at, dir);
                let (kind, content) = (Kind::Directory, Content::Directory);
                self.create(at, parent, number, NewEntry { kind, content, mode: 0o755 });
            }
            Step::Create { at, dir, name: number, content } => {
                let parent = self.pick_dir(at, dir);
                let new = name(NAMES[usize::from(number) % NAMES.len()]);
                if self.at(at).index.lookup(parent, &new).unwrap().is_none() {
                    let (kind, content) = (Kind::File, self.content(content));
                    self.create(at, parent, number, NewEntry { kind, content, mode: 0o644 });
                }
            }
            Step::Write { at, item, content } => {
                let Some(item) = self.pick(at, item).filter(|item| item.kind == Kind::File) else {
                    return;
                };
                let content = self.content(content);
                self.supersede(at, &item);
                if let Content::File { root, .. } = &content {
                    // Rewriting the same content does not supersede it.
                    if roots_of(&item).contains(&root.to_string()) {
                        self.superseded.insert(root.to_string());
                    }
                }
                let replica = self.at(at);
                let now = tick(&mut replica.now);
                let also: Vec<Dot> = item.merged.iter().map(|(dot, _)| *dot).collect();
                let new =
                    replica.index.write_merged(now, &item.key, &also, content.clone()).unwrap();
                let shown = replica.index.items(new.entry).unwrap();
                assert!(
                    shown.iter().any(|item| item.content.same_as(&content)) || {
                        let root = if let Content::File { root, .. } = content {
                            root
                        } else {
                            unreachable!()
                        };
                        replica.tree().values().any(|value| value.starts_with(&root.to_string()))
                    }
                );
            }
            Step::Mode { at, item, mode } => {
                if let Some(item) = self.pick(at, item) {
                    let replica = self.at(at);
                    let now = tick(&mut replica.now);
                    let mode = u32::from(mode);
                    let key = replica.index.set_mode(now, &item.key, mode).unwrap();
                    let items = replica.index.items(key.entry).unwrap();
                    assert!(items.iter().any(|item| item.key == key && item.mode == mode));
                }
            }
            Step::Rename { at, item, dir, name: number } => {
                let parent = self.pick_dir(at, dir);
                if let Some(item) = self.pick(at, item) {
                    self.rename(at, &item, parent, number);
                }
            }
            Step::Delete { at, item } => {
                if let Some(item) = self.pick(at, item) {
                    self.supersede(at, &item);
                    let before = self.at(at).tree();
                    let replica = self.at(at);
                    let now = tick(&mut replica.now);
                    let also: Vec<Dot> = item.merged.iter().map(|(dot, _)| *dot).collect();
                    replica.index.delete_merged(now, &item.key, &also).unwrap();
                    let after = replica.index.lookup(item.parent, &item.name).unwrap();
                    assert_eq!(after, None, "{before:#?}");
                }
            }
            Step::Deliver { to, from, count, again } => self.deliver(to, from, count, again),
            Step::Reopen { at } => self.at(at).reopen(),
            Step::Clock { at, ahead } => self.at(at).now += Millis::from(ahead) * 1000,
        }
        if !matches!(step, Step::Deliver { .. }) {
            let at = match *step {
                Step::Mkdir { at, .. }
                | Step::Create { at, .. }
                | Step::Write { at, .. }
                | Step::Mode { at, .. }
                | Step::Rename { at, .. }
                | Step::Delete { at, .. }
                | Step::Reopen { at }
                | Step::Clock { at, .. }
                | Step::Deliver { to: at, .. } => at,
            };
            self.at(at).commit();
        }
    }

    fn create(&mut self, at: u8, parent: EntryId, number: u8, new: NewEntry) {
        let replica = self.at(at);
        let new_name = name(NAMES[usize::from(number) % NAMES.len()]);
        let taken = replica.index.lookup(parent, &new_name).unwrap().is_some();
        let now = tick(&mut replica.now);
        match replica.index.create(now, parent, &new_name, new) {
            Ok(key) => {
                assert!(!taken);
                let item = replica.index.lookup(parent, &new_name).unwrap().unwrap();
                assert_eq!(item.key, key);
            }
            Err(IndexError::Taken) => assert!(taken),
            Err(error) => panic!("{error}"),
        }
    }

    fn rename(&mut self, at: u8, item: &Item, parent: EntryId, number: u8) {
        let replica = self.at(at);
        let new_name = name(NAMES[usize::from(number) % NAMES.len()]);
        let before = replica.tree();
        let now = tick(&mut replica.now);
        match replica.index.rename(now, &item.key, parent, &new_name) {
            Ok(key) => {
                let found = replica.index.lookup(parent, &new_name).unwrap().unwrap();
                assert_eq!(found.key.entry, key.entry);
                // Nothing appears and nothing vanishes by a move.
                assert_eq!(contents(&before), contents(&replica.tree()), "{before:#?}");
            }
            Err(IndexError::Taken | IndexError::IntoItself) => assert_eq!(before, replica.tree()),
            Err(error) => panic!("{error}"),
        }
    }

    fn deliver(&mut self, to: u8, from: u8, count: u8, again: bool) {
        let from = usize::from(from) % self.replicas.len();
        let to = usize::from(to) % self.replicas.len();
        let author = self.replicas[from].index.author();
        let log = self.replicas[from].log.clone();
        let replica = &mut self.replicas[to];
        let have = replica.index.context().get(&author);
        let mut last = 0;
        let mut taken = 0;
        for segment in &log {
            last += crate::segment::Segment::decode(segment).unwrap().parts.len() as u64;
            if taken < count && (again || last > have) {
                let before = shown(replica);
                let merged = replica.index.merge(segment, replica.now).unwrap();
                check_changed(&before, &shown(replica), &merged.changed);
                taken += u8::from(last > have);
            }
        }
    }

    fn converge(&mut self) {
        let count = self.replicas.len() as u8;
        for to in 0..count {
            for from in 0..count {
                self.deliver(to, from.wrapping_add(to) % count, u8::MAX, false);
            }
        }
    }
}

fn tick(now: &mut Millis) -> Millis {
    *now += 1;
    *now
}

/// Gives what every entry shows, by entry.
fn shown(replica: &Replica) -> BTreeMap<EntryId, Vec<Item>> {
    let mut shown: BTreeMap<EntryId, Vec<Item>> = BTreeMap::new();
    let mut dirs = vec![EntryId::ROOT];
    while let Some(dir) = dirs.pop() {
        for item in replica.index.children(dir, None, 1000).unwrap() {
            if item.kind == Kind::Directory {
                dirs.push(item.key.entry);
            }
            shown.entry(item.key.entry).or_default().push(item);
        }
    }
    shown
}

fn check_changed(
    before: &BTreeMap<EntryId, Vec<Item>>,
    after: &BTreeMap<EntryId, Vec<Item>>,
    changed: &BTreeSet<EntryId>,
) {
    for id in before.keys().chain(after.keys()) {
        if before.get(id) != after.get(id) {
            assert!(changed.contains(id), "{id}: {:?} {:?}", before.get(id), after.get(id));
        }
    }
}

fn contents(tree: &BTreeMap<String, String>) -> BTreeSet<String> {
    tree.values().flat_map(|shown| shown.split(' ')).map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn devices_converge_and_lose_nothing(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(3);
        for step in &steps {
            world.run(step);
        }
        for replica in &mut world.replicas {
            replica.audit();
        }
        world.converge();
        let first = &world.replicas[0];
        for other in &world.replicas[1..] {
            prop_assert_eq!(first.tree(), other.tree());
            prop_assert_eq!(first.index.fingerprint(), other.index.fingerprint());
            prop_assert_eq!(first.index.counts(), other.index.counts());
        }
        let visible = contents(&first.tree());
        for content in world.written.difference(&world.superseded) {
            prop_assert!(visible.contains(content), "{} has vanished", content);
        }
        for replica in &mut world.replicas {
            replica.audit();
            let (print, tree) = (replica.index.fingerprint(), replica.tree());
            replica.reopen();
            prop_assert_eq!(&replica.tree(), &tree);
            replica.index.rebuild().unwrap();
            prop_assert_eq!(replica.index.fingerprint(), print);
            prop_assert_eq!(&replica.tree(), &tree);
            replica.audit();
        }
    }
}
