//! Small helpers around the disk table.

use dunlin_blocks::{BlockRef, FileHash};
use dunlin_index::{
    Content, EntryId, IndexError, Item, ItemKey, Kind, Millis, RelPath, SafeName, Storage,
};
use dunlin_tree::disk::{DiskTable, Row, RowId};
use dunlin_tree::fs::Stat;

/// Makes a row that was not there before.
pub(super) fn new_row<S: Storage>(
    rows: &mut DiskTable<S>,
    place: (RowId, SafeName),
    item: ItemKey,
    content: &Content,
    stat: Stat,
    now: Millis,
) -> Row {
    let mut row = Row {
        id: rows.next_id(),
        parent: place.0,
        name: place.1,
        item,
        kind: content.kind(),
        stat,
        root: None,
        target: None,
        created_ms: now,
    };
    set_content(&mut row, content);
    row
}

/// Notes in a row what its file holds.
pub(super) fn set_content(row: &mut Row, content: &Content) {
    row.kind = content.kind();
    row.root = None;
    row.target = None;
    match content {
        Content::File { root, .. } => row.root = Some(*root),
        Content::Symlink { target } => row.target = Some(target.clone()),
        Content::Directory => {}
    }
}

/// Whether the row's file holds this content; times apart.
pub(super) fn holds(row: &Row, content: &Content) -> bool {
    match content {
        Content::File { root, .. } => row.kind == Kind::File && row.root == Some(*root),
        Content::Symlink { target } => row.target.as_ref() == Some(target),
        Content::Directory => row.kind == Kind::Directory,
    }
}

/// The block list of a file: from its hash, or of a small file, which is its own only block.
pub(super) fn blocks_of(content: &Content, hash: Option<&FileHash>) -> Vec<(u64, BlockRef)> {
    match (content, hash) {
        (_, Some(hash)) => hash.blocks.clone(),
        (Content::File { root, size, .. }, None) if *size > 0 => {
            let len = u32::try_from(*size).expect("a file without a block list is small");
            vec![(0, BlockRef { hash: *root, len })]
        }
        _ => Vec::new(),
    }
}

/// The row that shows exactly this item.
pub(super) fn row_of_item<S: Storage>(
    rows: &DiskTable<S>,
    key: &ItemKey,
) -> Result<Option<Row>, IndexError> {
    let rows = rows.by_entry(key.entry)?;
    Ok(rows.into_iter().find(|row| row.item == *key))
}

/// The row of the directory that shows this entry.
pub(super) fn row_of_directory<S: Storage>(
    rows: &DiskTable<S>,
    entry: EntryId,
) -> Result<Option<RowId>, IndexError> {
    if entry == EntryId::ROOT {
        return Ok(Some(RowId::ROOT));
    }
    let rows = rows.by_entry(entry)?;
    Ok(rows.into_iter().find(|row| row.kind == Kind::Directory).map(|row| row.id))
}

/// Where a row is. Rows that are used here always have a place.
pub(super) fn path_of<S: Storage>(rows: &DiskTable<S>, id: RowId) -> Result<RelPath, IndexError> {
    let path = rows.path(id)?;
    path.ok_or(IndexError::Damaged("a row of the table of files on this disk has no place"))
}

/// The path of a name in a row's directory.
pub(super) fn path_in<S: Storage>(
    rows: &DiskTable<S>,
    parent: RowId,
    name: &SafeName,
) -> Result<RelPath, IndexError> {
    path_of(rows, parent)?
        .join(name)
        .map_err(|_| IndexError::Damaged("a path of the view is too long or private"))
}

/// The row of an item, if it stands on this disk where the view shows it, with its mode.
pub(super) fn row_in_place<S: Storage>(
    rows: &DiskTable<S>,
    item: &Item,
) -> Result<Option<Row>, IndexError> {
    let Some(row) = row_of_item(rows, &item.key)? else { return Ok(None) };
    let parent = row_of_directory(rows, item.parent)?;
    let mode = item.kind == Kind::Symlink || row.stat.mode == item.mode;
    let place = parent == Some(row.parent) && row.name == item.name;
    Ok(Some(row).filter(|_| place && mode))
}

/// Whether the item stands on this disk where and as the view shows it.
pub(super) fn is_in_place<S: Storage>(
    rows: &DiskTable<S>,
    item: &Item,
) -> Result<bool, IndexError> {
    Ok(row_in_place(rows, item)?.is_some_and(|row| holds(&row, &item.content)))
}

/// Whether a row lies below another one.
pub(super) fn is_below<S: Storage>(
    rows: &DiskTable<S>,
    row: RowId,
    top: RowId,
) -> Result<bool, IndexError> {
    let mut at = rows.get(row)?;
    while let Some(row) = at {
        if row.parent == top {
            return Ok(true);
        }
        at = rows.get(row.parent)?;
    }
    Ok(false)
}

/// How many rows there are.
pub(super) fn total<S: Storage>(rows: &DiskTable<S>) -> u64 {
    let counts = rows.counts();
    counts.files + counts.directories + counts.symlinks
}

/// The items of a row and of all below it.
pub(super) fn tree_items<S: Storage>(
    rows: &DiskTable<S>,
    top: &Row,
) -> Result<Vec<ItemKey>, IndexError> {
    in_tree(rows, top, |row| row.item)
}

/// A row and all below it.
pub(super) fn tree_rows<S: Storage>(
    rows: &DiskTable<S>,
    top: &Row,
) -> Result<Vec<RowId>, IndexError> {
    in_tree(rows, top, |row| row.id)
}

fn in_tree<S: Storage, T>(
    rows: &DiskTable<S>,
    top: &Row,
    of: impl Fn(&Row) -> T,
) -> Result<Vec<T>, IndexError> {
    let mut found = vec![of(top)];
    let mut directories = vec![top.id];
    while let Some(directory) = directories.pop() {
        for row in rows.children(directory) {
            let row = row?;
            found.push(of(&row));
            if row.kind == Kind::Directory {
                directories.push(row.id);
            }
        }
    }
    Ok(found)
}
