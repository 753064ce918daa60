//! What every implementation of [`Fs`] must do.

use dunlin_identity::{DeviceKey, FolderId};

use crate::fs::*;
use crate::marker::{Marker, RootError};
use crate::versions::Policy;

pub(super) const NOW: Millis = 1_795_255_374_000;

pub(super) fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

pub(super) fn temp(text: &str) -> TempName {
    TempName::parse(text).unwrap()
}

pub(super) fn marker() -> Marker {
    Marker::new(FolderId([3; 32]), DeviceKey::from_seed([1; 32]).device())
}

/// Runs a test on a real disk, on one without `openat2`, in memory, and in memory without the newer
/// ways of renaming.
fn on_each(test: impl Fn(&dyn Fs)) {
    let dir = tempfile::tempdir().unwrap();
    test(&RealFs::open(dir.path()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    test(&Folder::on(Kernel::open_for_test(dir.path()).without_openat2()).unwrap());
    for faults in [&[][..], &[Fault::NoExchange], &[Fault::NoNoReplace]] {
        let fs = MemFs::new(1);
        faults.iter().for_each(|fault| fs.volume().inject(*fault));
        test(&fs);
    }
    let fs = MemFs::new(1);
    fs.volume().inject(Fault::NoNoReplace);
    fs.volume().inject(Fault::NoLinks);
    test(&fs);
}

pub(super) fn fill(fs: &dyn Fs, name: &str, bytes: &[u8]) -> TempName {
    let temp = temp(name);
    let file = fs.temp_create(&temp, bytes.len() as u64).unwrap();
    file.set_len(0).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.set_mode(0o640).unwrap();
    file.set_mtime(1_700_000_000_123_456_789).unwrap();
    file.sync().unwrap();
    temp
}

pub(super) fn put(fs: &dyn Fs, at: &str, bytes: &[u8]) -> Stat {
    match fs.install(&fill(fs, "put", bytes), &path(at), None, NOW).unwrap() {
        Installed::Created { stat } => stat,
        other => panic!("{other:?}"),
    }
}

pub(super) fn read(file: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.stat().unwrap().size).unwrap() + 1];
    let len = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(len);
    bytes
}

#[test]
fn a_new_file_appears_whole_with_mode_and_time() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let stat = put(fs, "a.txt", b"hello");
        assert_eq!((stat.kind, stat.size, stat.mode), (FileKind::File, 5, 0o640));
        assert_eq!(stat.mtime_ns, 1_700_000_000_123_456_789);
        assert_eq!(fs.stat(&path("a.txt")).unwrap(), Some(stat));
        assert_eq!(read(&*fs.open(&path("a.txt")).unwrap()), b"hello");
        assert_eq!(fs.temp_list().unwrap(), []);
        let names: Vec<_> = fs.list(&RelPath::root()).unwrap().entries;
        assert_eq!(names.len(), 1, "the private area is not listed");
    });
}

#[test]
fn a_replaced_file_goes_to_the_version_store() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        fs.mkdir(&path("d"), 0o755).unwrap();
        let old = put(fs, "d/a", b"old");
        let done = fs.install(&fill(fs, "n", b"new"), &path("d/a"), Some(&old), NOW).unwrap();
        let Installed::Replaced { out, version, .. } = done else { panic!("{done:?}") };
        assert!(out.same_version(&old));
        assert_eq!(read(&*fs.version_open(&version).unwrap()), b"old");
        assert_eq!(read(&*fs.open(&path("d/a")).unwrap()), b"new");
        let versions = fs.versions(&path("d/a")).unwrap();
        assert_eq!((versions[0].kept_at, &versions[0].id), (NOW, &version));
        // A second version within the same second stands beside the first.
        let now = fs.stat(&path("d/a")).unwrap().unwrap();
        fs.install(&fill(fs, "n", b"newer"), &path("d/a"), Some(&now), NOW).unwrap();
        assert_eq!(fs.versions(&path("d/a")).unwrap().len(), 2);
    });
}

