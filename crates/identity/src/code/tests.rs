use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::{DeviceId, Tier};

fn keys(tier: Tier) -> FolderKeys {
    FolderKeys::create([0x42; 32]).weaken(tier).unwrap()
}

fn bare(tier: Tier) -> JoinCode {
    JoinCode { keys: keys(tier), label: String::new(), hints: Vec::new() }
}

fn full(tier: Tier) -> JoinCode {
    let device = DeviceId::from_bytes([7; 32]);
    let hints = [
        format!("/ip4/192.168.1.20/udp/41641/quic-v1/p2p/{device}"),
        format!("/ip6/fd00::1/tcp/41641/p2p/{device}"),
        format!("/dns4/nas.example.org/tcp/443/p2p/{device}"),
    ];
    JoinCode { keys: keys(tier), label: "Bücher".to_owned(), hints: hints.to_vec() }
}

fn refused(text: &str) -> JoinCodeError {
    text.parse::<JoinCode>().expect_err("the text is no join code")
}

fn assert_same(left: &JoinCode, right: &JoinCode) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.keys.to_bytes(), right.keys.to_bytes());
    prop_assert_eq!(&left.label, &right.label);
    prop_assert_eq!(&left.hints, &right.hints);
    Ok(())
}

/// A code that was printed on paper must be read by every later program.
#[test]
fn a_printed_code_is_still_read() {
    let text = include_str!("golden.txt").trim();
    assert_eq!(full(Tier::Write).to_string(), text);
    assert_same(&text.parse().unwrap(), &full(Tier::Write)).unwrap();
}

#[test]
fn codes_are_as_short_as_promised() {
    assert_eq!(bare(Tier::Write).to_string().len(), 68);
    assert_eq!(bare(Tier::Store).to_string().len(), 221);
    assert_eq!(bare(Tier::Read).to_string().len(), 324);
    assert!(full(Tier::Write).to_string().len() < 230);
}

#[test]
fn the_longest_code_is_within_the_reach_of_the_checksum() {
    let write = FolderKeys::create([1; 32]);
    let generation = write.next_generation([2; 32]).unwrap();
    let keys = write.at_generation(&generation).unwrap().weaken(Tier::Read).unwrap();
    let long = |number: usize| format!("/x{number}{}", "y".repeat(HINT_BYTES_MAX - 3));
    let hints: Vec<_> = (0..HINTS_MAX).map(long).collect();
    let code = JoinCode { keys, label: "z".repeat(100), hints: hints.clone() };
    let text = code.to_string();
    assert!(text.len() <= JOIN_CODE_CHARS_MAX, "{} characters", text.len());
    let read: JoinCode = text.parse().unwrap();
    assert_eq!(read.label, "z".repeat(LABEL_BYTES_MAX));
    assert_eq!(read.hints, hints[..read.hints.len()]);
    assert!(!read.hints.is_empty());
}

#[test]
fn what_does_not_belong_in_a_code_is_left_out() {
    let code = JoinCode {
        label: "a\u{1b}[31mb\n".to_owned(),
        hints: vec!["no slash".to_owned(), "/white space".to_owned(), "/ip4/1.2.3.4".to_owned()],
        ..bare(Tier::Write)
    };
    let read: JoinCode = code.to_string().parse().unwrap();
    assert_eq!(read.label, "a[31mb");
    assert_eq!(read.hints, ["/ip4/1.2.3.4"]);
    let nothing_left = JoinCode { hints: vec!["no slash".to_owned()], ..bare(Tier::Write) };
    assert_eq!(nothing_left.to_string(), bare(Tier::Write).to_string());
}

#[test]
fn capitals_and_line_breaks_do_no_harm() {
    let text = full(Tier::Read).to_string();
    let wrapped: String = text
        .to_uppercase()
        .as_bytes()
        .chunks(40)
        .map(|line| format!("  {}\r\n", std::str::from_utf8(line).unwrap()))
        .collect();
    assert_same(&wrapped.parse().unwrap(), &full(Tier::Read)).unwrap();
}

