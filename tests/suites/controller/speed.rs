//! How long a deletion takes from the API server to a sidecar that is subscribed: measured, printed and bounded.
//!
//! From the API server's answer to the moment at which the sidecar's own dump does not have the pod any more.

use crate::stage::{Kubernetes, SOON};
use anyhow::{Context, ensure};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until;
use weft_tests::Outcome;
use weft_tests::cluster::TestPod;
use weft_tests::ports::HTTP;
use weft_tests::programs::dig;
use weft_tests::world::NAMESPACE;

/// Enough for a 99th percentile that is not just the slowest of a few.
const PODS: usize = 100;
/// The bound that users are told ...
const BOUND: Duration = Duration::from_secs(1);
/// ... and what a busy test machine may add for a moment to a single one.
const MOMENT: Duration = Duration::from_secs(15);

pub async fn deletion(cluster: &Kubernetes) -> Outcome {
    let name = |n: usize| format!("many-{n:03}");
    let pod = |n: usize| TestPod::new(NAMESPACE, &name(n), Ipv4Addr::new(10, 244, 7, n as u8 + 1));
    let pods: Vec<_> = (0..PODS).map(pod).collect();
    for pod in &pods {
        cluster.api.pod(pod).await?;
    }
    cluster.service("many", "").await?;
    cluster.slices("many", HTTP, &pods).await?;
    // Whoever looks a name up is subscribed to it.
    let asked =
        || dig(cluster.world.client(), &["many.test.svc.cluster.local", "A"]).ok().filter(|said| !said.is_empty());
    poll_until(Instant::now() + SOON, "the service many", asked)?;
    let all = || (cluster.states("many").len() == PODS).then_some(());
    poll_until(Instant::now() + SOON, "all pods", all)?;
    let mut took = Vec::new();
    for n in 0..PODS {
        cluster.api.delete_pod(NAMESPACE, &name(n)).await?;
        // The event was there before the answer was.
        let deleted = Instant::now();
        let gone = format!("\"{}\"", name(n));
        let look = || cluster.known("many").filter(|known| !known.to_string().contains(&gone));
        poll_until(deleted + SOON, "the deletion", look).with_context(|| gone.clone())?;
        took.push(deleted.elapsed());
    }
    took.sort();
    let (p50, p99) = (took[PODS / 2], took[PODS * 99 / 100 - 1]);
    println!("deletion to proxy: p50 {p50:?}, p99 {p99:?}, slowest {:?} of {PODS}", took[PODS - 1]);
    ensure!(p50 < BOUND && p99 < BOUND + MOMENT, "too slow: p50 {p50:?}, p99 {p99:?}");
    Ok(())
}
