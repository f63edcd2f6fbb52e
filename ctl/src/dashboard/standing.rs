//! How a service's endpoints stand with one client: requests under way, latency as it sees it, whom it leaves out and why.
//!
//! From the client's own proxy, by the same question as `weftctl explain`. A proxy that cannot say is an error, not an empty list.

use crate::connect::Discovery;
use crate::explain::TOPIC;
use anyhow::Context as _;
use weft_model::Service;
use weft_model::explain::{Candidate, Explanation, Imagined};

/// What `proxy` (NAMESPACE/NAME) sees of the endpoints of `service`.
pub async fn seen_by(proxy: &str, service: &Service, discovery: &Discovery) -> anyhow::Result<Vec<Candidate>> {
    let port = service.ports.first().context("the service has no port")?.port.get();
    let host = service.name.to_string();
    let headers = vec![("host".to_owned(), host.clone())];
    let (path, query, method) = ("/".to_owned(), String::new(), "GET".to_owned());
    let request = Imagined { method, host, port, path, query, headers };
    let answer = discovery.ask_proxy(proxy, TOPIC, serde_json::to_string(&request)?).await?;
    let answer = answer.with_context(|| format!("{proxy} is not connected to the replicas asked"))?;
    let explanation: Explanation = serde_json::from_str(&answer).context("the proxy's answer")?;
    Ok(own(explanation, service))
}

/// A route may lead elsewhere: only ways to the service itself tell of its endpoints.
fn own(explanation: Explanation, service: &Service) -> Vec<Candidate> {
    let ways = explanation.ways.into_iter().filter(|way| way.service == service.name);
    ways.filter_map(|way| way.tries).flat_map(|tries| tries.endpoints).collect()
}
