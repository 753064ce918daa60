//! What goes wrong on the command line is said in a sentence, with the exit code that is promised.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use crate::support::files::{chmod, exists, mkdir, names, remove, remove_tree, write};
use crate::support::is_root;
use crate::support::mount::Mount;
use crate::support::network::Network;
use crate::support::node::{Group, Outcome, run};
use crate::support::skipped;

/// How long a command that must fail may take to do so.
const FAIL_WITHIN: Duration = Duration::from_secs(30);

/// One device on the loopback, not running.
fn alone() -> Group {
    Group::on(Network::loopback(1), 1)
}

/// Runs `up DIR`, which must fail: it would run for ever otherwise.
#[track_caller]
fn up(group: &Group, dir: &str) -> Outcome {
    let flags = group.nodes[0].flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    run(group.nodes[0].command(&[&["up", dir][..], &flags].concat()), FAIL_WITHIN)
}

#[test]
fn a_second_up_on_the_same_home_is_refused_and_the_first_lives_on() {
    let mut group = alone();
    group.start(&[0]);
    let other = group.base.path().join("other");
    mkdir(&other);
    let outcome = up(&group, &other.to_string_lossy()).expect_explained(1);
    let said = outcome.stderr.to_lowercase();
    assert!(said.contains("run"), "not that a node runs already: {said}");
    assert!(names(&other).is_empty() && !exists(other.join(".dunlin")), "it touched the directory");
    group.nodes[0].status();
    group.nodes[0].stop();
}

#[test]
fn a_directory_inside_another_folder_or_around_it_is_refused() {
    let mut group = alone();
    group.start(&[0]);
    let folder = group.nodes[0].dir.clone();
    let inner = folder.join("inner");
    mkdir(&inner);
    let code = group.code();
    let inside = inner.to_string_lossy().into_owned();
    // With a running node, by the command that reaches it.
    group.nodes[0].cli(&["join", &code, &inside]).expect_explained(1);
    group.nodes[0].stop();
    let outcome = up(&group, &inside).expect_explained(1);
    let named = outcome.stderr.contains(&*folder.to_string_lossy());
    assert!(named, "it does not name the folder that is in the way: {}", outcome.stderr);
    let around = folder.parent().expect("a parent").to_string_lossy().into_owned();
    up(&group, &around).expect_explained(1);
    assert!(!exists(inner.join(".dunlin")));
    // The way through a symbolic link is the same way.
    let link = group.base.path().join("link");
    crate::support::files::link(&inside, &link);
    up(&group, &link.to_string_lossy()).expect_explained(1);
}

#[test]
fn a_directory_that_cannot_be_one_or_cannot_be_written_is_refused() {
    let mut group = alone();
    let file = group.base.path().join("file");
    write(&file, "not a directory");
    let outcome = up(&group, &file.to_string_lossy()).expect_explained(1);
    assert!(outcome.stderr.contains("file"), "it does not name the path: {}", outcome.stderr);
    up(&group, &file.join("below").to_string_lossy()).expect_explained(1);

    let locked = group.base.path().join("locked");
    mkdir(&locked);
    if is_root() {
        // Root may write anywhere but on a read-only file system.
        match Mount::tmpfs(&locked, 1) {
            Ok(mount) => {
                mount.make_read_only();
                group.mounts.push(mount);
            }
            Err(why) => return skipped("a directory that cannot be written", &why),
        }
    } else {
        chmod(&locked, 0o555);
    }
    let outcome = up(&group, &locked.to_string_lossy()).expect_explained(1);
    assert!(outcome.stderr.contains("locked"), "it does not name the path: {}", outcome.stderr);
    // What was refused is not remembered: the next start works.
    group.start(&[0]);
    assert_eq!(group.nodes[0].status().folders.len(), 1);
    group.nodes[0].stop();
    if group.mounts.is_empty() {
        chmod(&locked, 0o755);
    }
}

#[test]
fn a_wrong_join_code_is_refused_and_a_typo_is_called_one() {
    let mut group = alone();
    group.start(&[0]);
    let code = group.code();
    group.nodes[0].stop();
    assert!(code.starts_with("dunlin1") && !code.contains(char::is_whitespace), "{code:?}");
    let dir = group.base.path().join("joined").to_string_lossy().into_owned();
    let join = |code: &str| run(group.nodes[0].command(&["join", code, &dir]), FAIL_WITHIN);

    for position in [10, code.len() / 2, code.len() - 1] {
        let mut letters: Vec<char> = code.chars().collect();
        letters[position] = if letters[position] == 'q' { 'p' } else { 'q' };
        let wrong: String = letters.into_iter().collect();
        let outcome = join(&wrong).expect_explained(1);
        let said = outcome.stderr.to_lowercase();
        let helpful = ["typo", "mistyp", "letter", "character"].iter().any(|w| said.contains(w));
        assert!(helpful, "a typo is not called one: {said}");
        assert!(!said.contains(&wrong), "the code, a secret, is repeated: {said}");
    }
    join(&code[..code.len() - 20]).expect_explained(1);
    join("dunlin1").expect_explained(1);
    join("hello").expect_explained(1);
    assert!(!exists(&dir), "a refused code made the directory");
}

