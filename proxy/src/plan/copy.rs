//! Carries out a copy of a request for a mirror, in a task of its own: nobody waits for it, and nothing is tried again.
//!
//! Called by both engines, which bring the exchange in their version of HTTP. Fails into the metrics.

use super::attempts::Attempts;
use super::{Mirrored, Plan};
use crate::cluster::Upstream;
use crate::error::Failure;
use std::rc::Rc;
use std::time::{Duration, Instant};

impl Mirrored {
    /// Sends the copy by `exchange`, which gives the status of the answer, and counts what came of it. Comes back at once.
    pub fn carry_out<F>(self, exchange: F)
    where
        F: AsyncFnOnce(&Plan, &Rc<Upstream>) -> Result<u16, Failure> + 'static,
    {
        tokio::task::spawn_local(async move {
            let Self { plan, label, permit } = self;
            let started = Instant::now();
            let mut attempts = Attempts::new(&plan);
            match attempts.pick(started) {
                Err(failure) => plan.unserved(&failure, started.elapsed()),
                Ok(upstream) => {
                    let begun = upstream.load.begin(started);
                    let result = tokio::time::timeout(MIRROR_LIMIT, exchange(&plan, &upstream)).await;
                    let result = result.unwrap_or(Err(Failure::RequestTimeout));
                    attempts.noted(&upstream, begun, result.as_ref().err());
                    let (status, reason) = match &result {
                        Ok(status) => (*status, ""),
                        Err(failure) => (failure.status(), failure.reason()),
                    };
                    upstream.meter.record(&label.label, status, reason, started.elapsed());
                }
            }
            drop(permit);
        });
    }
}

/// How long a copy may take, from its connection to the end of its answer.
const MIRROR_LIMIT: Duration = Duration::from_secs(10);
