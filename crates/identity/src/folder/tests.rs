use proptest::prelude::*;

use super::*;
use crate::DeviceKey;

const TIERS: [Tier; 3] = [Tier::Store, Tier::Read, Tier::Write];

fn device() -> DeviceId {
    DeviceKey::from_seed([3; 32]).device()
}

fn text(bytes: [u8; 32]) -> String {
    FolderId(bytes).to_string()
}

/// Fixes the schedule: whoever changes one of these values locks everybody out of their folders.
#[test]
fn golden_values_of_the_key_schedule() {
    let keys = FolderKeys::create([0x11; 32]);
    let read = keys.weaken(Tier::Read).unwrap();
    let store = keys.weaken(Tier::Store).unwrap();
    let later = keys.at_generation(&keys.next_generation([0x22; 32]).unwrap()).unwrap();
    let admission = |keys: &FolderKeys| text(keys.admit(device()).admission_key);
    let actual = [
        ("read secret", text(read.0.secret)),
        ("store secret", text(store.0.secret)),
        ("write public key", text(*keys.write_public_key())),
        ("folder", keys.folder().to_string()),
        ("id key", text(keys.id_key().unwrap())),
        ("block key", text(keys.block_key().unwrap())),
        ("rendezvous", text(keys.rendezvous(20_000))),
        ("topic", text(keys.topic())),
        ("gossip key", text(keys.gossip_key())),
        ("proof key", text(keys.proof_key())),
        ("record key", text(keys.record_key().unwrap())),
        ("proof", text(keys.prove(Role::Initiator, b"binding"))),
        ("store admission key", admission(&store)),
        ("read admission key", admission(&read)),
        ("write admission key", admission(&keys)),
        ("later topic", text(later.topic())),
        ("later gossip key", text(later.gossip_key())),
        ("later proof key", text(later.proof_key())),
        ("later record key", text(later.record_key().unwrap())),
        ("later write admission key", admission(&later)),
    ];
    let actual: String = actual.map(|(name, value)| format!("{name}: {value}\n")).concat();
    assert_eq!(actual, include_str!("golden.txt"));
}

#[test]
fn every_derived_value_differs_from_every_other() {
    let golden = include_str!("golden.txt");
    let values: std::collections::BTreeSet<_> =
        golden.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(values.len(), golden.lines().count());
}

/// What a tier must not know, it does not get.
#[test]
fn lower_tiers_lack_what_is_above_them() {
    let write = FolderKeys::create([5; 32]);
    let read = write.weaken(Tier::Read).unwrap();
    let store = write.weaken(Tier::Store).unwrap();
    assert_eq!(read.id_key(), write.id_key());
    assert_eq!(read.block_key(), write.block_key());
    assert_eq!(read.record_key(), write.record_key());
    assert_eq!(store.id_key(), None);
    assert_eq!(store.block_key(), None);
    assert_eq!(store.record_key(), None);
    assert!(read.weaken(Tier::Write).is_none());
    assert!(store.weaken(Tier::Read).is_none());
    assert!(read.next_generation([1; 32]).is_none());
    for keys in [&read, &store] {
        let bytes = keys.to_bytes();
        assert!(!bytes.windows(32).any(|window| window == write.0.secret));
    }
    let bytes = store.to_bytes();
    assert!(!bytes.windows(32).any(|window| window == read.0.secret));
}

#[test]
fn any_tier_verifies_the_admissions_of_all() {
    let write = FolderKeys::create([5; 32]);
    let holders = TIERS.map(|tier| write.weaken(tier).unwrap());
    for admitting in &holders {
        let admission = admitting.admit(device());
        assert_eq!(admission.tier, admitting.tier());
        assert!(holders.iter().all(|checking| checking.verify_admission(&admission)));
        assert!(!FolderKeys::create([6; 32]).verify_admission(&admission));
    }
}

