//! What becomes of a text that two or three devices edit apart, case by case. The rows of the table
//! "Text that merges" in docs/conflicts.md are these.

use dunlin_text::{Client, Doc, TextError, breaks, merge};

fn client(number: u8) -> Client {
    Client::of(&[number; 32], 1)
}

/// Lets each device make `base` into its version, merges in every order of two, and returns the
/// one text that comes out.
fn apart(base: &str, versions: &[&str]) -> String {
    let base = Doc::fresh(base).expect("a text");
    let states: Vec<Vec<u8>> = versions
        .iter()
        .zip(1..)
        .map(|(version, number)| {
            let mut doc = base.clone();
            doc.edit(client(number), version).expect("an edit");
            assert_eq!(doc.text(), *version);
            doc.encode().to_vec()
        })
        .collect();
    let mut refs: Vec<&[u8]> = states.iter().map(Vec::as_slice).collect();
    let merged = merge(&refs).expect("a merge");
    refs.reverse();
    assert_eq!(merge(&refs).expect("a merge"), merged);
    merged.text().to_owned()
}

#[test]
fn different_lines() {
    let merged = apart("one\ntwo\nthree\n", &["ONE\ntwo\nthree\n", "one\ntwo\nTHREE\n"]);
    assert_eq!(merged, "ONE\ntwo\nTHREE\n");
}

#[test]
fn different_words_of_one_line() {
    let merged = apart("the cat sat\n", &["the dog sat\n", "the cat stood\n"]);
    assert_eq!(merged, "the dog stood\n");
}

#[test]
fn the_same_word() {
    let merged = apart("the cat sat\n", &["the dog sat\n", "the cow sat\n"]);
    assert!(["the dog cow sat\n", "the cow dog sat\n"].contains(&merged.as_str()), "{merged}");
}

#[test]
fn the_only_word() {
    let merged = apart("cat", &["dog", "cow"]);
    assert!(["dog\ncow", "cow\ndog"].contains(&merged.as_str()), "{merged}");
}

#[test]
fn the_same_word_into_the_same() {
    // Nobody can tell that both meant the same, so it stands twice.
    assert_eq!(apart("the cat sat\n", &["the dog sat\n"; 2]), "the dog dog sat\n");
}

#[test]
fn inserts_at_one_point() {
    let merged = apart("a b\n", &["a one b\n", "a two b\n", "a three b\n"]);
    let mut words: Vec<&str> = merged.split_whitespace().collect();
    assert_eq!((words[0], words[4]), ("a", "b"));
    words.sort_unstable();
    assert_eq!(words, ["a", "b", "one", "three", "two"]);
}

#[test]
fn lines_at_the_end() {
    let merged = apart("milk\n", &["milk\neggs\nflour\n", "milk\nbread\n"]);
    let one_by_one = ["milk\neggs\nflour\nbread\n", "milk\nbread\neggs\nflour\n"];
    assert!(one_by_one.contains(&merged.as_str()), "{merged}");
}

#[test]
fn the_first_words_of_an_empty_text() {
    let merged = apart("", &["one", "two"]);
    assert!(["one\ntwo", "two\none"].contains(&merged.as_str()), "{merged}");
}

#[test]
fn a_deleted_line_against_an_edit_in_it() {
    let merged = apart("one\nthe cat sat\nend\n", &["one\nend\n", "one\nthe dog sat\nend\n"]);
    assert_eq!(merged, "one dog\nend\n");
}

#[test]
fn a_deleted_text_against_an_edit_in_it() {
    assert_eq!(apart("the cat sat\n", &["", "the dog sat\n"]).trim(), "dog");
}

#[test]
fn a_moved_paragraph_against_an_edit_elsewhere() {
    let merged = apart("a a\n\nb b\n\nc c\n", &["b b\n\na a\n\nc c\n", "a a\n\nb b\n\nc d\n"]);
    assert_eq!(merged, "b b\n\na a\n\nc d\n");
}

#[test]
fn a_moved_paragraph_against_an_edit_in_it() {
    // A move is taking out and putting in, so the edit stays where the paragraph was.
    let merged = apart("a a\n\nb b\n\nc c\n", &["b b\n\nc c\n\na a\n", "a x\n\nb b\n\nc c\n"]);
    assert_eq!(merged.matches('x').count(), 1, "{merged}");
    assert!(merged.contains("b b\n\nc c\n\na a\n"), "{merged}");
}

