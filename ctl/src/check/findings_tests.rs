//! Made-up meshes, each with one thing wrong: every question has a fault that it alone finds.
//!
//! What provokes these faults in a real mesh is the suite `check`.

use super::*;
use crate::check::facts::{Documents, Offset, Redirect, Said, Sidecar, Told, Validity};
use crate::check::finding::Level;
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;
use weft_identity::certificate::{Authority, to_pem};
use weft_proto::v1;

const DAY: i64 = 86_400;
const SECOND: i64 = 1_000_000;

fn now() -> SystemTime {
    SystemTime::now()
}

fn at(ends_in: i64) -> Validity {
    let now = i64::try_from(now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    Validity { not_before: now + ends_in - DAY, not_after: now + ends_in }
}

fn certificate(proxy: &str, ends_in: i64) -> v1::Certificate {
    let Validity { not_before, not_after } = at(ends_in);
    let identity = "spiffe://d/ns/shop/sa/cart".to_owned();
    v1::Certificate {
        identity,
        proxy: proxy.to_owned(),
        serial: String::new(),
        not_before,
        not_after,
        ..Default::default()
    }
}

fn sidecar(name: &str) -> Sidecar {
    let proxy = v1::Proxy {
        identity: "spiffe://d/ns/shop/sa/cart".to_owned(),
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        version: "1".to_owned(),
        sent_revision: 7,
        acked_revision: 7,
        ..Default::default()
    };
    let said = Said { redirect: Some(Redirect { fault: None }), certificate: at(DAY / 2), now_us: 0 };
    Sidecar { proxy, told: Ok(Told { said, offset: Offset { least: 0, most: 0 } }) }
}

fn object(kind: &str, name: &str, model: Value, status: &Value) -> v1::Object {
    v1::Object {
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        model_json: model.to_string(),
        status_json: status.to_string(),
        ..Default::default()
    }
}

fn route(unmet: Option<&str>) -> v1::Object {
    let condition = |kind: &str| {
        let status = if unmet == Some(kind) { "False" } else { "True" };
        json!({ "type": kind, "status": status, "message": "Service shop/none does not exist" })
    };
    let status = json!({ "parents": [{ "conditions": [condition("Accepted"), condition("ResolvedRefs")] }] });
    object("HTTPRoute", "way", json!({}), &status)
}

fn documents() -> Documents {
    let cart = json!({ "namespace": "shop", "name": "cart" });
    let port = json!({ "name": "http", "port": 80, "target_port": 80 });
    let endpoint = json!({ "id": "cart-0", "service": cart, "addresses": ["10.0.0.1"],
        "identity": "spiffe://d/ns/shop/sa/cart" });
    Documents::read(
        &[object("Service", "cart", json!({ "name": cart, "ports": [port] }), &Value::Null)],
        &[object("Endpoint", "cart-0", endpoint, &Value::Null)],
        vec![route(None)],
        &[object("TrafficPolicy", "cart", json!({ "targets": [cart] }), &Value::Null)],
    )
    .unwrap()
}

/// A mesh in which all is well.
fn healthy() -> Facts {
    let (replica, version) = ("d-1".to_owned(), "1".to_owned());
    let status = v1::StatusResponse { replica, version, ready: true, revision: 7, ..Default::default() };
    let heard = Heard { status, offset: Some(Offset { least: -1, most: 1 }) };
    Facts {
        replicas: vec![("unix:///a.sock".to_owned(), Ok(heard))],
        anchors: Some(Ok(to_pem(&[Authority::generate("d").unwrap().certificate().clone()]))),
        certificates: Some(Ok(vec![
            certificate("cart-0", -DAY),
            certificate("cart-0", DAY / 2),
            certificate("d-1", DAY / 2),
        ])),
        documents: Some(Ok(documents())),
        sidecars: vec![sidecar("cart-0")],
        without_sidecar: None,
    }
}

/// The one question that fails after `change`, and its first fault.
fn fault(change: impl FnOnce(&mut Facts)) -> (&'static str, String) {
    let mut facts = healthy();
    change(&mut facts);
    let mut faults: Vec<_> = findings(&facts, now()).into_iter().filter(|found| found.level != Level::Ok).collect();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let Finding { check, faults, advice, .. } = faults.remove(0);
    assert!(!advice.is_empty());
    (check, faults.into_iter().next().unwrap())
}

fn status(facts: &mut Facts) -> &mut v1::StatusResponse {
    &mut facts.replicas[0].1.as_mut().unwrap().status
}

fn told(facts: &mut Facts) -> &mut Told {
    facts.sidecars[0].told.as_mut().unwrap()
}

fn written(facts: &mut Facts) -> &mut Documents {
    facts.documents.as_mut().unwrap().as_mut().unwrap()
}

#[test]
fn a_healthy_mesh_has_no_faults() {
    let found = findings(&healthy(), now());
    assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:?}");
    let checks: std::collections::BTreeSet<_> = found.iter().map(|finding| finding.check).collect();
    assert_eq!(checks.len(), found.len(), "each question has a word of its own");
    assert!(found.iter().all(|finding| finding.value()["advice"].is_null()));
}

