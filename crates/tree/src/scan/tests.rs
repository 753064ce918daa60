use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Instant;

use proptest::prelude::*;

use super::testing::{Disk, path};
use super::*;

fn look_at(text: &str) -> LookAt {
    LookAt { path: path(text), deep: false, settled: true }
}

/// A small folder that has been scanned, with rows that are not young.
fn folder() -> Disk {
    let mut disk = Disk::new();
    disk.mkdir("d/e");
    disk.write("d/x", "x");
    disk.write("d/e/y", "yy");
    disk.write("f", "fff");
    disk.write("g", "gggg");
    assert_eq!(
        disk.scan(),
        ["created d", "created d/e", "created d/e/y", "created d/x", "created f", "created g"]
    );
    disk.now_ms += YOUNG_MS;
    assert_eq!(disk.scan(), [""; 0], "a second scan finds nothing");
    disk
}

#[test]
fn an_edit_a_chmod_a_creation_and_a_deletion() {
    let mut disk = folder();
    disk.write("f", "longer");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(disk.at("g"), mode).expect("the mode can be set");
    disk.write("new", "");
    disk.remove("d/e");
    assert_eq!(disk.scan(), ["changed f", "mode g", "created new", "vanished d/e"]);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn a_change_that_sets_the_mtime_back_is_found_by_ctime() {
    let mut disk = folder();
    let before = std::fs::metadata(disk.at("f")).and_then(|meta| meta.modified());
    disk.write("f", "FFF");
    let file = std::fs::File::options().write(true).open(disk.at("f")).expect("it opens");
    file.set_modified(before.expect("there is an mtime")).expect("it can be set");
    assert_eq!(disk.scan(), ["changed f"]);
}

#[test]
fn a_rename_of_a_directory_is_one_change_and_edits_inside_follow() {
    let mut disk = folder();
    let row = disk.row("d/e/y").id;
    disk.rename("d", "moved");
    assert_eq!(disk.scan(), ["moved d to moved"]);
    assert_eq!(disk.row("moved/e/y").id, row);
    disk.rename("moved", "again");
    disk.write("again/e/y", "edited");
    disk.write("again/e/new", "");
    disk.remove("again/x");
    assert_eq!(
        disk.scan(),
        ["moved moved to again", "created again/e/new", "changed again/e/y", "vanished moved/x"]
    );
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn a_renamed_directory_that_is_made_anew_is_two_directories() {
    let mut disk = folder();
    disk.rename("d", "old");
    disk.mkdir("d");
    disk.write("d/x", "another");
    assert_eq!(disk.scan(), ["created d", "created d/x", "moved (1) to old"]);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn directories_that_swap_names_swap_rows() {
    let mut disk = folder();
    disk.rename("d/e", "e");
    assert_eq!(disk.scan(), ["moved d/e to e"]);
    let (d, e) = (disk.row("d").id, disk.row("e").id);
    disk.rename("d", "t");
    disk.rename("e", "d");
    disk.rename("t", "e");
    disk.scan();
    assert_eq!((disk.row("e").id, disk.row("d").id), (d, e));
    // And a directory that trades places with its own parent.
    disk.rename("d", "e/d");
    disk.scan();
    disk.rename("e/d", "d");
    disk.rename("e", "d/e");
    assert_eq!(disk.scan(), ["moved e/d to d", "moved e to d/e"]);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn a_file_that_becomes_a_directory_with_itself_inside() {
    let mut disk = folder();
    let row = disk.row("f").id;
    disk.rename("f", "t");
    disk.mkdir("f");
    disk.rename("t", "f/f");
    disk.scan();
    assert_eq!(disk.row("f/f").id, row);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn a_file_moves_and_a_hard_link_does_not() {
    let mut disk = folder();
    let row = disk.row("f").id;
    disk.rename("f", "d/f");
    assert_eq!(disk.scan(), ["moved f to d/f"]);
    assert_eq!(disk.row("d/f").id, row);
    std::fs::hard_link(disk.at("d/f"), disk.at("link")).expect("a link can be made");
    assert_eq!(disk.scan(), ["changed d/f", "created link"], "the link count changed the ctime");
}

#[test]
fn an_old_file_renamed_over_another_replaces_it() {
    let mut disk = folder();
    let row = disk.row("f").id;
    disk.rename("f", "g");
    assert_eq!(disk.look_and_carry_out(&[look_at("g")]), ["moved f to g", "vanished g"]);
    assert_eq!(disk.row("g").id, row);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn a_young_file_renamed_over_another_is_an_edit() {
    let mut disk = folder();
    let row = disk.row("g").id;
    disk.write("tmp", "new content");
    disk.scan();
    disk.now_ms += YOUNG_MS - 1;
    disk.rename("tmp", "g");
    assert_eq!(disk.look_and_carry_out(&[look_at("g")]), ["changed g", "vanished tmp"]);
    assert_eq!(disk.row("g").id, row);
}

#[test]
fn a_backup_takes_no_identity_along() {
    let mut disk = folder();
    let row = disk.row("f").id;
    disk.rename("f", "f~");
    disk.write("f", "saved");
    assert_eq!(disk.scan(), ["changed f", "created f~"]);
    assert_eq!(disk.row("f").id, row);
}

#[test]
fn rotating_logs_edits_each_in_place() {
    let mut disk = folder();
    disk.rename("g", "h");
    disk.rename("f", "g");
    disk.write("f", "");
    assert_eq!(disk.scan(), ["changed f", "changed g", "created h"]);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn what_is_ignored_is_never_deleted() {
    let mut disk = folder();
    disk.write(".dunlinignore", "*.o\n/d/e/\n");
    disk.write("a.o", "");
    assert_eq!(disk.scan(), ["created .dunlinignore"]);
    disk.remove("d/e");
    disk.rename("d", "q");
    assert_eq!(disk.scan(), ["moved d to q", "vanished d/e"], "q/e is not ignored");
    disk.remove(".dunlinignore");
    let changes = disk.look_and_carry_out(&[look_at(".dunlinignore")]);
    assert_eq!(changes, ["created a.o", "vanished .dunlinignore"]);
}

#[test]
fn a_fifo_is_reported_and_not_opened() {
    let mut disk = folder();
    let made = std::process::Command::new("mkfifo").arg(disk.at("d/pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    disk.remove("d/x");
    let socket = std::os::unix::net::UnixListener::bind(disk.at("d/x"));
    assert!(socket.is_ok());
    let observed = disk.observe(1);
    let paired = disk.pair(observed);
    assert_eq!(paired.notices.len(), 2);
    assert!(paired.notices.iter().all(|notice| matches!(
        notice,
        Observed::Unrepresentable { reason: Obstacle::SpecialFile, .. }
    )));
    assert_eq!(disk.carry_out(&paired.changes), ["vanished d/x"]);
}

#[test]
fn symlinks_are_compared_and_not_followed() {
    let mut disk = folder();
    symlink("d", disk.at("link")).expect("a symlink can be made");
    assert_eq!(disk.scan(), ["created link"]);
    disk.rename("link", "link2");
    assert_eq!(disk.scan(), ["moved link to link2"]);
    disk.remove("d");
    symlink("/", disk.at("d")).expect("a symlink can be made");
    assert_eq!(disk.scan(), ["created d", "vanished d"]);
    disk.remove("link2");
    symlink("f", disk.at("link2")).expect("a symlink can be made");
    let changes = disk.look_and_carry_out(&[look_at("link2"), look_at("d/x"), look_at("d")]);
    assert_eq!(changes, ["changed link2"]);
    assert_eq!(disk.rows(), disk.files());
}

#[test]
fn an_unreadable_directory_hides_and_deletes_nothing() {
    let disk = folder();
    let unreadable = |at: &str| Observed::Unreadable {
        path: path(at),
        error: FsError::new(crate::fs::FsErrorKind::Permission, "list", at),
    };
    let stat = disk.row("d").stat;
    let moved = vec![
        Observed::Vanished { path: path("d"), row: disk.row("d").id },
        Observed::Appeared { path: path("z"), stat },
        Observed::Appeared { path: path("z/e"), stat: disk.row("d/e").stat },
        unreadable("z"),
        unreadable("z/e"),
    ];
    let paired = disk.pair(moved);
    assert_eq!(paired.changes.len(), 1, "{paired:?}");
    assert!(matches!(&paired.changes[0], LocalChange::Moved { to, .. } if *to == path("z")));
}

#[test]
fn a_look_climbs_to_what_is_new_and_leaves_what_is_gone_to_its_own_event() {
    let mut disk = folder();
    disk.mkdir("n/m");
    disk.write("n/m/z", "");
    disk.remove("d");
    let changes = disk.look_and_carry_out(&[look_at("n/m/z"), look_at("d/e/y")]);
    assert_eq!(changes, ["created n", "created n/m", "created n/m/z"]);
    let unsettled = LookAt { settled: false, ..look_at("d") };
    assert_eq!(disk.look_and_carry_out(&[unsettled]), [""; 0], "it may come back");
    assert_eq!(disk.look_and_carry_out(&[look_at("d")]), ["vanished d"]);
    assert_eq!(disk.look_and_carry_out(&[look_at("no/such"), look_at("f")]), [""; 0]);
}

#[test]
fn a_look_at_the_new_path_alone_finds_the_rename() {
    let mut disk = folder();
    disk.rename("d/e/y", "y");
    assert_eq!(disk.look_and_carry_out(&[look_at("y")]), ["moved d/e/y to y"]);
    disk.rename("d", "b");
    assert_eq!(disk.look_and_carry_out(&[look_at("b")]), ["moved d to b"]);
    assert_eq!(disk.scan(), [""; 0]);
}

#[test]
fn ten_thousand_files_that_have_not_changed_cost_little() {
    let mut disk = Disk::new();
    for dir in 0..100 {
        disk.mkdir(&format!("{dir}"));
        for file in 0..100 {
            disk.write(&format!("{dir}/{file}"), "");
        }
    }
    assert_eq!(disk.scan().len(), 10_100);
    disk.table.write_back(true).expect("it can be written");
    let begun = Instant::now();
    assert_eq!(disk.observe(2), []);
    // A build without optimisation on a busy machine; it takes some 60 ms alone in release.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    disk.rename("7", "moved");
    let begun = Instant::now();
    assert_eq!(disk.scan(), ["moved 7 to moved"]);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

/// What a user does in the property test, on a handful of names.
#[derive(Debug, Clone)]
enum Act {
    Write(usize, u8),
    Mkdir(usize),
    Rename(usize, usize),
    Remove(usize),
    Link(usize, usize),
    Scan,
    Look(Vec<usize>),
    Later,
}

const NAMES: [&str; 14] = [
    "a", "b", "c", "a/a", "a/b", "b/a", "b/b", "c/a", "a/a/a", "a/a/b", "b/a/a", "b/b/b", "a/b/c",
    "c/a/b",
];

fn act() -> impl Strategy<Value = Act> {
    let name = || 0..NAMES.len();
    prop_oneof![
        3 => (name(), any::<u8>()).prop_map(|(name, byte)| Act::Write(name, byte)),
        3 => name().prop_map(Act::Mkdir),
        5 => (name(), name()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => name().prop_map(Act::Remove),
        1 => (name(), name()).prop_map(|(from, to)| Act::Link(from, to)),
        2 => Just(Act::Scan),
        1 => proptest::collection::vec(name(), 1..4).prop_map(Act::Look),
        1 => Just(Act::Later),
    ]
}

/// Does it if the disk allows it.
fn perform(disk: &mut Disk, act: &Act) {
    let at = |disk: &Disk, name: usize| disk.at(NAMES[name]);
    match act {
        Act::Write(name, byte) => {
            let _ = std::fs::write(at(disk, *name), vec![0; usize::from(*byte)]);
        }
        Act::Mkdir(name) => {
            let _ = std::fs::create_dir(at(disk, *name));
        }
        Act::Rename(from, to) => {
            let _ = std::fs::rename(at(disk, *from), at(disk, *to));
        }
        Act::Remove(name) => {
            let _ = std::fs::remove_file(at(disk, *name));
            let _ = std::fs::remove_dir_all(at(disk, *name));
        }
        Act::Link(from, to) => {
            let _ = std::fs::hard_link(at(disk, *from), at(disk, *to));
        }
        Act::Scan => {
            disk.scan();
        }
        Act::Look(names) => {
            let looks: Vec<LookAt> = names.iter().map(|name| look_at(NAMES[*name])).collect();
            disk.look_and_carry_out(&looks);
        }
        Act::Later => disk.now_ms += YOUNG_MS,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever was done to the disk, carrying out the changes one by one always works, makes the
    /// rows mirror the disk, and leaves nothing for the next scan.
    #[test]
    fn the_rows_follow_the_disk(acts in proptest::collection::vec(act(), 1..40)) {
        let mut disk = Disk::new();
        for act in &acts {
            perform(&mut disk, act);
        }
        disk.scan();
        prop_assert_eq!(disk.rows(), disk.files());
        let counts = disk.table.counts();
        prop_assert_eq!(
            counts.files + counts.directories + counts.symlinks,
            disk.rows().len() as u64
        );
        prop_assert_eq!(disk.scan(), Vec::<String>::new());
    }
}

#[test]
fn a_file_that_was_renamed_over_another_and_then_again_is_the_one_that_it_became() {
    let mut disk = Disk::new();
    disk.write("a", "moved twice");
    disk.write("b", "replaced");
    disk.scan();
    let row = disk.row("b").id;
    disk.rename("a", "b");
    let paired = {
        let observed = disk.look(&[look_at("b")]);
        disk.pair(observed)
    };
    // That the first name is gone waits for a while: it may be half of a rename.
    let (now, later): (Vec<_>, Vec<_>) = (paired.changes.into_iter())
        .partition(|change| !matches!(change, LocalChange::Vanished { .. }));
    assert_eq!((disk.carry_out(&now), later.len()), (vec!["changed b".to_owned()], 1));
    disk.rename("b", "c");
    assert_eq!(disk.scan(), ["moved b to c", "vanished a"]);
    assert_eq!(disk.row("c").id, row);
}
