//! Settings that several devices change apart, through the documents that the index keeps.

use dunlin_text::settings::{SETTINGS_BYTES_MAX, Settings};
use dunlin_text::{Client, Doc, TextError};
use proptest::prelude::*;

fn client(number: u8) -> Client {
    Client::of(&[number; 32], 1)
}

/// Changes settings as one device, and gives the document that it writes.
fn changed(documents: &[&[u8]], number: u8, change: impl FnOnce(&mut Settings)) -> Vec<u8> {
    let mut settings = Settings::read(documents);
    change(&mut settings);
    let document = settings.write(documents, client(number)).expect("small settings");
    assert_eq!(Settings::read(&[&document]), settings);
    document
}

fn set(settings: &mut Settings, key: &str, value: &str) {
    settings.values.insert(key.to_owned(), value.to_owned());
}

fn patterns(list: &[&str]) -> Vec<String> {
    list.iter().map(|pattern| (*pattern).to_owned()).collect()
}

#[test]
fn nothing_is_set_at_first() {
    assert_eq!(Settings::read(&[]), Settings::default());
}

#[test]
fn different_settings_changed_apart_all_hold() {
    let base = changed(&[], 1, |settings| {
        set(settings, "label", "photos");
        settings.ignore = patterns(&["*.tmp"]);
    });
    let one = changed(&[&base], 1, |settings| {
        set(settings, "label", "pictures");
        settings.ignore.push("*.bak".to_owned());
    });
    let other = changed(&[&base], 2, |settings| {
        set(settings, "versions", "keep:5");
        settings.ignore.push("cache/".to_owned());
        settings.text = patterns(&["*.log"]);
    });
    let merged = Settings::read(&[&one, &other]);
    assert_eq!(merged, Settings::read(&[&other, &one, &one]));
    assert_eq!(merged.values["label"], "pictures");
    assert_eq!(merged.values["versions"], "keep:5");
    assert_eq!(merged.text, ["*.log"]);
    let mut ignore = merged.ignore;
    assert_eq!(ignore.remove(0), "*.tmp");
    ignore.sort();
    assert_eq!(ignore, ["*.bak", "cache/"]);
}

#[test]
fn of_one_setting_changed_apart_one_value_holds_everywhere() {
    let one = changed(&[], 1, |settings| set(settings, "label", "one"));
    let other = changed(&[], 2, |settings| set(settings, "label", "other"));
    let label = Settings::read(&[&one, &other]).values["label"].clone();
    assert!(label == "one" || label == "other");
    assert_eq!(Settings::read(&[&other, &one]).values["label"], label);
    // And both devices can go on from there.
    let last = changed(&[&one, &other], 2, |settings| set(settings, "label", "last"));
    assert_eq!(Settings::read(&[&last]).values["label"], "last");
    assert_eq!(Settings::read(&[&last, &one]).values["label"], "last");
}

#[test]
fn what_is_taken_out_stays_out() {
    let base = changed(&[], 1, |settings| {
        set(settings, "label", "photos");
        settings.ignore = patterns(&["a", "b", "c"]);
    });
    let one = changed(&[&base], 1, |settings| {
        settings.values.clear();
        settings.ignore = patterns(&["a", "c"]);
    });
    let other = changed(&[&base], 2, |settings| settings.ignore.push("d".to_owned()));
    let merged = Settings::read(&[&one, &other, &base]);
    assert_eq!(merged.values.len(), 0);
    assert_eq!(merged.ignore, ["a", "c", "d"]);
}

#[test]
fn a_pattern_added_by_both_stands_once() {
    let one = changed(&[], 1, |settings| settings.ignore = patterns(&["*.tmp", "x"]));
    let other = changed(&[], 2, |settings| settings.ignore = patterns(&["*.tmp", "y"]));
    let mut ignore = Settings::read(&[&one, &other]).ignore;
    ignore.sort();
    assert_eq!(ignore, ["*.tmp", "x", "y"]);
}