#[test]
fn what_is_not_expected_is_never_replaced() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let old = put(fs, "a", b"users");
        let surprise = fs.install(&fill(fs, "n", b"new"), &path("a"), None, NOW).unwrap();
        assert!(matches!(surprise, Installed::Surprise { temp_left: true, .. }), "{surprise:?}");
        let other = Stat { mtime_ns: 1, ..old };
        let surprise = fs.install(&temp("n"), &path("a"), Some(&other), NOW).unwrap();
        assert!(matches!(surprise, Installed::Surprise { temp_left: true, .. }), "{surprise:?}");
        let surprise = fs.install(&temp("n"), &path("b"), Some(&old), NOW).unwrap();
        assert!(matches!(surprise, Installed::Surprise { found: None, .. }), "{surprise:?}");
        assert!(matches!(fs.keep(&path("a"), &other, NOW).unwrap(), Kept::Surprise { .. }));
        let moved = fs.rename(&path("a"), &path("b"), &other).unwrap();
        assert!(matches!(moved, Moved::Surprise { found: Some(_) }));
        assert_eq!(read(&*fs.open(&path("a")).unwrap()), b"users");
    });
}

#[test]
fn renames_move_and_never_replace() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let dir = fs.mkdir(&path("d"), 0o750).unwrap();
        assert_eq!(dir.mode, 0o750);
        let a = put(fs, "d/a", b"a");
        put(fs, "b", b"b");
        let moved = fs.rename(&path("d/a"), &path("b"), &a).unwrap();
        assert!(matches!(moved, Moved::Occupied { .. }), "{moved:?}");
        let moved = fs.rename(&path("d"), &path("e"), &dir).unwrap();
        assert!(matches!(moved, Moved::Done { .. }), "{moved:?}");
        let moved = fs.rename(&path("e/a"), &path("c"), &a).unwrap();
        assert!(matches!(moved, Moved::Done { .. }), "{moved:?}");
        assert_eq!(read(&*fs.open(&path("c")).unwrap()), b"a");
        assert_eq!(read(&*fs.open(&path("b")).unwrap()), b"b");
        let error = fs.rename(&path("c"), &path("none/c"), &a).unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::NotFound);
        assert!(fs.rename(&path("e"), &path("e/f"), &dir).is_err());
    });
}

#[test]
fn a_kept_tree_can_be_listed_and_restored() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let dir = fs.mkdir(&path("d"), 0o755).unwrap();
        put(fs, "d/a", b"a");
        assert!(!fs.rmdir(&path("d")).unwrap());
        let kept = fs.keep(&path("d"), &dir, NOW).unwrap();
        let Kept::Done { version, .. } = kept else { panic!("{kept:?}") };
        assert_eq!(fs.stat(&path("d")).unwrap(), None);
        assert_eq!(fs.version_list(&version).unwrap().entries.len(), 1);
        assert_eq!(fs.versions(&path("d/a")).unwrap().len(), 1);
        assert!(matches!(fs.restore(&version, &path("d")).unwrap(), Moved::Done { .. }));
        assert_eq!(read(&*fs.open(&path("d/a")).unwrap()), b"a");
        let again = fs.restore(&version, &path("x")).unwrap();
        assert!(matches!(again, Moved::Surprise { found: None }));
    });
}

#[test]
fn what_is_recovered_has_its_name_or_one_beside_it() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        fs.mkdir(&path("d"), 0o755).unwrap();
        let contents: [&[u8]; 3] = [b"first", b"second", b"third"];
        let versions = contents.map(|content| {
            let stat = put(fs, "d/a.txt", content);
            let kept = fs.keep(&path("d/a.txt"), &stat, NOW).unwrap();
            let Kept::Done { version, .. } = kept else { panic!("{kept:?}") };
            version
        });
        versions.iter().for_each(|version| fs.recover(version, &path("d/a.txt")).unwrap());
        let names = ["d/a.txt", "d/a (recovered 1).txt", "d/a (recovered 2).txt"];
        let found = names.map(|name| read(&*fs.open(&path(name)).unwrap()));
        assert_eq!(found, contents);
        let kept = fs.keep(&path("d/a.txt"), &fs.stat(&path("d/a.txt")).unwrap().unwrap(), NOW);
        let Kept::Done { version, .. } = kept.unwrap() else { panic!("it is as it was") };
        let error = fs.recover(&version, &path("none/a.txt")).unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::NotFound);
        assert_eq!(read(&*fs.version_open(&version).unwrap()), b"first");
    });
}