#[test]
fn what_is_no_code_at_all_is_told_so() {
    assert_eq!(refused(""), JoinCodeError::NotDunlin);
    assert_eq!(refused("hello"), JoinCodeError::NotDunlin);
    assert_eq!(refused("dunlin-1xyz"), JoinCodeError::NotDunlin);
    assert_eq!(refused("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), JoinCodeError::NotDunlin);
    assert_eq!(refused(&format!("dunlin1{}", "q".repeat(5_000))), JoinCodeError::TooLong);
    let words = refused("hello").to_string();
    assert!(words.contains("begin with dunlin1"), "{words}");
}

#[test]
fn a_character_that_no_code_contains_is_named() {
    let mut text = bare(Tier::Write).to_string();
    text.replace_range(20..21, "B");
    let error = refused(&text);
    assert_eq!(error, JoinCodeError::Character { position: 21, found: 'b' });
    assert!(error.to_string().contains("character 21, 'b'"), "{error}");
}

#[test]
fn a_code_of_a_later_version_is_told_so() {
    let text = with_checksum(&[2, 1, 2, 3]);
    assert_eq!(refused(&text), JoinCodeError::Version { found: 2 });
}

#[test]
fn a_code_with_a_sound_checksum_and_no_sense_is_refused() {
    let good = full(Tier::Write).payload();
    let keys_only = bare(Tier::Write).payload().len();
    let with = |tail: &[u8]| refused(&with_checksum(&[&good[..keys_only], tail].concat()));
    assert_eq!(with(&[1, 0x07, 0]), JoinCodeError::Details, "a control character");
    assert_eq!(with(&[2, 0xff, 0xff, 0]), JoinCodeError::Details, "no UTF-8");
    assert_eq!(with(&[65; 68]), JoinCodeError::Details, "a label too long");
    assert_eq!(with(&[0, 9]), JoinCodeError::Details, "too many hints");
    assert_eq!(with(&[0, 0, 0]), JoinCodeError::Details, "something behind the end");
    assert_eq!(with(&[0, 1, 1, 11, 0]), JoinCodeError::Details, "a device that was not named");
    assert_eq!(with(&[0, 1, 13]), JoinCodeError::Details, "too many components");
    assert_eq!(with(&[0, 1, 1, 99]), JoinCodeError::Details, "an unknown component");
    assert_eq!(with(&[0, 1, 0, 1, b'x']), JoinCodeError::Details, "no slash");
    assert_eq!(with(&[0, 1]), JoinCodeError::Truncated, "hints that are missing");
    let mut forged = bare(Tier::Store).payload();
    forged[40] ^= 1;
    assert_eq!(refused(&with_checksum(&forged)), JoinCodeError::Keys(KeysError::Certificate));
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", full(Tier::Write));
    assert!(shown.contains("Bücher"));
    assert!(!shown.contains("4242") && !shown.contains("66, 66"), "{shown}");
}

fn with_checksum(payload: &[u8]) -> String {
    let hrp = hrp();
    payload.iter().copied().bytes_to_fes().with_checksum::<Bech32m>(&hrp).chars().collect()
}

/// Every place and every wrong character of one code: found, located, and never read.
#[test]
fn every_single_typo_is_found_and_located() {
    const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let text = bare(Tier::Write).to_string();
    for (index, right) in text.char_indices().skip(PREFIX.len()) {
        for wrong in ALPHABET.chars().filter(|wrong| *wrong != right) {
            let mut altered = text.clone();
            altered.replace_range(index..=index, &wrong.to_string());
            let guess = Some(Typo { position: index + 1, found: wrong, expected: right });
            assert_eq!(refused(&altered), JoinCodeError::Typo { guess });
        }
    }
}

/// Wherever a code is cut, the words say that its end is missing, except where by chance the
/// checksum's place holds six characters: then they ask to copy it again.
#[test]
fn a_code_that_was_cut_off_is_told_so() {
    for code in [bare(Tier::Write), bare(Tier::Read), full(Tier::Write), full(Tier::Store)] {
        let text = code.to_string();
        let ends_of_keys = PREFIX.len() + (code.keys.to_bytes().len() * 8).div_ceil(5);
        for length in 1..text.len() {
            let error = refused(&text[..length]);
            if length != ends_of_keys + CHECKSUM_CHARS {
                assert_eq!(error, JoinCodeError::Truncated, "cut to {length} of {}", text.len());
            }
        }
    }
}

fn hint() -> impl Strategy<Value = String> {
    let device = prop::sample::select(vec![[1; 32], [2; 32], [0xff; 32]])
        .prop_map(|bytes| DeviceId::from_bytes(bytes).to_string());
    let address = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|ip| format!("/ip4/{ip}")),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("/ip6/{ip}")),
        "/dns(4|6|addr)?/[a-z.]{1,20}",
        // What the short form cannot say comes through as it was written.
        "/ip4/0[0-9]{2}\\.1\\.1\\.1",
        "/[!-~]{1,30}",
    ];
    let port = prop_oneof![
        any::<u16>().prop_map(|port| format!("/udp/{port}/quic-v1")),
        any::<u16>().prop_map(|port| format!("/tcp/{port}")),
        Just(String::new()),
    ];
    (address, port, device)
        .prop_map(|(address, port, device)| format!("{address}{port}/p2p/{device}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn codes_survive_their_text_form(
        sync_id in any::<[u8; 32]>(),
        tier in prop::sample::select(vec![Tier::Store, Tier::Read, Tier::Write]),
        secret in prop::option::of(any::<[u8; 32]>()),
        label in "[^\\p{Cc}]{0,16}",
        hints in prop::collection::vec(hint(), 0..=3),
    ) {
        let mut write = FolderKeys::create(sync_id);
        if let Some(secret) = secret {
            write = write.at_generation(&write.next_generation(secret).unwrap()).unwrap();
        }
        let keys = write.weaken(tier).unwrap();
        let code = JoinCode { keys, label, hints };
        assert_same(&code.to_string().parse().unwrap(), &code)?;
    }

    #[test]
    fn any_wrong_character_is_found_in_long_codes_too(
        tier in prop::sample::select(vec![Tier::Store, Tier::Read]),
        place in any::<prop::sample::Index>(),
        wrong in "[a-z0-9]",
    ) {
        let text = full(tier).to_string();
        let place = place.index(text.len());
        prop_assume!(text[place..=place] != wrong);
        let mut altered = text;
        altered.replace_range(place..=place, &wrong);
        prop_assert!(altered.parse::<JoinCode>().is_err());
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,100}", code in "dunlin1[02-9ac-hj-np-z]{0,400}") {
        let _ = text.parse::<JoinCode>();
        let _ = format!("dunlin1{text}").parse::<JoinCode>();
        let _ = code.parse::<JoinCode>();
    }

    #[test]
    fn reading_a_payload_never_panics(
        head in prop::sample::select(vec![0_usize, 34]),
        tail in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let payload = [&bare(Tier::Write).payload()[..head], &tail].concat();
        if let Ok(code) = JoinCode::from_payload(&payload) {
            prop_assert!(code.hints.iter().all(|hint| hint::is_valid(hint)));
            prop_assert!(code.label.len() <= LABEL_BYTES_MAX);
        }
    }
}
