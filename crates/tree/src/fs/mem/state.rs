//! Inodes, names, faults and the journal of the file system in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_index::{PRIVATE_NAME, RelPath, SafeName};

use super::{Acted, Contents, Fault, TOUCHED_MAX, Touched, UserOp};
use crate::fs::{FileKind, FsError, FsErrorKind as Kind, Stat};

/// The root's inode number.
pub(super) const ROOT: u64 = 1;
/// The device number of every inode.
const DEVICE: u64 = 7;
/// Most changes of names that a power cut can undo; older ones count as written back.
const JOURNAL_MAX: usize = 64 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    /// A file's content or a symlink's target.
    pub(super) data: Arc<Vec<u8>>,
    /// What would be there after a power cut, where that differs from `data`.
    durable: Option<Arc<Vec<u8>>>,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) mode: u32,
    pub(super) mtime_ns: i64,
    ctime_ns: i64,
    nlink: u64,
    pub(super) open: u64,
}

/// One changed name; a step of the journal has one or two, which survive together.
#[derive(Debug)]
struct Edit {
    dir: u64,
    name: String,
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    once: Vec<(u64, Kind)>,
    halt: Option<u64>,
    read_only: bool,
    capacity: Option<u64>,
    pub(super) no_exchange: bool,
    pub(super) no_noreplace: bool,
    pub(super) no_links: bool,
    pub(super) unmounted: bool,
    pub(super) mounted_over: bool,
}