#[test]
fn pruning_removes_the_oldest_and_spares_the_youngest() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let day = 24 * 60 * 60 * 1000;
        for age in 0..5 {
            let stat = put(fs, "a", &[b'x'; 100]);
            assert!(matches!(
                fs.keep(&path("a"), &stat, NOW + age * day).unwrap(),
                Kept::Done { .. }
            ));
        }
        let now = NOW + 4 * day;
        let loose = Policy { free_bytes_min: 0, ..Policy::default() };
        assert_eq!(fs.prune(&loose, now).unwrap().bytes_left, 500);
        let pruned = fs.prune(&Policy { bytes_max: 250, ..loose }, now).unwrap();
        assert_eq!((pruned.batches, pruned.bytes, pruned.bytes_left), (3, 300, 200));
        let pruned = fs.prune(&Policy { bytes_max: 0, age_days_max: 0, ..loose }, now).unwrap();
        assert_eq!((pruned.batches, pruned.batches_left), (1, 1));
        assert_eq!(fs.versions(&path("a")).unwrap().len(), 1);
    });
}

#[test]
fn objects_are_put_once_listed_and_removed() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let object = |bytes: &[u8]| ObjectName::of(&dunlin_identity::Hash::of(bytes));
        let (one, two) = (object(b"one"), object(b"two"));
        assert!(fs.object_open(&one).unwrap().is_none());
        assert!(fs.objects(one.hash().0[0]).unwrap().is_empty());
        fs.object_put(&fill(fs, "o", b"one"), &one).unwrap();
        fs.object_put(&fill(fs, "o", b"another"), &one).unwrap();
        fs.object_put(&fill(fs, "o", b"two"), &two).unwrap();
        assert!(fs.temp_list().unwrap().is_empty());
        assert_eq!(read(&*fs.object_open(&one).unwrap().unwrap()), b"one");
        assert_eq!(fs.objects(one.hash().0[0]).unwrap(), [(one.clone(), 3)]);
        fs.object_remove(&one).unwrap();
        fs.object_remove(&one).unwrap();
        assert!(fs.objects(one.hash().0[0]).unwrap().is_empty());
        assert!(fs.version_batches().unwrap().is_empty());
        let missing = fs.object_put(&temp("none"), &one).unwrap_err();
        assert_eq!(missing.kind(), FsErrorKind::NotFound);
    });
}

#[test]
fn the_journal_is_made_kept_and_replaced() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        fs.journal().unwrap().write_at(b"first", 0).unwrap();
        assert_eq!(read(&*fs.journal().unwrap()), b"first");
        fs.journal_replace(&fill(fs, "j", b"new")).unwrap();
        assert_eq!(read(&*fs.journal().unwrap()), b"new");
    });
}

#[test]
fn a_kept_file_is_removed_with_the_directories_that_held_only_it() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        let one = fs.keep_temp(&fill(fs, "t", b"one"), &path("d/e/a"), NOW).unwrap();
        let two = fs.keep_temp(&fill(fs, "t", b"two"), &path("d/b"), NOW).unwrap();
        assert_eq!(one.batch, two.batch);
        assert_eq!(read(&*fs.version_open(&one).unwrap()), b"one");
        fs.version_remove(&one).unwrap();
        fs.version_remove(&one).unwrap();
        assert_eq!(fs.version_stat(&one).unwrap(), None);
        let batch = VersionId { batch: two.batch.clone(), path: path("d") };
        assert_eq!(fs.version_list(&batch).unwrap().entries.len(), 1);
        assert_eq!(fs.version_remove(&batch).unwrap_err().kind(), FsErrorKind::NotEmpty);
        fs.version_remove(&two).unwrap();
        let dir = fs.mkdir(&path("d"), 0o755).unwrap();
        let Kept::Done { version, .. } = fs.keep(&path("d"), &dir, NOW).unwrap() else { panic!() };
        fs.version_remove(&version).unwrap();
        assert!(fs.version_batches().unwrap().is_empty());
    });
}

