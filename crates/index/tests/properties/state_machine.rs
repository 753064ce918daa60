//! Every step against the model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::world::{World, step};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// After each step the device shows what the model does, and fingerprints are equal exactly
    /// where the model's live registers are.
    #[test]
    fn the_index_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(3);
        let (mut prints, mut digests) = (BTreeMap::new(), BTreeMap::new());
        for step in &steps {
            let at = world.run(step);
            let digest = world.check(at);
            let print = world.devices[at].index.fingerprint();
            prop_assert_eq!(prints.entry(digest.clone()).or_insert(print), &print);
            prop_assert_eq!(digests.entry(print).or_insert(digest.clone()), &digest);
        }
    }
}
