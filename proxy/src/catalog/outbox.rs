//! What is to be said to discovery and has not been sent yet.
//!
//! Between the catalog's state and the stream's queue. Bounded by the number of subscriptions: beats and acknowledgements
//! take one place each, however slowly they are taken away.

use super::Target;
use super::state::Wish;
use std::collections::VecDeque;
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body;

/// Answers that may wait.
const ANSWERS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    beat: bool,
    ack: Option<u64>,
    /// What is in force, which only the latest word about is of use.
    confirmation: Option<Body>,
    wishes: VecDeque<Wish>,
    /// Dumps, and answers to questions.
    answers: VecDeque<Body>,
}

impl Outbox {
    pub fn extend(&mut self, wishes: Vec<Wish>) {
        self.wishes.extend(wishes);
    }

    pub fn beat(&mut self) {
        self.beat = true;
    }

    pub fn ack(&mut self, revision: u64) {
        self.ack = Some(revision);
    }

    pub fn confirm(&mut self, in_force: Option<Body>) {
        self.confirmation = in_force.or(self.confirmation.take());
    }

    pub fn answer(&mut self, answer: Body) {
        self.answers.push_back(answer);
    }

    /// Whether more answers are to be taken: those that wait are enough for a slow stream.
    pub fn has_room(&self) -> bool {
        self.answers.len() < ANSWERS
    }

    pub fn is_empty(&self) -> bool {
        !self.beat
            && self.ack.is_none()
            && self.confirmation.is_none()
            && self.wishes.is_empty()
            && self.answers.is_empty()
    }

    /// The next to send: beats first, for they are what the other side waits for.
    pub fn pop(&mut self) -> Option<v1::SubscribeRequest> {
        let beat = std::mem::take(&mut self.beat).then_some(Body::Beat(v1::Beat {}));
        let body = beat
            .or_else(|| Some(Body::Ack(v1::Ack { revision: self.ack.take()? })))
            .or_else(|| self.confirmation.take())
            .or_else(|| self.wishes.pop_front().map(said))
            .or_else(|| self.answers.pop_front());
        body.map(|body| v1::SubscribeRequest { body: Some(body) })
    }
}

fn said(wish: Wish) -> Body {
    let wire = |target| {
        let by = match target {
            Target::Service(name) => v1::target::By::Service(format!("{}/{}", name.namespace, name.name)),
            Target::Address(address) => v1::target::By::Address(address.to_string()),
        };
        v1::Target { by: Some(by), doubted: false }
    };
    match wish {
        Wish::Guard(services) => {
            let services = services.iter().map(|name| format!("{}/{}", name.namespace, name.name)).collect();
            let by = v1::target::By::Workload(v1::Workload { services });
            Body::Subscribe(v1::Target { by: Some(by), doubted: false })
        }
        Wish::Subscribe(target) => Body::Subscribe(wire(target)),
        Wish::Doubt(service) => Body::Subscribe(v1::Target { doubted: true, ..wire(Target::Service(service)) }),
        Wish::Unsubscribe(target) => Body::Unsubscribe(wire(target)),
    }
}
