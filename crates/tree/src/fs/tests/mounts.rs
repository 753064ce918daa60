//! Mounted file systems, real ones, in a mount namespace of the test's own.
//!
//! Needs root and `unshare`; without them the tests say that they were skipped.

use std::path::Path;
use std::process::Command;

use super::conformance::{NOW, marker, path, put, temp};
use crate::fs::*;

/// The variable that tells the inner run of a test where its folder is.
const ROOT: &str = "DUNLIN_TEST_MOUNT_ROOT";

/// Runs this same test again where `mounts` were done, or skips it, loudly.
fn again_with_mounts(test: &str, mounts: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script =
        format!("cd \"${ROOT}\" && {{ {mounts} ; }} && exec \"$0\" --exact \"$1\" --nocapture");
    let probe = Command::new("unshare").args(["-m", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("SKIPPED {test}: no mount namespace can be made here");
        return;
    }
    let inner = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(ROOT, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inner.stdout) + String::from_utf8_lossy(&inner.stderr);
    assert!(inner.status.success(), "{said}");
    assert!(said.contains("1 passed"), "the inner run found its test: {said}");
}

fn inner_root() -> Option<std::path::PathBuf> {
    std::env::var_os(ROOT).map(Into::into)
}

#[test]
fn a_mount_point_inside_is_reported_and_not_entered() {
    let Some(root) = inner_root() else {
        let mounts = "mkdir m b other && mount -t tmpfs none m && mount --bind other b \
            && touch m/inside other/inside";
        let name = "fs::tests::mounts::a_mount_point_inside_is_reported_and_not_entered";
        return again_with_mounts(name, mounts);
    };
    check_mount_points(&RealFs::open(&root).unwrap());
    check_mount_points(&Folder::on(Kernel::open_for_test(&root).without_openat2()).unwrap());
}

fn check_mount_points(fs: &dyn Fs) {
    fs.init(&marker()).unwrap();
    let listing = fs.list(&RelPath::root()).unwrap();
    assert_eq!(listing.entries.len(), 1, "{listing:?}");
    for (skipped, name) in listing.unrepresentable.iter().zip(["b", "m"]) {
        assert_eq!((skipped.shown.as_str(), skipped.reason), (name, SkipReason::MountPoint));
    }
    for name in ["b", "m"] {
        let inside = path(&format!("{name}/inside"));
        let errors = [
            fs.stat(&path(name)).unwrap_err(),
            fs.stat(&inside).unwrap_err(),
            fs.list(&path(name)).unwrap_err(),
            fs.open(&inside).err().unwrap(),
        ];
        for error in errors {
            assert_eq!(error.kind(), FsErrorKind::CrossDevice, "{error}");
        }
    }
}

#[test]
fn a_small_disk_fills_and_a_remounted_one_is_read_only() {
    let Some(root) = inner_root() else {
        let name = "fs::tests::mounts::a_small_disk_fills_and_a_remounted_one_is_read_only";
        return again_with_mounts(name, "mkdir m && mount -t tmpfs -o size=256k none m");
    };
    let root = root.join("m");
    let fs = RealFs::open(&root).unwrap();
    fs.init(&marker()).unwrap();
    let old = put(&fs, "a", b"old");
    let error = fs.temp_create(&temp("n"), 1 << 20).err().unwrap();
    assert_eq!(error.kind(), FsErrorKind::NoSpace);
    let file = fs.temp_create(&temp("n"), 0).unwrap();
    assert_eq!(file.write_at(&[1; 1 << 20], 0).unwrap_err().kind(), FsErrorKind::NoSpace);
    drop(file);
    remount_read_only(&root);
    let error = fs.install(&temp("n"), &path("a"), Some(&old), NOW).unwrap_err();
    assert_eq!(error.kind(), FsErrorKind::ReadOnly, "{error}");
    assert_eq!(fs.stat(&path("a")).unwrap(), Some(old));
}

fn remount_read_only(root: &Path) {
    let done = Command::new("mount").args(["-o", "remount,ro"]).arg(root).status().unwrap();
    assert!(done.success());
}
