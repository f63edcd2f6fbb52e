//! What the facts about a mesh mean: one finding per question, good or bad, each bad one with the way out.
//!
//! Pure, so that every fault can be made up. A fact that is missing because discovery failed to give it is a fault.

use crate::connect::CallError;
use crate::print::{relative, time};
use crate::status::behind;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, SystemTime};
use weft_identity::certificate::{from_pem, validity};
use weft_model::{Endpoint, Service, ServiceName};
use weft_proto::v1;

/// A root is to be replaced before this little of its life is left.
const ANCHOR_MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Proxies renew at about half life; one with less than this share left has failed to.
const CERTIFICATE_MARGIN: f64 = 0.25;

/// What was learned; `None` where nobody could be asked, because no replica answers.
#[derive(Debug, Default)]
pub struct Facts {
    pub replicas: Vec<(String, Result<v1::StatusResponse, CallError>)>,
    /// PEM.
    pub anchors: Option<Result<String, String>>,
    pub certificates: Option<Result<Vec<v1::Certificate>, String>>,
    pub services: Option<Result<Vec<v1::Object>, String>>,
    pub endpoints: Option<Result<Vec<v1::Object>, String>>,
    pub proxies: Vec<v1::Proxy>,
}

/// The answer to one question.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub what: String,
    /// What is wrong; `None`: all is well.
    pub fault: Option<String>,
    /// What to do about the fault.
    pub advice: String,
}

fn finding(what: impl Into<String>, fault: Option<String>, advice: impl Into<String>) -> Finding {
    Finding { what: what.into(), fault, advice: advice.into() }
}

/// All findings, from the ground up.
pub fn findings(facts: &Facts, now: SystemTime) -> Vec<Finding> {
    let mut all: Vec<Finding> = facts.replicas.iter().flat_map(|(address, answer)| replica(address, answer)).collect();
    if let Some(pem) = &facts.anchors {
        all.push(anchors(pem, now));
    }
    if let Some(signed) = &facts.certificates {
        all.push(certificates(signed, facts, now));
        all.push(currency(&facts.proxies));
    }
    if let (Some(services), Some(endpoints)) = (&facts.services, &facts.endpoints) {
        all.push(emptiness(services, endpoints));
    }
    all
}

fn replica(address: &str, answer: &Result<v1::StatusResponse, CallError>) -> Vec<Finding> {
    let status = match answer {
        Ok(status) => status,
        Err(error) => {
            let advice = "start weft-discovery there, or leave this replica out of --discovery";
            return vec![finding(format!("discovery at {address}"), Some(error.to_string()), advice)];
        }
    };
    let v1::StatusResponse { replica, store, revision, version, .. } = status;
    let notes = || if status.notes.is_empty() { "no reason given".to_owned() } else { status.notes.join("; ") };
    let unready = (!status.ready).then(notes);
    let skipped = (status.skipped > 0).then(|| format!("{} could not be read and are left out", status.skipped));
    vec![
        finding(format!("discovery at {address} answers ({replica}, version {version})"), None, ""),
        finding(
            format!("{replica} is ready ({store} store at revision {revision})"),
            unready,
            "see its log and the store it uses; proxies go on with what they know meanwhile",
        ),
        finding(
            format!("{replica} understands every value in its store"),
            skipped,
            "its log names the keys; apply those objects again, or upgrade discovery if they are of a newer version",
        ),
    ]
}

fn anchors(pem: &Result<String, String>, now: SystemTime) -> Finding {
    const ADVICE: &str = "add a new trust anchor and have discovery sign with it before the old one ends";
    let ends = pem.as_ref().map_err(Clone::clone).and_then(|pem| {
        let anchors = from_pem(pem).map_err(|error| error.to_string())?;
        let ends: Result<Vec<_>, _> = anchors.iter().map(|anchor| validity(anchor).map(|(_, end)| end)).collect();
        ends.map_err(|error| error.to_string())
    });
    match ends {
        Err(error) => finding("trust anchors", Some(error), ADVICE),
        Ok(ends) => {
            let near = ends.iter().find(|end| **end < now + ANCHOR_MARGIN);
            let fault = near.map(|end| format!("one ends {}", relative(*end, now)));
            finding(format!("trust anchors are far from their end ({})", ends.len()), fault, ADVICE)
        }
    }
}

