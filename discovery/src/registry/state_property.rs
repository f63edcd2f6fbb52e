//! Whatever happens to the store, in whatever portions it is taken in, the world is the one that would be built anew.
//!
//! Unreadable values count as the last good one, and what the brake keeps is let go before the two are compared.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

/// One thing that can happen to the store, among few names and addresses so that things meet.
fn happening() -> impl Strategy<Value = Vec<Op>> {
    let service_name = || prop::sample::select(vec!["cart", "search", "web"]);
    let names = || prop::sample::subsequence(vec!["cart", "search", "web"], 0..=3);
    let id = || prop::sample::select(vec!["0", "1", "2", "3", "4", "5"]);
    let document = || prop::sample::select(vec!["a", "b", "c"]);
    let address = || prop::sample::select(vec!["198.18.0.1", "198.18.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let value = prop_oneof![
        (service_name(), address()).prop_map(|(name, at)| service(name, &[at])),
        (service_name(), id(), address()).prop_map(|(service, id, at)| endpoint(service, id, at)),
        (document(), names()).prop_map(|(name, parents)| route(name, &parents)),
        (document(), names(), 0..3u32).prop_map(|(name, targets, attempts)| policy(name, &targets, attempts)),
    ];
    let deleted = |op: Op| if let Op::Put { key, .. } = op { Op::delete(key) } else { op };
    let ids = prop::sample::subsequence(vec!["0", "1", "2", "3", "4", "5"], 1..=6);
    prop_oneof![
        6 => value.clone().prop_map(|op| vec![op]),
        3 => value.clone().prop_map(move |op| vec![deleted(op)]),
        1 => value.prop_map(|op| vec![spoil(op)]),
        1 => (service_name(), ids.clone()).prop_map(|(service, ids)| ids.iter().map(|id| lose(service, id)).collect()),
        1 => (service_name(), ids).prop_map(|(s, ids)| withdraw(&name(s), ids.iter().map(|id| (*id).to_owned()))),
    ]
}

proptest! {
    #[test]
    fn the_world_is_what_it_would_be_if_it_were_built_anew(
        steps in prop::collection::vec((happening(), prop::sample::select(vec!["apply", "publish", "resync"])), 1..40),
    ) {
        let (mut books, mut good) = (Books::new(), BTreeMap::<String, Entry>::new());
        for (ops, step) in steps {
            let before = books.world.clone();
            let batch = books.store.commit(ops);
            if step == "resync" {
                books.state.resync(&books.store.range(), books.now);
            } else {
                books.state.apply(&batch, books.now);
            }
            // What is in force: the last good value of each key that is in the store.
            good.retain(|key, _| books.store.entries.contains_key(key));
            let readable = |entry: &&Entry| matches!(Content::decode(entry), Some(Ok(_)));
            good.extend(books.store.entries.values().filter(readable).map(|e| (e.key.clone(), e.clone())));
            if step != "apply" {
                let changed = books.publish();
                told_of_all_differences(&before, &books.world, &changed)?;
            }
        }
        books.now += BrakeSettings::default().grace + Duration::from_secs(1);
        books.state.pass(books.now);
        books.publish();
        let mut anew = State::new(BrakeSettings::default());
        anew.resync(&Range { entries: good.into_values().collect(), revision: books.store.revision }, books.now);
        let (anew, _) = anew.publish();
        let views = |world: &World| world.services().map(|v| (v.view.service.name.clone(), v.view.clone())).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(views(&books.world), views(&anew));
        prop_assert_eq!(&books.world.addresses, &anew.addresses);
        prop_assert_eq!((books.world.counts(), books.world.revision()), (anew.counts(), anew.revision()));
        prop_assert!(books.state.claims.values().all(|claims| !claims.is_empty()));
        prop_assert_eq!(books.state.brake.on().count(), 0);
    }
}

/// Whoever watches a target that is different must hear of it.
fn told_of_all_differences(before: &World, now: &World, changed: &BTreeSet<Target>) -> Result<(), TestCaseError> {
    for service in ["cart", "search", "web"].map(name) {
        let differs = before.service(&service) != now.service(&service);
        prop_assert_eq!(changed.contains(&Target::Service(service.clone())), differs, "{}", service);
    }
    for address in addresses(&["198.18.0.1", "198.18.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
        let differs = before.binding(address) != now.binding(address);
        prop_assert!(!differs || changed.contains(&Target::Address(address)), "{}", address);
    }
    Ok(())
}
