#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::*;

const CACHE_BYTES: u64 = 1024 * 1024;

fn open(path: &Path) -> SledStore {
    SledStore::open(path, CACHE_BYTES).unwrap()
}

fn put(storage: &dyn Storage, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.put(key, value);
    storage.commit(batch).unwrap();
}

fn all(storage: &dyn Storage) -> Vec<Pair> {
    storage.scan(b"", None, usize::MAX).unwrap()
}

#[test]
fn spaces_do_not_see_each_other_even_when_their_names_begin_alike() {
    let home = TempDir::new().unwrap();
    let store = open(home.path());
    let spaces = [b"".as_slice(), b"a", b"ab", b"abc"].map(|name| store.space(name));
    for (number, space) in (0_u8..).zip(&spaces) {
        put(space, b"bc", &[number]);
        put(space, b"", b"the empty key");
    }
    for (number, space) in (0_u8..).zip(&spaces) {
        assert_eq!(space.get(b"bc").unwrap(), Some(vec![number]));
        assert_eq!(all(space).len(), 2);
    }
}

#[test]
fn a_page_goes_on_behind_the_last_key_of_the_one_before() {
    let home = TempDir::new().unwrap();
    let store = open(home.path());
    let space = store.space(b"space");
    let mem = MemStore::new();
    let storages: [&dyn Storage; 2] = [&space, &mem];
    for storage in storages {
        for key in ["a", "b1", "b2", "b3", "c"] {
            put(storage, key.as_bytes(), b"");
        }
        let keys = |after: Option<&[u8]>, limit| -> Vec<String> {
            let page = storage.scan(b"b", after, limit).unwrap();
            page.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
        };
        assert_eq!(keys(None, 2), ["b1", "b2"]);
        assert_eq!(keys(Some(b"b2"), 2), ["b3"]);
        assert_eq!(keys(Some(b"b11"), 2), ["b2", "b3"]);
        assert_eq!(keys(Some(b"a"), 9), ["b1", "b2", "b3"]);
        assert!(keys(Some(b"c"), 9).is_empty());
        assert!(keys(None, 0).is_empty());
    }
}

#[test]
fn what_was_flushed_is_there_after_opening_again() {
    let home = TempDir::new().unwrap();
    {
        let space = open(home.path()).space(b"s");
        put(&space, b"key", b"value");
        space.flush().unwrap();
    }
    let space = open(home.path()).space(b"s");
    assert_eq!(space.get(b"key").unwrap(), Some(b"value".to_vec()));
}

#[test]
fn a_second_store_finds_the_database_locked() {
    let home = TempDir::new().unwrap();
    let _first = open(home.path());
    assert_eq!(SledStore::open(home.path(), CACHE_BYTES).unwrap_err(), StorageError::Locked);
}

#[test]
fn damaged_files_are_an_error_and_no_panic() {
    let home = TempDir::new().unwrap();
    drop(open(home.path()));
    fs::write(home.path().join("conf"), b"no sled database").unwrap();
    let error = SledStore::open(home.path(), CACHE_BYTES).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_file_in_the_databases_place_is_an_error_of_the_file_system() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("file");
    fs::write(&path, b"").unwrap();
    let error = SledStore::open(&path, CACHE_BYTES).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error:?}");
}

#[test]
fn every_space_survives_a_reopening() {
    let home = TempDir::new().unwrap();
    let store = open(home.path());
    let (first, second) = (store.space(b"1"), store.space(b"2"));
    put(&first, b"key", b"one");
    put(&second, b"key", b"two");
    first.flush().unwrap();
    store.reopen().unwrap();
    assert_eq!(first.get(b"key").unwrap(), Some(b"one".to_vec()));
    assert_eq!(second.get(b"key").unwrap(), Some(b"two".to_vec()));
    second.recover().unwrap();
    put(&second, b"key", b"three");
    second.flush().unwrap();
    assert_eq!(second.get(b"key").unwrap(), Some(b"three".to_vec()));
}

#[test]
fn a_reopening_that_fails_can_be_tried_again() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("database");
    let store = open(&path);
    let space = store.space(b"s");
    put(&space, b"key", b"value");
    space.flush().unwrap();
    let configuration = fs::read(path.join("conf")).unwrap();
    fs::write(path.join("conf"), b"no sled database").unwrap();
    assert!(space.recover().is_err());
    assert_eq!(space.get(b"key"), Err(StorageError::Closed));
    assert_eq!(space.flush(), Ok(()), "nothing was committed since the last flush");
    fs::write(path.join("conf"), configuration).unwrap();
    space.recover().unwrap();
    assert_eq!(space.get(b"key").unwrap(), Some(b"value".to_vec()));
}

