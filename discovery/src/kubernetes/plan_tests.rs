//! Plans for stores of any content: what is wanted is there afterwards, and what is others' is as it was.
//! Pure: a plan's operations are carried out on a map.

use super::*;
use proptest::prelude::*;
use weft_model::{Endpoint, EndpointState, Hints};

fn name() -> ServiceName {
    ServiceName::new("shop", "web").unwrap()
}

fn endpoint(id: &str, weight: u32, source: Source) -> (String, Bytes) {
    let model = Endpoint {
        id: id.to_owned(),
        service: name(),
        hostname: None,
        addresses: vec!["10.0.0.1".parse().unwrap()],
        ports: BTreeMap::new(),
        weight,
        zone: None,
        node: None,
        hints: Hints::default(),
        priority: 0,
        location: None,
        identity: None,
        state: EndpointState::Ready,
    };
    (Key::endpoint(&model).to_string(), record::Record { model, document: None, source }.encode())
}

fn entry((key, value): (String, Bytes), modified: Revision) -> Entry {
    Entry { key, value, created: modified, modified, lease: None }
}

fn wanted(ids: impl IntoIterator<Item = usize>) -> BTreeMap<String, Bytes> {
    ids.into_iter().map(|n| endpoint(&format!("web-{n}"), 1, Source::Kubernetes)).collect()
}

#[test]
fn what_is_there_already_is_not_written() {
    let mut mirror = Mirror::default();
    let plan = mirror.plan_service(&name(), &wanted(0..3));
    assert_eq!((plan.transactions.len(), plan.transactions[0].ops.len()), (1, 3));
    assert!(plan.transactions[0].compares.iter().all(|compare| matches!(compare, Compare::Modified(_, 0))));
    mirror.did(&plan.transactions[0].ops, 7);
    assert_eq!(mirror.plan_service(&name(), &wanted(0..3)), Plan::default());
    let fewer = mirror.plan_service(&name(), &wanted(0..2));
    let [transaction] = &fewer.transactions[..] else { panic!("{fewer:?}") };
    assert_eq!(transaction.compares, [Compare::Modified("endpoints/shop/web/web-2".to_owned(), 7)]);
    assert_eq!(transaction.ops[0], Op::delete("endpoints/shop/web/web-2"));
    assert!(matches!(&transaction.ops[1], Op::Put { key, .. } if key == "withdrawals/shop/web"), "on purpose");
}

#[test]
fn what_belongs_to_others_is_left_and_named() {
    let mut mirror = Mirror::default();
    mirror.see(entry(endpoint("web-0", 5, Source::Apply), 3));
    mirror.see(entry(endpoint("web-1", 5, Source::Registration), 4));
    let plan = mirror.plan_service(&name(), &wanted([0]));
    assert_eq!(plan.transactions, []);
    assert_eq!(plan.taken.iter().collect::<Vec<_>>(), ["endpoints/shop/web/web-0"]);
    assert_eq!(mirror.plan_record("endpoints/shop/web/web-1", None), Plan::default());
    mirror.see(entry(("endpoints/shop/web/web-2".to_owned(), "{".into()), 5));
    let unreadable = mirror.plan_service(&name(), &wanted([2]));
    assert_eq!(unreadable.transactions[0].compares, [Compare::Modified("endpoints/shop/web/web-2".to_owned(), 5)]);
}

#[test]
fn large_services_are_cut_into_transactions_that_every_store_takes() {
    let mut mirror = Mirror::default();
    let grown = mirror.plan_service(&name(), &wanted(0..500));
    for transaction in &grown.transactions {
        assert!(transaction.ops.len() <= OPS_LIMIT && transaction.compares.len() < OPS_LIMIT);
        mirror.did(&transaction.ops, 9);
    }
    let gone = mirror.plan_service(&name(), &BTreeMap::new());
    for transaction in &gone.transactions {
        assert!(transaction.ops.len() <= OPS_LIMIT && transaction.compares.len() < OPS_LIMIT);
        let keys: BTreeSet<_> = transaction.ops.iter().map(|op| format!("{op:?}")).collect();
        assert_eq!(keys.len(), transaction.ops.len(), "no key twice");
        mirror.did(&transaction.ops, 10);
    }
    assert_eq!(mirror.ours().count(), 0);
}

proptest! {
    #[test]
    fn afterwards_what_is_wanted_is_there_and_what_is_others_is_untouched(
        present in proptest::collection::btree_map(0usize..8, (0u32..3, prop::sample::select(vec![Source::Kubernetes, Source::Apply, Source::Registration])), 0..8),
        ids in proptest::collection::btree_set(0usize..8, 0..8),
    ) {
        let mut mirror = Mirror::default();
        let mut store = BTreeMap::new();
        for (n, (weight, source)) in &present {
            let (key, value) = endpoint(&format!("web-{n}"), *weight, *source);
            store.insert(key.clone(), value.clone());
            mirror.see(entry((key, value), 3));
        }
        let wanted = wanted(ids);
        let plan = mirror.plan_service(&name(), &wanted);
        for op in plan.transactions.iter().flat_map(|transaction| &transaction.ops) {
            match op {
                Op::Put { key, value, .. } => drop(store.insert(key.clone(), value.clone())),
                Op::Delete { key } => drop(store.remove(key)),
                Op::DeletePrefix { .. } => prop_assert!(false),
            }
        }
        store.remove("withdrawals/shop/web");
        let mut expected = wanted.clone();
        for (n, (weight, source)) in present.iter().filter(|(_, (_, source))| *source != Source::Kubernetes) {
            let (key, value) = endpoint(&format!("web-{n}"), *weight, *source);
            expected.insert(key, value);
        }
        prop_assert_eq!(store, expected);
    }
}