/// The newest certificate of each connected proxy and of each replica; older ones and those of proxies that left do not
/// matter.
fn certificates(signed: &Result<Vec<v1::Certificate>, String>, facts: &Facts, now: SystemTime) -> Finding {
    const ADVICE: &str = "their logs say why renewal fails; a proxy that missed its time joins again with a new token";
    let signed = match signed {
        Ok(signed) => signed,
        Err(error) => return finding("certificates in use", Some(error.clone()), ADVICE),
    };
    let connected: HashSet<_> = facts.proxies.iter().map(|proxy| (&proxy.identity, &proxy.name)).collect();
    let answering = facts.replicas.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let replicas: HashSet<_> = answering.map(|status| &status.replica).collect();
    let mut newest: BTreeMap<_, &v1::Certificate> = BTreeMap::new();
    for certificate in signed {
        let owner = (&certificate.identity, &certificate.proxy);
        if connected.contains(&owner) || replicas.contains(&certificate.proxy) {
            let known = newest.entry(owner).or_insert(certificate);
            if known.not_after < certificate.not_after {
                *known = certificate;
            }
        }
    }
    let late = newest.values().filter(|certificate| {
        let (from, to) = (time(certificate.not_before), time(certificate.not_after));
        let lifetime = to.duration_since(from).unwrap_or_default();
        to.duration_since(now).unwrap_or_default() < lifetime.mul_f64(CERTIFICATE_MARGIN)
    });
    let late =
        late.map(|certificate| format!("{} ends {}", certificate.proxy, relative(time(certificate.not_after), now)));
    finding(format!("certificates in use are renewed in time ({})", newest.len()), listed(late), ADVICE)
}

fn currency(proxies: &[v1::Proxy]) -> Finding {
    let late =
        proxies.iter().filter_map(|proxy| Some(format!("{}/{} {}", proxy.namespace, proxy.name, behind(proxy)?)));
    finding(
        format!("connected proxies have the present state ({})", proxies.len()),
        listed(late),
        "a proxy that stays behind is stopped, overloaded or cut off: see its log and its host",
    )
}

fn emptiness(services: &Result<Vec<v1::Object>, String>, endpoints: &Result<Vec<v1::Object>, String>) -> Finding {
    const ADVICE: &str = "start an instance whose proxy registers for it, apply an Endpoint, or delete the service";
    let found = parse::<Service>(services).and_then(|services| Ok((services, parse::<Endpoint>(endpoints)?)));
    match found {
        Err(error) => finding("services and their endpoints", Some(error), ADVICE),
        Ok((services, endpoints)) => {
            let served: BTreeSet<ServiceName> =
                endpoints.into_iter().filter(Endpoint::takes_new_work).map(|endpoint| endpoint.service).collect();
            let empty = services.iter().filter(|service| !served.contains(&service.name));
            let empty = empty.map(|service| format!("{}/{} has none", service.name.namespace, service.name.name));
            finding(format!("services have ready endpoints ({})", services.len()), listed(empty), ADVICE)
        }
    }
}

fn parse<M: DeserializeOwned>(objects: &Result<Vec<v1::Object>, String>) -> Result<Vec<M>, String> {
    let objects = objects.as_ref().map_err(Clone::clone)?;
    let parse = |object: &v1::Object| {
        serde_json::from_str(&object.model_json)
            .map_err(|error| format!("{}/{}: {error}", object.namespace, object.name))
    };
    objects.iter().map(parse).collect()
}

