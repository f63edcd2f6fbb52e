//! What a balancer knows of an endpoint: what stays the same until endpoints change, and the load it has now.
//!
//! Made of the model's endpoint as a proxy in its place sees it. Pure data.

use super::hash;
use super::hints::Followed;
use super::load::Load;
use std::rc::Rc;
use std::time::Instant;
use weft_model::balance::Location;
use weft_model::{Endpoint, EndpointState};

/// What the choice needs of an endpoint at the moment of the pick.
pub trait Candidate {
    fn load(&self) -> &Load;

    /// Active checks have nothing against it; as if not ready otherwise.
    fn is_healthy(&self) -> bool {
        true
    }
}

impl<C: Candidate> Candidate for Rc<C> {
    fn load(&self) -> &Load {
        (**self).load()
    }

    fn is_healthy(&self) -> bool {
        (**self).is_healthy()
    }
}

/// Where a proxy stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Here<'a> {
    pub zone: Option<&'a str>,
    pub location: Option<Location>,
    /// Whose hints are followed, in the place of an order of fail-over.
    pub hints: Option<Followed<'a>>,
}

/// What is known of an endpoint until endpoints change.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Of its name.
    pub hash: u64,
    pub weight: u32,
    pub state: EndpointState,
    /// In the proxy's own zone.
    pub near: bool,
    /// Kilometres away; infinite if nobody can say.
    pub distance: f64,
    /// 0 is used first: priority, then the zone's place in the order of fail-over, or what hints say.
    pub level: u64,
    /// When it appeared or became ready; `None`: it was there from the start.
    pub since: Option<Instant>,
}

impl Member {
    /// `endpoint` as a proxy sees it that is `here`, with zones in the order of `failover`.
    pub fn of(endpoint: &Endpoint, here: Here<'_>, failover: &[String], since: Option<Instant>) -> Self {
        let near = here.zone.is_some() && endpoint.zone.as_deref() == here.zone;
        let of_zone = || failover.iter().position(|zone| endpoint.zone.as_ref() == Some(zone));
        let place = match here.hints {
            Some(followed) => usize::from(!followed.means(endpoint)),
            None => of_zone().unwrap_or(failover.len()),
        };
        Self {
            level: u64::from(endpoint.priority) << 32 | place as u64,
            distance: match here.location.zip(endpoint.location) {
                Some((here, there)) => here.distance(there),
                None if near => 0.0,
                None => f64::INFINITY,
            },
            near,
            hash: hash::of(endpoint.id.as_bytes()),
            weight: endpoint.weight,
            state: endpoint.state,
            since,
        }
    }

    pub fn ready(&self) -> bool {
        self.state == EndpointState::Ready && self.weight > 0
    }

    /// Ready, or somebody to turn to in a panic.
    pub fn present(&self) -> bool {
        self.state != EndpointState::Terminating && self.weight > 0
    }
}