#[test]
fn clones_of_a_memory_store_share_their_content() {
    let store = MemStore::new();
    let (clone, store) = (store.clone(), store);
    put(&clone, b"key", b"value");
    assert_eq!(store.get(b"key").unwrap(), Some(b"value".to_vec()));
    assert_eq!((store.len(), store.is_empty()), (1, false));
}

#[test]
fn a_snapshot_brings_back_the_whole_content() {
    let store = MemStore::new();
    put(&store, b"old", b"1");
    let snapshot = store.snapshot();
    let before = all(&store);
    put(&store, b"old", b"2");
    put(&store, b"new", b"3");
    store.flush().unwrap();
    store.restore(&snapshot);
    assert_eq!(all(&store), before);
    store.crash();
    assert_eq!(all(&store), before);
}

#[test]
fn an_injected_fault_stops_writes_without_effect_and_goes_away() {
    let store = MemStore::new();
    put(&store, b"key", b"1");
    store.fail_writes(Some(StorageError::NoSpace));
    let mut batch = Batch::new();
    batch.delete(b"key");
    assert_eq!(store.commit(batch), Err(StorageError::NoSpace));
    assert_eq!(store.flush(), Err(StorageError::NoSpace));
    assert_eq!(store.unflushed(), 1);
    assert_eq!(store.get(b"key").unwrap(), Some(b"1".to_vec()));
    store.fail_reads(Some(StorageError::Closed));
    assert_eq!(store.get(b"key"), Err(StorageError::Closed));
    store.fail_reads(None);
    store.fail_writes(None);
    store.flush().unwrap();
    assert_eq!(store.unflushed(), 0);
}

#[test]
fn the_operating_systems_errors_keep_their_meaning() {
    let of = |kind: io::ErrorKind| StorageError::from(io::Error::from(kind));
    assert_eq!(of(io::ErrorKind::StorageFull), StorageError::NoSpace);
    assert_eq!(of(io::ErrorKind::QuotaExceeded), StorageError::NoSpace);
    assert!(matches!(of(io::ErrorKind::ReadOnlyFilesystem), StorageError::ReadOnly { .. }));
    assert!(matches!(of(io::ErrorKind::TimedOut), StorageError::Io { .. }));
}

/// What a storage is asked to do in the properties below.
#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Flush,
    Crash,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(0_u8..4, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let change = (key(), prop::option::of(vec(any::<u8>(), 0..4)));
    prop_oneof![
        4 => vec(change, 0..6).prop_map(Step::Commit),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ]
}

fn batch(changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(key.clone(), value.clone()),
            None => batch.delete(key.clone()),
        }
    }
    assert_eq!(batch.len(), changes.len());
    assert_eq!(batch.is_empty(), changes.is_empty());
    batch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After any history a crash leaves exactly what the last flush saw.
    #[test]
    fn a_crash_takes_back_exactly_what_was_not_flushed(steps in vec(step(), 0..30)) {
        let store = MemStore::new();
        let mut flushed = Vec::new();
        for step in steps {
            match step {
                Step::Commit(changes) => store.commit(batch(&changes)).unwrap(),
                Step::Flush => {
                    store.flush().unwrap();
                    flushed = all(&store);
                }
                Step::Crash => {
                    store.crash();
                    prop_assert_eq!(&all(&store), &flushed);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The storage of the simulations and the one that ships agree on every read.
    #[test]
    fn sled_and_memory_agree(
        commits in vec(vec((key(), prop::option::of(vec(any::<u8>(), 0..4))), 0..6), 0..12),
        scans in vec((key(), prop::option::of(key()), 0_usize..6), 0..12),
    ) {
        let home = TempDir::new().unwrap();
        let store = open(home.path());
        let (space, mem) = (store.space(b"x"), MemStore::new());
        put(&store.space(b"w"), b"\xff", b"a neighbour before");
        put(&store.space(b"y"), b"", b"a neighbour behind");
        for changes in &commits {
            space.commit(batch(changes)).unwrap();
            mem.commit(batch(changes)).unwrap();
        }
        prop_assert_eq!(all(&space), all(&mem));
        for (prefix, after, limit) in scans {
            let after = after.as_deref();
            prop_assert_eq!(
                space.scan(&prefix, after, limit).unwrap(),
                mem.scan(&prefix, after, limit).unwrap()
            );
            prop_assert_eq!(space.get(&prefix).unwrap(), mem.get(&prefix).unwrap());
        }
    }
}