#[test]
fn temporary_files_resume_and_copy() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        put(fs, "a", b"0123456789");
        let file = fs.temp_create(&temp("t"), 20).unwrap();
        file.write_at(b"abc", 0).unwrap();
        drop(file);
        let file = fs.temp_create(&temp("t"), 20).unwrap();
        let source = fs.open(&path("a")).unwrap();
        assert_eq!(file.copy_from(&*source, 4, 3, 100).unwrap(), 6);
        file.write_at(&[0; 64], 100).unwrap();
        assert_eq!(read(&*file), b"abc456789");
        file.set_len(12).unwrap();
        assert_eq!(read(&*file), b"abc456789\0\0\0");
        assert_eq!(fs.temp_list().unwrap().len(), 1);
        fs.temp_remove(&temp("t")).unwrap();
        fs.temp_remove(&temp("t")).unwrap();
        assert!(TempName::parse("../x").is_err() && TempName::parse("").is_err());
    });
}

#[test]
fn symlinks_are_installed_and_never_followed() {
    on_each(|fs| {
        fs.init(&marker()).unwrap();
        fs.mkdir(&path("d"), 0o755).unwrap();
        put(fs, "d/a", b"a");
        fs.temp_symlink(&temp("s"), "d").unwrap();
        let done = fs.install(&temp("s"), &path("s"), None, NOW).unwrap();
        assert!(matches!(done, Installed::Created { .. }), "{done:?}");
        assert_eq!(fs.read_link(&path("s")).unwrap(), "d");
        assert_eq!(fs.open(&path("s")).err().unwrap().kind(), FsErrorKind::NotAFile);
        assert_eq!(fs.set_mode(&path("s"), 0o600).unwrap_err().kind(), FsErrorKind::NotAFile);
        for error in [fs.stat(&path("s/a")).unwrap_err(), fs.open(&path("s/a")).err().unwrap()] {
            assert_eq!(error.kind(), FsErrorKind::Escapes, "{error}");
        }
        let error = fs.install(&fill(fs, "n", b"n"), &path("s/x"), None, NOW).unwrap_err();
        assert_eq!(error.kind(), FsErrorKind::Escapes, "{error}");
        assert!(fs.list(&path("s")).is_err());
    });
}

#[test]
fn the_marker_tells_whose_folder_it_is() {
    on_each(|fs| {
        assert_eq!(fs.root_check(&marker()), Err(RootError::NoMarker));
        let made = fs.init(&marker()).unwrap();
        assert_eq!(fs.root_check(&marker()), Ok(made));
        let moved_on = Marker { epoch: 5, sequence: 6, ..made };
        fs.write_marker(&moved_on).unwrap();
        assert_eq!(fs.init(&marker()), Ok(moved_on));
        let other = Marker { device: DeviceKey::from_seed([2; 32]).device(), ..marker() };
        assert!(matches!(fs.root_check(&other), Err(RootError::OtherDevice { .. })));
        let other = Marker { folder: FolderId([4; 32]), ..marker() };
        assert!(matches!(fs.init(&other), Err(RootError::OtherFolder { .. })));
    });
}

#[test]
fn a_marker_is_read_only_if_it_is_whole() {
    let text = Marker { epoch: 1, sequence: 2, ..marker() }.encode();
    let found = Marker::decode(text.as_bytes()).unwrap();
    assert_eq!((found.epoch, found.sequence), (1, 2));
    for len in 0..text.len() {
        assert!(Marker::decode(&text.as_bytes()[..len]).is_err(), "{len}");
    }
    assert!(Marker::decode(&[b'x'; 5000]).is_err());
    assert_eq!(found.check_file_system(9, 9), Err(RootError::OtherFileSystem));
}