#[test]
fn without_a_node_the_exit_code_is_4_and_a_wait_that_runs_out_is_3() {
    let mut group = alone();
    for arguments in
        [&["status"][..], &["status", "--json"], &["status", "--wait", "5"], &["scan"], &["events"]]
    {
        group.nodes[0].cli(arguments).expect_explained(4);
    }
    group.start(&[0]);
    // No other device is connected, so there is nobody to be in sync with.
    group.nodes[0].cli(&["status", "--wait", "1"]).expect_code(3);
    group.nodes[0].kill9();
    // What a killed node left behind does not look like a running one.
    group.nodes[0].cli(&["status"]).expect_explained(4);
    group.nodes[0].restart();
    group.nodes[0].stop();
    group.nodes[0].cli(&["status"]).expect_explained(4);
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let group = alone();
    let wrong = [
        &["frobnicate"][..],
        &["up", "--nonsense"],
        &["join"],
        &["share"],
        &["status", "--wait", "soon"],
        &["share", "x", "--tier", "emperor"],
        &[],
    ];
    for arguments in wrong {
        let outcome = group.nodes[0].cli(arguments).expect_code(2);
        assert!(outcome.stdout.is_empty(), "results go to stdout, this is none: {outcome:?}");
        assert!(!outcome.stderr.trim().is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["up", "--help"], &["man"]] {
        let outcome = group.nodes[0].cli(arguments).expect_code(0);
        assert!(outcome.stdout.contains("dunlin"), "{arguments:?}: {outcome:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let outcome = group.nodes[0].cli(&["completions", shell]).expect_code(0);
        assert!(outcome.stdout.contains("dunlin"), "{shell}");
    }
}

#[test]
fn an_unknown_folder_or_device_is_a_sentence() {
    let mut group = alone();
    group.start(&[0]);
    for arguments in [
        &["share", "no such folder"][..],
        &["scan", "no such folder"],
        &["folder", "pause", "no such folder"],
        &["folder", "approve", "no such folder"],
        &["folder", "rm", "no such folder"],
        &["device", "rename", "no such device", "name"],
    ] {
        group.nodes[0].cli(arguments).expect_explained(1);
    }
}

#[test]
fn the_home_keeps_its_secrets_to_its_owner() {
    let mut group = alone();
    group.start(&[0]);
    let home = group.nodes[0].home.join("dunlin");
    let mut keys = 0;
    for name in names(&home) {
        let path = home.join(&name);
        let mode = path.metadata().expect("what was just listed").permissions().mode();
        if path.is_file() {
            keys += usize::from(mode & 0o777 == 0o600);
        }
        let open_to_others = mode & 0o077 != 0 && home_is_open(&home);
        assert!(!open_to_others, "{name} can be read by others: {mode:o}");
    }
    assert!(keys > 0, "no file in the home has the mode 0600: {:?}", names(&home));
    group.nodes[0].stop();
}

/// Whether others may look into the home at all.
fn home_is_open(home: &std::path::Path) -> bool {
    home.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[test]
fn a_lost_database_is_built_again_from_the_disk_and_the_peers() {
    let mut group = Group::pair();
    for name in ["one", "two", "three"] {
        write(group.nodes[0].at(name), name);
    }
    group.converge(&[0, 1]);
    group.nodes[1].stop();
    // Everything that is not the identity: directories of the home are databases.
    let home = group.nodes[1].home.join("dunlin");
    let mut lost = 0;
    for entry in std::fs::read_dir(&home).expect("a home") {
        let path = entry.expect("a home").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if path.is_dir() && name.is_some_and(|name| name.contains("db") || name.contains("data")) {
            remove_tree(&path);
            lost += 1;
        }
    }
    if lost == 0 {
        return skipped("a lost database", "no directory of the home looks like one");
    }
    remove(group.nodes[0].at("one"));
    write(group.nodes[0].at("two"), "edited while the database was lost");
    group.nodes[1].restart();
    write(group.nodes[1].at("four"), "after");
    group.converge(&[0, 1]);
    assert!(names(&group.nodes[1].dir).contains(&"four".into()));
    let two = std::fs::read(group.nodes[1].at("two")).ok();
    assert_eq!(two.as_deref(), Some(&b"edited while the database was lost"[..]));
}