#[test]
fn settings_that_were_changed_very_often_still_fit() {
    let mut document = changed(&[], 1, |settings| settings.ignore = patterns(&["*.tmp"]));
    for turn in 0..2000_u32 {
        let number = u8::from(turn % 2 == 0);
        document = changed(&[&document], number, |settings| {
            set(settings, "label", &format!("label {turn}"));
            settings.ignore.insert(1, format!("pattern {turn}"));
            settings.ignore.truncate(5);
        });
        assert!(document.len() <= SETTINGS_BYTES_MAX);
    }
    let settings = Settings::read(&[&document]);
    assert_eq!(settings.values["label"], "label 1999");
    assert_eq!(settings.ignore[..2], ["*.tmp", "pattern 1999"]);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let mut settings = Settings::default();
    set(&mut settings, "label", &"x".repeat(SETTINGS_BYTES_MAX));
    assert!(matches!(settings.write(&[], client(1)), Err(TextError::StateTooLong(_))));
}

#[test]
fn what_is_no_settings_document_does_not_count() {
    let good = changed(&[], 1, |settings| set(settings, "label", "photos"));
    let text = Doc::fresh("a text").expect("a text");
    // A value that is an array of arrays of arrays, as deep as a record is long.
    let mut deep = vec![1, 1, 7, 0, 0x28, 1, 6];
    deep.extend(b"values");
    deep.extend([1, b'k', 1]);
    deep.extend([117, 1].repeat(2900));
    deep.extend([119, 0, 0]);
    let bad: [&[u8]; 6] = [b"", b"nonsense", text.encode(), &deep, &[0xff; 64], &good[1..]];
    for bad in bad {
        assert_eq!(Settings::read(&[bad]), Settings::default());
        assert_eq!(Settings::read(&[bad, &good]).values["label"], "photos");
        let next = changed(&[bad, &good], 2, |settings| set(settings, "label", "pictures"));
        assert_eq!(Settings::read(&[&next]).values["label"], "pictures");
    }
}

proptest! {
    /// Three devices change settings and hear of each other now and then; in the end all agree.
    #[test]
    fn all_orders_of_merging_agree(
        acts in prop::collection::vec((0..3usize, 0..4u8, 0..5u8, 0..3usize), 1..30),
    ) {
        let mut live: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 3];
        for (who, what, which, other) in acts {
            let heard = live[other].clone();
            let mut documents: Vec<&[u8]> = live[who].iter().map(Vec::as_slice).collect();
            if what == 3 {
                documents.extend(heard.iter().map(Vec::as_slice));
            }
            let document = changed(&documents, who as u8, |settings| match what {
                0 => set(settings, ["a", "b"][usize::from(which % 2)], &format!("{who}{which}")),
                1 if !settings.ignore.contains(&which.to_string()) => {
                    settings.ignore.insert(0, which.to_string());
                }
                2 => drop(settings.ignore.pop()),
                _ => {}
            });
            live[who] = vec![document];
        }
        let mut all: Vec<&[u8]> = live.iter().flatten().map(Vec::as_slice).collect();
        let merged = Settings::read(&all);
        all.reverse();
        prop_assert_eq!(&Settings::read(&all), &merged);
        let one = merged.write(&all, client(9)).expect("small settings");
        all.push(&one);
        prop_assert_eq!(&Settings::read(&all), &merged);
    }

    #[test]
    fn mutated_documents_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let base = changed(&[], 1, |settings| {
            set(settings, "label", "photos");
            settings.ignore = patterns(&["a", "b", "c"]);
        });
        let good = changed(&[&base], 2, |settings| drop(settings.ignore.remove(1)));
        let mut bad = good.clone();
        for (at, byte) in changes {
            let at = at.index(bad.len());
            bad[at] = byte;
        }
        let merged = Settings::read(&[&bad, &good]);
        prop_assert_eq!(&Settings::read(&[&good, &bad]), &merged);
    }
}
