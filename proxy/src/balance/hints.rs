//! Which endpoints are meant for this proxy's place, as Kubernetes' topology hints say.
//!
//! Read as kube-proxy reads them (KEP-2433, KEP-3015): followed only where every ready endpoint has hints and one of them names
//! this node, or else this zone. Pure. Hints put endpoints into an order and take none away: what they leave out comes later.

use weft_model::Endpoint;

/// The hints that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed<'a> {
    /// Those for nodes: this one's.
    Node(&'a str),
    /// Those for zones: this one's.
    Zone(&'a str),
}

impl<'a> Followed<'a> {
    /// Of a service with these endpoints, by a proxy on `node` in `zone`. `None`: endpoints are all the same.
    pub fn of<'e>(
        endpoints: impl Iterator<Item = &'e Endpoint> + Clone,
        node: Option<&'a str>,
        zone: Option<&'a str>,
    ) -> Option<Self> {
        let ready = endpoints.filter(|endpoint| endpoint.takes_new_work());
        let by_node = || node.filter(|node| name(ready.clone().map(|endpoint| &endpoint.hints.nodes), node));
        let by_zone = || zone.filter(|zone| name(ready.clone().map(|endpoint| &endpoint.hints.zones), zone));
        by_node().map(Self::Node).or_else(|| by_zone().map(Self::Zone))
    }

    /// Whether `endpoint` is for clients here.
    pub fn means(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Node(node) => endpoint.hints.nodes.iter().any(|named| named == node),
            Self::Zone(zone) => endpoint.hints.zones.iter().any(|named| named == zone),
        }
    }
}

/// Whether there are hints everywhere, and some name `place`.
fn name<'e>(mut hints: impl Iterator<Item = &'e Vec<String>> + Clone, place: &str) -> bool {
    hints.clone().all(|named| !named.is_empty()) && hints.any(|named| named.iter().any(|name| name == place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_model::{EndpointState, Hints};

    /// Each endpoint by its state, its zones and its nodes, names separated by blanks.
    fn followed(endpoints: &[(EndpointState, &str, &str)]) -> Option<Followed<'static>> {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let endpoint = |(n, (state, zones, nodes)): (usize, &(EndpointState, &str, &str))| Endpoint {
            hints: Hints { zones: names(zones), nodes: names(nodes) },
            state: *state,
            ..serde_json::from_value(serde_json::json!({
                "id": n.to_string(), "service": {"namespace": "shop", "name": "cart"}, "addresses": ["10.0.0.1"],
            }))
            .unwrap()
        };
        let endpoints: Vec<_> = endpoints.iter().enumerate().map(endpoint).collect();
        Followed::of(endpoints.iter(), Some("node-1"), Some("a"))
    }

    #[test]
    fn hints_are_followed_where_all_have_them_and_some_are_for_us() {
        use EndpointState::{NotReady, Ready, Terminating};
        let (node, zone) = (Some(Followed::Node("node-1")), Some(Followed::Zone("a")));
        let table: [(&[_], _); 9] = [
            (&[], None),
            (&[(Ready, "", "")], None),
            (&[(Ready, "a", ""), (Ready, "b", "")], zone),
            // A controller that has just begun, or has stopped.
            (&[(Ready, "a", ""), (Ready, "", "")], None),
            (&[(Ready, "b", ""), (Ready, "b c", "")], None),
            (&[(Ready, "a", "node-2"), (Ready, "b", "node-1")], node),
            // Nobody is for this node, so that the zone counts.
            (&[(Ready, "a", "node-2"), (Ready, "b", "node-3")], zone),
            // Who takes no requests has no say.
            (&[(NotReady, "a", ""), (Terminating, "", ""), (Ready, "b", "")], None),
            (&[(NotReady, "", ""), (Ready, "a", "")], zone),
        ];
        for (endpoints, expected) in table {
            assert_eq!(followed(endpoints), expected, "{endpoints:?}");
        }
    }
}
