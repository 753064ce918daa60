use dunlin_identity::DeviceId;
use dunlin_index::{Author, MemStore};
use dunlin_tree::disk::RowId;
use proptest::prelude::*;

use super::*;

const NAME: &str = "notes.md";

fn dot(device: u8, seq: u64) -> Dot {
    let device = DeviceId::from_bytes([device; 32]);
    Dot { author: Author { device, epoch: 1 }, seq }
}

fn client(number: u8) -> Client {
    Client::of(&[number; 32], 1)
}

fn content(said: &str, text: Text) -> Content {
    let root = hash_bytes(said.as_bytes()).root;
    Content::File { root, size: said.len() as u64, mtime_ns: 0, text: Some(text) }
}

fn base_of(versions: &[Version], said: &str) -> Base {
    Base { root: hash_bytes(said.as_bytes()).root, versions: versions.to_vec() }
}

fn begun(said: &str) -> Base {
    let (text, data) = next_version(None, (client(0), RULES), said, false);
    let version = Version { dot: dot(0, 1), content: content(said, text), data };
    base_of(&[version], said)
}

fn edited(base: &Base, device: u8, said: &str) -> Version {
    let (text, data) = next_version(Some(base), (client(device), RULES), said, false);
    Version { dot: dot(device, 1), content: content(said, text), data }
}

#[test]
fn two_edits_of_one_base_come_to_one_text_in_any_order() {
    let base = begun("one\ntwo\nthree\n");
    let (a, b) = (edited(&base, 1, "ONE\ntwo\nthree\n"), edited(&base, 2, "one\ntwo\nTHREE\n"));
    let merges = [vec![a.clone(), b.clone()], vec![b, a]].map(|sides| merged(NAME, &sides));
    assert_eq!(merges, [(); 2].map(|()| Some("ONE\ntwo\nTHREE\n".to_owned())));
}

#[test]
fn a_version_that_all_have_grown_from_adds_nothing() {
    let base = begun("one two\n");
    let a = edited(&base, 1, "one three two\n");
    let without_data = Version { data: Bytes::new(), ..base.versions[0].clone() };
    assert_eq!(merged(NAME, &[a, without_data]).as_deref(), Some("one three two\n"));
}

#[test]
fn an_edit_goes_on_from_a_merge() {
    let base = begun("one\ntwo\n");
    let sides = [edited(&base, 1, "one\n1\ntwo\n"), edited(&base, 2, "one\ntwo\n2\n")];
    let both = merged(NAME, &sides).expect("they merge");
    let next = edited(&base_of(&sides, &both), 3, &both.replace("one", "first"));
    assert_eq!(next.text().as_deref(), Some("first\n1\ntwo\n2\n"));
    assert_eq!(next.content.lineage(), base.versions[0].content.lineage());
}

#[test]
fn a_change_of_the_time_alone_keeps_the_version() {
    let base = begun("one\n");
    let grown = edited(&base, 1, "one two\n");
    let again = edited(&base_of(std::slice::from_ref(&grown), "one two\n"), 2, "one two\n");
    assert_eq!((again.content, again.data), (grown.content, grown.data));
}

#[test]
fn a_lineage_begins_anew_when_its_state_is_long_and_all_have_seen_it() {
    let mut base = begun("0\n");
    let mut begun_anew = 0;
    for edit in 0..400_u32 {
        let said = format!("{edit}\n");
        let (text, data) = next_version(Some(&base), (client(1), RULES), &said, true);
        begun_anew += usize::from(matches!(text, Text::Fresh { .. }));
        assert!(data.len() <= said.len() * 3 / 2 + 4096, "{}", data.len());
        base = base_of(
            &[Version { dot: dot(1, edit.into()), content: content(&said, text), data }],
            &said,
        );
    }
    assert!((1..40).contains(&begun_anew), "{begun_anew}");
}

#[test]
fn a_state_that_says_another_text_than_its_record_is_not_used() {
    let base = begun("one\n");
    let honest = edited(&base, 1, "one two\n");
    let other = edited(&base, 2, "one three\n");
    let lie =
        Version { content: content("nothing\n", Text::Fresh { rules: RULES }), ..honest.clone() };
    assert_eq!(lie.text(), None);
    let Content::File { text: Some(text), .. } = &other.content else { unreachable!("a text") };
    let lie = Version { content: content("nothing\n", text.clone()), ..other };
    assert_eq!((lie.text(), merged(NAME, &[honest, lie])), (None, None));
}

