//! Merging as a semilattice: the order, loss and repetition of segments leave no trace.

use proptest::prelude::*;

use crate::common::Device;
use crate::common::model::Model;
use crate::world::{Step, World, step, take_all};

/// A history with what everyone has said in it, in an order, with repetitions.
fn history() -> impl Strategy<Value = (World, Vec<Vec<u8>>)> {
    let steps = prop::collection::vec(step(), 1..50);
    let history = steps.prop_map(|steps| {
        let mut world = World::new(3);
        for step in &steps {
            world.run(step);
        }
        world
    });
    // The worlds themselves are not shown in a failure, the steps are in the regression's seed.
    (history, prop::collection::vec(any::<u16>(), 1..200)).prop_map(|(world, picks)| {
        let segments = world.segments();
        let picked = picks.iter().map(|pick| segments[usize::from(*pick) % segments.len()].clone());
        let picked = picked.collect();
        (world, picked)
    })
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.records.values()).finish()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Segments arrive in any order, some twice, some never; then repair brings the rest.
    #[test]
    fn any_delivery_ends_in_one_state((world, picked) in history()) {
        let segments = world.segments();
        let mut straight = Device::new(7);
        take_all(&mut straight, &segments);
        let mut crooked = Device::new(7);
        take_all(&mut crooked, &picked);
        // What is there by now is as the model has it, whatever is missing.
        let mut records = world.records;
        let own = crate::common::wire::records(&crooked.log[0]);
        records.extend(own);
        let model = Model::new(&records, crooked.index.context());
        prop_assert_eq!(crooked.view(), model.view());
        prop_assert_eq!(crooked.index.settings(), model.settings());
        let mut reversed: Vec<Vec<u8>> = segments.clone();
        reversed.reverse();
        take_all(&mut crooked, &reversed);
        prop_assert_eq!(straight.index.context(), crooked.index.context());
        prop_assert_eq!(straight.index.fingerprint(), crooked.index.fingerprint());
        prop_assert_eq!(straight.view(), crooked.view());
        prop_assert_eq!(straight.index.settings(), crooked.index.settings());
        crooked.audit();
        // Again changes nothing.
        take_all(&mut crooked, &segments);
        prop_assert_eq!(straight.index.fingerprint(), crooked.index.fingerprint());
    }

    /// Merging A's state into B's is merging B's into A's; by way of a third, too.
    #[test]
    fn merging_is_commutative_and_associative((mut world, _) in history()) {
        let views: Vec<_> = (0..3_usize).map(|first| {
            let mut device = Device::new(7);
            for at in 0..3 {
                let from = &world.devices[(first + at) % 3];
                device.pull(from);
            }
            (device.view(), device.index.fingerprint())
        }).collect();
        prop_assert_eq!(&views[0], &views[1]);
        prop_assert_eq!(&views[1], &views[2]);
        // (a + b) + c is a + (b + c).
        let (mut left, mut right) = (Device::new(7), Device::new(7));
        let mut between = Device::new(8);
        left.pull(&world.devices[0]);
        left.pull(&world.devices[1]);
        left.pull(&world.devices[2]);
        between.pull(&world.devices[1]);
        between.pull(&world.devices[2]);
        right.pull(&world.devices[0]);
        right.pull(&between);
        prop_assert_eq!(left.view(), right.view());
        prop_assert_eq!(left.index.fingerprint(), right.index.fingerprint());
        world.run(&Step::Deliver { to: 0, from: 0, count: 1 });
    }

    /// What was stored and read again is what was in memory.
    #[test]
    fn the_stored_index_is_the_one_in_memory((mut world, _) in history()) {
        for device in &mut world.devices {
            let state = |device: &Device| {
                let settings = device.index.settings().to_vec();
                (device.view(), device.index.fingerprint(), device.index.counts(), settings)
            };
            let before = state(device);
            device.reopen();
            prop_assert_eq!(&before, &state(device));
            device.index.rebuild().unwrap();
            prop_assert_eq!(before, state(device));
            device.audit();
        }
    }
}