#[test]
fn an_altered_admission_fits_nobody() {
    let keys = FolderKeys::create([5; 32]);
    let store = keys.weaken(Tier::Store).unwrap();
    let read = keys.weaken(Tier::Read).unwrap();
    let good = store.admit(device());
    let mut flipped = good.signature;
    flipped.0[7] ^= 1;
    let altered = [
        Admission { device: DeviceKey::from_seed([9; 32]).device(), ..good },
        // A store node that claims to be a reader or a writer.
        Admission { tier: Tier::Read, ..good },
        Admission { tier: Tier::Write, ..good },
        Admission { generation: 1, ..good },
        Admission { commitment: [4; 32], ..good },
        Admission { admission_key: [4; 32], ..good },
        Admission { certificate: read.admit(device()).certificate, ..good },
        Admission { signature: flipped, ..good },
    ];
    assert!(keys.verify_admission(&good));
    assert!(!altered.iter().any(|admission| keys.verify_admission(admission)));
}

#[test]
fn proofs_differ_by_side_and_binding_and_fit_every_tier() {
    let write = FolderKeys::create([5; 32]);
    let store = write.weaken(Tier::Store).unwrap();
    let proof = write.prove(Role::Initiator, b"one connection");
    assert!(store.proof_fits(Role::Initiator, b"one connection", &proof));
    assert!(!store.proof_fits(Role::Responder, b"one connection", &proof));
    assert!(!store.proof_fits(Role::Initiator, b"another one", &proof));
    assert!(!FolderKeys::create([6; 32]).proof_fits(Role::Initiator, b"one connection", &proof));
}

#[test]
fn a_new_generation_changes_the_group_and_keeps_the_folder() {
    let write = FolderKeys::create([5; 32]);
    let generation = write.next_generation([8; 32]).unwrap();
    for tier in TIERS {
        let before = write.weaken(tier).unwrap();
        let after = before.at_generation(&generation).unwrap();
        assert_eq!(after.generation(), 1);
        assert_eq!(after.folder(), before.folder());
        assert_eq!(after.id_key(), before.id_key());
        assert_eq!(after.block_key(), before.block_key());
        assert_eq!(after.rendezvous(1), before.rendezvous(1));
        assert_ne!(after.topic(), before.topic());
        assert_ne!(after.gossip_key(), before.gossip_key());
        assert_ne!(after.proof_key(), before.proof_key());
        // Codes of the old generation let nobody in any more, and the new ones do.
        assert!(!after.verify_admission(&before.admit(device())));
        assert!(!before.verify_admission(&after.admit(device())));
        // But whoever had been let in by one was.
        assert!(after.verify_log_admission(&before.admit(device())));
        assert!(!before.verify_log_admission(&after.admit(device())));
        let claimed = Admission { commitment: [1; 32], ..before.admit(device()) };
        assert!(!after.verify_log_admission(&claimed));
        assert!(write.at_generation(&generation).unwrap().verify_admission(&after.admit(device())));
        let restored = FolderKeys::from_bytes(&after.to_bytes()).unwrap();
        assert_eq!(restored.topic(), after.topic());
        assert_eq!(
            after.at_generation(&generation).unwrap_err(),
            GenerationError::NotLater { own: 1, offered: 1 }
        );
    }
}

#[test]
fn who_comes_late_can_check_the_admissions_of_generations_that_it_never_held() {
    let first = FolderKeys::create([5; 32]);
    let second = first.at_generation(&first.next_generation([8; 32]).unwrap()).unwrap();
    let fourth = second.at_generation(&second.later_generation(3, [9; 32]).unwrap()).unwrap();
    let store = fourth.weaken(Tier::Store).unwrap();
    for keys in [&first, &second, &fourth] {
        assert!(store.verify_log_admission(&keys.weaken(Tier::Read).unwrap().admit(device())));
    }
    let other = FolderKeys::create([6; 32]);
    assert!(!store.verify_log_admission(&other.admit(device())));
    assert!(second.later_generation(1, [9; 32]).is_none());
    assert_eq!(fourth.first_generation().unwrap().topic(), first.topic());
    assert!(store.first_generation().is_none());
}

