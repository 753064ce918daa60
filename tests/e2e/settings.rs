//! Settings that the members of a folder share, and those of one device.

use crate::support::files::{exists, read, write};
use crate::support::node::{Group, Node};
use crate::support::wait::wait_until;

fn set(node: &Node, arguments: &[&str]) {
    node.cli(&[&["folder", "set"][..], arguments].concat()).expect_code(0);
}

/// Gives the value of a setting and where it comes from.
fn setting(node: &Node, key: &str) -> (serde_json::Value, String) {
    let folder = node.folder().name;
    let outcome = node.cli(&["folder", "show", &folder, "--json"]).expect_code(0);
    let settings: Vec<serde_json::Value> =
        serde_json::from_str(&outcome.stdout).expect("a list of settings");
    let found = settings.into_iter().find(|setting| setting["key"] == key);
    let found = found.unwrap_or_else(|| panic!("no setting {key}"));
    (found["value"].clone(), found["from"].as_str().expect("a word").to_owned())
}

fn shared(value: impl Into<serde_json::Value>) -> (serde_json::Value, String) {
    (value.into(), "shared".to_owned())
}

#[test]
fn settings_changed_apart_all_hold_when_the_devices_have_met() {
    let mut group = Group::pair();
    write(group.nodes[0].at("first"), "one");
    group.converge(&[0, 1]);
    let names = [group.nodes[0].folder().name, group.nodes[1].folder().name];

    group.stop(&[1]);
    set(&group.nodes[0], &[&names[0], "label", "our files"]);
    set(&group.nodes[0], &[&names[0], "ignore", "*.tmp", "--add"]);
    group.stop(&[0]);
    group.start(&[1]);
    set(&group.nodes[1], &[&names[1], "versions", "keep:5"]);
    set(&group.nodes[1], &[&names[1], "ignore", "cache/", "--add"]);
    group.start(&[0]);

    for node in &group.nodes {
        wait_until("both changes are here", || {
            setting(node, "label") == shared("our files")
                && setting(node, "versions") == shared("keep:5")
        });
        let (ignore, from) = setting(node, "ignore");
        let mut ignore: Vec<&str> =
            ignore.as_array().expect("a list").iter().filter_map(|one| one.as_str()).collect();
        ignore.sort_unstable();
        assert_eq!((ignore, from.as_str()), (vec!["*.tmp", "cache/"], "shared"));
        // Nobody has asked for it to be as usual.
        assert_eq!(setting(node, "versions-size"), ("10GiB".into(), "default".to_owned()));
    }
    group.converge(&[0, 1]);
}

#[test]
fn shared_patterns_take_effect_on_both_devices_and_can_be_taken_back() {
    let group = Group::pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    set(a, &[&a.folder().name, "ignore", "*.tmp", "--add"]);
    wait_until("B knows the pattern", || setting(b, "ignore").1 == "shared");
    for (from, to) in [(a, b), (b, a)] {
        let (junk, wanted) = (format!("{}.tmp", from.name), format!("{}.txt", from.name));
        write(from.at(&junk), "junk");
        write(from.at(&wanted), "wanted");
        wait_until("what is not ignored is there", || exists(to.at(&wanted)));
        to.wait_in_sync();
        assert!(!exists(to.at(&junk)), "{junk} was synced");
    }
    set(b, &[&b.folder().name, "ignore", "*.tmp", "--remove"]);
    wait_until("what was ignored is there", || {
        exists(b.at(format!("{}.tmp", a.name))) && exists(a.at(format!("{}.tmp", b.name)))
    });
}

#[test]
fn a_label_is_the_name_for_new_members_and_names_of_devices_are_shared() {
    let mut group = Group::new(3);
    write(group.nodes[0].at("file"), "content");
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    set(&group.nodes[0], &[&group.nodes[0].folder().name, "label", "family photos"]);
    let nas = group.nodes[1].status().device;
    group.nodes[0].cli(&["device", "rename", &nas, "attic"]).expect_code(0);
    assert_eq!(group.nodes[0].folder().devices[0].name, "attic");
    wait_until("B has heard of the label", || {
        setting(&group.nodes[1], "label") == shared("family photos")
    });
    // Who gives the code has learned of the label, and not chosen it.
    let folder = group.nodes[1].folder().name;
    let code = group.nodes[1].cli(&["share", &folder]).expect_code(0).stdout;
    group.nodes[2].spawn(Some(code.trim()));
    group.nodes[2].wait_ready();
    let c = &group.nodes[2];
    assert_eq!(c.folder().name, "family photos");
    wait_until("C has the file", || exists(c.at("file")) && read(c.at("file")) == b"content");
    wait_until("C knows B by its shared name", || {
        c.folder().devices.iter().any(|device| device.device == nas && device.name == "attic")
    });
}

#[test]
fn a_local_setting_holds_on_its_device_alone() {
    let group = Group::pair();
    let [a, b] = &group.nodes[..] else { panic!("two nodes") };
    let (on_a, on_b) = (a.folder().name, b.folder().name);
    set(a, &[&on_a, "versions", "days:30"]);
    wait_until("B knows the policy", || setting(b, "versions") == shared("days:30"));
    set(b, &[&on_b, "versions", "none", "--local"]);
    assert_eq!(setting(b, "versions"), ("none".into(), "local".to_owned()));
    assert_eq!(setting(a, "versions"), shared("days:30"));
    set(b, &[&on_b, "versions", "", "--local"]);
    assert_eq!(setting(b, "versions"), shared("days:30"));

    a.cli(&["folder", "set", &on_a, "ignore", "*.o", "--local"]).expect_explained(1);
    a.cli(&["folder", "set", &on_a, "versions", "sometimes"]).expect_explained(1);
    a.cli(&["folder", "set", &on_a, "colour", "red"]).expect_explained(1);
    a.cli(&["folder", "set", &on_a, "ignore", "*.o", "--remove"]).expect_explained(1);
}
