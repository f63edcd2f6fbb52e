//! The sidecars: are they all connected and current, do they answer, is traffic led through them, are their certificates and
//! versions as they should be?
//!
//! Pure. Whoever is not connected to a replica that answers cannot be judged, so that question waits until all of them do.

use super::facts::{Facts, Sidecar, Validity};
use super::finding::Finding;
use crate::print::{relative, time};
use crate::status::behind;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;
use weft_model::{Endpoint, EndpointState};
use weft_proto::v1;

/// Proxies renew at about half life; one with less than this share left has failed to.
const CERTIFICATE_MARGIN: f64 = 0.25;

pub fn findings(facts: &Facts, now: SystemTime) -> Vec<Finding> {
    let sidecars = &facts.sidecars;
    let mut all = vec![certificates(facts, now)];
    all.extend(connected(facts));
    all.extend([currency(sidecars), answers(sidecars), redirects(sidecars), versions(facts)]);
    all
}

/// The certificate that each connected proxy says it uses; of replicas, and of proxies that do not say, the newest signed.
fn certificates(facts: &Facts, now: SystemTime) -> Finding {
    const ADVICE: &str = "their logs say why renewal fails; a proxy that missed its time joins again with a new token";
    let signed = match &facts.certificates {
        Some(Ok(signed)) => signed.as_slice(),
        Some(Err(error)) => return Finding::of("certificates", "certificates in use", [error.clone()], ADVICE),
        None => &[],
    };
    let mut newest: BTreeMap<String, Validity> = BTreeMap::new();
    for certificate in signed {
        if let Some(owner) = owner(certificate, facts) {
            let v1::Certificate { not_before, not_after, .. } = *certificate;
            let known = newest.entry(owner).or_insert(Validity { not_before, not_after });
            if known.not_after < not_after {
                *known = Validity { not_before, not_after };
            }
        }
    }
    let told = facts.sidecars.iter().filter_map(|sidecar| Some((sidecar.name(), sidecar.told.as_ref().ok()?)));
    newest.extend(told.map(|(name, told)| (name, told.said.certificate)));
    let late = newest.iter().filter_map(|(name, Validity { not_before, not_after })| {
        let (from, to) = (time(*not_before), time(*not_after));
        let lifetime = to.duration_since(from).unwrap_or_default();
        let late = to.duration_since(now).unwrap_or_default() < lifetime.mul_f64(CERTIFICATE_MARGIN);
        late.then(|| format!("{name} {} {}", if to > now { "ends" } else { "ended" }, relative(to, now)))
    });
    let first = newest.values().map(|validity| time(validity.not_after)).min();
    let first = first.map(|end| format!(", the first ends {}", relative(end, now))).unwrap_or_default();
    Finding::of(
        "certificates",
        format!("certificates in use are renewed in time ({}{first})", newest.len()),
        late,
        ADVICE,
    )
}

/// The replica or connected proxy that a certificate was signed for; `None`: it has left.
fn owner(certificate: &v1::Certificate, facts: &Facts) -> Option<String> {
    let mut replicas = facts.replicas.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    if let Some(heard) = replicas.find(|heard| heard.status.replica == certificate.proxy) {
        return Some(heard.status.replica.clone());
    }
    let of =
        |sidecar: &&Sidecar| sidecar.proxy.identity == certificate.identity && sidecar.proxy.name == certificate.proxy;
    facts.sidecars.iter().find(of).map(Sidecar::name)
}

/// Whether every endpoint that is called by mTLS has its proxy on a stream. `None`: some replica does not say who it has.
fn connected(facts: &Facts) -> Option<Finding> {
    let documents = facts.documents.as_ref()?.as_ref().ok()?;
    if facts.replicas.iter().any(|(_, answer)| answer.is_err()) {
        return None;
    }
    let names: HashSet<(&str, &str)> =
        facts.sidecars.iter().map(|sidecar| (&*sidecar.proxy.namespace, &*sidecar.proxy.name)).collect();
    let dialled_from = facts.sidecars.iter().filter_map(|sidecar| sidecar.proxy.address.parse::<SocketAddr>().ok());
    let addresses: HashSet<IpAddr> = dialled_from.map(|address| address.ip().to_canonical()).collect();
    let meshed = documents
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.identity.is_some() && endpoint.state != EndpointState::Terminating);
    let meshed: Vec<_> = meshed.collect();
    let there = |endpoint: &Endpoint| {
        names.contains(&(endpoint.service.namespace.as_str(), endpoint.id.as_str()))
            || endpoint.addresses.iter().any(|address| addresses.contains(address))
    };
    let missing: BTreeSet<String> = meshed
        .iter()
        .filter(|endpoint| !there(endpoint))
        .map(|endpoint| format!("{}/{}", endpoint.service.namespace, endpoint.id))
        .collect();
    Some(Finding::of(
        "connected",
        format!("the proxy of every meshed endpoint is connected ({})", meshed.len()),
        missing,
        "it goes on with what it knew, or it has ended: see its log and whether it reaches discovery's port",
    ))
}

fn currency(sidecars: &[Sidecar]) -> Finding {
    let late = sidecars.iter().filter_map(|sidecar| Some(format!("{} {}", sidecar.name(), behind(&sidecar.proxy)?)));
    Finding::of(
        "current",
        format!("connected proxies have the present state ({})", sidecars.len()),
        late,
        "a proxy that stays behind is stopped, overloaded or cut off: see its log and its host",
    )
}

fn answers(sidecars: &[Sidecar]) -> Finding {
    let silent =
        sidecars.iter().filter_map(|sidecar| Some(format!("{}: {}", sidecar.name(), sidecar.told.as_ref().err()?)));
    Finding::of(
        "answers",
        format!("connected proxies say how they are ({})", sidecars.len()),
        silent,
        "an older one does not know the question: upgrade it; any other is stopped or overloaded: see its log and its host",
    )
}

fn redirects(sidecars: &[Sidecar]) -> Finding {
    let told = sidecars.iter().filter_map(|sidecar| Some((sidecar.name(), sidecar.told.as_ref().ok()?)));
    let looked = told.filter_map(|(name, told)| Some((name, told.said.redirect.as_ref()?)));
    let looked: Vec<_> = looked.collect();
    let missing = looked.iter().filter_map(|(name, redirect)| Some(format!("{name}: {}", redirect.fault.as_ref()?)));
    Finding::of(
        "redirects",
        format!("redirects are in place, tried just now ({})", looked.len()),
        missing,
        "that pod's traffic goes past its proxy: run `weft-proxy redirect apply` in it as root, as its init container \
         did, and find out what took the rules away",
    )
}

fn versions(facts: &Facts) -> Finding {
    let mut replicas = facts.replicas.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let wanted = replicas.next().map(|heard| heard.status.version.as_str()).unwrap_or_default();
    let replicas = replicas.map(|heard| (heard.status.replica.clone(), heard.status.version.as_str()));
    let sidecars = facts.sidecars.iter().map(|sidecar| (sidecar.name(), sidecar.proxy.version.as_str()));
    let others = replicas.chain(sidecars).filter(|(_, version)| *version != wanted);
    let others: Vec<String> = others.map(|(name, version)| format!("{name} is {version}")).collect();
    let advice =
        "neighbouring versions work together while a rollout lasts; afterwards restart the pods that are left behind";
    Finding::of("versions", format!("proxies are of discovery's version ({wanted})"), others, advice).mildly()
}
