//! What a running node tells and is told: status, events, pausing, scanning, devices.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::files::{chmod, exists, mkdir, read, write};
use crate::support::node::Group;
use crate::support::process::Running;
use crate::support::status::State;
use crate::support::wait::{PATIENCE, poll_for, wait_until};

#[test]
fn up_without_json_tells_a_person_the_join_code() {
    let group = Group::new(1);
    let node = &group.nodes[0];
    let path = group.base.path().join("output");
    let dir = node.dir.to_string_lossy().into_owned();
    let flags: Vec<String> = node.flags().into_iter().filter(|flag| flag != "--json").collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut command = node.command(&[&["up", &dir][..], &flags].concat());
    command.stdin(Stdio::null()).stdout(fs::File::create(&path).expect("a file"));
    let mut running = Running::start(command);
    let mut text = String::new();
    wait_until("the join code is printed", || {
        text = fs::read_to_string(&path).unwrap_or_default();
        text.contains("dunlin1") && text.ends_with('\n')
    });
    assert!(text.contains(&dir), "not which folder: {text}");
    let shared = node.cli(&["share", &dir]).expect_code(0).stdout;
    assert!(shared.starts_with("dunlin1"));
    kill_process(Pid::from_child(&running.0), Signal::TERM).expect("a child can be signalled");
    let status = poll_for(PATIENCE, || running.0.try_wait().ok()?);
    assert_eq!(status.and_then(|status| status.code()), Some(0), "it did not stop cleanly");
}

#[test]
fn a_node_can_be_started_in_the_moment_in_which_it_is_killed() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    for round in 0..5 {
        group.nodes[1].kill9_and_restart();
        write(group.nodes[0].at("file"), round.to_string());
    }
    group.converge(&[0, 1]);
}

#[test]
fn status_tells_what_the_contract_promises() {
    let group = Group::pair();
    mkdir(group.nodes[0].at("dir/inner"));
    write(group.nodes[0].at("dir/file"), "12345");
    write(group.nodes[0].at("file"), "1234567890");
    group.converge(&[0, 1]);
    let [a, b] = [&group.nodes[0], &group.nodes[1]].map(|node| node.status());
    assert_eq!((a.name.as_str(), b.name.as_str()), ("a", "b"));
    assert!(a.device.starts_with("12D3KooW") && a.device != b.device);
    assert!(!a.version.is_empty());
    assert!(a.uptime_s < 3600);
    let address = group.network.place(0).multiaddr();
    assert!(a.listen.iter().any(|listen| listen.starts_with(&address)), "{:?}", a.listen);
    let folder = &a.folders[0];
    assert_eq!(a.folders.len(), 1);
    assert_eq!(folder.name, "a");
    assert_eq!(fs::canonicalize(&folder.path).ok(), fs::canonicalize(&group.nodes[0].dir).ok());
    assert_eq!((folder.tier.as_str(), folder.state, &folder.error), ("write", State::Idle, &None));
    assert_eq!((folder.files, folder.dirs, folder.bytes), (2, 2, 15));
    assert_eq!((folder.need_files, folder.need_bytes, folder.conflicts), (0, 0, 0));
    let [device] = &folder.devices[..] else { panic!("one other device: {:?}", folder.devices) };
    assert_eq!((device.device.as_str(), device.name.as_str()), (b.device.as_str(), "b"));
    assert!(device.connected && device.in_sync);
    assert!(matches!(device.path.as_deref(), Some("lan" | "direct")), "{:?}", device.path);
    // Without --json the same is there for a person.
    let text = group.nodes[0].cli(&["status"]).expect_code(0).stdout;
    assert!(text.contains('b') && !text.trim_start().starts_with('{'), "{text}");

    let devices = group.nodes[0].cli(&["device", "ls", "--json"]).expect_code(0);
    assert!(devices.stdout.contains(&b.device), "{}", devices.stdout);
    let folders = group.nodes[0].cli(&["folder", "ls", "--json"]).expect_code(0);
    assert!(folders.stdout.contains(folder.path.as_str()), "{}", folders.stdout);
}

#[test]
fn a_device_that_goes_away_is_seen_to_be_away() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    group.stop(&[1]);
    wait_until("B is away", || !group.nodes[0].folder().devices[0].connected);
    let device = group.nodes[0].folder().devices.remove(0);
    assert_eq!(device.path, None);
    assert!(device.last_seen.is_some_and(|time| time.contains('T')));
    group.nodes[1].restart();
    group.wait_connected(0, 1);
}

