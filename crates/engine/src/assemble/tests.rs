use dunlin_blocks::{FileHash, ManifestWalk};
use dunlin_identity::DeviceId;
use dunlin_index::storage::MemStore;
use dunlin_index::{EntryId, ItemKey, Kind, RelPath, SafeName};
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{MemFs, UserOp};
use dunlin_tree::marker::Marker;

use super::local::Stretch;
use super::*;

/// One folder with one file, `old`, of which the blocks are known.
struct Rig {
    fs: MemFs,
    rows: DiskTable<MemStore>,
    manifests: ManifestStore<MemStore>,
    old: FileHash,
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn hashed(data: &[u8]) -> FileHash {
    let read = |buffer: &mut [u8], offset: u64| {
        let from = usize::try_from(offset).expect("in memory");
        let len = buffer.len().min(data.len() - from);
        buffer[..len].copy_from_slice(&data[from..from + len]);
        Ok(len)
    };
    dunlin_blocks::hash_file(read, data.len() as u64, 1).expect("bytes in memory can be read")
}

fn old_path() -> RelPath {
    RelPath::parse("old").expect("a legal path")
}

impl Rig {
    fn new(content: &[u8]) -> Self {
        let fs = MemFs::new(1);
        let folder = dunlin_identity::FolderId([1; 32]);
        fs.init(&Marker::new(folder, DeviceId::from_bytes([2; 32])))
            .expect("an empty disk takes a folder");
        fs.volume().user(&UserOp::Write(old_path(), content.to_vec()));
        let old = hashed(content);
        let mut rows = DiskTable::open(MemStore::new()).expect("an empty store is a table");
        let row = Row {
            id: rows.next_id(),
            parent: RowId::ROOT,
            name: SafeName::parse("old").expect("a legal name"),
            item: ItemKey { entry: EntryId([3; 16]), dot: None },
            kind: Kind::File,
            stat: fs.stat(&old_path()).expect("it can be looked at").expect("it is there"),
            root: Some(old.root),
            target: None,
            created_ms: 0,
        };
        rows.put(&row).expect("the place is free");
        rows.put_blocks(row.id, &old.blocks).expect("without gaps");
        Self { fs, rows, manifests: ManifestStore::new(MemStore::new()), old }
    }

    /// Begins a new file; gives the assembly and what is in the temporary file.
    fn begin(&self, content: &[u8]) -> (Assembly, Vec<u8>) {
        let new = hashed(content);
        let mut walk = ManifestWalk::new(new.root, new.size).expect("it has a manifest");
        for (hash, piece) in &new.manifest_blocks {
            if !walk.is_complete() {
                walk.supply(hash, piece).expect("its own piece");
            }
        }
        let manifest = walk.finish().expect("all pieces are there");
        let temp = TempName::parse("new").expect("a legal name");
        let assembly = Assembly::begin(&self.fs, &self.rows, &self.manifests, &manifest, &temp)
            .expect("the disk is sound");
        let mut there = vec![0; content.len()];
        let read = assembly.file.read_at(&mut there, 0).expect("it can be read");
        assert_eq!(read, content.len());
        (assembly, there)
    }
}

#[test]
fn of_a_file_that_has_grown_only_the_end_is_missing() {
    let old = noise(1, 2_000_000);
    let rig = Rig::new(&old);
    let new = [&old[..], &noise(2, 100_000)].concat();
    let (assembly, there) = rig.begin(&new);
    let missing: u64 = assembly.missing().iter().map(|block| u64::from(block.len)).sum();
    assert!((100_000..700_000).contains(&missing), "{missing}");
    let kept = new.len() - usize::try_from(missing).expect("small");
    assert_eq!(there[..kept], new[..kept]);
}

#[test]
fn what_has_changed_on_this_disk_since_it_was_hashed_is_missing() {
    let old = noise(1, 2_000_000);
    let rig = Rig::new(&old);
    let mut changed = old.clone();
    changed[1_000_000] ^= 1;
    rig.fs.volume().user(&UserOp::Write(old_path(), changed));
    let (mut assembly, there) = rig.begin(&old);
    let [block] = assembly.missing() else { panic!("{:?}", assembly.missing()) };
    let block = *block;
    let place = rig.old.blocks.iter().find(|(_, other)| other.hash == block.hash);
    let from = usize::try_from(place.expect("one of the file's").0).expect("small");
    let to = from + block.len as usize;
    assert!((from..to).contains(&1_000_000));
    assert_eq!((&there[..from], &there[to..]), (&old[..from], &old[to..]));
    let right = Bytes::copy_from_slice(&old[from..to]);
    assembly.supply(&block.hash, &right).expect("the disk is sound");
    assert!(assembly.is_complete());
}

#[test]
fn neighbours_that_stay_neighbours_are_one_stretch() {
    let rig = Rig::new(&noise(1, 2_000_000));
    let blocks = &rig.old.blocks;
    assert!(blocks.len() > 8);
    let shift = 7;
    let moved = |(offset, block): (u64, BlockRef)| (offset + shift, block);
    // All but the fourth, which is elsewhere, and the last but one, which is another one.
    let mut wanted: Vec<Wanted> = Vec::new();
    for (number, place) in blocks.iter().copied().map(moved).enumerate() {
        let (mut offset, mut block) = place;
        if number == 3 {
            offset += 1;
        }
        if number == blocks.len() - 2 {
            block.hash = Hash([9; 32]);
        }
        wanted.push(Wanted { number, offset, block });
    }
    let last = blocks.len() - 2;
    let row = rig.rows.child(RowId::ROOT, &SafeName::parse("old").expect("a legal name"));
    let row = row.expect("the table is whole").expect("it is there").id;
    let stretch = |blocks_of: std::ops::Range<usize>| {
        let (from, end) = (blocks[blocks_of.start].0, blocks[blocks_of.end].0);
        Stretch { row, from, to: from + shift, len: end - from, blocks: blocks_of }
    };
    assert_eq!(stretches(&rig.rows, &wanted), [stretch(0..3), stretch(4..last)]);
}