#[test]
fn versions_by_other_rules_are_left_apart() {
    let base = begun("one\n");
    let mut sides = [edited(&base, 1, "one two\n"), edited(&base, 2, "one three\n")];
    for side in &mut sides {
        let Content::File { text: Some(Text::Grown { rules, .. }), .. } = &mut side.content else {
            unreachable!("an edit grows")
        };
        *rules = 200;
    }
    assert_eq!(merged(NAME, &sides), None);
}

#[test]
fn what_need_not_parse_merges_where_the_rules_say_so() {
    let before = "{\n  \"a\": 1\n}\n";
    let sides = |rules: u8| {
        let base = begun(before);
        [1, 2].map(|device| {
            let said = format!("{{\n  \"a\": 1,\n  \"b{device}\": 2\n}}\n");
            let (text, data) = next_version(Some(&base), (client(device), rules), &said, false);
            Version { dot: dot(device, 1), content: content(&said, text), data }
        })
    };
    assert_eq!(merged("a.json", &sides(RULES)), None);
    let both = merged("a.json", &sides(RULES_UNCHECKED)).expect("it is not checked");
    assert!(both.contains("b1") && both.contains("b2"), "{both}");
}

#[test]
fn the_store_keeps_the_last_two_bases_of_a_row_until_it_is_swept() {
    let store = TextStore::new(MemStore::new());
    let (row, other) = (RowId(7), RowId(8));
    let first = begun("one\n");
    let grown = edited(&first, 1, "one two\n");
    let second = base_of(std::slice::from_ref(&grown), "one two\n");
    let third = base_of(&[edited(&second, 1, "one two three\n")], "one two three\n");
    store.put(row, &first).expect("stored");
    store.put(other, &second).expect("stored");
    store.put(row, &second).expect("stored");
    assert_eq!(store.get(row, &first.root).expect("read").as_ref(), Some(&first));
    assert_eq!(store.get(row, &second.root).expect("read").as_ref(), Some(&second));
    store.put(row, &third).expect("stored");
    assert_eq!(store.get(row, &first.root).expect("read"), None);
    assert_eq!(store.dots(row, &third.root).expect("read"), third.dots());
    let (state, _) = address_of(&grown.content).expect("a text");
    assert_eq!(store.find(&state).expect("read").as_ref(), Some(&grown.data));
    // Another row's data stay when the one is gone.
    store.sweep::<dunlin_index::StorageError>(|id| Ok(id == row)).expect("swept");
    assert_eq!(store.get(row, &third.root).expect("read"), None);
    assert_eq!(store.find(&state).expect("read").as_ref(), Some(&grown.data));
}

#[test]
fn the_store_keeps_a_merge_with_a_version_that_needs_no_data() {
    let store = TextStore::new(MemStore::new());
    let base = begun("one two\n");
    let without_data = Version { data: Bytes::new(), ..base.versions[0].clone() };
    let sides = [edited(&base, 1, "one three two\n"), without_data];
    let both = base_of(&sides, "one three two\n");
    store.put(RowId(1), &both).expect("stored");
    assert_eq!(store.get(RowId(1), &both.root).expect("read"), Some(both));
}

proptest! {
    /// Saves of three devices, of which each sees some of the others' versions before its own.
    #[test]
    fn whoever_merges_what_gets_the_same_text(
        saves in prop::collection::vec((0..3_usize, 0..3_usize, "[a-d \n]{0,12}"), 1..12),
    ) {
        let base = begun("a b c\nd\n");
        let mut bases = [(); 3].map(|()| base.clone());
        for (number, (device, from, said)) in saves.into_iter().enumerate() {
            if device != from && bases[device].versions[0].dot.author != bases[from].versions[0].dot.author {
                let mut sides = bases[device].versions.clone();
                sides.extend(bases[from].versions.iter().filter(|v| !sides.contains(v)).cloned().collect::<Vec<_>>());
                if let Some(both) = merged(NAME, &sides) {
                    let mut turned = sides.clone();
                    turned.reverse();
                    prop_assert_eq!(merged(NAME, &turned), Some(both.clone()));
                    bases[device] = base_of(&sides, &both);
                }
            }
            let before = bases[device].text().expect("a base has a text");
            let said = format!("{before}{said}");
            let (text, data) = next_version(Some(&bases[device]), (client(device as u8 + 1), RULES), &said, false);
            let dot = dot(device as u8 + 1, number as u64);
            let version = Version { dot, content: content(&said, text), data };
            prop_assert_eq!(version.text(), Some(said.clone()));
            bases[device] = base_of(&[version], &said);
        }
    }
}
