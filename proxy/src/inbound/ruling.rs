//! Whether a request that nobody sends would be let in here: the checkpoint's own verdict and the gate's limits, told and not carried
//! out.
//!
//! For `weftctl explain`, on a worker's thread. Counts and logs nothing. Fails, in words for people, where the question is meant
//! for another proxy.

use super::checkpoint::Checkpoint;
use crate::authorize::Verdict;
use crate::error::Failure;
use crate::gate::Peer;
use crate::worker::Worker;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;
use weft_model::explain::Refusal;
use weft_model::explain::access::{Arrival, Ruling};

/// The answer to `question`, both in JSON; or why there is none.
pub fn answer(worker: &Rc<Worker>, question: &str) -> Result<String, String> {
    let arrival = arrival(worker, question)?;
    serde_json::to_string(&rule(worker, &arrival)).map_err(|error| error.to_string())
}

/// What `question` would be limited by, both in JSON; or why there is no answer. Takes nothing from any limit.
pub fn limits(worker: &Rc<Worker>, question: &str) -> Result<String, String> {
    let arrival = arrival(worker, question)?;
    let alike = |own: &&IpAddr| own.is_ipv4() == arrival.address.is_ipv4();
    let own = worker.shared.own.iter().find(alike).ok_or("no address of the client's family here")?;
    let gate = worker.guard(SocketAddr::new(*own, arrival.port)).gate();
    let mut peer = Peer::at(SocketAddr::new(arrival.address, 0));
    peer.known_as(&arrival.identity.to_string());
    let told = gate.map(|gate| gate.tell(&arrival.request, &peer, Instant::now())).unwrap_or_default();
    serde_json::to_string(&told).map_err(|error| error.to_string())
}

fn arrival(worker: &Worker, question: &str) -> Result<Arrival, String> {
    let arrival: Arrival = serde_json::from_str(question).map_err(|error| format!("malformed question: {error}"))?;
    let config = &worker.shared.config;
    let own = format!("{}/{}", config.namespace, config.name);
    match arrival.at == own {
        true => Ok(arrival),
        false => Err(format!("this is {own}, and {} was meant", arrival.at)),
    }
}

fn rule(worker: &Rc<Worker>, arrival: &Arrival) -> Ruling {
    if worker.shared.catalog.snapshot().guard.is_none() {
        return Ruling::Untold;
    }
    let mut checkpoint = Checkpoint::new(Rc::clone(worker), arrival.address, arrival.port);
    checkpoint.identified(arrival.identity.clone());
    let verdict = match arrival.opaque {
        true => checkpoint.about_opaque().map(Ok),
        false => checkpoint.about(&arrival.request),
    };
    match verdict {
        None => Ruling::Open,
        Some(Ok(Verdict { allowed: true, policy, audit })) => {
            Ruling::Allowed { policy: policy.to_string(), audit: audit.map(|audit| audit.to_string()) }
        }
        Some(Ok(Verdict { policy, .. })) => {
            let answer = (!arrival.opaque).then(|| refusal(&Failure::Denied(policy.clone())));
            Ruling::Refused { policy: Some(policy.to_string()), answer }
        }
        Some(Err(ambiguous)) => {
            Ruling::Refused { policy: None, answer: Some(refusal(&Failure::MalformedRequest(ambiguous.0))) }
        }
    }
}

fn refusal(failure: &Failure) -> Refusal {
    Refusal { status: failure.status(), reason: failure.told().into_owned(), text: failure.to_string() }
}
