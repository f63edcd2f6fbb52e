//! Takes what tries were like to the decision who is ejected, and carries it out.
//!
//! Asked by `plan` when a try has ended; does nothing for services without `outlierDetection`. What it decides is logged and counted.

use super::{Cluster, Upstream};
use crate::balance::eject::{Cause, Seen, below};
use crate::error::Failure;
use std::time::Instant;
use weft_model::policy::OutlierDetection;

impl Cluster {
    /// A try at `upstream` has ended.
    pub fn judge(&self, upstream: &Upstream, failure: Option<&Failure>, policy: &OutlierDetection, now: Instant) {
        let Some(seen) = Seen::of(failure) else { return };
        // What was under way when it was ejected is the same trouble; whoever asked it since had nobody else.
        if upstream.load.ejected(now) {
            return;
        }
        if let Some(cause) = upstream.load.record().note(seen, policy) {
            self.eject(upstream, cause, policy, now);
        }
        if let Some(rate) = &policy.success_rate {
            match self.compared.get() {
                Some(before) if now.saturating_duration_since(before) < policy.interval => return,
                _ => self.compared.set(Some(now)),
            }
            let upstreams = self.upstreams();
            let rates: Vec<(u32, u32)> = upstreams.iter().map(|upstream| upstream.load.record().take()).collect();
            for at in below(&rates, rate) {
                self.eject(&upstreams[at], Cause::SuccessRate, policy, now);
            }
        }
    }

    fn eject(&self, upstream: &Upstream, cause: Cause, policy: &OutlierDetection, now: Instant) {
        let (endpoints, id) = (self.upstreams().len(), upstream.endpoint.id.as_str());
        let ejected = self.around.ejections.eject((&self.name, id), cause, policy, endpoints, now);
        match ejected {
            Some(time) => {
                upstream.meter.ejected(cause.word());
                tracing::info!(service = %self.name, endpoint = id, cause = cause.word(), ?time, "ejected");
            }
            None => {
                tracing::debug!(service = %self.name, endpoint = id, cause = cause.word(), "not ejected: too many are")
            }
        }
    }
}
