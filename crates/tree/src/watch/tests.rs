//! On a real disk: from the system call to the row.

use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use super::*;
use crate::scan::YOUNG_MS;
use crate::scan::testing::{Disk, path};
use crate::settle::{Due, Settler};

/// A folder that is watched, and the loop that an engine would run.
struct Live {
    disk: Disk,
    events: Receiver<RawEvent>,
    settler: Settler,
    begun: Instant,
    round: u32,
    _watcher: Watcher,
}

impl Live {
    fn start(disk: Disk, capacity: usize) -> Self {
        let (watcher, events) = Watcher::channel(disk.dir.path(), Box::new(|_| false), capacity)
            .expect("the folder can be watched");
        assert_eq!(watcher.warning(), None);
        let settler = Settler::new();
        Self { disk, events, settler, begun: Instant::now(), round: 0, _watcher: watcher }
    }

    /// A folder with an old file `doc` and a directory.
    fn with_doc() -> Self {
        let mut disk = Disk::new();
        disk.write("doc", "first");
        disk.mkdir("d");
        disk.write("d/x", "x");
        disk.scan();
        disk.now_ms += YOUNG_MS;
        Self::start(disk, 1_024)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).expect("a test is short")
    }

    /// Carries out all that is due now and says what it was.
    fn step(&mut self) -> Vec<String> {
        let now_ms = self.now_ms();
        match self.settler.due(now_ms) {
            Some(Due::Look(looks)) => self.disk.look_and_carry_out(&looks),
            Some(Due::ScanAll) => self.disk.scan(),
            None => Vec::new(),
        }
    }

    /// Runs until everything that was done before has been heard and has settled. A last file
    /// tells when: the system reports events in their order.
    fn settle(&mut self) -> Vec<String> {
        self.round += 1;
        let last = format!("last-{}", self.round);
        self.disk.write(&last, "");
        let last = format!("created {last}");
        let (mut words, mut heard) = (Vec::new(), false);
        while !heard || self.settler.next_due().is_some() {
            assert!(self.begun.elapsed().as_secs() < 60, "never settled: {words:?}");
            let due = self.settler.next_due().unwrap_or(u64::MAX);
            let wait = Duration::from_millis(due.saturating_sub(self.now_ms()).min(10_000));
            if let Ok(event) = self.events.recv_timeout(wait) {
                let (now_ms, table) = (self.now_ms(), &self.disk.table);
                self.settler.push(event, now_ms, |path| {
                    table.find(path).expect("the table can be read").is_some()
                });
            }
            for word in self.step() {
                heard |= word == last;
                if word != last {
                    words.push(word);
                }
            }
        }
        words
    }

    /// Checks that a way of saving `doc` is an edit of its row.
    fn saves(way: &str, save: impl FnOnce(&mut Self)) {
        let mut live = Self::with_doc();
        let row = live.disk.row("doc").id;
        save(&mut live);
        let words = live.settle();
        assert_eq!(live.disk.row("doc").id, row, "{way}: {words:?}");
        assert_eq!(live.disk.rows(), live.disk.files(), "{way}: {words:?}");
        assert!(words.contains(&"changed doc".to_owned()), "{way}: {words:?}");
        let identity = |word: &String| word.starts_with("moved") || word == "vanished doc";
        assert!(!words.iter().any(identity), "{way}: {words:?}");
        assert_eq!(live.disk.scan(), [""; 0], "{way}: nothing is left for a scan");
    }
}

#[test]
fn every_way_of_saving_edits_the_same_row() {
    Live::saves("in place", |live| live.disk.write("doc", "second"));
    Live::saves("vim, backup by renaming", |live| {
        live.disk.write(".doc.swp", "swap");
        live.disk.rename("doc", "doc~");
        live.disk.write("doc", "second");
        live.disk.remove("doc~");
        live.disk.remove(".doc.swp");
    });
    Live::saves("emacs, backup stays", |live| {
        live.disk.rename("doc", "doc~");
        live.disk.write("doc", "second");
    });
    Live::saves("sed -i", |live| {
        live.disk.write("sedAbCdEf", "second");
        live.disk.rename("sedAbCdEf", "doc");
    });
    Live::saves("git checkout", |live| {
        live.disk.remove("doc");
        live.disk.write("doc", "second");
    });
    Live::saves("LibreOffice", |live| {
        live.disk.write(".~lock.doc#", "me");
        live.disk.write("lu1234.tmp", "second");
        live.disk.rename("doc", "lu1234.bak");
        live.disk.rename("lu1234.tmp", "doc");
        live.disk.remove("lu1234.bak");
        live.disk.remove(".~lock.doc#");
    });
    Live::saves("backup as a hard link, then renamed over", |live| {
        std::fs::hard_link(live.disk.at("doc"), live.disk.at("doc~")).expect("a link");
        live.disk.write(".goutputstream-X", "second");
        live.disk.rename(".goutputstream-X", "doc");
    });
    Live::saves("a temporary file that was synced already", |live| {
        live.disk.write("doc.new", "second");
        assert_eq!(live.settle(), ["created doc.new"]);
        live.disk.rename("doc.new", "doc");
    });
    Live::saves("from outside of the folder", |live| {
        live.disk.mkdir(".dunlin/tmp");
        live.disk.write(".dunlin/tmp/new", "second");
        live.disk.rename(".dunlin/tmp/new", "doc");
    });
}

