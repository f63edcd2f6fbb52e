//! What the facts about a mesh mean: one finding per question, good or bad, each bad one with the way out.
//!
//! Pure, so that every fault can be made up. A fact that is missing because discovery failed to give it is a fault. This file
//! judges the control plane and its trust; `sidecars`, `clocks` and `documents` judge the rest.

use super::facts::{Facts, Heard};
use super::finding::Finding;
use super::{clocks, cluster, documents, sidecars};
use crate::connect::CallError;
use crate::print::relative;
use std::time::{Duration, SystemTime};
use weft_identity::certificate::{from_pem, validity};

/// A root is to be replaced before this little of its life is left.
const ANCHOR_MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);

/// All findings, from the ground up.
pub fn findings(facts: &Facts, now: SystemTime) -> Vec<Finding> {
    let mut all: Vec<Finding> = facts.replicas.iter().flat_map(|(address, answer)| replica(address, answer)).collect();
    if let Some(pem) = &facts.anchors {
        all.push(anchors(pem, now));
    }
    if facts.certificates.is_some() {
        all.push(clocks::agree(facts));
        all.extend(sidecars::findings(facts, now));
    }
    if let Some(read) = &facts.documents {
        all.extend(documents::findings(read, facts));
    }
    all.extend(facts.without_sidecar.as_ref().map(cluster::injection));
    all
}

fn replica(address: &str, answer: &Result<Heard, CallError>) -> Vec<Finding> {
    let status = match answer {
        Ok(heard) => &heard.status,
        Err(error) => {
            let advice = "start weft-discovery there, or leave this replica out of --discovery";
            return vec![Finding::of("discovery", format!("discovery at {address}"), [error.to_string()], advice)];
        }
    };
    let (name, store, revision, version) = (&status.replica, &status.store, status.revision, &status.version);
    let notes = || if status.notes.is_empty() { "no reason given".to_owned() } else { status.notes.join("; ") };
    let unready = (!status.ready).then(notes);
    let away = status.store_away.then(|| "it does not answer; proxies are told what was known last".to_owned());
    let kept = |service: &String| format!("{service}: most of its endpoints vanished at once");
    vec![
        Finding::of("discovery", format!("discovery at {address} answers ({name}, version {version})"), [], ""),
        Finding::of(
            "ready",
            format!("{name} is ready"),
            unready,
            "see its log and the store it uses; proxies go on with what they know meanwhile",
        ),
        Finding::of(
            "store",
            format!("{name} is connected to its store ({store}, revision {revision})"),
            away,
            format!("see whether the {store} store runs and can be reached from there; nothing new is heard meanwhile"),
        ),
        unreadable(status),
        Finding::of(
            "brake",
            format!("{name} shows every service as it is"),
            status.braked.iter().map(kept),
            "if they are really gone, they go within 30 s; if not, find out what cut them off from discovery at once: \
             a network, a node, a rollout",
        ),
    ]
}

fn unreadable(status: &weft_proto::v1::StatusResponse) -> Finding {
    let named = status.unreadable.len() as u64;
    let more = status.skipped.saturating_sub(named);
    let more = (more > 0).then(|| if named > 0 { format!("and {more} more") } else { format!("{more} of them") });
    Finding::of(
        "values",
        format!("{} understands every value in its store", status.replica),
        status.unreadable.iter().cloned().chain(more),
        "what they said last stays in force; apply those objects again, or upgrade discovery if a newer one wrote them",
    )
}

fn anchors(pem: &Result<String, String>, now: SystemTime) -> Finding {
    const ADVICE: &str = "add a new trust anchor and have discovery sign with it before the old one ends";
    let ends = pem.as_ref().map_err(Clone::clone).and_then(|pem| {
        let anchors = from_pem(pem).map_err(|error| error.to_string())?;
        let ends: Result<Vec<_>, _> = anchors.iter().map(|anchor| validity(anchor).map(|(_, end)| end)).collect();
        ends.map_err(|error| error.to_string())
    });
    match ends {
        Err(error) => Finding::of("anchors", "trust anchors", [error], ADVICE),
        Ok(ends) => {
            let near = ends.iter().filter(|end| **end < now + ANCHOR_MARGIN);
            let near = near.map(|end| format!("one ends {}", relative(*end, now)));
            let first = ends.iter().min().map(|end| relative(*end, now)).unwrap_or_default();
            Finding::of(
                "anchors",
                format!("trust anchors are far from their end ({}: {first})", ends.len()),
                near,
                ADVICE,
            )
        }
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
