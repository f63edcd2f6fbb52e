//! `weftctl edges`: who calls whom, by identity, whether by mTLS, how often and how well.
//!
//! From the clients' sidecars, which alone know both ends. Whether a connection was mTLS is counted since the proxy began;
//! the other figures are of the last seconds.

use crate::connect::Discovery;
use crate::measure::tally::{HEADINGS, Tally};
use crate::measure::{Reading, window};
use crate::print::{Output, Table};
use crate::scope::Scope;
use crate::watch::Watch;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    watch: Watch,
}

const FAMILIES: &[&str] = &["weft_requests", "weft_request_duration_seconds", "weft_upstream_connections"];

/// One client identity and one service.
#[derive(Debug, Default)]
pub struct Edge {
    tally: Tally,
    /// Connections by mTLS and in plain text.
    secured: f64,
    plain: f64,
}

/// Namespace and service account of the client, namespace and name of the service.
pub type Ends = (String, String, String, String);

impl Edge {
    fn mtls(&self) -> &'static str {
        match (self.secured > 0.0, self.plain > 0.0) {
            (true, true) => "some",
            (true, false) => "yes",
            (false, true) => "no",
            (false, false) => "",
        }
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let Args { scope, watch } = args;
    let text = |before: &[Reading], after: &[Reading]| {
        let edges = edges(before, after, scope.namespace());
        watch.print(|_| table(&edges, watch.window), || values(&edges, watch.window))
    };
    watch.run(discovery, FAMILIES, |_| true, text).await
}

/// Every pair with a connection or a request; with a namespace, those with an end in it.
pub fn edges(before: &[Reading], after: &[Reading], namespace: Option<&str>) -> BTreeMap<Ends, Edge> {
    let mut edges: BTreeMap<Ends, Edge> = BTreeMap::new();
    let ends = |reading: &Reading, service: &str| {
        let (name, of) = service.rsplit_once('.')?;
        Some((reading.namespace.clone(), reading.account.clone(), of.to_owned(), name.to_owned()))
    };
    let outbound = |reading: &Reading| {
        reading.series.iter().filter(|series| series.label("direction") == "outbound").cloned().collect::<Vec<_>>()
    };
    for reading in after {
        for series in outbound(reading).iter().filter(|series| series.name == "weft_upstream_connections_total") {
            let Some(ends) = ends(reading, series.label("service")) else { continue };
            let edge = edges.entry(ends).or_default();
            if series.label("mtls") == "true" { edge.secured += series.value } else { edge.plain += series.value }
        }
    }
    for (reading, _) in window(before, after) {
        for series in outbound(&reading) {
            let Some(ends) = ends(&reading, series.label("service")) else { continue };
            edges.entry(ends).or_default().tally.add(&series);
        }
    }
    let within = |(from, _, to, _): &Ends| namespace.is_none_or(|namespace| from == namespace || to == namespace);
    edges.retain(|ends, edge| within(ends) && (edge.tally.requests > 0.0 || !edge.mtls().is_empty()));
    edges
}

fn table(edges: &BTreeMap<Ends, Edge>, window: Duration) -> String {
    if edges.is_empty() {
        return "nobody has called anybody; -A looks into all namespaces\n".to_owned();
    }
    let mut headings = vec!["FROM", "TO", "MTLS"];
    headings.extend(HEADINGS);
    let mut table = Table::new(&headings);
    for ((namespace, account, of, service), edge) in edges {
        let mut cells = vec![format!("{namespace}/{account}"), format!("{of}/{service}"), edge.mtls().to_owned()];
        cells.extend(edge.tally.cells(window));
        table.row(cells);
    }
    table.render()
}

/// For programs.
pub fn values(edges: &BTreeMap<Ends, Edge>, window: Duration) -> Vec<Value> {
    let value = |((namespace, account, of, service), edge): (&Ends, &Edge)| {
        let mut value = edge.tally.json(window);
        value["from"] = json!({ "namespace": namespace, "serviceAccount": account });
        value["to"] = json!({ "namespace": of, "service": service });
        value["mtls"] = json!({ "connections": edge.secured, "plaintext": edge.plain });
        value
    };
    edges.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::exposition::read;
    use tokio::time::Instant;

    fn reading(requests: u32) -> Reading {
        let text = format!(
            "weft_requests_total{{direction=\"outbound\",service=\"cart.shop\",status=\"200\"}} {requests}\n\
             weft_requests_total{{direction=\"inbound\",service=\"web.front\",status=\"200\"}} {requests}\n\
             weft_upstream_connections_total{{direction=\"outbound\",service=\"cart.shop\",mtls=\"true\"}} 2\n\
             weft_upstream_connections_total{{direction=\"outbound\",service=\"old.legacy\",mtls=\"false\"}} 1\n"
        );
        let (namespace, proxy, account) = ("front".to_owned(), "web-0".to_owned(), "web".to_owned());
        Reading { namespace, proxy, account, at: Instant::now(), series: read(&text).unwrap() }
    }

    #[test]
    fn an_edge_is_a_client_identity_and_a_service() {
        let all = edges(&[reading(10)], &[reading(40)], None);
        let text = table(&all, Duration::from_secs(10));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["front/web", "legacy/old", "no", "-", "0.0", "-", "-", "-"]);
        assert_eq!(lines[2], ["front/web", "shop/cart", "yes", "100.00%", "3.0", "-", "-", "-"]);
        assert_eq!(edges(&[], &[reading(1)], Some("shop")).len(), 1, "one end has to be in the namespace");
        assert_eq!(values(&all, Duration::from_secs(10))[1]["to"], json!({ "namespace": "shop", "service": "cart" }));
    }
}
