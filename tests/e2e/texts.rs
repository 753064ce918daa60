//! Texts that several devices edit: one text on all of them, with what each wrote in it.

use std::collections::BTreeSet;

use crate::support::files::{append, names, read, remove, rename, write};
use crate::support::node::Group;
use crate::support::wait::wait_until;

const BEGINNING: &str = "# Packing\n\n- a tent\n- two sleeping bags\n- a small stove\n\n\
                         Meet at the station at nine.\n\nBring good weather.\n";

/// A text that each of `count` devices has.
fn shared(count: u8) -> Group {
    let mut group = Group::new(count);
    let all: Vec<usize> = (0..count.into()).collect();
    group.start(&all);
    write(group.nodes[0].at("list.md"), BEGINNING);
    group.converge(&all);
    group
}

/// The text on all devices, which must be the same, alone, and no conflict.
fn agreed(group: &Group, of: &[usize]) -> String {
    let text = |i: usize| String::from_utf8(read(group.nodes[i].at("list.md"))).expect("a text");
    let first = text(of[0]);
    for i in of {
        assert_eq!(text(*i), first, "on {}", group.nodes[*i].name);
        assert_eq!(names(&group.nodes[*i].dir), ["list.md"]);
    }
    group.assert_no_conflicts(of);
    first
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

/// Lets each device make its edit of the text while all are apart, and gives what they agree on.
fn apart(edits: &[&dyn Fn(&str) -> String]) -> String {
    let mut group = shared(u8::try_from(edits.len()).expect("few devices"));
    let all: Vec<usize> = (0..edits.len()).collect();
    group.stop(&all);
    for (i, edit) in edits.iter().enumerate() {
        write(group.nodes[i].at("list.md"), edit(BEGINNING));
    }
    group.start(&all);
    group.converge(&all);
    agreed(&group, &all)
}

#[test]
fn edits_of_different_lines_stand_where_they_were_made() {
    let text = apart(&[&|text| text.replace("a tent", "a tent for three"), &|text| {
        text.replace("good weather", "good weather and a map")
    }]);
    let expected = BEGINNING
        .replace("a tent", "a tent for three")
        .replace("good weather", "good weather and a map");
    assert_eq!(text, expected);
}

#[test]
fn three_devices_edit_one_line_one_word_and_one_point() {
    let text = apart(&[
        &|text| text.replace("at nine", "at ten").replace("- a small", "- matches\n- a small"),
        &|text| text.replace("at nine", "at eleven").replace("- a small", "- candles\n- a small"),
        &|text| text.replace("Meet at", "Let us meet quietly at"),
    ]);
    let words = words(&text);
    for word in ["ten.", "eleven.", "matches", "candles", "Let", "us", "meet", "quietly"] {
        assert!(words.contains(word), "{word} is not in {text}");
    }
    assert!(!words.contains("nine."), "{text}");
    assert_eq!(text.matches("station").count(), 1, "{text}");
}

#[test]
fn what_one_inserts_outlives_that_another_deletes_around_it_or_moves_the_paragraph() {
    let deleted = apart(&[&|text| text.replace("Meet at the station at nine.\n\n", ""), &|text| {
        text.replace("the station", "the old harbour station")
    }]);
    assert!(words(&deleted).is_superset(&words("old harbour")), "{deleted}");
    assert!(!words(&deleted).contains("nine."), "{deleted}");
    let moved = apart(&[
        &|text| {
            let rest = text.replace("Bring good weather.\n", "");
            rest.replace("# Packing\n\n", "# Packing\n\nBring good weather.\n\n")
        },
        &|text| text.replace("two sleeping", "three warm sleeping"),
    ]);
    assert!(words(&moved).is_superset(&words("three warm Bring weather.")), "{moved}");
}

#[test]
fn both_write_at_the_same_time_while_connected() {
    let group = shared(2);
    for round in 0..8 {
        for node in &group.nodes {
            append(node.at("list.md"), format!("Round {round} by {}.\n", node.name).as_bytes());
        }
        group.converge(&[0, 1]);
    }
    let text = agreed(&group, &[0, 1]);
    for round in 0..8 {
        for node in &group.nodes {
            let line = format!("Round {round} by {}.", node.name);
            assert_eq!(text.matches(&line).count(), 1, "{line} in {text}");
        }
    }
}

#[test]
fn a_device_that_was_away_and_one_that_is_new_come_to_the_same_text() {
    let mut group = Group::new(3);
    group.start(&[0, 1]);
    write(group.nodes[0].at("list.md"), BEGINNING);
    group.converge(&[0, 1]);
    group.stop(&[1]);
    write(group.nodes[1].at("list.md"), BEGINNING.replace("a tent", "no tent"));
    for (from, to) in [("small", "large"), ("nine", "noon"), ("good", "fine")] {
        let path = group.nodes[0].at("list.md");
        let text = String::from_utf8(read(&path)).expect("a text");
        write(&path, text.replace(from, to));
        group.nodes[0].cli(&["scan"]).expect_code(0);
    }
    group.start(&[1]);
    group.converge(&[0, 1]);
    let both = agreed(&group, &[0, 1]);
    assert!(words(&both).is_superset(&words("no large noon. fine")), "{both}");
    // The third has seen neither side: it makes the same of the states alone.
    group.start(&[2]);
    group.converge(&[0, 1, 2]);
    assert_eq!(agreed(&group, &[0, 1, 2]), both);
    // And goes on from there, as does a device that edits the merge.
    write(group.nodes[2].at("list.md"), format!("{both}Signed by the third.\n"));
    rename(group.nodes[1].at("list.md"), group.nodes[1].at("plan.md"));
    group.converge(&[0, 1, 2]);
    for node in &group.nodes {
        assert_eq!(names(&node.dir), ["plan.md"]);
        assert!(read(node.at("plan.md")).ends_with(b"Signed by the third.\n"), "{}", node.name);
    }
}

#[test]
fn a_merge_that_sigkill_interrupts_is_not_taken_for_an_edit() {
    let mut group = shared(2);
    for round in 0..4 {
        group.stop(&[1]);
        for i in 0..2 {
            let path = group.nodes[i].at("list.md");
            let text = String::from_utf8(read(&path)).expect("a text");
            let line = format!("Round {round} by {}.\n", group.nodes[i].name);
            write(&path, if i == 0 { line.clone() + &text } else { text + &line });
        }
        group.nodes[0].cli(&["scan"]).expect_code(0);
        group.start(&[1]);
        let mark = format!("Round {round} by {}.", group.nodes[1].name);
        wait_until("the first has the merge", || {
            String::from_utf8_lossy(&read(group.nodes[0].at("list.md"))).contains(&mark)
        });
        group.nodes[0].kill9();
        group.start(&[0]);
        group.converge(&[0, 1]);
    }
    let text = agreed(&group, &[0, 1]);
    for round in 0..4 {
        for node in &group.nodes {
            let line = format!("Round {round} by {}.", node.name);
            assert_eq!(text.matches(&line).count(), 1, "{line} in {text}");
        }
    }
}

#[test]
fn what_would_not_parse_any_more_and_what_was_begun_apart_is_a_conflict() {
    let mut group = Group::pair();
    write(group.nodes[0].at("settings.json"), "{\n  \"a\": 1\n}\n");
    group.converge(&[0, 1]);
    group.stop(&[0, 1]);
    for (i, line) in [(0, "  \"b\": 2\n"), (1, "  \"c\": 3\n")] {
        // Both put a line behind the last one: merged, a comma would be missing.
        let text = format!("{{\n  \"a\": 1,\n{line}}}\n");
        write(group.nodes[i].at("settings.json"), text);
        write(group.nodes[i].at("new.md"), format!("begun by {}\n", group.nodes[i].name));
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    for node in &group.nodes {
        assert_eq!(node.folder().conflicts, 2, "{:?}", names(&node.dir));
        for name in names(&node.dir).iter().filter(|name| name.starts_with("settings")) {
            let text = read(node.at(name));
            serde_json::from_slice::<serde_json::Value>(&text).expect("it parses");
        }
    }
    // Deleting the copies resolves the conflicts for good.
    for name in names(&group.nodes[0].dir).iter().filter(|name| name.contains("conflict")) {
        remove(group.nodes[0].at(name));
    }
    group.converge(&[0, 1]);
    group.assert_no_conflicts(&[0, 1]);
    assert_eq!(names(&group.nodes[1].dir), ["new.md", "settings.json"]);
}

#[test]
fn the_originals_of_both_sides_are_kept() {
    let mut group = shared(2);
    group.stop(&[0, 1]);
    let side = |word: &str| BEGINNING.replace("small", word);
    write(group.nodes[0].at("list.md"), side("tiny"));
    write(group.nodes[1].at("list.md"), side("huge"));
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    agreed(&group, &[0, 1]);
    for (node, word) in group.nodes.iter().zip(["tiny", "huge"]) {
        let batches = node.private().join("versions");
        let kept = names(&batches).into_iter().map(|batch| batches.join(batch).join("list.md"));
        let kept: Vec<Vec<u8>> = kept.filter(|path| path.exists()).map(read).collect();
        assert!(kept.contains(&side(word).into_bytes()), "{} keeps {kept:?}", node.name);
    }
}
