use std::collections::BTreeMap;

use dunlin_blocks::BlockRef;
use dunlin_identity::DeviceId;
use dunlin_index::{Author, Dot, MemStore};
use proptest::prelude::*;

use super::*;
use crate::fs::FileKind;

fn name(text: &str) -> SafeName {
    SafeName::parse(text).expect("test names are good")
}

fn stat(kind: Kind, ino: u64, size: u64) -> Stat {
    let kind = match kind {
        Kind::File => FileKind::File,
        Kind::Directory => FileKind::Directory,
        Kind::Symlink => FileKind::Symlink,
    };
    Stat { kind, size, mtime_ns: -5, ctime_ns: i64::MAX, ino, dev: 7, mode: 0o644, nlink: 1 }
}

fn row(id: u64, parent: u64, text: &str, kind: Kind) -> Row {
    Row {
        id: RowId(id),
        parent: RowId(parent),
        name: name(text),
        item: ItemKey { entry: EntryId([id as u8; 16]), dot: None },
        kind,
        stat: stat(kind, 100 + id, 10),
        root: (kind == Kind::File).then_some(Hash([id as u8; 32])),
        target: (kind == Kind::Symlink).then(|| "../elsewhere".to_owned()),
        created_ms: 1,
    }
}

fn table() -> DiskTable<MemStore> {
    DiskTable::open(MemStore::new()).expect("an empty store is a table")
}

/// d/ (1) with e/ (2) with f (3); g (4).
fn small() -> DiskTable<MemStore> {
    let mut table = table();
    for row in [
        row(1, 0, "d", Kind::Directory),
        row(2, 1, "e", Kind::Directory),
        row(3, 2, "f", Kind::File),
        row(4, 0, "g", Kind::Symlink),
    ] {
        table.put(&row).expect("the place is free");
    }
    table
}

fn shown(table: &DiskTable<MemStore>, id: u64) -> Option<String> {
    table.path(RowId(id)).expect("the table is whole").map(|path| path.to_string())
}

#[test]
fn a_row_is_found_by_place_entry_and_inode_and_comes_back_as_it_was() {
    let mut table = small();
    let dot = Dot { author: Author { device: DeviceId::from_bytes([9; 32]), epoch: 3 }, seq: 77 };
    let mut file = row(3, 2, "f", Kind::File);
    file.item.dot = Some(dot);
    table.put(&file).expect("a row can be changed");
    let path = RelPath::parse("d/e/f").expect("a good path");
    for found in [
        table.get(RowId(3)).expect("whole"),
        table.find(&path).expect("whole"),
        table.child(RowId(2), &name("f")).expect("whole"),
        table.by_entry(file.item.entry).expect("whole").pop(),
        table.by_inode(103).expect("whole").pop(),
    ] {
        assert_eq!(found.as_ref(), Some(&file));
    }
    assert_eq!(table.counts(), DiskCounts { files: 1, directories: 2, symlinks: 1, bytes: 10 });
    assert!(table.next_id() > RowId(4));
}

#[test]
fn moving_a_directory_is_one_row_and_refuses_what_cannot_be() {
    let mut table = small();
    table.write_back(true).expect("memory does not fail");
    table.move_row(RowId(2), RowId::ROOT, &name("moved")).expect("the place is free");
    assert!(table.staged() <= 6, "{} keys staged", table.staged());
    assert_eq!(shown(&table, 3).as_deref(), Some("moved/f"));
    table.move_row(RowId(1), RowId(2), &name("d")).expect("the place is free");
    assert_eq!(shown(&table, 1).as_deref(), Some("moved/d"));
    let refused = table.move_row(RowId(2), RowId(1), &name("x"));
    assert!(matches!(refused, Err(DiskError::Cycle(RowId(2)))));
    let refused = table.move_row(RowId(2), RowId::ROOT, &name("g"));
    assert!(matches!(refused, Err(DiskError::NameTaken(RowId(4)))));
    let refused = table.move_row(RowId(2), RowId(4), &name("x"));
    assert!(matches!(refused, Err(DiskError::NotADirectory(RowId(4)))));
    assert!(matches!(table.remove(RowId(2)), Err(DiskError::NotEmpty(RowId(2)))));
    assert_eq!(shown(&table, 3).as_deref(), Some("moved/f"), "a refusal changes nothing");
    assert_eq!(table.remove_tree(RowId(2)).expect("whole"), 3);
    assert_eq!(table.counts(), DiskCounts { symlinks: 1, ..DiskCounts::default() });
}

