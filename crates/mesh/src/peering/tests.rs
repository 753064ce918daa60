use std::collections::VecDeque;

use dunlin_identity::{Admission, DeviceKey, Signature};
use proptest::prelude::*;

use super::*;

fn device(seed: u8) -> DeviceId {
    DeviceKey::from_seed([seed; 32]).device()
}

fn folders(secrets: &[u8]) -> Folders {
    secrets
        .iter()
        .map(|secret| {
            let keys = FolderKeys::create([*secret; 32]);
            (keys.folder(), keys.into())
        })
        .collect()
}

fn id(secret: u8) -> FolderId {
    FolderKeys::create([secret; 32]).folder()
}

/// Two sides of one stream, with what each was told.
struct Pair {
    sides: [Peering; 2],
    wires: [VecDeque<Frame>; 2],
    seen: [Vec<Action>; 2],
}

impl Pair {
    fn new(a: Folders, b: Folders) -> Self {
        let party = |me, peer, role, seed| Party { me, peer, role, seed, transfer_port: 4000 };
        let (a, hello_a) = Peering::new(party(device(1), device(2), Role::Initiator, [11; 32]), a);
        let (b, hello_b) = Peering::new(party(device(2), device(1), Role::Responder, [12; 32]), b);
        Self {
            sides: [a, b],
            wires: [VecDeque::from([hello_a]), VecDeque::from([hello_b])],
            seen: [Vec::new(), Vec::new()],
        }
    }

    fn act(&mut self, side: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(frame) => self.wires[side].push_back(frame),
                other => self.seen[side].push(other),
            }
        }
    }

    fn deliver(&mut self, from: usize) -> bool {
        let Some(frame) = self.wires[from].pop_front() else { return false };
        let frame = Frame::decode(&frame.encode()[4..]).unwrap();
        let actions = self.sides[1 - from].on_frame(frame).unwrap();
        self.act(1 - from, actions);
        true
    }

    fn settle(&mut self) {
        while self.deliver(0) || self.deliver(1) {}
    }

    fn set(&mut self, side: usize, secrets: &[u8]) {
        let actions = self.sides[side].set_folders(&folders(secrets)).unwrap();
        self.act(side, actions);
    }

    fn up(&self, side: usize) -> BTreeSet<FolderId> {
        self.sides[side].up().into_iter().collect()
    }
}

#[test]
fn only_common_folders_come_up() {
    let mut pair = Pair::new(folders(&[1, 2, 3]), folders(&[3, 4, 1]));
    pair.settle();
    let common = BTreeSet::from([id(1), id(3)]);
    assert_eq!((pair.up(0), pair.up(1)), (common.clone(), common));
    for seen in &pair.seen {
        assert!(seen.iter().all(|action| matches!(
            action,
            Action::Up(Up { tier: Tier::Write, transfer_port: 4000, .. })
        )));
    }
}

#[test]
fn a_stranger_gets_noise_of_a_rounded_length() {
    for (own, tags) in [(0, 8), (1, 8), (8, 8), (9, 16)] {
        let secrets: Vec<u8> = (1..=own).collect();
        let mut pair = Pair::new(folders(&secrets), folders(&[100]));
        assert!(pair.deliver(1));
        let Some(Frame::Offer(offer)) = pair.wires[0].back() else { panic!("no offer") };
        assert_eq!(offer.len(), tags);
        pair.settle();
        assert!(pair.seen.iter().all(Vec::is_empty));
        assert!(!pair.sides[0].is_member() && !pair.sides[1].is_member());
    }
}

#[test]
fn tags_differ_by_role_and_stream() {
    let offer = |pair: &mut Pair, side: usize| {
        pair.wires[side].iter().find_map(|frame| match frame {
            Frame::Offer(tags) => Some(tags.iter().copied().collect::<BTreeSet<Tag>>()),
            _ => None,
        })
    };
    let mut pair = Pair::new(folders(&[1]), folders(&[1]));
    pair.deliver(0);
    pair.deliver(1);
    let (a, b) = (offer(&mut pair, 0).unwrap(), offer(&mut pair, 1).unwrap());
    assert!(a.is_disjoint(&b));
}

