use dunlin_tree::fs::{Fault, UserOp};

use super::super::testing::{DELAY_MS, NOW, Rig, noise, path};
use super::*;
use crate::history::policy::Policy;

/// Long enough for everything to be packed and swept.
const LONG_MS: Millis = DELAY_MS + 10_000;

fn records(rig: &Rig) -> Vec<Record> {
    rig.folder.history().page(None, 1000).expect("read")
}

fn all_blocks(rig: &Rig, record: &Record) -> Option<Vec<u8>> {
    let blocks = rig.folder.history().blocks(&record.what).expect("read")?;
    let data: Option<Vec<_>> = blocks.iter().map(|(_, block)| rig.block(&block.hash)).collect();
    Some(data?.concat())
}

/// What takes the place of `before` at `at`, with `before` kept.
fn replace(rig: &mut Rig, at: &str, before: &[u8], after: &[u8]) {
    let row = rig.row(at);
    rig.folder.keep_bytes(&row, &path(at), before, How::Merged, rig.now).expect("kept");
    rig.write(at, after);
}

#[test]
fn what_was_moved_aside_is_packed_after_the_delay_and_still_served() {
    let mut rig = Rig::new();
    let text = b"the first version of a text. ".repeat(300);
    rig.write("d/a.bin", &text);
    replace(&mut rig, "d/a.bin", &text, b"the second");
    assert_eq!(rig.fs().version_batches().expect("listed").len(), 1);
    rig.pass(LONG_MS);
    assert!(rig.fs().version_batches().expect("listed").is_empty());
    let all = records(&rig);
    let merged = all.iter().find(|record| record.how == How::Merged).expect("recorded");
    assert!(matches!(merged.place, Place::Packed { stored } if stored < 1000), "{merged:?}");
    assert_eq!(all_blocks(&rig, merged).as_deref(), Some(&text[..]));
    assert!(rig.fs().temp_list().expect("listed").is_empty());
}

#[test]
fn a_large_file_that_is_edited_in_place_costs_what_has_changed() {
    let mut rig = Rig::new();
    let mut content = noise(1, 3 << 20);
    rig.write("large", &content);
    let mut before = Vec::new();
    for edit in 0..10 {
        let old = content.clone();
        content[(edit << 18) + 77] ^= 0xff;
        replace(&mut rig, "large", &old, &content);
        before.push(old);
    }
    rig.pass(LONG_MS);
    let all = records(&rig);
    let merged: Vec<_> = all.iter().filter(|record| record.how == How::Merged).collect();
    for (record, old) in merged.iter().zip(&before) {
        assert_eq!(all_blocks(&rig, record).as_ref(), Some(old));
    }
    let changed: BTreeSet<_> =
        before.iter().chain([&content]).flat_map(|content| hashes(content)).collect();
    let present: BTreeSet<_> = hashes(&content).into_iter().collect();
    let bytes: u64 = changed.difference(&present).map(|(_, len)| u64::from(*len)).sum();
    let stored: u64 = (0..=255)
        .flat_map(|byte| rig.fs().objects(byte).expect("listed"))
        .map(|(_, size)| size)
        .sum();
    assert!(stored <= bytes + bytes / 100, "{stored} bytes for {bytes} that changed");
}

fn hashes(content: &[u8]) -> Vec<(Hash, u32)> {
    let hash = dunlin_blocks::hash_bytes(content);
    hash.blocks.into_iter().map(|(_, block)| (block.hash, block.len)).collect()
}

#[test]
fn a_kill_or_power_cut_at_any_operation_of_packing_loses_nothing() {
    for power_cut in [false, true] {
        for operation in 0..u64::MAX {
            let mut rig = Rig::new();
            let (old, large) = (noise(2, 3_000), noise(3, 200_000));
            rig.write("a", &old);
            rig.write("b", &large);
            replace(&mut rig, "a", &old, b"new");
            replace(&mut rig, "b", &large, b"new");
            rig.fs().sync_all().expect("synced");
            rig.spaces.history.flush().expect("flushed");
            rig.disk.inject(Fault::Halt(operation));
            let first = rig.disk.operations();
            rig.pass(LONG_MS);
            let halted = rig.disk.operations() > first + operation;
            rig.restart(power_cut);
            rig.pass(LONG_MS + 60_000);
            let left = rig.fs().version_batches().expect("listed");
            let state = (rig.folder.state(), rig.folder.reason(), rig.folder.is_settled());
            assert!(left.is_empty(), "{left:?}: {operation}, {power_cut}, {state:?}");
            for content in [&old, &large] {
                let root = dunlin_blocks::hash_bytes(content).root;
                let whole = records(&rig).into_iter().any(|record| {
                    matches!(record.what, What::File { root: r, .. } if r == root)
                        && all_blocks(&rig, &record).as_ref() == Some(content)
                });
                assert!(whole, "lost: operation {operation}, power cut {power_cut}");
            }
            if !halted {
                break;
            }
        }
    }
}

