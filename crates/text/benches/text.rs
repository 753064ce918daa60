//! What an edit and a merge cost in a text of 1 MiB that was edited 10,000 times.
//!
//! The bars are for the median: an edit (decode, compare, encode) 20 ms, a merge of two branches of
//! 100 edits 100 ms.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::{Dice, prose, scribble};
use criterion::{Criterion, criterion_group, criterion_main};
use dunlin_text::{Client, Doc, TEXT_BYTES_MAX, merge};

fn client(number: u8) -> Client {
    Client::of(&[number; 32], 1)
}

/// Returns a text that three devices have edited 10,000 times, 100 edits between two saves.
fn long_lived(dice: &mut Dice) -> Doc {
    let mut doc = Doc::fresh(&prose(TEXT_BYTES_MAX - 50_000, dice)).expect("a text");
    for save in 0..100 {
        let text = scribble(doc.text(), 100, dice);
        doc.edit(client(save % 3), &text).expect("an edit");
    }
    doc
}

fn branch(state: &[u8], number: u8, dice: &mut Dice) -> Vec<u8> {
    let mut doc = Doc::decode(state).expect("a state");
    for _ in 0..100 {
        let text = scribble(doc.text(), 1, dice);
        doc.edit(client(number), &text).expect("an edit");
    }
    doc.encode().to_vec()
}

fn text(criterion: &mut Criterion) {
    let dice = &mut Dice::new(1);
    let doc = long_lived(dice);
    let state = doc.encode().to_vec();
    println!(
        "text {} bytes, state after 10,000 edits {} bytes, compacted {}",
        doc.text().len(),
        state.len(),
        doc.compact().expect("compacts").encode().len(),
    );
    let edited = scribble(doc.text(), 1, dice);
    let branches = [branch(&state, 3, dice), branch(&state, 4, dice)];
    let mut group = criterion.benchmark_group("1 MiB edited 10,000 times");
    group.sample_size(20);
    group.bench_function("decode", |bench| bench.iter(|| Doc::decode(black_box(&state))));
    group.bench_function("one edit: decode, compare, encode", |bench| {
        bench.iter(|| Doc::edited(black_box(&state), client(0), &edited).expect("an edit"));
    });
    group.bench_function("merge of two branches of 100 edits", |bench| {
        bench.iter(|| merge(&[black_box(&branches[0]), &branches[1]]).expect("a merge"));
    });
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
