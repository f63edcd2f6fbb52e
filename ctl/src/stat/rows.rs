//! Which requests belong to which row: adds up what proxies counted by service, by route or by pod.
//!
//! Pure. What the mesh does not know as a service (passed-through connections, names that nobody has) has no row.

use crate::measure::Reading;
use crate::measure::tally::Tally;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Of what there is a row each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// As their clients see them
    #[value(alias = "service", alias = "svc")]
    Services,
    /// Rules of routes, as clients see them
    #[value(alias = "route")]
    Routes,
    /// Each by what its own sidecar let in
    #[value(alias = "pod")]
    Pods,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub namespace: String,
    /// Of the service or the pod.
    pub name: String,
    /// `namespace/name/rule`; empty where no route was attached.
    pub route: String,
    pub tally: Tally,
    /// Over how long, on average over the proxies that counted.
    pub window: Duration,
}

impl Row {
    pub fn json(&self, by: By) -> Value {
        let mut row = self.tally.json(self.window);
        row["namespace"] = json!(self.namespace);
        row[if by == By::Pods { "pod" } else { "service" }] = json!(self.name);
        if by == By::Routes {
            row["route"] = json!(self.route);
        }
        row
    }
}

/// Rows by namespace and name.
pub fn rows(by: By, grown: &[(Reading, Duration)]) -> Vec<Row> {
    let mut tallies: BTreeMap<(String, String, String), Tally> = BTreeMap::new();
    let direction = if by == By::Pods { "inbound" } else { "outbound" };
    for (reading, _) in grown {
        for series in reading.series.iter().filter(|series| series.label("direction") == direction) {
            let key = match by {
                By::Pods => (reading.namespace.clone(), reading.proxy.clone(), String::new()),
                By::Services | By::Routes => {
                    let Some((service, namespace)) = series.label("service").rsplit_once('.') else { continue };
                    let route = if by == By::Routes { series.label("route") } else { "" };
                    (namespace.to_owned(), service.to_owned(), route.to_owned())
                }
            };
            tallies.entry(key).or_default().add(series);
        }
    }
    let took: Duration = grown.iter().map(|(_, took)| *took).sum();
    let took = took / u32::try_from(grown.len()).unwrap_or(u32::MAX).max(1);
    let row = |((namespace, name, route), tally)| Row { namespace, name, route, tally, window: took };
    tallies.into_iter().map(row).filter(|row| row.tally.requests > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::exposition::read;
    use tokio::time::Instant;

    fn grown() -> Vec<(Reading, Duration)> {
        let text = "weft_requests_total{direction=\"outbound\",service=\"cart.shop\",route=\"shop/r/0\",status=\"200\"} 30\n\
            weft_requests_total{direction=\"outbound\",service=\"cart.shop\",route=\"\",status=\"503\"} 10\n\
            weft_requests_total{direction=\"outbound\",service=\"idle.shop\",route=\"\",status=\"200\"} 0\n\
            weft_requests_total{direction=\"outbound\",service=\"\",route=\"\",status=\"200\"} 3\n\
            weft_requests_total{direction=\"inbound\",service=\"\",route=\"\",status=\"200\"} 7\n";
        let reading = |proxy: &str| Reading {
            namespace: "shop".to_owned(),
            proxy: proxy.to_owned(),
            account: "web".to_owned(),
            at: Instant::now(),
            series: read(text).unwrap(),
        };
        ["web-0", "web-1"].map(|proxy| (reading(proxy), Duration::from_secs(10))).to_vec()
    }

    fn seen(by: By) -> Vec<(String, String, f64, f64)> {
        rows(by, &grown()).into_iter().map(|row| (row.name, row.route, row.tally.requests, row.tally.failed)).collect()
    }

    #[test]
    fn requests_are_added_up_by_service_route_or_pod() {
        let row = |name: &str, route: &str, requests, failed| (name.to_owned(), route.to_owned(), requests, failed);
        assert_eq!(seen(By::Services), [row("cart", "", 80.0, 20.0)]);
        assert_eq!(seen(By::Routes), [row("cart", "", 20.0, 20.0), row("cart", "shop/r/0", 60.0, 0.0)]);
        assert_eq!(seen(By::Pods), [row("web-0", "", 7.0, 0.0), row("web-1", "", 7.0, 0.0)]);
    }

    #[test]
    fn a_row_for_programs_has_the_names_of_its_kind() {
        let row = &rows(By::Routes, &grown())[1];
        let json = row.json(By::Routes);
        assert_eq!((&json["service"], &json["route"]), (&"cart".into(), &"shop/r/0".into()));
        assert_eq!((&json["requestsPerSecond"], &json["successRate"]), (&6.0.into(), &1.0.into()));
        assert_eq!(json["p50Seconds"], Value::Null);
    }
}
