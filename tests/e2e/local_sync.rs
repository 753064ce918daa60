//! `dunlin sync A B`: two directories of one machine, without a network.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::files::{bytes, exists, mkdir, names, read, remove, rename, write};
use crate::support::node::{Outcome, binary, run};
use crate::support::snapshot::{Snapshot, assert_same_tree};
use crate::support::wait::{PATIENCE, poll_for, wait_until};

struct Pair {
    base: TempDir,
}

impl Pair {
    fn new() -> Self {
        let base = tempfile::tempdir().expect("a temporary directory");
        for dir in ["home", "a", "b"] {
            mkdir(base.path().join(dir));
        }
        Self { base }
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.base.path().join(path)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--home").arg(self.at("home/dunlin"));
        command.arg("sync").arg(self.at("a")).arg(self.at("b")).args(flags);
        command
    }

    #[track_caller]
    fn once(&self, flags: &[&str]) -> Outcome {
        let flags = [&["--once"][..], flags].concat();
        run(self.command(&flags), PATIENCE).expect_code(0)
    }
}

#[test]
fn sync_once_ends_when_both_directories_are_the_same() {
    let pair = Pair::new();
    mkdir(pair.at("a/dir/empty"));
    write(pair.at("a/dir/from a"), bytes(1, 300_000));
    write(pair.at("b/from b"), bytes(2, 3000));
    write(pair.at("a/equal"), "equal");
    write(pair.at("b/equal"), "equal");
    pair.once(&[]);
    assert_same_tree(pair.at("a"), pair.at("b"));
    assert_eq!(names(pair.at("a")), ["dir", "equal", "from b"]);

    // Again, with changes on both sides and an edit below a renamed directory.
    rename(pair.at("a/dir"), pair.at("a/renamed"));
    write(pair.at("b/dir/from a"), "edited in b");
    remove(pair.at("b/equal"));
    pair.once(&[]);
    assert_same_tree(pair.at("a"), pair.at("b"));
    assert_eq!(names(pair.at("b")), ["from b", "renamed"]);
    assert_eq!(read(pair.at("a/renamed/from a")), b"edited in b");

    // Nothing to do is no error and changes nothing.
    let before = Snapshot::of(pair.at("a"));
    pair.once(&[]);
    assert_eq!(before.difference(&Snapshot::of(pair.at("b"))), None);
}

#[test]
fn sync_once_keeps_both_versions_of_what_was_edited_on_both_sides() {
    let pair = Pair::new();
    write(pair.at("a/file"), "before");
    pair.once(&[]);
    write(pair.at("a/file"), "by a");
    write(pair.at("b/file"), "by b, longer");
    pair.once(&[]);
    assert_same_tree(pair.at("a"), pair.at("b"));
    let mut texts: Vec<Vec<u8>> =
        names(pair.at("a")).iter().map(|name| read(pair.at("a").join(name))).collect();
    texts.sort();
    assert_eq!(texts, [&b"by a"[..], b"by b, longer"]);
}

#[test]
fn one_way_never_touches_the_first_directory() {
    let pair = Pair::new();
    write(pair.at("a/file"), "from a");
    write(pair.at("b/only in b"), "from b");
    let before = Snapshot::of(pair.at("a"));
    pair.once(&["--one-way"]);
    assert_eq!(read(pair.at("b/file")), b"from a");
    assert_eq!(before.difference(&Snapshot::of(pair.at("a"))), None);
    write(pair.at("a/file"), "from a, again");
    pair.once(&["--one-way"]);
    assert_eq!(read(pair.at("b/file")), b"from a, again");
}

/// Ends its process, whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sync_without_once_keeps_them_the_same_until_it_is_stopped() {
    let pair = Pair::new();
    write(pair.at("a/first"), "from a");
    let mut command = pair.command(&[]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut running = Running(command.spawn().expect("the program under test starts"));
    wait_until("the first file is there", || exists(pair.at("b/first")));
    write(pair.at("b/second"), "from b");
    wait_until("a file of the other side is there", || {
        exists(pair.at("a/second")) && read(pair.at("a/second")) == b"from b"
    });
    rename(pair.at("a/first"), pair.at("a/renamed"));
    wait_until("a rename is there", || same(&pair.at("a"), &pair.at("b")));
    kill_process(Pid::from_child(&running.0), Signal::TERM).expect("a child can be signalled");
    let status = poll_for(PATIENCE, || running.0.try_wait().expect("a child of this process"));
    assert_eq!(status.and_then(|status| status.code()), Some(0), "it did not stop cleanly");
    assert_same_tree(pair.at("a"), pair.at("b"));
}

fn same(left: &Path, right: &Path) -> bool {
    let trees = Snapshot::try_of(left).and_then(|left| Ok((left, Snapshot::try_of(right)?)));
    trees.is_ok_and(|(left, right)| left == right)
}

#[test]
fn a_directory_is_not_synced_with_itself_or_with_what_is_in_it() {
    let pair = Pair::new();
    mkdir(pair.at("a/inner"));
    for other in ["a", "a/inner"] {
        let mut command = Command::new(binary());
        command.arg("--home").arg(pair.at("home/dunlin"));
        command.arg("sync").arg(pair.at("a")).arg(pair.at(other)).arg("--once");
        run(command, Duration::from_secs(30)).expect_explained(1);
    }
}
