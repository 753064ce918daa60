//! Removals of devices at any time, by any of the others, delivered in any order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::common::{Device, model::Model};
use crate::world::{World, step_with_removals, take_all};

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// After each step the device shows what the model does: what counts is decided by the set of
    /// records alone.
    #[test]
    fn a_removal_takes_back_what_the_model_says(
        steps in prop::collection::vec(step_with_removals(), 1..60),
    ) {
        let mut world = World::new(4);
        let (mut prints, mut digests) = (BTreeMap::new(), BTreeMap::new());
        for step in &steps {
            let at = world.run(step);
            let digest = world.check(at);
            let print = world.devices[at].index.fingerprint();
            prop_assert_eq!(prints.entry(digest.clone()).or_insert(print), &print);
            prop_assert_eq!(digests.entry(print).or_insert(digest.clone()), &digest);
            prop_assert!(nothing_past_its_end(&world.devices[at]));
        }
        for device in &mut world.devices {
            device.audit();
        }
    }

    /// Whatever the order in which logs arrive, removals before or after what they take back, the
    /// state and the view are one, and so are the stored index and the one made anew from the logs.
    #[test]
    fn removals_commute_with_everything(
        steps in prop::collection::vec(step_with_removals(), 1..60),
        picks in prop::collection::vec(any::<u16>(), 1..200),
    ) {
        let mut world = World::new(4);
        for step in &steps {
            world.run(step);
        }
        let segments = world.segments();
        let mut straight = Device::new(7);
        take_all(&mut straight, &segments);
        let mut crooked = Device::new(7);
        let picked: Vec<Vec<u8>> =
            picks.iter().map(|pick| segments[usize::from(*pick) % segments.len()].clone()).collect();
        take_all(&mut crooked, &picked);
        let mut reversed = segments;
        reversed.reverse();
        take_all(&mut crooked, &reversed);
        let mut records = world.records;
        records.extend(crate::common::wire::records(&crooked.log[0]));
        prop_assert_eq!(crooked.view(), Model::new(&records, crooked.index.context()).view());
        let state = |device: &Device| {
            let settings = device.index.settings().to_vec();
            let (members, counts) = (device.index.members(), device.index.counts());
            (device.view(), device.index.fingerprint(), counts, settings, members)
        };
        let told = state(&straight);
        prop_assert_eq!(&state(&crooked), &told);
        for mut device in [straight, crooked] {
            device.audit();
            device.reopen();
            prop_assert_eq!(&state(&device), &told);
            device.index.rebuild().unwrap();
            prop_assert_eq!(&state(&device), &told);
            device.audit();
        }
    }
}

/// Tells whether no value that is shown was written past the end of its author's log.
fn nothing_past_its_end(device: &Device) -> bool {
    let items = device.items();
    let mut shown = items.iter().flat_map(|(_, item)| {
        let merged = item.merged.iter().map(|(dot, _)| *dot);
        item.key.dot.into_iter().chain(merged)
    });
    shown.all(|dot| device.index.counts_for(&dot))
}