/// `None` for none, and no more than people read.
fn listed(faults: impl Iterator<Item = String>) -> Option<String> {
    const SHOWN: usize = 5;
    let all: Vec<_> = faults.collect();
    let more = all.len().checked_sub(SHOWN).filter(|more| *more > 0).map(|more| format!(", and {more} more"));
    (!all.is_empty()).then(|| all[..all.len().min(SHOWN)].join(", ") + &more.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use weft_identity::certificate::{Authority, to_pem};

    const DAY: i64 = 86_400;

    fn object(name: &str, model: Value) -> v1::Object {
        let (namespace, name) = ("shop".to_owned(), name.to_owned());
        v1::Object { namespace, name, model_json: model.to_string(), ..Default::default() }
    }

    fn now() -> SystemTime {
        SystemTime::now()
    }

    fn certificate(ends_in: i64) -> v1::Certificate {
        let now = i64::try_from(now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let (identity, proxy, serial) = ("spiffe://d/ns/shop/sa/cart".to_owned(), "cart-0".to_owned(), String::new());
        v1::Certificate { identity, proxy, serial, not_before: now + ends_in - DAY, not_after: now + ends_in }
    }

    /// A mesh in which all is well.
    fn healthy() -> Facts {
        let status = v1::StatusResponse { replica: "d-1".to_owned(), ready: true, revision: 7, ..Default::default() };
        let (identity, name) = ("spiffe://d/ns/shop/sa/cart".to_owned(), "cart-0".to_owned());
        let namespace = "shop".to_owned();
        let proxy = v1::Proxy { identity, name, namespace, sent_revision: 7, acked_revision: 7, ..Default::default() };
        let port = json!({"name": "http", "port": 80, "target_port": 80});
        let cart = json!({"namespace": "shop", "name": "cart"});
        Facts {
            replicas: vec![("unix:///a.sock".to_owned(), Ok(status))],
            anchors: Some(Ok(to_pem(&[Authority::generate("d").unwrap().certificate().clone()]))),
            certificates: Some(Ok(vec![certificate(DAY / 2), certificate(-DAY)])),
            services: Some(Ok(vec![object("cart", json!({"name": cart, "ports": [port]}))])),
            endpoints: Some(Ok(vec![object(
                "cart-0",
                json!({"id": "cart-0", "service": cart, "addresses": ["10.0.0.1"]}),
            )])),
            proxies: vec![proxy],
        }
    }

    /// The one fault after `change`.
    fn fault(change: impl FnOnce(&mut Facts)) -> String {
        let mut facts = healthy();
        change(&mut facts);
        let mut faults: Vec<_> = findings(&facts, now()).into_iter().filter(|found| found.fault.is_some()).collect();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(!faults[0].advice.is_empty());
        faults.remove(0).fault.unwrap()
    }

    fn status(facts: &mut Facts) -> &mut v1::StatusResponse {
        facts.replicas[0].1.as_mut().unwrap()
    }

    #[test]
    fn a_healthy_mesh_has_no_faults() {
        let found = findings(&healthy(), now());
        assert_eq!(found.len(), 7);
        assert!(found.iter().all(|finding| finding.fault.is_none()), "{found:?}");
    }

    #[test]
    fn each_fault_is_found_alone() {
        let unready = fault(|facts| {
            status(facts).ready = false;
            status(facts).notes = vec!["the store is away".to_owned()];
        });
        assert_eq!(unready, "the store is away");
        assert!(fault(|facts| status(facts).skipped = 3).starts_with("3 could not be read"));
        assert!(fault(|facts| facts.anchors = Some(Ok(String::new()))).contains("no certificate"));
        assert!(
            fault(|facts| facts.certificates = Some(Ok(vec![certificate(DAY / 10)]))).starts_with("cart-0 ends in")
        );
        assert_eq!(fault(|facts| facts.proxies[0].acked_revision = 5), "shop/cart-0 at 5 of 7");
        assert_eq!(fault(|facts| facts.proxies[0].pending = 2), "shop/cart-0 2 unsent");
        assert_eq!(fault(|facts| facts.endpoints = Some(Ok(vec![]))), "shop/cart has none");
        assert_eq!(fault(|facts| facts.services = Some(Err("away".to_owned()))), "away");
    }

    #[test]
    fn an_anchor_near_its_end_is_found() {
        let later = now() + Duration::from_secs(3_640 * 24 * 3600);
        let found = findings(&Facts { certificates: None, ..healthy() }, later);
        let faults: Vec<_> = found.iter().filter_map(|finding| finding.fault.as_deref()).collect();
        assert!(matches!(faults[..], [fault] if fault.starts_with("one ends in 9d")), "{faults:?}");
    }

    #[test]
    fn without_discovery_there_is_one_finding() {
        let error = CallError::Nobody(vec![]);
        let facts = Facts { replicas: vec![("unix:///a.sock".to_owned(), Err(error))], ..Facts::default() };
        let found = findings(&facts, now());
        assert_eq!((found.len(), found[0].fault.is_some()), (1, true));
    }

    #[test]
    fn long_lists_are_cut() {
        let text = listed((0..8).map(|n| n.to_string())).unwrap();
        assert_eq!(text, "0, 1, 2, 3, 4, and 3 more");
        assert_eq!(listed(std::iter::empty()), None);
    }
}
