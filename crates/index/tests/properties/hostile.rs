//! A member who writes what no honest device would: circles, identities twice, places nowhere,
//! stamps from the end of time. All devices still show the same tree.

use std::collections::BTreeSet;

use dunlin_index::{Author, Content, Context, Dot, EntryId, SafeName};
use proptest::prelude::*;
use proptest::sample::Index as Pick;

use crate::common::model::{Model, ids_of};
use crate::common::wire::{self, Hostile, LogEnd, Op, Place, Stamp};
use crate::common::{Device, name, word};
use crate::world::{Step, World, step, take_all};

/// One lie; picks choose among what there is.
#[derive(Clone, Debug)]
struct Lie {
    what: u8,
    one: Pick,
    other: Pick,
    dots: Vec<Pick>,
    name: u8,
    number: u64,
}

fn lie() -> impl Strategy<Value = Lie> {
    let number = prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..5_u64, any::<u64>()];
    let dots = prop::collection::vec(any::<Pick>(), 0..5);
    (any::<u8>(), any::<Pick>(), any::<Pick>(), dots, any::<u8>(), number).prop_map(
        |(what, one, other, dots, name, number)| Lie { what, one, other, dots, name, number },
    )
}

fn name_of(number: u8) -> SafeName {
    const NAMES: [&str; 7] =
        ["a", "b.txt", "c", ".dunlin", "a (conflict 00000000)", "d.d", "b (conflict 12345678).txt"];
    name(NAMES[usize::from(number) % NAMES.len()])
}

/// Gives the record that a lie stands for.
fn told(lie: &Lie, ids: &[EntryId], dots: &[Dot], author: Author) -> Op {
    let entry = *lie.one.get(ids);
    let parent = *lie.other.get(ids);
    let place = Place { parent, name: name_of(lie.name) };
    let from = Place { parent: entry, name: name_of(lie.name / 7) };
    let picked: Vec<Dot> = lie.dots.iter().map(|pick| *pick.get(dots)).collect();
    let dot = picked.first().copied().unwrap_or(Dot { author, seq: lie.number.max(1) });
    let stamp = Stamp { moves: lie.number % 4, hlc: lie.number, device: author.device };
    let mode = u32::from(lie.name) % 0o10000;
    let content = match lie.name % 3 {
        0 => word("lie", lie.number >> 1),
        1 => Content::Symlink { target: "../../etc".to_owned() },
        _ => Content::Directory,
    };
    let solid = if content == Content::Directory { word("solid", 0) } else { content.clone() };
    match lie.what % 12 {
        11 => {
            let device = dot.author.device;
            let of_it = picked.iter().filter(|dot| dot.author.device == device);
            let ends = of_it.map(|dot| LogEnd { epoch: dot.author.epoch, seq: dot.seq }).collect();
            let generation = u32::try_from(lie.number % 4).unwrap();
            Op::Remove { device, ends, generation, keys: Vec::new() }
        }
        10 => Op::Settings { value: vec![lie.name; 3], replaces: picked },
        0 => Op::Create { kind: content.kind(), first: true, place, content, mode },
        1 => Op::Create { kind: content.kind(), first: false, place, content, mode },
        2 => Op::Write { entry, content, replaces: picked.clone(), enables: picked },
        3..=5 => Op::Move { entry, place, stamp, from, enables: picked },
        6 => Op::Mode { entry, mode, stamp },
        7 => Op::Delete { entry, presence: picked },
        8 => {
            let mut context = Context::default();
            for dot in picked {
                context.raise(dot.author, dot.seq);
            }
            Op::DeleteTree { top: entry, seen: (lie.name > 99).then_some(stamp), context }
        }
        _ if lie.name > 200 => Op::Enable { entry, enables: picked },
        _ if lie.name > 150 => Op::Withdraw { entry, values: picked },
        _ => Op::Promote { entry, dot, place, content: solid, mode },
    }
}

/// Mixes what honest devices do with lies about it.
fn lies_in(world: &mut World, steps: &[Step], lies: &[Lie]) -> Vec<Vec<u8>> {
    let mut wolves = [Hostile::new(200), Hostile::new(100)];
    for wolf in &wolves {
        world.records.extend(wire::records(&wolf.log[0]));
    }
    let mut lies = lies.iter();
    for (number, step) in steps.iter().enumerate() {
        world.run(step);
        for wolf in &mut wolves {
            let Some(lie) = lies.next() else { continue };
            let mut ids: BTreeSet<EntryId> = ids_of(&world.records);
            ids.extend([EntryId::ROOT, EntryId([1; 16])]);
            let ids: Vec<EntryId> = ids.into_iter().collect();
            let mut dots: Vec<Dot> = world.records.keys().copied().collect();
            dots.push(Dot { author: wolf.author, seq: wolf.seq + 1 });
            dots.push(Dot { author: wolf.author, seq: wolf.seq + 3 });
            let dot = wolf.say(&told(lie, &ids, &dots, wolf.author));
            let segment = wolf.log.last().unwrap().clone();
            world.records.extend(
                wire::records(&segment)
                    .into_iter()
                    .filter(|(other, op)| *other == dot && is_taken(op)),
            );
            // Some of the honest hear of it at once.
            let at = number % (world.devices.len() + 1);
            if let Some(device) = world.devices.get_mut(at) {
                take_all(device, &wolf.log);
            }
        }
    }
    let mut segments = world.segments();
    segments.extend(wolves.into_iter().flat_map(|wolf| wolf.log));
    segments
}

/// Tells whether a record is one that has an effect: the root is beyond everybody's reach.
fn is_taken(op: &Op) -> bool {
    match op {
        Op::Write { entry, .. }
        | Op::Move { entry, .. }
        | Op::Mode { entry, .. }
        | Op::Delete { entry, .. }
        | Op::Promote { entry, .. }
        | Op::Enable { entry, .. }
        | Op::Withdraw { entry, .. } => *entry != EntryId::ROOT,
        Op::DeleteTree { top, .. } => *top != EntryId::ROOT,
        Op::Remove { generation, .. } => *generation > 0,
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_liar_cannot_part_the_honest(
        steps in prop::collection::vec(step(), 1..40),
        lies in prop::collection::vec(lie(), 1..60),
    ) {
        let mut world = World::new(2);
        let segments = lies_in(&mut world, &steps, &lies);
        for at in 0..world.devices.len() {
            world.check(at);
        }
        let mut reversed = segments.clone();
        reversed.reverse();
        let (mut one, mut other) = (Device::new(7), Device::new(7));
        take_all(&mut one, &segments);
        take_all(&mut other, &reversed);
        prop_assert_eq!(one.index.context(), other.index.context());
        prop_assert_eq!(one.view(), other.view());
        prop_assert_eq!(one.index.fingerprint(), other.index.fingerprint());
        prop_assert_eq!(one.view(), Model::new(&world.records, one.index.context()).view());
        // The audit walks the whole view: a tree, each name once, each entry where it says.
        one.audit();
        other.audit();
        one.reopen();
        prop_assert_eq!(one.view(), other.view());
    }
}