#[test]
fn renames_and_deletions_are_heard() {
    let mut live = Live::with_doc();
    let row = live.disk.row("d").id;
    live.disk.rename("doc", "d/doc");
    assert_eq!(live.settle(), ["moved doc to d/doc"]);
    live.disk.rename("d", "e");
    live.disk.write("e/x", "written under the new name");
    let words = live.settle();
    assert_eq!(words.iter().filter(|word| word.starts_with("moved")).count(), 1, "{words:?}");
    assert_eq!(live.disk.row("e").id, row);
    live.disk.remove("e/doc");
    live.disk.write("e/x", "and still watched");
    assert_eq!(live.settle(), ["changed e/x", "vanished e/doc"]);
    live.disk.remove("e");
    live.disk.mkdir("e/new");
    live.disk.write("e/new/file", "");
    live.settle();
    assert_eq!(live.disk.rows(), live.disk.files());
    live.disk.write("e/new/file", "watched too");
    assert_eq!(live.settle(), ["changed e/new/file"]);
}

#[test]
fn bursts_of_new_directories_lose_nothing() {
    let mut live = Live::start(Disk::new(), 1_024);
    for number in 0..200 {
        live.disk.mkdir(&format!("{number}/a/b"));
        live.disk.write(&format!("{number}/a/b/file"), "");
        live.disk.write(&format!("{number}/a/late"), "");
    }
    live.settle();
    assert_eq!(live.disk.rows(), live.disk.files());
    assert_eq!(live.disk.rows().len(), 200 * 5 + 1);
    for number in 0..200 {
        live.disk.write(&format!("{number}/a/b/file"), "watched");
    }
    assert_eq!(live.settle().len(), 200);
}

#[test]
fn a_directory_that_moves_into_a_new_one_stays_watched() {
    let mut live = Live::with_doc();
    for number in 0..50 {
        let (from, dir) = match number {
            0 => ("d".to_owned(), "n0".to_owned()),
            _ => (format!("n{}/d", number - 1), format!("n{number}")),
        };
        live.disk.mkdir(&dir);
        live.disk.rename(&from, &format!("{dir}/d"));
    }
    live.settle();
    live.disk.write("n49/d/x", "heard");
    assert_eq!(live.settle(), ["changed n49/d/x"]);
}

#[test]
fn a_receiver_that_is_too_slow_gets_an_overflow_and_a_scan_finds_all() {
    let mut live = Live::start(Disk::new(), 1);
    for number in 0..100 {
        live.disk.write(&number.to_string(), "");
    }
    // Nothing takes the events out yet; the last of them are lost.
    let overflow = loop {
        let event = live.events.recv_timeout(Duration::from_secs(10)).expect("an event comes");
        std::thread::yield_now();
        if event.kind == RawKind::Overflow {
            break event;
        }
    };
    live.settler.push(overflow, 0, |_| false);
    live.settle();
    assert_eq!(live.disk.rows(), live.disk.files());
}

#[test]
fn a_name_that_cannot_be_told_means_another_look_at_its_directory() {
    let live = Live::with_doc();
    let name = OsStr::from_bytes(b"d/caf\xe9");
    std::fs::write(live.disk.dir.path().join(name), "").expect("it can be written");
    let event = live.events.recv_timeout(Duration::from_secs(10)).expect("an event comes");
    assert_eq!((event.kind, event.path), (RawKind::Rescan, path("d")));
}

#[test]
fn what_is_skipped_and_what_is_private_is_not_watched() {
    let disk = Disk::new();
    for dir in [".dunlin/tmp", "skipped/deep", "d/.dunlin"] {
        disk.mkdir(dir);
    }
    let skip = Box::new(|path: &RelPath| path.to_string() == "skipped");
    let (watcher, events) =
        Watcher::channel(disk.dir.path(), skip, 64).expect("the folder can be watched");
    disk.write(".dunlin/tmp/a", "");
    disk.write(".dunlin/marker", "");
    disk.write("skipped/deep/b", "");
    disk.write("d/.dunlin/c", "only the root's is private");
    let event = events.recv_timeout(Duration::from_secs(10)).expect("an event comes");
    assert_eq!(event.path, path("d/.dunlin/c"));
    drop(watcher);
    assert!(events.iter().all(|event| event.path == path("d/.dunlin/c")), "and it ends");
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let disk = Disk::new();
    let started = Watcher::channel(&disk.at("missing"), Box::new(|_| false), 1);
    assert!(matches!(started, Err(WatchError::Root { .. })));
}