/// The removed writer knows the write secret and the number of the next generation, but not its
/// secret.
#[test]
fn a_removed_writer_cannot_admit_to_the_next_generation() {
    let write = FolderKeys::create([5; 32]);
    let real = write.at_generation(&write.next_generation([8; 32]).unwrap()).unwrap();
    let guessed = write.at_generation(&write.next_generation([9; 32]).unwrap()).unwrap();
    assert!(!real.verify_admission(&guessed.admit(device())));
}

#[test]
fn a_generation_that_no_writer_made_is_refused() {
    let write = FolderKeys::create([5; 32]);
    let mut generation = write.next_generation([8; 32]).unwrap();
    generation.secret = [7; 32];
    let read = write.weaken(Tier::Read).unwrap();
    assert_eq!(read.at_generation(&generation).unwrap_err(), GenerationError::Forged);
}

#[test]
fn stored_keys_that_do_not_belong_together_are_refused() {
    let read = FolderKeys::create([5; 32]).weaken(Tier::Read).unwrap();
    let bytes = read.to_bytes();
    for place in 2..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 0x10;
        assert_eq!(FolderKeys::from_bytes(&altered).unwrap_err(), KeysError::Certificate);
    }
    let refused = |bytes: &[u8]| FolderKeys::from_bytes(bytes).unwrap_err();
    assert_eq!(refused(&bytes[..bytes.len() - 1]), KeysError::Truncated);
    assert_eq!(refused(&[&bytes[..], &[0]].concat()), KeysError::Trailing { count: 1 });
    assert_eq!(refused(&[2, 0]), KeysError::Version { found: 2 });
    assert_eq!(refused(&[1, 3]), KeysError::Header { found: 3 });
    assert_eq!(refused(&[1, 0x42]), KeysError::Header { found: 0x42 });
}

#[test]
fn debug_shows_no_secret() {
    let keys = FolderKeys::create([0xab; 32]);
    let shown = format!("{keys:?} {:?}", keys.next_generation([0xcd; 32]).unwrap());
    assert!(shown.contains(&keys.folder().to_string()));
    for secret in ["abab", "cdcd", "171, 171", "205, 205"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn tiers_are_ordered_and_read_back_from_their_names() {
    assert!(Tier::Store < Tier::Read && Tier::Read < Tier::Write);
    for tier in TIERS {
        assert_eq!(tier.to_string().parse(), Ok(tier));
    }
    assert_eq!("Write".parse::<Tier>(), Err(ParseTierError));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_store_nodes_share_is_equal_on_all_tiers(
        sync_id in any::<[u8; 32]>(),
        day in any::<u64>(),
        binding in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let write = FolderKeys::create(sync_id);
        let read = write.weaken(Tier::Read).unwrap();
        for keys in [&read, &write.weaken(Tier::Store).unwrap(), &read.weaken(Tier::Store).unwrap()] {
            prop_assert_eq!(keys.folder(), write.folder());
            prop_assert_eq!(keys.topic(), write.topic());
            prop_assert_eq!(keys.gossip_key(), write.gossip_key());
            prop_assert_eq!(keys.proof_key(), write.proof_key());
            prop_assert_eq!(keys.rendezvous(day), write.rendezvous(day));
            prop_assert_eq!(
                keys.prove(Role::Responder, &binding), write.prove(Role::Responder, &binding)
            );
            let restored = FolderKeys::from_bytes(&keys.to_bytes()).unwrap();
            prop_assert_eq!(restored.to_bytes(), keys.to_bytes());
            prop_assert_eq!(restored.tier(), keys.tier());
        }
    }

    #[test]
    fn reading_keys_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        header in prop::sample::select(vec![0_u8, 1, 2, 0x80, 0x81, 0x82]),
    ) {
        let _ = FolderKeys::from_bytes(&bytes);
        let _ = FolderKeys::from_bytes(&[&[1, header], &bytes[..]].concat());
    }
}
