//! How long a state grows. (How long an edit takes is measured by `cargo bench -p dunlin-text`.)

mod common;

use common::{Dice, prose, scribble};
use dunlin_text::{Client, Doc, TEXT_BYTES_MAX, merge, must_compact};

fn client(number: u8) -> Client {
    Client::of(&[number; 32], 1)
}

#[test]
fn a_mebibyte_edited_ten_thousand_times_stays_below_three_times_the_text() {
    let dice = &mut Dice::new(1);
    let mut doc = Doc::fresh(&prose(TEXT_BYTES_MAX - 50_000, dice)).expect("a text");
    for save in 0..100 {
        let text = scribble(doc.text(), 100, dice);
        doc.edit(client(save % 3), &text).expect("an edit");
    }
    let text_len = doc.text().len();
    assert!(!must_compact(doc.encode().len(), text_len), "{} bytes", doc.encode().len());
    let compact = doc.compact().expect("compacts");
    assert!(compact.encode().len() <= text_len + 64, "{} bytes", compact.encode().len());
    assert_eq!(compact.text(), doc.text());
}

#[test]
fn a_short_text_that_is_edited_for_ever_is_compacted_in_time() {
    let dice = &mut Dice::new(2);
    let mut doc = Doc::fresh(&prose(2000, dice)).expect("a text");
    let mut compactions = 0;
    for _ in 0..2000 {
        let text = scribble(doc.text(), 1, dice);
        doc.edit(client(1), &text).expect("an edit");
        if must_compact(doc.encode().len(), text.len()) {
            doc = doc.compact().expect("compacts");
            compactions += 1;
            assert!(!must_compact(doc.encode().len(), text.len()));
        }
    }
    assert!(compactions > 0);
}

#[test]
fn branches_of_a_hundred_edits_merge_to_one_text() {
    let dice = &mut Dice::new(3);
    let base = Doc::fresh(&prose(100_000, dice)).expect("a text");
    let states: Vec<Vec<u8>> = (1..=3)
        .map(|number| {
            let mut doc = base.clone();
            for _ in 0..10 {
                let text = scribble(doc.text(), 10, dice);
                doc.edit(client(number), &text).expect("an edit");
            }
            doc.encode().to_vec()
        })
        .collect();
    let [a, b, c] = [&states[0], &states[1], &states[2]].map(Vec::as_slice);
    let at_once = merge(&[a, b, c]).expect("a merge");
    let left = merge(&[merge(&[a, b]).expect("a merge").encode(), c]).expect("a merge");
    let right = merge(&[a, merge(&[c, b]).expect("a merge").encode()]).expect("a merge");
    assert_eq!(at_once.text(), left.text());
    assert_eq!(at_once.text(), right.text());
}
