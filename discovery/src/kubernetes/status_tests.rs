//! Statuses that documents should have, in worlds that are made here: said once, kept with their dates, beside those of others.
//! Pure: time is given.

use super::*;
use crate::kubernetes::cache::Seen;
use crate::kubernetes::cluster::{Due, News};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn document(kind: Kind, spec: Value, status: Value) -> Document {
    let resource = super::super::document::resource(kind);
    let metadata = json!({"name": "split", "namespace": "shop"});
    let value = json!({"apiVersion": resource.api_version, "kind": kind.name(), "metadata": metadata, "spec": spec});
    Document { value, generation: 3, version: "77".to_owned(), status }
}

fn route(status: Value) -> Document {
    let spec = json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "cart", "port": 80}],
        "rules": [{"backendRefs": [{"name": "cart", "port": 80}]}],
    });
    document(Kind::HttpRoute, spec, status)
}

fn said(kind: Kind, document: Document) -> Option<Patch> {
    let name = ("shop".to_owned(), "split".to_owned());
    let verdict = match document.is_detached(kind) {
        true => Verdict::Detached,
        false => Verdict::of(kind, &document.translate(kind, "weft.local")),
    };
    let mut cluster = Cluster::default();
    cluster.take(News::Document(kind, Seen::Put(name.clone(), document)), &mut Due::default());
    let verdicts = BTreeMap::from([((kind, name), verdict)]);
    let patches = patches(&cluster, &verdicts, &World::default(), SystemTime::UNIX_EPOCH + NOW);
    patches.into_iter().next()
}

#[test]
fn a_status_is_written_once_and_others_words_stay() {
    let other = json!({"parentRef": {"name": "edge"}, "controllerName": "example.com/gateway", "conditions": []});
    let first = said(Kind::HttpRoute, route(json!({"parents": [other]}))).unwrap();
    assert_eq!((first.version.as_str(), &first.status["parents"][0]), ("77", &other));
    let ours = &first.status["parents"][1];
    assert_eq!(ours["controllerName"], CONTROLLER);
    assert_eq!(ours["conditions"][0]["reason"], "NoMatchingParent", "the world is empty");
    assert_eq!(ours["conditions"][0]["observedGeneration"], 3);
    assert_eq!(ours["conditions"][0]["lastTransitionTime"], "2023-11-14T22:13:20Z");
    assert_eq!(said(Kind::HttpRoute, route(first.status)), None);
}

