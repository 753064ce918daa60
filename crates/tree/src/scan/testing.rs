//! A folder on a real disk with its rows, and a stand-in for the engine that carries changes out
//! on the rows.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use dunlin_index::{EntryId, ItemKey, Kind, MemStore, RelPath};
use tempfile::TempDir;

use super::*;
use crate::disk::DiskTable;
use crate::fs::{Fs, RealFs};

pub(crate) struct Disk {
    pub(crate) dir: TempDir,
    pub(crate) fs: Box<dyn Fs>,
    pub(crate) table: DiskTable<MemStore>,
    pub(crate) ignore: IgnoreRules,
    pub(crate) now_ms: u64,
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::parse(text).expect("test paths are good")
}

impl Disk {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let fs = Box::new(RealFs::open(dir.path()).expect("it can be opened"));
        let table = DiskTable::open(MemStore::new()).expect("an empty store is a table");
        Self { dir, fs, table, ignore: IgnoreRules::new(), now_ms: 1_000_000 }
    }

    pub(crate) fn at(&self, text: &str) -> PathBuf {
        self.dir.path().join(text)
    }

    pub(crate) fn write(&self, text: &str, content: &str) {
        std::fs::write(self.at(text), content).expect("the file can be written");
    }

    pub(crate) fn mkdir(&self, text: &str) {
        std::fs::create_dir_all(self.at(text)).expect("the directory can be made");
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.at(from), self.at(to)).expect("it can be renamed");
    }

    pub(crate) fn remove(&self, text: &str) {
        let at = self.at(text);
        let meta = at.symlink_metadata().expect("it is there");
        let removed =
            if meta.is_dir() { std::fs::remove_dir_all(at) } else { std::fs::remove_file(at) };
        removed.expect("it can be removed");
    }

    pub(crate) fn observe(&mut self, threads: usize) -> Vec<Observed> {
        let mut observed = Vec::new();
        let threads = NonZeroUsize::new(threads).expect("some threads");
        walk(self.fs.as_ref(), &self.table, &mut self.ignore, threads, &mut |found| {
            observed.push(found);
        })
        .expect("the folder can be scanned");
        observed
    }

    pub(crate) fn look(&mut self, paths: &[LookAt]) -> Vec<Observed> {
        look(self.fs.as_ref(), &self.table, &mut self.ignore, paths).expect("it can be looked at")
    }

    pub(crate) fn pair(&self, observed: Vec<Observed>) -> Paired {
        pair_moves(observed, &self.table, &self.ignore, self.now_ms).expect("it can be decided")
    }

    /// Scans, carries out what was found, and says it in words.
    pub(crate) fn scan(&mut self) -> Vec<String> {
        let observed = self.observe(2);
        let paired = self.pair(observed);
        self.carry_out(&paired.changes)
    }

    pub(crate) fn look_and_carry_out(&mut self, paths: &[LookAt]) -> Vec<String> {
        let observed = self.look(paths);
        let paired = self.pair(observed);
        self.carry_out(&paired.changes)
    }

    pub(crate) fn carry_out(&mut self, changes: &[LocalChange]) -> Vec<String> {
        let mut words = Vec::new();
        for change in changes {
            words.push(self.describe(change));
            self.carry_out_one(change);
        }
        let left = self.table.detached().expect("the table can be read");
        assert!(left.is_empty(), "rows without a fate: {left:?} after {changes:?}");
        words
    }

    pub(crate) fn name_of(&self, row: RowId) -> String {
        let path = self.table.path(row).expect("the table can be read");
        path.map_or_else(|| format!("({})", row.0), |path| path.to_string())
    }

    fn describe(&self, change: &LocalChange) -> String {
        match change {
            LocalChange::Created { path, .. } => format!("created {path}"),
            LocalChange::Changed { path, row, .. } => {
                assert_eq!(self.name_of(*row), path.to_string());
                format!("changed {path}")
            }
            LocalChange::ModeOnly { path, .. } => format!("mode {path}"),
            LocalChange::Moved { row, to, .. } => format!("moved {} to {to}", self.name_of(*row)),
            LocalChange::Vanished { path, .. } => format!("vanished {path}"),
        }
    }

    fn detach(&mut self, row: Option<RowId>) {
        if let Some(row) = row {
            self.table.detach(row).expect("a displaced row is there");
        }
    }

    fn parent_row(&self, path: &RelPath) -> RowId {
        let parent = path.parent().expect("the root is never changed");
        let found = self.table.find_directory(&parent).expect("the table can be read");
        found.unwrap_or_else(|| panic!("{path} came before its directory"))
    }

    fn carry_out_one(&mut self, change: &LocalChange) {
        match change {
            LocalChange::Created { path, stat, displaces } => {
                self.detach(*displaces);
                let id = self.table.next_id();
                let mut entry = [0; 16];
                entry[..8].copy_from_slice(&id.0.to_be_bytes());
                let row = Row {
                    id,
                    parent: self.parent_row(path),
                    name: path.name().expect("not the root").clone(),
                    item: ItemKey { entry: EntryId(entry), dot: None },
                    kind: kind_of(stat).expect("only what can be synced is created"),
                    stat: *stat,
                    root: None,
                    target: None,
                    created_ms: self.now_ms,
                };
                self.table.put(&row).expect("the name is free");
            }
            LocalChange::Changed { row, stat, .. } | LocalChange::ModeOnly { row, stat, .. } => {
                self.restat(*row, stat);
            }
            LocalChange::Moved { row, to, stat, displaces } => {
                self.detach(*displaces);
                let parent = self.parent_row(to);
                let name = to.name().expect("not the root");
                self.table.move_row(*row, parent, name).expect("the name is free");
                self.restat(*row, stat);
            }
            LocalChange::Vanished { row, .. } => {
                let removed = self.table.remove_tree(*row).expect("it can be removed");
                assert!(removed > 0, "vanished, but was no row");
            }
        }
    }

    fn restat(&mut self, row: RowId, stat: &Stat) {
        let row = self.table.get(row).expect("the table can be read").expect("the row is there");
        self.table.put(&Row { stat: *stat, ..row }).expect("the row can be changed");
    }

    /// All rows, as path and inode, by walking down the rows.
    pub(crate) fn rows(&self) -> BTreeMap<String, (Kind, u64)> {
        let mut out = BTreeMap::new();
        let mut stack = vec![RowId::ROOT];
        while let Some(dir) = stack.pop() {
            for row in self.table.children(dir) {
                let row = row.expect("the table can be read");
                stack.push(row.id);
                out.insert(self.name_of(row.id), (row.kind, row.stat.ino));
            }
        }
        out
    }

    /// All that is on the disk and not ignored, as path and inode.
    pub(crate) fn files(&self) -> BTreeMap<String, (Kind, u64)> {
        let mut out = BTreeMap::new();
        let mut stack = vec![RelPath::root()];
        while let Some(dir) = stack.pop() {
            for (name, stat) in self.fs.list(&dir).expect("it can be listed").entries {
                let path = dir.join(&name).expect("the path is good");
                let is_dir = stat.kind == FileKind::Directory;
                if let Some(kind) = kind_of(&stat)
                    && !self.ignore.is_ignored(&path, is_dir)
                {
                    out.insert(path.to_string(), (kind, stat.ino));
                    stack.extend(is_dir.then_some(path));
                }
            }
        }
        out
    }

    /// The row at a path.
    pub(crate) fn row(&self, text: &str) -> Row {
        self.table.find(&path(text)).expect("the table can be read").expect("there is a row")
    }
}
