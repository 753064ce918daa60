//! States that somebody made to do harm: each is refused, or is a sound state; none panics, hangs
//! or takes memory for what is not there.

use dunlin_text::{Client, Doc, STATE_BYTES_MAX, TextError, merge};
use proptest::prelude::*;

/// A state with insertions by three clients, deletions, and characters of two units of UTF-16.
fn sample() -> Vec<u8> {
    let mut doc = Doc::fresh("one two 𝄞 three\nfour five six\nseven\n").expect("a text");
    let texts = [
        "one 2 𝄞 three\nfour five 6 six\nseven\n",
        "one 2 𝄞𝄞 three\nfive 6 six\n\nmore\nseven\n",
        "zero\none 2 𝄞𝄞 three\nfive 6\nseven eight\n",
    ];
    for (text, number) in texts.iter().zip(1..) {
        doc.edit(Client::of(&[number; 32], 1), text).expect("an edit");
    }
    doc.encode().to_vec()
}

/// Uses a state as the program would: if it is taken, everything else must work with it.
fn use_it(state: &[u8]) {
    let Ok(mut doc) = Doc::decode(state) else { return };
    assert_eq!(Doc::decode(state).as_ref(), Ok(&doc));
    assert!(Doc::decode(doc.encode()).is_ok());
    let client = Client::of(&[9; 32], 9);
    let longer = format!("{}\nanother line\n", doc.text());
    doc.edit(client, &longer).expect("an edit");
    assert_eq!(doc.text(), longer);
    // What contradicts itself may read otherwise when it is read again, but it can be read.
    assert!(Doc::decode(doc.encode()).is_ok());
    let sample = sample();
    let one = merge(&[state, &sample]).map(|doc| doc.text().to_owned());
    let other = merge(&[&sample, state, &sample]).map(|doc| doc.text().to_owned());
    assert_eq!(one, other);
}

fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn the_sample_itself_is_sound() {
    let state = sample();
    assert_eq!(
        Doc::decode(&state).expect("sound").text(),
        "zero\none 2 𝄞𝄞 three\nfive 6\nseven eight\n"
    );
    use_it(&state);
}

#[test]
fn every_truncation_is_refused() {
    let state = sample();
    for len in 0..state.len() {
        assert!(matches!(Doc::decode(&state[..len]), Err(TextError::Malformed(_))), "{len}");
    }
}

#[test]
fn every_changed_byte_is_refused_or_harmless() {
    let state = sample();
    for at in 0..state.len() {
        for bit in 0..8 {
            let mut state = state.clone();
            state[at] ^= 1 << bit;
            use_it(&state);
        }
    }
}

#[test]
fn a_few_bytes_cannot_claim_gigabytes() {
    let huge = number(u64::from(u32::MAX));
    let client = number(1 << 52);
    for place in 0..5 {
        let parts: [&[u8]; 4] = [&[1], &[1], &client, &[0]];
        let mut state: Vec<u8> = parts[..place.min(4)].concat();
        state.extend(if place == 4 { vec![4, 1, 4] } else { vec![] });
        state.extend(if place == 4 { b"text".to_vec() } else { vec![] });
        state.extend(&huge);
        assert!(matches!(Doc::decode(&state), Err(TextError::Malformed(_))), "{place}");
    }
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    for value in [1 << 53, u64::MAX] {
        let state = [vec![1, 1], number(value), vec![0; 8]].concat();
        assert!(matches!(Doc::decode(&state), Err(TextError::Malformed(_))));
    }
    // Nothing but continuation bits.
    assert!(matches!(Doc::decode(&[0xff; 64]), Err(TextError::Malformed(_))));
}

#[test]
fn a_state_that_is_too_long_is_not_even_read() {
    let state = vec![0; STATE_BYTES_MAX + 1];
    assert_eq!(Doc::decode(&state), Err(TextError::StateTooLong(state.len())));
}

#[test]
fn contents_that_are_no_text_are_refused() {
    let client = number(1 << 52);
    // Garbage-collected and skipped runs, JSON, bytes, embeds, formats, types, values, documents.
    for info in [0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 0x1f, 0x24] {
        let state = [&[1, 1][..], &client, &[0, info, 1, 4], b"text", &[1, 1, 1, 0]].concat();
        assert!(matches!(Doc::decode(&state), Err(TextError::Malformed(_))), "{info}");
    }
}

#[test]
fn origins_in_a_circle_are_refused() {
    let (genesis, client) = (number(1 << 52), number(7));
    // Each is to the right of the other.
    let state = [
        &[2, 1][..],
        &genesis,
        &[0, 0x84],
        &client,
        &[0, 1, b'a'],
        &[1],
        &client,
        &[0, 0x84],
        &genesis,
        &[0, 1, b'b', 0],
    ]
    .concat();
    assert!(matches!(Doc::decode(&state), Err(TextError::Malformed(_))));
}

#[test]
fn a_cut_through_a_character_does_no_harm() {
    let (genesis, client) = (number(1 << 52), number(7));
    let clef = "𝄞".as_bytes();
    // Something between the two halves of a pair.
    let state = [
        &[2, 1][..],
        &genesis,
        &[0, 4, 1, 4],
        b"text",
        &[4],
        clef,
        &[1],
        &client,
        &[0, 0x84],
        &genesis,
        &[0, 1, b'b', 0],
    ]
    .concat();
    use_it(&state);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        use_it(&bytes);
    }

    #[test]
    fn mutated_states_are_refused_or_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut state = sample();
        for (at, byte, how) in changes {
            let at = at.index(state.len());
            match how {
                0 => state[at] = byte,
                1 => state.insert(at, byte),
                _ => drop(state.remove(at)),
            }
        }
        use_it(&state);
    }
}
