//! Records that no honest device would write, in any order: the state must converge, and the view
//! must stay a tree.

use dunlin_identity::Tier;
use proptest::prelude::*;

use crate::context::Context;
use crate::ids::{Author, Dot, EntryId};
use crate::item::{Content, Kind};
use crate::name::SafeName;
use crate::record::{Op, Place, Stamp, first_id};
use crate::segment::{Part, Segment, chain_start};
use crate::testing::{Fake, Replica, config, device, name, text};

/// A record, with numbers for what it names.
type Raw = (u8, u8, u8, u8, u8, u8);

fn author(number: u8) -> Author {
    Author { device: device(number), epoch: 77 }
}

fn place_of(ids: &[EntryId], parent: u8, number: u8) -> Place {
    let names = [".dunlin", "a", "b.txt"];
    Place {
        parent: ids[usize::from(parent) % ids.len()],
        name: name(names[usize::from(number) % 3]),
    }
}

fn content_of(kind: u8, number: u8) -> Content {
    match kind % 3 {
        0 => text(&format!("{}", number % 3)),
        1 => Content::Directory,
        _ => Content::Symlink { target: format!("{}", number % 2) },
    }
}

/// The identities that the records are about: the root and ten that may be created.
fn universe() -> (Vec<EntryId>, Vec<(Place, Content)>) {
    let mut ids = vec![EntryId::ROOT];
    let mut births = Vec::new();
    for number in 0..10_u8 {
        let place = place_of(&ids, number * 7, number);
        let content = content_of(if number % 3 == 2 { 0 } else { 1 }, number);
        ids.push(first_id(&[5; 32], &place, &content));
        births.push((place, content));
    }
    (ids, births)
}

fn op_of(raw: Raw, by: &Author, ids: &[EntryId], births: &[(Place, Content)]) -> Op {
    let (what, a, b, c, d, e) = raw;
    let entry = ids[usize::from(a) % ids.len()];
    let dot = |number: u8| Dot { author: author(1 + number % 3), seq: u64::from(number / 3 % 12) };
    let stamp = Stamp { moves: u64::from(d % 4), hlc: u64::from(e % 2), device: by.device };
    match what % 10 {
        0..=2 => {
            let (place, content) = births[usize::from(a) % births.len()].clone();
            Op::Create { kind: content.kind(), first: true, place, content, mode: c.into() }
        }
        3 => {
            let (content, replaces, enables) = (content_of(b, c), vec![dot(d)], vec![dot(e)]);
            Op::Write { entry, content, replaces, enables }
        }
        4 | 5 => {
            let (place, from) = (place_of(ids, b, c), place_of(ids, e, c));
            Op::Move { entry, place, stamp, from, enables: vec![dot(c)] }
        }
        6 => Op::Mode { entry, mode: u32::from(b), stamp },
        7 => Op::Delete { entry, presence: vec![dot(b), dot(c)] },
        8 => {
            let mut context = Context::default();
            context.raise(author(1 + b % 3), u64::from(b % 12));
            context.raise(author(1 + c % 3), u64::from(c % 12));
            Op::DeleteTree { top: entry, seen: (d % 2 == 0).then_some(stamp), context }
        }
        _ if e > 170 => Op::Withdraw { entry, values: vec![dot(b), dot(c)] },
        _ => Op::Promote {
            entry,
            dot: dot(b),
            place: place_of(ids, c, d),
            content: content_of(2 * (e % 2), e),
            mode: 0,
        },
    }
}

/// Cuts an author's records into segments of one record each.
fn log_of(by: Author, ops: &[Op]) -> Vec<Vec<u8>> {
    let config = config(by.device.as_bytes()[0], Tier::Write);
    let (admission, name) = (config.admission, config.name.clone());
    let mut chain = chain_start(&config.folder, &by);
    let mut segments = Vec::new();
    let member = Op::Member { admission, name, named_ms: 0 };
    for (seq, op) in (1..).zip(std::iter::once(&member).chain(ops)) {
        let parts = vec![Part::Record(op.encode().unwrap())];
        let segment = Segment::sign(config.folder, by, seq, chain, parts, &Fake(by.device));
        chain = segment.chain_at(seq);
        segments.push(segment.encode());
    }
    segments
}

proptest! {
    #[test]
    fn hostile_records_commute(
        raw in prop::collection::vec((0..3_u8, any::<Raw>()), 0..36),
        orders in prop::collection::vec(prop::collection::vec(0..3_usize, 0..60), 2),
    ) {
        let (ids, births) = universe();
        let mut logs = Vec::new();
        for number in 1..=3_u8 {
            let by = author(number);
            let own = raw.iter().filter(|(who, _)| who + 1 == number);
            let ops: Vec<Op> = own.map(|(_, raw)| op_of(*raw, &by, &ids, &births)).collect();
            logs.push(log_of(by, &ops));
        }
        let mut ends = Vec::new();
        for order in &orders {
            let mut replica = Replica::new(9);
            let mut next = [0; 3];
            let rest = (0..3).flat_map(|log| std::iter::repeat_n(log, 64));
            for log in order.iter().copied().chain(rest) {
                if let Some(segment) = logs[log].get(next[log]) {
                    next[log] += 1;
                    replica.index.merge(segment, 0).unwrap();
                    // The walk ends only if what is shown is a tree.
                    replica.tree();
                }
            }
            replica.audit();
            let (print, tree) = (replica.index.fingerprint(), replica.tree());
            replica.index.rebuild().unwrap();
            replica.audit();
            prop_assert_eq!(replica.index.fingerprint(), print);
            ends.push((print, tree, replica.index.counts()));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
    }
}

#[test]
fn a_private_name_at_the_root_is_shown_under_another() {
    let by = author(1);
    let place = Place { parent: EntryId::ROOT, name: SafeName::parse(".dunlin").unwrap() };
    let content = Content::Directory;
    let op = Op::Create { kind: Kind::Directory, first: true, place, content, mode: 0 };
    let mut replica = Replica::new(9);
    for segment in log_of(by, &[op]) {
        replica.index.merge(&segment, 0).unwrap();
    }
    let paths = replica.paths();
    assert!(paths.len() == 1 && paths[0].starts_with(".dunlin (conflict "), "{paths:?}");
    replica.audit();
}
