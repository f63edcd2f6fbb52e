//! The endpoint controller on a real API server: what Kubernetes says reaches proxies, quickly, wholly and nothing else.
//!
//! Cases come in the order of a cluster's life: services and pods appear, change and go; documents are taken or refused; then
//! one part after the other is restarted, paused or killed.

mod stage;
mod services;
mod hints;
mod documents;
mod statuses;
mod speed;
mod fleet;
mod failures;
mod size;

use stage::Kubernetes;
use std::process::ExitCode;
use std::time::Duration;
use weft_tests::Suite;
use weft_tests::cluster::missing;

/// Thousands of objects take their time where others build.
const LIMIT: Duration = Duration::from_secs(600);
/// Pods that are added to measure what they cost, in thousands; more than one takes minutes.
const LOTS: &str = "WEFT_TEST_THOUSANDS";

fn main() -> ExitCode {
    let lots = std::env::var(LOTS).ok().and_then(|lots| lots.parse().ok()).unwrap_or(1);
    let suite = Suite::on("kubernetes", Kubernetes::start)
        .unless(missing())
        .case("a request to a ClusterIP of either family reaches the pods, over mTLS", services::cluster_ip)
        .case("a pod without a sidecar is called in the clear", services::plain)
        .case("what is not ready or ends takes no requests", services::states)
        .case("a pod that is deleted goes at once, and one made anew comes back", services::made_anew)
        .case("headless names lead to pods, and their addresses to their identities", services::headless)
        .case("a service of each node is served by the own node alone", services::node_local)
        .case("hints lead to the own node and zone, and hide nobody", hints::followed)
        .case("what others applied is left alone", services::others)
        .case("a route is followed, and its status says so", documents::route)
        .case("a faulty document leaves the old one in force and says why", documents::faulty)
        .case("each parent of a route has its own status, and others' words stay", statuses::parents)
        .case("a status names what is wrong with a backend", statuses::backends)
        .case("the good rules of a route are in force, and its status names the others", statuses::partial)
        .case("policies of the cluster are in force", documents::policies)
        .case("a pod that is deleted is gone from proxies within a second", speed::deletion)
        .limit(LIMIT)
        .case("a hundred proxies hear of what has gone within a second", fleet::hears)
        .case("an API server that is started again finds the mesh as it was", failures::api_server)
        .case("what changed while discovery was away is made good", failures::discovery)
        .case("a leader that was paused for 30 s writes nothing afterwards: the store refuses it", failures::paused)
        .case("a leader that is killed is followed by another", failures::killed);
    let lot = |suite: Suite<Kubernetes>, lot: usize| {
        suite.case(&format!("a thousand pods cost bounded memory ({lot})"), async move |cluster: &Kubernetes| {
            size::thousand(cluster, lot - 1).await
        })
    };
    let suite = (1..=lots).fold(suite, lot);
    suite.case("a new leader reads the thousands in pages, and of no kind more than it needs", size::read_again).run()
}