#[derive(Debug)]
pub(super) struct State {
    nodes: BTreeMap<u64, Node>,
    next_ino: u64,
    pub(super) now_ns: i64,
    pub(super) grain_ns: i64,
    pub(super) operations: u64,
    pub(super) scheduled: BTreeMap<u64, Vec<UserOp>>,
    /// What has come of it: never more than was scheduled.
    pub(super) acted: Vec<Acted>,
    pub(super) faults: Faults,
    journal: Vec<Vec<Edit>>,
    touched: Vec<Touched>,
    touched_lost: bool,
    chance: u64,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = Self {
            nodes: BTreeMap::new(),
            next_ino: ROOT,
            now_ns: 1_000_000_000_000_000_000,
            grain_ns: 1,
            operations: 0,
            scheduled: BTreeMap::new(),
            acted: Vec::new(),
            faults: Faults::default(),
            journal: Vec::new(),
            touched: Vec::new(),
            touched_lost: false,
            chance: seed,
        };
        state.make_node(FileKind::Directory, Vec::new(), 0o755);
        state
    }

    /// The next number by chance (SplitMix64, Steele et al. 2014).
    fn draw(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn tick(&mut self) -> i64 {
        self.now_ns += 1000;
        self.now_ns - self.now_ns.rem_euclid(self.grain_ns)
    }

    /// Begins an operation: the user may act, and an injected failure may strike.
    pub(super) fn enter(&mut self, changes: bool) -> Result<(), Kind> {
        let number = self.operations;
        self.operations += 1;
        for op in self.scheduled.remove(&number).unwrap_or_default() {
            let before = self.all_contents();
            self.user(&op);
            self.acted.push(Acted { before, after: self.all_contents() });
        }
        if self.faults.halt.is_some_and(|at| number >= at) {
            return Err(Kind::Io);
        }
        if let Some(index) = self.faults.once.iter().position(|(at, _)| *at == number) {
            return Err(self.faults.once.swap_remove(index).1);
        }
        if changes && self.faults.read_only {
            return Err(Kind::ReadOnly);
        }
        Ok(())
    }

    pub(super) fn inject(&mut self, fault: Fault) {
        let faults = &mut self.faults;
        match fault {
            Fault::Once(after, kind) => faults.once.push((self.operations + after, kind)),
            Fault::Halt(after) => faults.halt = Some(self.operations + after),
            Fault::ReadOnly => faults.read_only = true,
            Fault::Capacity(bytes) => faults.capacity = Some(bytes),
            Fault::NoExchange => faults.no_exchange = true,
            Fault::NoNoReplace => (faults.no_exchange, faults.no_noreplace) = (true, true),
            Fault::NoLinks => faults.no_links = true,
            Fault::Unmounted => faults.unmounted = true,
            Fault::MountedOver => faults.mounted_over = true,
        }
    }

    pub(super) fn make_node(&mut self, kind: FileKind, data: Vec<u8>, mode: u32) -> u64 {
        let (ino, now) = (self.next_ino, self.tick());
        self.next_ino += 1;
        let durable = (kind == FileKind::File).then(Arc::default);
        let node = Node {
            kind,
            data: Arc::new(data),
            durable,
            names: BTreeMap::new(),
            mode,
            mtime_ns: now,
            ctime_ns: now,
            nlink: u64::from(ino == ROOT),
            open: 0,
        };
        self.nodes.insert(ino, node);
        ino
    }

    pub(super) fn node(&self, ino: u64) -> &Node {
        self.nodes.get(&ino).expect("an inode lives while a name or a handle leads to it")
    }

    pub(super) fn node_mut(&mut self, ino: u64) -> &mut Node {
        self.nodes.get_mut(&ino).expect("an inode lives while a name or a handle leads to it")
    }

    pub(super) fn stat(&self, ino: u64) -> Stat {
        let node = self.node(ino);
        Stat {
            kind: node.kind,
            size: node.data.len() as u64,
            mtime_ns: node.mtime_ns,
            ctime_ns: node.ctime_ns,
            ino,
            dev: DEVICE,
            mode: node.mode,
            nlink: node.nlink,
        }
    }

    /// The directory that these names lead to.
    pub(super) fn directory(&self, names: &[&str]) -> Result<u64, Kind> {
        let mut at = ROOT;
        for name in names {
            at = *self.node(at).names.get(*name).ok_or(Kind::NotFound)?;
            match self.node(at).kind {
                FileKind::Directory => {}
                FileKind::Symlink => return Err(Kind::Escapes),
                _ => return Err(Kind::NotADirectory),
            }
        }
        Ok(at)
    }

    /// The parent directory of a path, its last name, and what is there.
    pub(super) fn find<'a>(&self, path: &[&'a str]) -> Result<(u64, &'a str, Option<u64>), Kind> {
        let (name, above) = path.split_last().ok_or(Kind::Busy)?;
        let dir = self.directory(above)?;
        Ok((dir, name, self.node(dir).names.get(*name).copied()))
    }

    /// Changes names in one step.
    pub(super) fn edit(&mut self, changes: &[(u64, &str, Option<u64>)]) {
        let now = self.tick();
        let mut step = Vec::with_capacity(changes.len());
        for (dir, name, after) in changes {
            let before = self.set_name(*dir, name, *after);
            for (ino, delta) in [(before, -1), (*after, 1)] {
                if let Some(node) = ino.and_then(|ino| self.nodes.get_mut(&ino)) {
                    node.nlink = node.nlink.saturating_add_signed(delta);
                    node.ctime_ns = now;
                }
            }
            self.node_mut(*dir).mtime_ns = now;
            step.push(Edit { dir: *dir, name: (*name).to_owned(), before, after: *after });
        }
        self.journal.push(step);
        if self.journal.len() > JOURNAL_MAX {
            self.journal.drain(..JOURNAL_MAX / 2);
        }
    }

    fn set_name(&mut self, dir: u64, name: &str, ino: Option<u64>) -> Option<u64> {
        let names = &mut self.node_mut(dir).names;
        match ino {
            Some(ino) => names.insert(name.to_owned(), ino),
            None => names.remove(name),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.data.len() as u64).sum()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.faults.capacity.unwrap_or(1 << 40)
    }

    /// Replaces a file's content, as far as there is room.
    pub(super) fn set_data(&mut self, ino: u64, data: Vec<u8>) -> Result<(), Kind> {
        if self.faults.capacity.is_some() {
            let others = self.used() - self.node(ino).data.len() as u64;
            if others + data.len() as u64 > self.capacity() {
                return Err(Kind::NoSpace);
            }
        }
        let now = self.tick();
        let node = self.node_mut(ino);
        node.durable.get_or_insert_with(|| Arc::clone(&node.data));
        node.data = Arc::new(data);
        (node.mtime_ns, node.ctime_ns) = (now, now);
        Ok(())
    }

    pub(super) fn set_attributes(&mut self, ino: u64, mode: Option<u32>, mtime_ns: Option<i64>) {
        let now = self.tick();
        let node = self.node_mut(ino);
        node.mode = mode.unwrap_or(node.mode) & 0o7777;
        node.mtime_ns = mtime_ns.unwrap_or(node.mtime_ns);
        node.ctime_ns = now;
    }

    pub(super) fn sync_file(&mut self, ino: u64) {
        self.node_mut(ino).durable = None;
    }

    pub(super) fn sync_names(&mut self) {
        self.journal.clear();
        self.nodes.retain(|ino, node| *ino == ROOT || node.nlink > 0 || node.open > 0);
    }

    pub(super) fn sync_all(&mut self) {
        self.nodes.values_mut().for_each(|node| node.durable = None);
        self.sync_names();
    }

    pub(super) fn crash(&mut self) {
        let lost = self.draw(self.journal.len() as u64 + 1);
        for _ in 0..lost {
            for edit in self.journal.pop().unwrap_or_default().into_iter().rev() {
                debug_assert_eq!(self.node(edit.dir).names.get(&edit.name).copied(), edit.after);
                self.set_name(edit.dir, &edit.name, edit.before);
            }
        }
        let unsynced: Vec<_> =
            self.nodes.iter().filter(|(_, n)| n.durable.is_some()).map(|(ino, _)| *ino).collect();
        for ino in unsynced {
            let choice = self.draw(3);
            let cut = self.draw(self.node(ino).data.len() as u64 + 1);
            let node = self.node_mut(ino);
            match (choice, node.durable.take()) {
                (0, Some(old)) => node.data = old,
                (1, _) => Arc::make_mut(&mut node.data).truncate(usize::try_from(cut).unwrap_or(0)),
                _ => {}
            }
        }
        self.count_links();
        self.faults = Faults::default();
        self.scheduled.clear();
        (self.touched_lost, self.touched) = (true, Vec::new());
        self.sync_all();
    }

    fn count_links(&mut self) {
        let linked: Vec<u64> =
            self.nodes.values().flat_map(|n| n.names.values().copied()).collect();
        self.nodes.iter_mut().for_each(|(ino, node)| node.nlink = u64::from(*ino == ROOT));
        for ino in linked {
            self.node_mut(ino).nlink += 1;
        }
    }

    /// Notes a change for the watcher; what is in the private area is nobody's business.
    pub(super) fn touch(&mut self, path: &[&str], gone: bool) {
        if path.first() == Some(&PRIVATE_NAME) {
            return;
        }
        if self.touched.len() >= TOUCHED_MAX {
            self.touched_lost = true;
            self.touched.clear();
        }
        if let Ok(path) = RelPath::parse(&path.join("/")) {
            self.touched.push(Touched { path, gone });
        }
    }

    pub(super) fn take_touched(&mut self) -> Option<Vec<Touched>> {
        let touched = std::mem::take(&mut self.touched);
        (!std::mem::take(&mut self.touched_lost)).then_some(touched)
    }

    pub(super) fn content(&self, path: &RelPath) -> Option<Vec<u8>> {
        let names: Vec<_> = path.names().iter().map(SafeName::as_str).collect();
        let ino = self.find(&names).ok()?.2?;
        let node = self.node(ino);
        (node.kind == FileKind::File).then(|| node.data.to_vec())
    }

    pub(super) fn all_contents(&self) -> Contents {
        let mut found = Vec::new();
        let mut todo = vec![(String::new(), ROOT)];
        while let Some((path, ino)) = todo.pop() {
            for (name, child) in &self.node(ino).names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                match self.node(*child).kind {
                    FileKind::Directory => todo.push((path, *child)),
                    FileKind::File => found.push((path, Arc::clone(&self.node(*child).data))),
                    _ => {}
                }
            }
        }
        found.sort_by(|one: &(String, _), other| one.0.cmp(&other.0));
        found
    }

    /// Makes the directories above a path, and gives what [`Self::find`] gives.
    fn find_or_make<'a>(&mut self, path: &[&'a str]) -> Result<(u64, &'a str, Option<u64>), Kind> {
        for depth in 1..path.len() {
            if let (dir, name, None) = self.find(&path[..depth])? {
                let ino = self.make_node(FileKind::Directory, Vec::new(), 0o755);
                self.edit(&[(dir, name, Some(ino))]);
                self.touch(&path[..depth], false);
            }
        }
        self.find(path)
    }

    pub(super) fn user(&mut self, op: &UserOp) {
        // A user whose command fails shrugs.
        let _ = self.try_user(op);
    }

    fn try_user(&mut self, op: &UserOp) -> Result<(), Kind> {
        let names = |path: &RelPath| -> Vec<String> {
            path.names().iter().map(SafeName::to_string).collect()
        };
        let (UserOp::Write(path, _)
        | UserOp::Replace(path, _)
        | UserOp::Mkdir(path)
        | UserOp::Symlink(path, _)
        | UserOp::Fifo(path)
        | UserOp::Rename(path, _)
        | UserOp::Remove(path)
        | UserOp::Chmod(path, _)) = op;
        let owned = names(path);
        let path: Vec<&str> = owned.iter().map(String::as_str).collect();
        let mut gone = false;
        match op {
            UserOp::Write(_, data) => {
                let (dir, name, there) = self.find_or_make(&path)?;
                match there.filter(|ino| self.node(*ino).kind == FileKind::File) {
                    Some(ino) => self.set_data(ino, data.clone())?,
                    None => self.put(dir, name, FileKind::File, data.clone()),
                }
            }
            UserOp::Replace(_, data) => {
                let (dir, name, _) = self.find_or_make(&path)?;
                self.put(dir, name, FileKind::File, data.clone());
            }
            UserOp::Mkdir(_) => {
                if let (dir, name, None) = self.find_or_make(&path)? {
                    self.put(dir, name, FileKind::Directory, Vec::new());
                }
            }
            UserOp::Symlink(_, target) => {
                let (dir, name, _) = self.find_or_make(&path)?;
                self.put(dir, name, FileKind::Symlink, target.clone().into_bytes());
            }
            UserOp::Fifo(_) => {
                let (dir, name, _) = self.find_or_make(&path)?;
                self.put(dir, name, FileKind::Other, Vec::new());
            }
            UserOp::Rename(_, to) => {
                let (from_dir, from_name, moved) = self.find(&path)?;
                let to = names(to);
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                if to.starts_with(&path) {
                    return Err(Kind::Unsupported);
                }
                let moved = moved.ok_or(Kind::NotFound)?;
                let (to_dir, to_name, _) = self.find_or_make(&to)?;
                self.edit(&[(from_dir, from_name, None), (to_dir, to_name, Some(moved))]);
                self.touch(&to, false);
                gone = true;
            }
            UserOp::Remove(_) => {
                let (dir, name, there) = self.find(&path)?;
                self.remove_below(there.ok_or(Kind::NotFound)?);
                self.edit(&[(dir, name, None)]);
                gone = true;
            }
            UserOp::Chmod(_, mode) => {
                let ino = self.find(&path)?.2.ok_or(Kind::NotFound)?;
                self.set_attributes(ino, Some(*mode), None);
            }
        }
        self.touch(&path, gone);
        Ok(())
    }

    fn put(&mut self, dir: u64, name: &str, kind: FileKind, data: Vec<u8>) {
        let mode = if kind == FileKind::Directory { 0o755 } else { 0o644 };
        let ino = self.make_node(kind, data, mode);
        self.edit(&[(dir, name, Some(ino))]);
    }

    /// Unlinks all that is below a directory.
    pub(super) fn remove_below(&mut self, ino: u64) {
        let mut todo = vec![ino];
        while let Some(dir) = todo.pop() {
            let names: Vec<_> = self.node(dir).names.clone().into_iter().collect();
            for (name, child) in names {
                todo.push(child);
                self.edit(&[(dir, &name, None)]);
            }
        }
    }
}

/// Names a failure.
pub(super) fn failure(
    operation: &'static str,
    place: impl std::fmt::Display,
    kind: Kind,
) -> FsError {
    FsError::new(kind, operation, place)
}