#[test]
fn what_a_program_writes_late_is_a_version_of_its_own() {
    let mut rig = Rig::new();
    rig.write("a", b"before");
    replace(&mut rig, "a", b"before", b"new");
    let batch = rig.fs().version_batches().expect("listed")[0].0.clone();
    let version = VersionId { batch, path: path("a") };
    let late = rig.fs().keep_temp(&late_file(&rig), &path("a"), rig.now).expect("kept");
    rig.fs().version_remove(&version).expect("removed");
    // The same place now holds what the program made of the file.
    let temp = late_file(&rig);
    rig.fs().version_remove(&late).expect("removed");
    assert_eq!(
        rig.fs().keep_temp(&temp, &path("a"), version_time(&version)).expect("kept"),
        version
    );
    rig.pass(LONG_MS);
    let all = records(&rig);
    let written = all.iter().find(|record| record.how == How::WrittenLate).expect("recorded");
    assert_eq!(all_blocks(&rig, written).as_deref(), Some(&b"before, and more"[..]));
    assert!(rig.fs().version_batches().expect("listed").is_empty());
}

fn version_time(version: &VersionId) -> Millis {
    let found = (0..100_000).map(|second| NOW + second * 1000).find(|at| {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(*at).expect("a date"));
        let stamp = time.expect("a date").strftime("%Y%m%d-%H%M%S").to_string();
        version.batch.as_str() == stamp
    });
    found.expect("the batch is of this test")
}

fn late_file(rig: &Rig) -> TempName {
    let temp = TempName::parse("late").expect("a name");
    let fs = rig.fs();
    let file = fs.temp_create(&temp, 0).expect("made");
    file.write_at(b"before, and more", 0).expect("written");
    file.set_len(16).expect("set");
    temp
}

#[test]
fn without_a_history_what_was_moved_aside_goes() {
    let mut rig = Rig::new();
    rig.folder.set_versions(Policy { keep: Keep::None, delay_ms: DELAY_MS, ..Policy::default() });
    rig.write("a", b"old");
    replace(&mut rig, "a", b"old", b"new");
    rig.pass(LONG_MS);
    assert!(rig.fs().version_batches().expect("listed").is_empty());
    assert!(records(&rig).is_empty());
}

#[test]
fn versions_beyond_the_policy_go_with_their_objects() {
    let mut rig = Rig::new();
    let policy = Policy { keep: Keep::Count(2), delay_ms: DELAY_MS, ..Policy::default() };
    rig.folder.set_versions(policy);
    let versions: Vec<_> = (0..6).map(|seed| noise(seed, 5_000)).collect();
    rig.write("a", &versions[0]);
    for pair in versions.windows(2) {
        replace(&mut rig, "a", &pair[0], &pair[1]);
    }
    rig.pass(2 * 60 * 60 * 1000);
    let left = records(&rig);
    assert_eq!(left.len(), 2, "{left:?}");
    let stored: usize = (0..=255).map(|byte| rig.fs().objects(byte).expect("listed").len()).sum();
    assert!(stored <= 2, "{stored} objects");
}

#[test]
fn the_oldest_go_when_the_store_is_too_large() {
    let mut rig = Rig::new();
    let policy = Policy { bytes_max: 12_000, delay_ms: DELAY_MS, ..Policy::default() };
    rig.folder.set_versions(policy);
    for seed in 0..8 {
        let name = format!("f{seed}");
        rig.write(&name, &noise(seed, 5_000));
        replace(&mut rig, &name, &noise(seed, 5_000), b"new");
    }
    rig.user(&UserOp::Mkdir(path("d")));
    rig.pass(2 * 60 * 60 * 1000);
    let sizes = (0..=255).flat_map(|byte| rig.fs().objects(byte).expect("listed"));
    let bytes: u64 = sizes.map(|(_, size)| size).sum();
    assert!((5_000..=12_000).contains(&bytes), "{bytes}");
    let left: Vec<_> = records(&rig)
        .into_iter()
        .filter(|record| matches!(record.place, Place::Packed { stored } if stored > 0))
        .map(|record| record.path.to_string())
        .collect();
    assert_eq!(left, ["f6", "f7"]);
}
