//! Whether a request that nobody sends would be let in here: the checkpoint's own verdict, told and not carried out.
//!
//! For `weftctl explain`, on a worker's thread. Counts and logs nothing. Fails, in words for people, where the question is meant
//! for another proxy.

use super::checkpoint::Checkpoint;
use crate::authorize::Verdict;
use crate::error::Failure;
use crate::worker::Worker;
use std::rc::Rc;
use weft_model::explain::Refusal;
use weft_model::explain::access::{Arrival, Ruling};

/// The answer to `question`, both in JSON; or why there is none.
pub fn answer(worker: &Rc<Worker>, question: &str) -> Result<String, String> {
    let arrival: Arrival = serde_json::from_str(question).map_err(|error| format!("malformed question: {error}"))?;
    let config = &worker.shared.config;
    let own = format!("{}/{}", config.namespace, config.name);
    if arrival.at != own {
        return Err(format!("this is {own}, and {} was meant", arrival.at));
    }
    serde_json::to_string(&rule(worker, &arrival)).map_err(|error| error.to_string())
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