#[test]
fn the_date_is_that_of_the_last_turn() {
    let mut earlier = said(Kind::HttpRoute, route(Value::Null)).unwrap().status;
    for (n, status) in [(0, "False"), (1, "True")] {
        let condition = &mut earlier["parents"][0]["conditions"][n];
        condition["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
        condition["observedGeneration"] = 2.into();
        condition["status"] = status.into();
    }
    let now = said(Kind::HttpRoute, route(earlier)).unwrap().status;
    let conditions = &now["parents"][0]["conditions"];
    assert_eq!(conditions[0]["lastTransitionTime"], "2020-01-01T00:00:00Z", "it was False before");
    assert_eq!(conditions[1]["lastTransitionTime"], "2023-11-14T22:13:20Z", "it has turned");
}

#[test]
fn faults_are_told_where_people_look() {
    let mut faulty = route(Value::Null);
    faulty.value["spec"]["rules"][0]["backendRefs"][0]["port"] = 0.into();
    let patch = said(Kind::HttpRoute, faulty).unwrap();
    let condition = &patch.status["parents"][0]["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("UnsupportedValue")));
    assert!(condition["message"].as_str().unwrap().contains("spec.rules[0].backendRefs[0].port"), "{condition}");
    let policy = |spec: Value| {
        let patch = said(Kind::TrafficPolicy, document(Kind::TrafficPolicy, spec, Value::Null)).unwrap();
        patch.status["conditions"][0]["reason"].clone()
    };
    let target = json!({"group": "", "kind": "Service", "name": "cart"});
    assert_eq!(policy(json!({"targetRefs": [target]})), "Accepted");
    assert_eq!(policy(json!({"targetRefs": [target], "nonsense": 1})), "Invalid");
}

#[test]
fn grants_have_no_status() {
    assert_eq!(said(Kind::ReferenceGrant, document(Kind::ReferenceGrant, json!({}), Value::Null)), None);
}

#[test]
fn words_about_parents_that_are_gone_are_taken_back() {
    let edge = json!({"parentRef": {"name": "edge"}, "controllerName": "example.com/gateway", "conditions": []});
    let mut both = said(Kind::HttpRoute, route(json!({"parents": [edge]}))).unwrap().status;
    let old = json!({"parentRef": {"group": "", "kind": "Service", "name": "old"}, "controllerName": CONTROLLER, "conditions": []});
    both["parents"].as_array_mut().unwrap().push(old);
    let names = |status: &Value| {
        let parents = status["parents"].as_array().unwrap().iter();
        parents.map(|parent| parent["parentRef"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&said(Kind::HttpRoute, route(both.clone())).unwrap().status), ["edge", "cart"]);
    let mut detached = route(both);
    detached.value["spec"]["parentRefs"] = json!([]);
    assert_eq!(names(&said(Kind::HttpRoute, detached).unwrap().status), ["edge"]);
}

#[test]
fn a_route_that_is_partly_in_force_says_so() {
    let mut partly = route(Value::Null);
    let strange = json!({"matches": [{"path": {"type": "RegularExpression", "value": "/("}}], "backendRefs": [{"name": "cart", "port": 80}]});
    let odd = json!({"backendRefs": [{"group": "example.com", "kind": "Bucket", "name": "cart"}]});
    let rules = partly.value["spec"]["rules"].as_array_mut().unwrap();
    rules.insert(0, strange);
    rules.push(odd);
    let verdict = Verdict::of(Kind::HttpRoute, &partly.translate(Kind::HttpRoute, "weft.local"));
    let Verdict::Route { attached, dropped, why } = &verdict else { panic!("{verdict:?}") };
    assert_eq!((attached.route.rules.len(), dropped), (2, &BTreeSet::from([0])));
    let said = conditions::status(attached, dropped, Some(3), &World::default());
    let message = said["parents"][0]["conditions"][1]["message"].as_str().unwrap().to_owned();
    // The world is empty: what is told first is the first rule that is left, by its number in the document.
    assert!(message.starts_with("spec.rules[1].backendRefs[0]: "), "{message}");
    let mut parent = json!({"conditions": [{"type": "Accepted", "status": "True"}]});
    super::partly(&mut parent, why, &partly);
    let condition = &parent["conditions"][1];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("PartiallyInvalid"), &json!("UnsupportedValue")));
    assert!(
        condition["message"].as_str().unwrap().starts_with("Dropped Rule: spec.rules[0].matches[0].path"),
        "{condition}"
    );
    let mut refused = json!({"conditions": [{"type": "Accepted", "status": "False"}]});
    super::partly(&mut refused, why, &partly);
    assert_eq!(refused["conditions"].as_array().unwrap().len(), 1);
}

#[test]
fn conditions_of_other_types_stay() {
    let mut earlier = said(Kind::HttpRoute, route(Value::Null)).unwrap().status;
    let other = json!({"type": "example.com/Audited", "status": "True", "reason": "Yes", "message": ""});
    let conditions = earlier["parents"][0]["conditions"].as_array_mut().unwrap();
    conditions.push(other.clone());
    assert_eq!(said(Kind::HttpRoute, route(earlier.clone())), None, "nothing is to be said anew");
    earlier["parents"][0]["conditions"][0]["message"] = "old".into();
    let now = said(Kind::HttpRoute, route(earlier)).unwrap().status;
    assert_eq!(now["parents"][0]["conditions"][2], other);
}