#[test]
fn both_move_one_paragraph() {
    // Each takes it out, which is the same, and puts it in, which is not.
    let merged = apart("a\nb\nc\nd\ne\n", &["b\nc\na\nd\ne\n", "b\nc\nd\na\ne\n"]);
    assert_eq!(merged, "b\nc\na\nd\na\ne\n");
}

#[test]
fn other_line_ends_against_an_edit() {
    let merged = apart("one\r\ntwo\r\n", &["one\ntwo\n", "one\r\ntwo three\r\n"]);
    assert_eq!(merged.split_whitespace().collect::<Vec<_>>(), ["one", "two", "three"]);
}

#[test]
fn code_with_a_function_added_by_each() {
    let base = "fn a() {\n    x();\n}\n";
    let one = "fn a() {\n    x();\n}\n\nfn b() {\n    y();\n}\n";
    let other = "use z;\n\nfn a() {\n    x(1);\n}\n";
    assert_eq!(
        apart(base, &[one, other]),
        "use z;\n\nfn a() {\n    x(1);\n}\n\nfn b() {\n    y();\n}\n"
    );
}

#[test]
fn json_whose_merge_would_not_parse() {
    let base = "{\n  \"a\": 1\n}\n";
    let versions = ["{\n  \"a\": 2\n}\n", "{\n  \"a\": 3\n}\n"];
    assert!(breaks("x.json", &versions, &apart(base, &versions)));
    // Both put a comma behind the 1, which so stands twice.
    let versions = ["{\n  \"a\": 1,\n  \"b\": 2\n}\n", "{\n  \"a\": 1,\n  \"c\": 3\n}\n"];
    assert!(breaks("x.json", &versions, &apart(base, &versions)));
    let base = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}\n";
    let versions = [base.replace("1,", "10,"), base.replace(": 3", ": 30")];
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let merged = apart(base, &versions);
    assert!(!breaks("x.json", &versions, &merged), "{merged}");
}

#[test]
fn texts_begun_apart_do_not_merge() {
    let one = Doc::fresh("a shopping list\n").expect("a text");
    let other = Doc::fresh("another list\n").expect("a text");
    assert_eq!(merge(&[one.encode(), other.encode()]), Err(TextError::Lineage));
    let same = Doc::fresh("a shopping list\n").expect("a text");
    assert_eq!(merge(&[one.encode(), same.encode()]).expect("a merge"), one);
}

#[test]
fn a_compacted_text_is_another_beginning() {
    let mut doc = Doc::fresh("a b c\n").expect("a text");
    doc.edit(client(1), "a c\n").expect("an edit");
    doc.edit(client(1), "a b c\n").expect("an edit");
    let compact = doc.compact().expect("compacts");
    assert_eq!(compact.text(), doc.text());
    assert!(compact.encode().len() < doc.encode().len());
    assert_eq!(merge(&[doc.encode(), compact.encode()]), Err(TextError::Lineage));
    // Though the text is what it once began with, the numbers of then are not used again.
    assert_ne!(compact.lineage(), Doc::fresh("a b c\n").expect("a text").lineage());
}

#[test]
fn a_device_that_was_set_back_is_found_out() {
    let base = Doc::fresh("a b c d\n").expect("a text");
    let edited = |texts: &[&str]| {
        let mut doc = base.clone();
        texts.iter().for_each(|text| doc.edit(client(1), text).expect("an edit"));
        doc
    };
    let before = edited(&["a one b c d\n", "a one b two c d\n"]);
    for after in [edited(&["a uno b c d\n"]), edited(&["a b one c d\n"])] {
        assert_eq!(merge(&[before.encode(), after.encode()]), Err(TextError::Clash));
        assert_eq!(merge(&[after.encode(), before.encode()]), Err(TextError::Clash));
    }
    let earlier = edited(&["a one b c d\n"]);
    assert_eq!(merge(&[before.encode(), earlier.encode()]).expect("a merge"), before);
}

#[test]
fn what_is_above_the_limits_is_an_error_and_changes_nothing() {
    let long = "a b\n".repeat(dunlin_text::TEXT_BYTES_MAX / 4);
    let mut doc = Doc::fresh(&long).expect("a text");
    let before = doc.clone();
    let longer = format!("{long}c");
    let refused = Err(TextError::TextTooLong(longer.len()));
    assert_eq!(doc.edit(client(1), &longer), refused);
    assert_eq!(doc, before);
    assert_eq!(Doc::fresh(&longer).map(drop), refused);
    assert_eq!(merge(&[]), Err(TextError::Count(0)));
}