#[test]
fn each_fault_of_the_control_plane_is_found_alone() {
    let unready = fault(|facts| {
        status(facts).ready = false;
        status(facts).notes = vec!["the store is away".to_owned()];
    });
    assert_eq!(unready, ("ready", "the store is away".to_owned()));
    assert_eq!(fault(|facts| status(facts).store_away = true).0, "store");
    assert_eq!(fault(|facts| status(facts).skipped = 3), ("values", "3 of them".to_owned()));
    let named = fault(|facts| {
        status(facts).skipped = 1;
        status(facts).unreadable = vec!["services/shop/cart".to_owned()];
    });
    assert_eq!(named, ("values", "services/shop/cart".to_owned()));
    let braked = fault(|facts| {
        status(facts).braked = vec!["shop/cart".to_owned()];
        // What the brake keeps is in no list, and is no second fault.
        written(facts).endpoints.clear();
    });
    assert!(braked.0 == "brake" && braked.1.starts_with("shop/cart: "), "{braked:?}");
    let none = fault(|facts| facts.anchors = Some(Ok(String::new())));
    assert!(none.0 == "anchors" && none.1.contains("no certificate"), "{none:?}");
    let late = fault(|facts| facts.certificates = Some(Ok(vec![certificate("d-1", DAY / 10)])));
    assert!(late.0 == "certificates" && late.1.starts_with("d-1 ends in"), "{late:?}");
}

#[test]
fn each_fault_of_a_sidecar_is_found_alone() {
    let late = fault(|facts| told(facts).said.certificate = at(-60));
    assert!(late.0 == "certificates" && late.1.starts_with("shop/cart-0 ended 1m ago"), "{late:?}");
    assert_eq!(fault(|facts| facts.sidecars[0].proxy.acked_revision = 5), ("current", "shop/cart-0 at 5 of 7".into()));
    assert_eq!(fault(|facts| facts.sidecars[0].proxy.pending = 2).1, "shop/cart-0 2 unsent");
    let silent = fault(|facts| facts.sidecars[0].told = Err("it does not answer".to_owned()));
    assert_eq!(silent, ("answers", "shop/cart-0: it does not answer".to_owned()));
    let bare = fault(|facts| told(facts).said.redirect = Some(Redirect { fault: Some("refused".to_owned()) }));
    assert_eq!(bare, ("redirects", "shop/cart-0: refused".to_owned()));
    assert_eq!(
        fault(|facts| facts.sidecars[0].proxy.version = "0".to_owned()),
        ("versions", "shop/cart-0 is 0".into())
    );
    assert_eq!(fault(|facts| facts.sidecars.clear()), ("connected", "shop/cart-0".to_owned()));
    let mut elsewhere = healthy();
    elsewhere.sidecars[0].proxy.name = "another".to_owned();
    elsewhere.sidecars[0].proxy.address = "[::ffff:10.0.0.1]:4242".to_owned();
    let found = findings(&elsewhere, now());
    assert!(found.iter().all(|finding| finding.check != "connected" || finding.level == Level::Ok), "by address");
}

#[test]
fn another_version_is_no_failure() {
    let mut facts = healthy();
    facts.sidecars[0].proxy.version = "0".to_owned();
    assert!(findings(&facts, now()).iter().all(|finding| finding.level != Level::Failed));
}

