//! What a stream tells its proxy about access to the workload beside it.
//!
//! A part of `stream`. The proxy asks once, and is told all policies that select its workload, and again whenever they are
//! others than those it was told last. Whose workload it is, Hello has said: nobody hears of another's.

use crate::registry::{Subscriber, Target, World};
use std::collections::BTreeSet;
use weft_model::{ServiceName, WorkloadPolicies};
use weft_proto::v1;
use weft_proto::v1::subscribe_response::Body;

/// One proxy's workload.
#[derive(Debug)]
pub struct Guard {
    namespace: String,
    name: String,
    /// Services that the proxy registers for.
    declared: BTreeSet<ServiceName>,
    subscribed: bool,
    told: Option<WorkloadPolicies>,
}

impl Guard {
    pub fn of(hello: &v1::Hello) -> Self {
        let (namespace, name) = (hello.namespace.clone(), hello.proxy.clone());
        Self { namespace, name, declared: BTreeSet::new(), subscribed: false, told: None }
    }

    /// Has the present policies sent, again if they were before.
    pub fn subscribe(&mut self, wire: v1::Workload, subscriber: &mut Subscriber) -> Result<(), String> {
        let parse = |(n, text): (usize, &String)| {
            ServiceName::parse(text).map_err(|error| format!("target.workload.services[{n}]: {error}"))
        };
        self.declared = wire.services.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        let guard = Target::Guard(self.namespace.clone());
        let workload = Target::Workload { namespace: self.namespace.clone(), name: self.name.clone() };
        // Watching marks as changed, so that the first look comes by itself.
        for target in [guard, workload] {
            subscriber.unwatch(&target);
            subscriber.watch(target);
        }
        (self.subscribed, self.told) = (true, None);
        Ok(())
    }

    /// The message to send, if what is to be said has changed.
    pub fn next(&mut self, world: &World) -> Option<Body> {
        let now = world.policies(&self.namespace, &self.name, &self.declared);
        if !self.subscribed || self.told.as_ref() == Some(&now) {
            return None;
        }
        let message = (&now).into();
        self.told = Some(now);
        Some(Body::Policies(message))
    }
}