#[test]
fn events_are_json_lines_of_what_happens_here_and_there() {
    let group = Group::pair();
    group.converge(&[0, 1]);
    let path = group.base.path().join("events");
    let mut command = group.nodes[1].command(&["events"]);
    command.stdin(Stdio::null()).stdout(fs::File::create(&path).expect("a file"));
    let mut events = Running::start(command);
    // The stream is open as soon as it tells of something; until then more happens.
    let mut count = 0;
    wait_until("an event of a local change", || {
        count += 1;
        write(group.nodes[1].at(format!("here {count}")), "local");
        fs::read_to_string(&path).is_ok_and(|text| text.contains("local_change"))
    });
    write(group.nodes[0].at("there"), "remote");
    wait_until("an event of a remote change", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.lines().any(|line| line.contains("\"applied\"") && line.contains("\"there\""))
    });
    kill_process(Pid::from_child(&events.0), Signal::INT).expect("a child can be signalled");
    assert!(poll_for(PATIENCE, || events.0.try_wait().ok()?).is_some(), "events does not end");
    let text = fs::read_to_string(&path).expect("the events");
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("a JSON line each");
        assert!(event.get("event").is_some_and(serde_json::Value::is_string), "{line}");
    }
}

#[test]
fn a_paused_folder_neither_sends_nor_takes_until_it_is_resumed() {
    let group = Group::pair();
    group.converge(&[0, 1]);
    let folder = group.nodes[1].dir.to_string_lossy().into_owned();
    group.nodes[1].cli(&["folder", "pause", &folder]).expect_code(0);
    group.nodes[1].wait_state(State::Paused);
    write(group.nodes[0].at("from a"), "while paused");
    write(group.nodes[1].at("from b"), "while paused");
    group.nodes[0].cli(&["scan"]).expect_code(0);
    assert!(!exists(group.nodes[1].at("from a")) && !exists(group.nodes[0].at("from b")));
    group.nodes[1].cli(&["folder", "resume", &folder]).expect_code(0);
    group.converge(&[0, 1]);
    assert_eq!(read(group.nodes[1].at("from a")), b"while paused");
    assert_eq!(read(group.nodes[0].at("from b")), b"while paused");
}

#[test]
fn removing_a_folder_from_a_device_deletes_no_file() {
    let group = Group::pair();
    write(group.nodes[0].at("file"), "stays");
    group.converge(&[0, 1]);
    let folder = group.nodes[1].dir.to_string_lossy().into_owned();
    group.nodes[1].cli(&["folder", "rm", &folder]).expect_code(0);
    assert!(group.nodes[1].status().folders.is_empty());
    write(group.nodes[0].at("later"), "not for B");
    group.nodes[0].cli(&["scan"]).expect_code(0);
    for node in &group.nodes {
        assert_eq!(read(node.at("file")), b"stays", "on {}", node.name);
    }
    assert!(!exists(group.nodes[1].at("later")));
}

#[test]
fn scan_finds_what_no_event_tells_of() {
    let group = Group::pair();
    write(group.nodes[0].at("file"), "before");
    group.converge(&[0, 1]);
    // A mode change right after a scan, and another scan: the result must not depend on events.
    chmod(group.nodes[0].at("file"), 0o711);
    group.nodes[0].cli(&["scan"]).expect_code(0);
    group.converge(&[0, 1]);
    // By name, by path, and by a path inside.
    for folder in ["a".to_owned(), group.nodes[0].at("file").to_string_lossy().into_owned()] {
        group.nodes[0].cli(&["scan", &folder]).expect_code(0);
    }
}

#[test]
fn doctor_looks_at_a_sound_node_and_finds_nothing_wrong() {
    let mut group = Group::pair();
    group.converge(&[0, 1]);
    let outcome = group.nodes[0].cli(&["doctor"]).expect_code(0);
    assert!(outcome.stdout.lines().count() >= 4, "{}", outcome.stdout);
    group.stop(&[0]);
    let outcome = group.nodes[0].cli(&["doctor", "--json"]).expect_code(0);
    let value: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert!(!value.is_null());
}

#[test]
fn an_interrupt_stops_a_node_as_cleanly_as_a_termination() {
    let mut group = Group::new(1);
    group.start(&[0]);
    let pid = Pid::from_raw(i32::try_from(group.nodes[0].pid()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::INT).expect("a child can be signalled");
    wait_until("the node has stopped", || !group.nodes[0].is_running());
    assert_eq!(group.nodes[0].exit_code(), Some(0));
    group.nodes[0].restart();
}