#[test]
fn clocks_are_compared_with_discovery() {
    let off = |seconds: i64| Offset { least: seconds * SECOND, most: seconds * SECOND + 1000 };
    let proxy = fault(|facts| told(facts).offset = off(-60));
    assert!(proxy.0 == "clocks" && proxy.1.starts_with("shop/cart-0 is 59s behind d-1"), "{proxy:?}");
    let here = fault(|facts| {
        told(facts).offset = off(3600);
        facts.replicas[0].1.as_mut().unwrap().offset = Some(off(3600));
    });
    assert_eq!(here, ("clocks", "this machine is 1h behind d-1".to_owned()), "one fault, not one for each proxy");
    let mut facts = healthy();
    facts.replicas[0].1.as_mut().unwrap().offset = None;
    assert!(findings(&facts, now()).iter().all(|finding| finding.level == Level::Ok), "an older discovery");
}

#[test]
fn documents_that_lead_nowhere_are_found() {
    assert_eq!(fault(|facts| drop(written(facts).endpoints.drain(..))), ("endpoints", "shop/cart has none".to_owned()));
    let orphan = fault(|facts| {
        let nobody = weft_model::ServiceName::new("shop", "nobody").unwrap();
        written(facts).policies.push(("AuthorizationPolicy shop/x".to_owned(), vec![nobody]));
    });
    let wanted = "AuthorizationPolicy shop/x is for Service shop/nobody, which does not exist";
    assert_eq!(orphan, ("policies", wanted.to_owned()));
    let unmet = fault(|facts| written(facts).routes = vec![route(Some("Accepted"))]);
    assert_eq!(unmet, ("routes", "HTTPRoute shop/way: Service shop/none does not exist".to_owned()));
    assert_eq!(fault(|facts| written(facts).routes = vec![route(Some("ResolvedRefs"))]).0, "backends");
    assert_eq!(fault(|facts| facts.documents = Some(Err("away".to_owned()))), ("documents", "away".to_owned()));
    let garbage = object("TrafficPolicy", "x", json!({ "targets": 7 }), &Value::Null);
    assert!(Documents::read(&[], &[], vec![], &[garbage]).unwrap_err().starts_with("TrafficPolicy shop/x: "));
}

#[test]
fn pods_that_slipped_through_are_found() {
    let missed = fault(|facts| facts.without_sidecar = Some(Ok(vec!["shop/web-0".to_owned()])));
    assert_eq!(missed, ("injection", "shop/web-0".to_owned()));
    let mut facts = healthy();
    facts.without_sidecar = Some(Err("pods is forbidden".to_owned()));
    let blind = findings(&facts, now()).into_iter().find(|finding| finding.check == "injection").unwrap();
    assert_eq!((blind.level, &*blind.faults[0]), (Level::Warning, "pods is forbidden"));
}

#[test]
fn an_anchor_near_its_end_is_found() {
    let later = now() + Duration::from_secs(3_640 * 24 * 3600);
    let found = findings(&Facts { certificates: None, ..healthy() }, later);
    let faults: Vec<_> = found.iter().flat_map(|finding| &finding.faults).collect();
    assert!(matches!(faults[..], [fault] if fault.starts_with("one ends in 9d")), "{faults:?}");
}

#[test]
fn without_discovery_there_is_one_finding() {
    let error = CallError::Nobody(vec![]);
    let facts = Facts { replicas: vec![("unix:///a.sock".to_owned(), Err(error))], ..Facts::default() };
    let found = findings(&facts, now());
    assert_eq!((found.len(), found[0].level), (1, Level::Failed));
}

#[test]
fn with_a_replica_away_nobody_is_called_disconnected() {
    let mut facts = healthy();
    facts.sidecars.clear();
    facts.replicas.push(("unix:///b.sock".to_owned(), Err(CallError::Nobody(vec![]))));
    let failed = findings(&facts, now()).into_iter().filter(|finding| finding.level == Level::Failed);
    assert_eq!(failed.map(|finding| finding.check).collect::<Vec<_>>(), ["discovery"]);
}
