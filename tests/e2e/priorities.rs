//! What comes first: what the user asks for, and folders and patterns that are set to.

use crate::support::files::{bytes, read, write};
use crate::support::node::Group;
use crate::support::wait::wait_until;

/// Files that come before the one that is asked for, if nobody asks.
const OTHERS: usize = 6;
/// The length of each, in bytes.
const OTHER: usize = 3 << 19;
/// The length of the file that is asked for.
const WANTED: usize = 17 << 17;

#[test]
fn what_the_user_asks_for_comes_before_what_is_under_way() {
    let group = Group::pair();
    // All of it takes a minute, and the file that is asked for, the largest, ten seconds.
    group.nodes[0].cli(&["limit", "--up", "200kB/s"]).expect_code(0);
    let other = |number: usize| format!("other-{number}");
    for number in 0..OTHERS {
        write(group.nodes[0].at(other(number)), bytes(number as u64, OTHER));
    }
    let deep = group.nodes[0].at("deep");
    std::fs::create_dir(&deep).expect("a directory");
    write(deep.join("wanted"), bytes(99, WANTED));
    let (a, b) = (&group.nodes[0], &group.nodes[1]);
    // A file that is seen before its writer comes to its first byte is indexed empty at first.
    wait_until("A has indexed all", || a.folder().bytes == (OTHERS * OTHER + WANTED) as u64);
    wait_until("B knows of all, and some has come", || {
        let folder = b.folder();
        folder.need_files > OTHERS as u64 && folder.received_bytes > 0
    });
    let unknown = b.cli(&["fetch", b.at("nowhere").to_str().expect("UTF-8")]).expect_code(1);
    assert!(unknown.stderr.contains("nothing is known of nowhere"), "{}", unknown.stderr);

    b.cli(&["fetch", b.at("deep").to_str().expect("UTF-8")]).expect_code(0);
    let wanted = b.at("deep/wanted");
    let len = || std::fs::metadata(&wanted).map_or(0, |there| there.len());
    wait_until("it is there", || len() == WANTED as u64);
    assert_eq!(read(&wanted), bytes(99, WANTED));
    let there = (0..OTHERS).filter(|number| b.at(other(*number)).exists()).count();
    assert!(there < OTHERS, "the others would have come before it");
    a.cli(&["limit", "off"]).expect_code(0);
    group.converge(&[0, 1]);
}

#[test]
fn what_goes_first_is_set_for_all_and_for_one_device() {
    let group = Group::pair();
    let names = [group.nodes[0].folder().name, group.nodes[1].folder().name];
    let set = |node: usize, arguments: &[&str]| {
        group.nodes[node].cli(&[&["folder", "set", &names[node]][..], arguments].concat())
    };
    set(0, &["first", "*.pdf", "--add"]).expect_code(0);
    set(0, &["priority", "high"]).expect_code(0);
    let wrong = set(0, &["priority", "urgent"]).expect_code(1);
    assert!(wrong.stderr.contains("it is high, normal or low"), "{}", wrong.stderr);
    set(0, &["first", "*.pdf", "--local"]).expect_code(1);
    let shows = |node: usize, line: &str| {
        let shown = group.nodes[node].cli(&["folder", "show", &names[node], "--json"]);
        shown.expect_code(0).stdout.replace([' ', '\n'], "").contains(line)
    };
    wait_until("both know the patterns", || {
        (0..2).all(|node| shows(node, r#"{"key":"first","value":["*.pdf"],"from":"shared"}"#))
    });
    assert!(shows(0, r#"{"key":"priority","value":"high","from":"local"}"#));
    assert!(shows(1, r#"{"key":"priority","value":"normal","from":"default"}"#));
    set(0, &["priority", "default"]).expect_code(0);
    assert!(shows(0, r#"{"key":"priority","value":"normal","from":"default"}"#));
}
