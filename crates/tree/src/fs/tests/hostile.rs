//! What a real disk may hold against us.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::Mode;

use super::conformance::{NOW, fill, marker, path, put, temp};
use crate::fs::*;
use crate::marker::RootError;

fn real() -> (tempfile::TempDir, RealFs) {
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::open(dir.path()).unwrap();
    fs.init(&marker()).unwrap();
    (dir, fs)
}

#[test]
fn names_that_are_not_utf8_are_reported() {
    let (dir, fs) = real();
    std::fs::write(dir.path().join(OsStr::from_bytes(b"a\xffb")), b"x").unwrap();
    std::fs::write(dir.path().join("c"), b"x").unwrap();
    let listing = fs.list(&RelPath::root()).unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listing.unrepresentable.len(), 1);
    assert_eq!(listing.unrepresentable[0].reason, SkipReason::NotUtf8);
    assert_eq!(listing.unrepresentable[0].shown, "a\u{fffd}b");
    // A kept directory with such a name in it can still be removed.
    fs.mkdir(&path("d"), 0o500).unwrap();
    let stat = fs.set_mode(&path("d"), 0o700).unwrap();
    std::fs::write(dir.path().join("d").join(OsStr::from_bytes(b"\xff")), b"xy").unwrap();
    assert!(matches!(fs.keep(&path("d"), &stat, NOW).unwrap(), Kept::Done { .. }));
    let none = crate::versions::Policy { bytes_max: 0, ..Default::default() };
    assert_eq!(fs.prune(&none, NOW + 7_200_000).unwrap().bytes, 2);
}

#[test]
fn a_fifo_is_seen_and_never_opened() {
    let (dir, fs) = real();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("p"), Mode::RWXU).unwrap();
    assert_eq!(fs.stat(&path("p")).unwrap().unwrap().kind, FileKind::Other);
    // Without a writer an open that blocks would hang here.
    assert_eq!(fs.open(&path("p")).err().unwrap().kind(), FsErrorKind::NotAFile);
    let installed = fs.install(&fill(&fs, "n", b"n"), &path("p"), None, NOW).unwrap();
    assert!(matches!(installed, Installed::Surprise { .. }));
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join(".dunlin/tmp/f"), Mode::RWXU).unwrap();
    assert_eq!(fs.temp_create(&temp("f"), 0).err().unwrap().kind(), FsErrorKind::NotAFile);
}

#[test]
fn a_symlink_swapped_in_for_a_parent_leads_nowhere() {
    let (dir, fs) = real();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("a"), b"secret").unwrap();
    fs.mkdir(&path("d"), 0o755).unwrap();
    let stat = put(&fs, "d/a", b"a");
    std::fs::rename(dir.path().join("d"), dir.path().join("e")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).unwrap();
    let new = fill(&fs, "n", b"n");
    let errors = [
        fs.stat(&path("d/a")).unwrap_err(),
        fs.open(&path("d/a")).err().unwrap(),
        fs.list(&path("d")).unwrap_err(),
        fs.install(&new, &path("d/a"), Some(&stat), NOW).unwrap_err(),
        fs.install(&new, &path("d/b"), None, NOW).unwrap_err(),
        fs.keep(&path("d/a"), &stat, NOW).unwrap_err(),
        fs.rename(&path("e/a"), &path("d/x"), &stat).unwrap_err(),
        fs.mkdir(&path("d/x"), 0o755).unwrap_err(),
        fs.set_mode(&path("d/a"), 0o777).unwrap_err(),
        fs.set_mtime(&path("d/a"), 0).unwrap_err(),
        fs.rmdir(&path("d/a")).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), FsErrorKind::Escapes, "{error}");
    }
    let left: Vec<_> = std::fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(std::fs::read(outside.path().join("a")).unwrap(), b"secret");
}

#[test]
fn a_root_that_is_gone_or_replaced_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    assert_eq!(RealFs::open(&root).err(), Some(RootError::Missing));
    std::fs::create_dir(&root).unwrap();
    let fs = RealFs::open(&root).unwrap();
    fs.init(&marker()).unwrap();
    std::fs::rename(&root, dir.path().join("moved")).unwrap();
    assert_eq!(fs.root_check(&marker()), Err(RootError::Missing));
    std::fs::create_dir(&root).unwrap();
    assert_eq!(fs.root_check(&marker()), Err(RootError::Replaced));
    let memory = MemFs::new(1);
    memory.init(&marker()).unwrap();
    memory.volume().inject(Fault::MountedOver);
    assert_eq!(memory.root_check(&marker()), Err(RootError::Replaced));
    memory.volume().inject(Fault::Unmounted);
    assert_eq!(memory.root_check(&marker()), Err(RootError::Missing));
}

#[test]
fn zeros_make_holes() {
    let (dir, fs) = real();
    let file = fs.temp_create(&temp("t"), 0).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_at(&vec![0; 4 << 20], 0).unwrap();
    file.write_at(b"x", 4 << 20).unwrap();
    file.write_at(&[0], 4 << 20).unwrap();
    let mut byte = [1];
    file.read_at(&mut byte, 4 << 20).unwrap();
    assert_eq!(byte, [0], "zeros over data are written");
    use std::os::unix::fs::MetadataExt;
    let blocks = std::fs::metadata(dir.path().join(".dunlin/tmp/t")).unwrap().blocks();
    if blocks * 512 > 1 << 20 {
        eprintln!("SKIPPED: the file system of the temporary directory has no holes");
    }
}

#[test]
fn a_full_or_read_only_disk_says_so() {
    let fs = MemFs::new(1);
    fs.init(&marker()).unwrap();
    let old = put(&fs, "a", b"old");
    fs.volume().inject(Fault::Capacity(2000));
    let error = fs.temp_create(&temp("n"), 5000).err().unwrap();
    assert!(error.kind() == FsErrorKind::NoSpace && error.kind().pauses_folder());
    let file = fs.temp_create(&temp("n"), 10).unwrap();
    assert_eq!(file.write_at(&[1; 3000], 0).unwrap_err().kind(), FsErrorKind::NoSpace);
    fs.volume().inject(Fault::ReadOnly);
    let error = fs.install(&temp("n"), &path("a"), Some(&old), NOW).unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::ReadOnly);
    assert_eq!(error.to_string().lines().count(), 1);
    fs.volume().heal();
    assert_eq!(fs.volume().content(&path("a")).unwrap(), b"old");
}

#[test]
fn ten_thousand_files_in_a_hundred_directories_are_listed() {
    let (dir, fs) = real();
    for number in 0..10_000 {
        let below = dir.path().join(format!("d{}", number / 100));
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join(format!("file-{number}")), b"x").unwrap();
    }
    let mut seen = 0;
    for (name, _) in fs.list(&RelPath::root()).unwrap().entries {
        seen += fs.list(&RelPath::root().join(&name).unwrap()).unwrap().entries.len();
    }
    assert_eq!(seen, 10_000);
}
