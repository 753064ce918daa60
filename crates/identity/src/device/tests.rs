use proptest::prelude::*;

use super::*;
use crate::hex;

/// The Ed25519 key pair of libp2p's specification of peer ids ("Test vectors").
const SPEC_SEED: &str = "7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d";
const SPEC_PUBLIC: &str = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";

/// A name that libp2p-identity's own tests read and write.
const LIBP2P_NAME: &str = "12D3KooWRNw2pJC9748Fmq4WNV27HoSTcX3r37132FLkQMrbKAiC";

#[test]
fn the_public_key_is_that_of_libp2ps_specification() {
    let key = DeviceKey::from_seed(hex::parse(SPEC_SEED).unwrap());
    assert_eq!(*key.device().as_bytes(), hex::parse(SPEC_PUBLIC).unwrap());
    assert_eq!(*key.seed(), hex::parse(SPEC_SEED).unwrap());
}

#[test]
fn the_text_form_is_libp2ps() {
    let device: DeviceId = LIBP2P_NAME.parse().unwrap();
    assert_eq!(device.to_string(), LIBP2P_NAME);
}

#[test]
fn other_texts_are_refused() {
    // Base58 has no 0, no O, no I and no l.
    assert_eq!("12D3KooW0".parse::<DeviceId>(), Err(ParseDeviceIdError::NotBase58));
    assert_eq!("é".repeat(600).parse::<DeviceId>(), Err(ParseDeviceIdError::NotBase58));
    assert_eq!("".parse::<DeviceId>(), Err(ParseDeviceIdError::NotEd25519));
    assert_eq!(LIBP2P_NAME[..51].parse::<DeviceId>(), Err(ParseDeviceIdError::NotEd25519));
    // The PeerId of an RSA key, which is a SHA-256 hash.
    let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    assert_eq!(rsa.parse::<DeviceId>(), Err(ParseDeviceIdError::NotEd25519));
}

#[test]
fn no_signature_fits_under_a_key_of_small_order() {
    // With this public key (the neutral element) and a signature of R = neutral, s = 0, lenient
    // verification accepts every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!DeviceId::from_bytes(neutral).verify(b"anything", &Signature(signature)));
}

#[test]
fn debug_shows_the_name_and_not_the_seed() {
    let key = DeviceKey::from_seed([0xab; 32]);
    assert_eq!(format!("{key:?}"), format!("DeviceKey({})", key.device()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn names_survive_their_text_form(bytes in any::<[u8; 32]>()) {
        let device = DeviceId::from_bytes(bytes);
        prop_assert_eq!(device.to_string().parse(), Ok(device));
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<DeviceId>();
    }

    #[test]
    fn a_signature_fits_its_message_and_signer_only(
        seed in any::<[u8; 32]>(),
        other in any::<[u8; 32]>(),
        message in prop::collection::vec(any::<u8>(), 1..100),
        place in any::<prop::sample::Index>(),
    ) {
        prop_assume!(seed != other);
        let key = DeviceKey::from_seed(seed);
        let signature = key.sign(&message);
        prop_assert!(key.device().verify(&message, &signature));
        prop_assert!(!DeviceKey::from_seed(other).device().verify(&message, &signature));
        let mut altered = message;
        let place = place.index(altered.len());
        altered[place] ^= 1;
        prop_assert!(!key.device().verify(&altered, &signature));
    }
}