#[test]
fn a_folder_can_come_and_go_and_come_again() {
    let mut pair = Pair::new(folders(&[1]), folders(&[]));
    pair.settle();
    for side in [1, 0] {
        pair.set(side, &[1]);
        pair.settle();
        assert_eq!((pair.up(0), pair.up(1)), ([id(1)].into(), [id(1)].into()));
        pair.set(side, &[]);
        pair.settle();
        assert!(pair.up(0).is_empty() && pair.up(1).is_empty());
        pair.set(side, &[1]);
        pair.settle();
    }
    for seen in &pair.seen {
        let ups = seen.iter().filter(|a| matches!(a, Action::Up(_))).count();
        let downs = seen.iter().filter(|a| matches!(a, Action::Down(_))).count();
        assert_eq!(ups, downs + 1);
    }
}

/// Replaces the credentials that side 0 has just sealed by ones made with `forge`.
fn forged(forge: impl Fn(&FolderKeys, Admission) -> Admission) -> Vec<Action> {
    let mut pair = Pair::new(folders(&[1]), folders(&[1]));
    while !matches!(pair.wires[0].front(), Some(Frame::Admit(_))) {
        assert!(pair.deliver(1) || pair.deliver(0));
        if !matches!(pair.wires[0].front(), Some(Frame::Admit(_))) {
            pair.deliver(0);
        }
    }
    let Some(Frame::Admit(mut admit)) = pair.wires[0].pop_front() else { unreachable!() };
    let keys = FolderKeys::create([1; 32]);
    let binding = pair.sides[0].binding.clone().unwrap();
    let key = credentials_key(&keys, Role::Initiator, &binding);
    let credentials =
        Credentials { admission: forge(&keys, keys.admit(device(1))), transfer_port: 1 };
    admit.sealed = seal(&key, &admit.nonce, &admit.tag, &wire::encode(&credentials));
    pair.wires[0].push_front(Frame::Admit(admit));
    pair.settle();
    assert!(pair.up(0).is_empty() || pair.up(1).len() == 1, "the forger was not told");
    std::mem::take(&mut pair.seen[1])
}

#[test]
fn an_unforged_admission_is_taken() {
    let seen = forged(|_, admission| admission);
    assert!(matches!(seen[..], [Action::Up(_)]));
}

#[test]
fn an_admission_of_a_higher_tier_than_the_code_is_refused() {
    let seen = forged(|keys, _| {
        let weak = keys.weaken(Tier::Store).unwrap();
        Admission { tier: Tier::Write, ..weak.admit(device(1)) }
    });
    assert_eq!(seen, [Action::Refused(id(1))]);
}

#[test]
fn an_admission_of_another_device_is_refused() {
    let seen = forged(|keys, _| keys.admit(device(3)));
    assert_eq!(seen, [Action::Refused(id(1))]);
}

#[test]
fn an_admission_with_a_bad_signature_is_refused() {
    let seen = forged(|_, admission| Admission { signature: Signature([7; 64]), ..admission });
    assert_eq!(seen, [Action::Refused(id(1))]);
}

#[test]
fn a_lower_tier_is_told_as_such() {
    let weak = FolderKeys::create([1; 32]).weaken(Tier::Store).unwrap();
    let mut pair = Pair::new(Folders::from([(weak.folder(), weak.into())]), folders(&[1]));
    pair.settle();
    let tier = |seen: &[Action]| match seen {
        [Action::Up(up)] => up.tier,
        other => panic!("{other:?}"),
    };
    assert_eq!((tier(&pair.seen[0]), tier(&pair.seen[1])), (Tier::Write, Tier::Store));
}

/// The folder in its first two generations.
fn generations() -> [FolderKeys; 2] {
    let first = FolderKeys::create([1; 32]);
    let next = first.next_generation([9; 32]).unwrap();
    let second = first.at_generation(&next).unwrap();
    [first, second]
}

fn one(access: FolderAccess) -> Folders {
    Folders::from([(access.keys.folder(), access)])
}

/// How the folder is open where the second generation is in use.
fn second(late: &[DeviceId], removed: &[DeviceId]) -> Folders {
    let [first, second] = generations();
    one(FolderAccess {
        keys: second,
        earlier: vec![first],
        late: late.iter().copied().collect(),
        removed: removed.iter().map(|device| (*device, 1)).collect(),
    })
}