#[test]
fn a_detached_row_gives_its_name_away_and_keeps_what_is_below() {
    let mut table = small();
    table.detach(RowId(1)).expect("it is there");
    assert_eq!((shown(&table, 1), shown(&table, 3)), (None, None));
    table.put(&row(5, 0, "d", Kind::File)).expect("the name is free now");
    table.detach(RowId(5)).expect("two rows of one name");
    let detached = table.detached().expect("whole");
    assert_eq!(detached.iter().map(|row| row.id.0).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(detached[0].name, name("d"));
    table.move_row(RowId(1), RowId::ROOT, &name("again")).expect("the place is free");
    assert_eq!(shown(&table, 3).as_deref(), Some("again/e/f"));
    assert_eq!(table.remove_tree(RowId(5)).expect("whole"), 1);
    assert_eq!(table.detached().expect("whole"), []);
}

#[test]
fn blocks_are_located_until_their_file_changes_or_goes() {
    let mut table = small();
    let block = |byte: u8, len: u32| BlockRef { hash: Hash([byte; 32]), len };
    let blocks: Vec<(u64, BlockRef)> =
        (0..600u64).map(|at| (at * 8, block((at % 250) as u8, 8))).collect();
    table.put_blocks(RowId(3), &blocks).expect("no gap");
    assert_eq!(table.blocks_of(RowId(3)).expect("whole"), blocks);
    let located = table.locate(&Hash([7; 32])).expect("whole").expect("it is there");
    assert_eq!(located, BlockLocation { row: RowId(3), offset: 56, len: 8 });
    let gap = [(0, block(1, 8)), (9, block(2, 8))];
    assert!(table.put_blocks(RowId(3), &gap).is_err());
    let mut changed = row(3, 2, "f", Kind::File);
    changed.stat.mtime_ns += 1;
    table.put(&changed).expect("a row can be changed");
    assert_eq!(table.blocks_of(RowId(3)).expect("whole").len(), 600, "the content is the same");
    changed.root = Some(Hash([77; 32]));
    table.put(&changed).expect("a row can be changed");
    assert_eq!(table.locate(&Hash([7; 32])).expect("whole"), None);
    assert_eq!(table.blocks_of(RowId(3)).expect("whole"), []);
    // A small file: one block whose hash is the root, in two files.
    table.put_blocks(RowId(3), &[(0, block(77, 5))]).expect("no gap");
    let mut copy = row(6, 0, "copy", Kind::File);
    copy.root = changed.root;
    table.put(&copy).expect("the place is free");
    table.put_blocks(RowId(6), &[(0, block(77, 5))]).expect("no gap");
    assert_eq!(table.blocks_of(RowId(6)).expect("whole"), [(0, block(77, 5))]);
    assert_eq!(table.locate_all(&Hash([77; 32])).expect("whole").len(), 2);
    table.remove_tree(RowId(1)).expect("whole");
    let left = table.locate_all(&Hash([77; 32])).expect("whole");
    assert_eq!(left.iter().map(|at| at.row).collect::<Vec<_>>(), [RowId(6)]);
}

#[test]
fn what_was_not_written_back_is_gone_and_what_was_is_there() {
    let store = MemStore::new();
    let mut table = DiskTable::open(store.clone()).expect("an empty store is a table");
    table.put(&row(1, 0, "d", Kind::Directory)).expect("the place is free");
    table.write_back(true).expect("memory does not fail");
    table.put(&row(2, 1, "f", Kind::File)).expect("the place is free");
    let mut table = DiskTable::open(store).expect("what was written is a table");
    assert_eq!(table.counts(), DiskCounts { directories: 1, ..DiskCounts::default() });
    assert_eq!(table.get(RowId(2)).expect("whole"), None);
    assert_eq!(table.next_id(), RowId(2));
}

#[test]
fn damaged_values_are_errors() {
    let store = MemStore::new();
    let mut batch = dunlin_index::Batch::default();
    batch.put(codec::row_key(RowId(1)), codec::child_key(RowId::ROOT, &name("a")));
    batch.put(codec::child_key(RowId::ROOT, &name("a")), vec![0, 255, 255, 255, 255, 255]);
    store.commit(batch).expect("memory does not fail");
    let table = DiskTable::open(store).expect("no header yet");
    assert!(matches!(table.get(RowId(1)), Err(DiskError::Damaged(_))));
    assert!(table.children(RowId::ROOT).any(|row| row.is_err()));
}

#[test]
fn children_are_paged_in_name_order_over_staged_and_stored_ones() {
    let mut table = table();
    table.put(&row(1, 0, "d", Kind::Directory)).expect("the place is free");
    let names: Vec<String> = (0..700).map(|at| format!("{at:03}")).collect();
    for (at, text) in names.iter().enumerate() {
        let mut row = row(2 + at as u64, 1, text, Kind::File);
        row.item.entry = EntryId([0; 16]);
        table.put(&row).expect("the place is free");
        if at % 97 == 0 {
            table.write_back(false).expect("memory does not fail");
        }
    }
    table.remove(RowId(2 + 350)).expect("whole");
    let found: Vec<String> = (table.children(RowId(1)))
        .map(|row| row.expect("whole").name.as_str().to_owned())
        .collect();
    let expected: Vec<String> = names.iter().filter(|text| *text != "350").cloned().collect();
    assert_eq!(found, expected);
}

#[derive(Debug, Clone)]
enum Op {
    Put { id: u64, parent: u64, name: u8, kind: u8, ino: u64 },
    Move { id: u64, parent: u64, name: u8 },
    Detach(u64),
    Remove(u64),
    RemoveTree(u64),
    Blocks { id: u64, hashes: Vec<u8> },
    WriteBack,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let id = || 1u64..9;
    let parent = || 0u64..9;
    let name = || 0u8..4;
    prop_oneof![
        6 => (id(), parent(), name(), 0u8..3, 1u64..4).prop_map(|(id, parent, name, kind, ino)| {
            Op::Put { id, parent, name, kind: kind.min(1), ino }
        }),
        4 => (id(), parent(), name()).prop_map(|(id, parent, name)| Op::Move { id, parent, name }),
        1 => id().prop_map(Op::Detach),
        2 => id().prop_map(Op::Remove),
        1 => id().prop_map(Op::RemoveTree),
        2 => (id(), proptest::collection::vec(0u8..5, 0..4))
            .prop_map(|(id, hashes)| Op::Blocks { id, hashes }),
        2 => Just(Op::WriteBack),
        1 => Just(Op::Reopen),
    ]
}

/// The naive table: a list of rows, searched from end to end.
#[derive(Debug, Clone, Default)]
struct Model {
    rows: BTreeMap<u64, Row>,
    blocks: BTreeMap<u64, Vec<(u64, BlockRef)>>,
}

impl Model {
    fn put(&mut self, row: &Row) -> bool {
        if !self.may_stand(row) {
            return false;
        }
        let childless = !self.rows.values().any(|other| other.parent == row.id);
        let old = self.rows.get(&row.id.0);
        if old.is_some_and(|old| old.kind == Kind::Directory && row.kind != Kind::Directory)
            && !childless
        {
            return false;
        }
        if old.is_none_or(|old| old.root != row.root) {
            self.blocks.remove(&row.id.0);
        }
        self.rows.insert(row.id.0, row.clone());
        true
    }

    fn may_stand(&self, row: &Row) -> bool {
        let unmoved = self.rows.get(&row.id.0);
        if unmoved.is_some_and(|old| old.parent == row.parent && old.name == row.name) {
            return true;
        }
        let taken = self.rows.values().any(|other| {
            other.id != row.id && other.parent == row.parent && other.name == row.name
        });
        let mut at = row.parent;
        let mut first = true;
        while at != RowId::ROOT && at != RowId::DETACHED {
            let Some(above) = self.rows.get(&at.0) else { return false };
            if at == row.id || (first && above.kind != Kind::Directory) {
                return false;
            }
            first = false;
            at = above.parent;
        }
        !taken
    }

    fn remove_tree(&mut self, id: u64) -> u64 {
        let below: Vec<u64> = (self.rows.values())
            .filter(|row| row.parent == RowId(id))
            .map(|row| row.id.0)
            .collect();
        let removed: u64 = below.into_iter().map(|id| self.remove_tree(id)).sum();
        self.blocks.remove(&id);
        removed + u64::from(self.rows.remove(&id).is_some())
    }

    fn move_row(&mut self, id: u64, parent: RowId, name: SafeName) -> bool {
        let Some(row) = self.rows.get(&id) else { return false };
        let row = Row { parent, name, ..row.clone() };
        if parent == RowId::DETACHED {
            self.rows.insert(id, row);
            return true;
        }
        self.put(&row)
    }
}

fn apply(table: &mut DiskTable<MemStore>, model: &mut Model, op: &Op) -> (bool, bool) {
    let text = |name: u8| SafeName::parse(["a", "b", "c", "d"][usize::from(name)]).expect("good");
    match op {
        Op::Put { id, parent, name, kind, ino } => {
            let kind = if *kind == 0 { Kind::File } else { Kind::Directory };
            let mut row = row(*id, *parent, text(*name).as_str(), kind);
            row.stat = stat(kind, *ino, *ino);
            row.item.entry = EntryId([*ino as u8; 16]);
            row.root = (kind == Kind::File).then_some(Hash([*ino as u8; 32]));
            (table.put(&row).is_ok(), model.put(&row))
        }
        Op::Move { id, parent, name } => (
            table.move_row(RowId(*id), RowId(*parent), &text(*name)).is_ok(),
            model.move_row(*id, RowId(*parent), text(*name)),
        ),
        Op::Detach(id) => {
            let old = model.rows.get(id).map(|row| row.name.clone());
            let done = old.is_some_and(|name| model.move_row(*id, RowId::DETACHED, name));
            (table.detach(RowId(*id)).is_ok(), done)
        }
        Op::Remove(id) => {
            let childless = !model.rows.values().any(|row| row.parent == RowId(*id));
            if childless {
                model.remove_tree(*id);
            }
            let there = table.get(RowId(*id)).expect("whole").is_some();
            (table.remove(RowId(*id)).is_ok(), childless || !there)
        }
        Op::RemoveTree(id) => {
            let removed = table.remove_tree(RowId(*id)).expect("whole");
            (removed == model.remove_tree(*id), true)
        }
        Op::Blocks { id, hashes } => {
            let blocks: Vec<(u64, BlockRef)> = (0u64..)
                .zip(hashes)
                .map(|(at, byte)| (at * 9, BlockRef { hash: Hash([*byte; 32]), len: 9 }))
                .collect();
            let there = model.rows.contains_key(id);
            if there {
                model.blocks.insert(*id, blocks.clone());
            }
            (table.put_blocks(RowId(*id), &blocks).is_ok(), there)
        }
        Op::WriteBack => (table.write_back(true).is_ok(), true),
        Op::Reopen => (true, true),
    }
}

fn same(table: &DiskTable<MemStore>, model: &Model) {
    for id in 1..9 {
        assert_eq!(table.get(RowId(id)).expect("whole"), model.rows.get(&id).cloned());
        let children = model.rows.values().filter(|row| row.parent == RowId(id));
        let mut children: Vec<&Row> = children.collect();
        children.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Result<Vec<Row>, _> = table.children(RowId(id)).collect();
        assert!(found.expect("whole").iter().eq(children));
        let blocks = model.blocks.get(&id).cloned().unwrap_or_default();
        assert_eq!(table.blocks_of(RowId(id)).expect("whole"), blocks);
    }
    for key in 0..6u8 {
        let inode = model.rows.values().filter(|row| row.stat.ino == u64::from(key));
        assert!(table.by_inode(u64::from(key)).expect("whole").iter().eq(inode));
        let entry = model.rows.values().filter(|row| row.item.entry == EntryId([key; 16]));
        assert!(table.by_entry(EntryId([key; 16])).expect("whole").iter().eq(entry));
        let mut places = Vec::new();
        for (row, blocks) in &model.blocks {
            if let Some((offset, block)) = blocks.iter().find(|at| at.1.hash == Hash([key; 32])) {
                places.push(BlockLocation { row: RowId(*row), offset: *offset, len: block.len });
            }
        }
        assert_eq!(table.locate_all(&Hash([key; 32])).expect("whole"), places);
    }
    let counts = table.counts();
    let files = model.rows.values().filter(|row| row.kind == Kind::File);
    assert_eq!(counts.files + counts.directories, model.rows.len() as u64);
    assert_eq!(counts.bytes, files.map(|row| row.stat.size).sum::<u64>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The table does what a plain list of rows would do, and a reopened one is the one that was
    /// last written back.
    #[test]
    fn the_table_is_a_list_of_rows(ops in proptest::collection::vec(op(), 1..60)) {
        let store = MemStore::new();
        let mut table = DiskTable::open(store.clone()).expect("an empty store is a table");
        let mut model = Model::default();
        let mut written = model.clone();
        for op in &ops {
            match op {
                Op::Reopen => {
                    table = DiskTable::open(store.clone()).expect("what was written is a table");
                    model = written.clone();
                }
                op => {
                    let (done, expected) = apply(&mut table, &mut model, op);
                    prop_assert_eq!(done, expected, "{:?}", op);
                }
            }
            if matches!(op, Op::WriteBack) {
                written = model.clone();
            }
            same(&table, &model);
        }
    }
}

#[test]
fn changes_that_did_not_come_to_the_table_are_made_up_for_once() {
    let store = MemStore::new();
    let mut table = DiskTable::open(store.clone()).expect("a table in memory works");
    table.put(&row(1, 0, "a", Kind::Directory)).expect("a table in memory works");
    assert!(table.to_redo().is_some());
    table.write_back(false).expect("a table in memory works");
    assert_eq!(table.to_redo(), None, "nothing is staged");
    table.put(&row(2, 1, "b", Kind::File)).expect("a table in memory works");
    table.remove(RowId(2)).expect("a table in memory works");
    table.put(&row(3, 1, "c", Kind::File)).expect("a table in memory works");
    let kept = table.to_redo().expect("a table in memory works");

    // The process ends before the table is written.
    let mut table = DiskTable::open(store.clone()).expect("a table in memory works");
    assert_eq!(table.get(RowId(3)).expect("a table in memory works"), None);
    assert!(table.redo(&kept).expect("a table in memory works"));
    assert_eq!(
        table.get(RowId(3)).expect("a table in memory works"),
        Some(row(3, 1, "c", Kind::File))
    );
    assert_eq!((table.counts().files, table.counts().directories), (1, 1));
    assert_eq!(table.next_id(), RowId(4));
    table.remove(RowId(3)).expect("a table in memory works");
    table.write_back(false).expect("a table in memory works");

    // What came to it, or what another table had, is left alone.
    let mut table = DiskTable::open(store).expect("a table in memory works");
    assert!(!table.redo(&kept).expect("a table in memory works"));
    assert_eq!(table.get(RowId(3)).expect("a table in memory works"), None);
    let mut other = DiskTable::open(MemStore::new()).expect("a table in memory works");
    assert!(!other.redo(&kept).expect("a table in memory works"));
    assert!(other.redo(b"nonsense").is_err());
}