#[test]
fn a_member_that_was_away_comes_up_with_its_old_keys_and_then_with_the_new_ones() {
    let mut pair = Pair::new(second(&[device(2)], &[]), folders(&[1]));
    pair.settle();
    assert_eq!((pair.up(0), pair.up(1)), ([id(1)].into(), [id(1)].into()));
    // It has learned the new ones over this channel.
    let actions = pair.sides[1].set_folders(&second(&[device(1)], &[])).unwrap();
    pair.act(1, actions);
    pair.settle();
    for side in 0..2 {
        let up: Vec<&Group> = pair.sides[side].channels.values().collect();
        assert_eq!(up, [&(id(1), 1)]);
        let told: Vec<_> =
            pair.seen[side].iter().map(|seen| matches!(seen, Action::Up(_))).collect();
        assert_eq!(told, [true, false, true], "up, down, up: {:?}", pair.seen[side]);
    }
}

#[test]
fn who_has_only_an_old_code_stays_out_and_is_told() {
    let mut pair = Pair::new(second(&[], &[]), folders(&[1]));
    pair.settle();
    assert!(pair.up(0).is_empty() && pair.up(1).is_empty());
    assert_eq!(pair.seen[0], [Action::Refused(id(1))]);
    assert_eq!(pair.seen[1], [Action::Outdated(id(1))]);
}

#[test]
fn who_is_removed_while_connected_goes_down_at_once_and_stays_out() {
    let [first, _] = generations();
    // With new keys, and before they are agreed upon.
    let removed = [(device(2), 1)].into();
    let same_keys = one(FolderAccess { removed, ..first.into() });
    for after in [second(&[device(2)], &[device(2)]), same_keys] {
        let mut pair = Pair::new(folders(&[1]), folders(&[1]));
        pair.settle();
        assert_eq!(pair.up(1).len(), 1);
        let actions = pair.sides[0].set_folders(&after).unwrap();
        pair.act(0, actions);
        assert!(pair.up(0).is_empty(), "at once, whatever the other side does");
        pair.settle();
        assert!(pair.up(0).is_empty() && pair.up(1).is_empty());
        assert_eq!(pair.seen[1].last(), Some(&Action::Outdated(id(1))));
        // Whatever it does to come back.
        let actions = pair.sides[1].set_folders(&Folders::new()).unwrap();
        pair.act(1, actions);
        pair.set(1, &[1]);
        pair.settle();
        assert!(pair.up(0).is_empty() && pair.up(1).is_empty());
    }
}

#[test]
fn breaking_the_protocol_is_an_error() {
    let start = || Pair::new(folders(&[1]), folders(&[1])).sides.into_iter().next().unwrap();
    let own = start().nonce;
    let hello = |version, nonce| Frame::Hello { version, nonce };
    assert_eq!(start().on_frame(Frame::Ready), Err(PeeringError::OutOfTurn));
    assert_eq!(start().on_frame(hello(2, [0; 32])), Err(PeeringError::Version(2)));
    assert_eq!(start().on_frame(hello(1, own)), Err(PeeringError::Reflected));
    let mut twice = start();
    twice.on_frame(hello(1, [0; 32])).unwrap();
    assert_eq!(twice.on_frame(hello(1, [1; 32])), Err(PeeringError::OutOfTurn));
    let mut many = start();
    many.on_frame(hello(1, [0; 32])).unwrap();
    many.on_frame(Frame::Offer(vec![[1; 32]; FOLDERS_MAX])).unwrap();
    assert_eq!(many.on_frame(Frame::Offer(vec![[1; 32]])), Err(PeeringError::TooManyTags));
}

#[test]
fn messages_on_unknown_channels_are_dropped() {
    let mut pair = Pair::new(folders(&[1]), folders(&[1]));
    pair.settle();
    let frame = Frame::Message { channel: 77, body: vec![1] };
    assert_eq!(pair.sides[0].on_frame(frame), Ok(Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// However folders come and go and frames are delayed, both sides end with the common ones.
    #[test]
    fn both_sides_agree_in_the_end(
        steps in prop::collection::vec((0_usize..2, prop::collection::vec(1_u8..4, 0..3), 0_usize..4), 0..14)
    ) {
        let mut pair = Pair::new(folders(&[1]), folders(&[2]));
        let mut now = [BTreeSet::from([id(1)]), BTreeSet::from([id(2)])];
        for (side, secrets, deliveries) in steps {
            pair.set(side, &secrets);
            now[side] = secrets.iter().map(|s| id(*s)).collect();
            for n in 0..deliveries {
                pair.deliver(n % 2);
            }
        }
        pair.settle();
        let common: BTreeSet<FolderId> = now[0].intersection(&now[1]).copied().collect();
        prop_assert_eq!(pair.up(0), pair.up(1));
        prop_assert_eq!(pair.up(0), common);
    }
}
