//! How the kubelet's probes of the application reach it through the sidecar.
//!
//! The kubelet has no certificate of the mesh, so that a server that insists on mTLS would refuse its probes. Each probe is
//! therefore pointed at the sidecar's admin port; the sidecar, told by a table in its environment, makes the original probe
//! within the pod. Probes that the sidecar cannot make for the kubelet (exec, another host, a port that has no number)
//! stay as they are.

use crate::names::{ADMIN_PORT, PROBES_VARIABLE, PROXY};
use serde_json::{Map, Value, json};

/// A probe that goes through the sidecar.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// List, index, field: where it stands in the pod's `spec`.
    pub at: (&'static str, usize, &'static str),
    pub probe: Value,
}

/// The kinds of probe, with what the sidecar's page for each is called.
const KINDS: [(&str, &str); 3] = [("livenessProbe", "live"), ("readinessProbe", "ready"), ("startupProbe", "startup")];
/// What a probe may do.
const HANDLERS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];
const LISTS: [&str; 2] = ["initContainers", "containers"];
/// Kubernetes' own default.
const TIMEOUT_SECONDS: u64 = 1;

/// Every probe that goes through the sidecar, and the table that tells the sidecar how to make it.
pub(crate) fn rewrite(spec: &Value) -> (Vec<Rewritten>, Map<String, Value>) {
    let mut rewritten = Vec::new();
    let mut table = Map::new();
    for list in LISTS {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            for (field, page) in KINDS {
                let Some((handler, port)) = made_by_sidecar(container, field) else { continue };
                let name = format!("{}/{page}", container["name"].as_str().unwrap_or_default());
                let original = &container[field];
                let mut probe = original.clone();
                if let Some(probe) = probe.as_object_mut() {
                    probe.remove(handler);
                    let get =
                        json!({"path": format!("/application-probes/{name}"), "port": ADMIN_PORT, "scheme": "HTTP"});
                    probe.insert("httpGet".to_owned(), get);
                }
                let timeout = original["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS);
                table
                    .insert(name, json!({handler: original[handler], "resolvedPort": port, "timeoutSeconds": timeout}));
                rewritten.push(Rewritten { at: (list, index, field), probe });
            }
        }
    }
    (rewritten, table)
}

/// What the probe does and the number of its port, if the sidecar can do the same.
fn made_by_sidecar(container: &Value, field: &str) -> Option<(&'static str, u16)> {
    let handler = HANDLERS.into_iter().find(|handler| container[field][handler].is_object())?;
    let action = &container[field][handler];
    let elsewhere = action["host"].as_str().is_some_and(|host| !host.is_empty());
    let port = match &action["port"] {
        Value::Number(number) => number.as_u64(),
        Value::String(name) => name.parse().ok().or_else(|| {
            let ports = container["ports"].as_array()?;
            ports.iter().find(|port| port["name"] == name.as_str())?["containerPort"].as_u64()
        }),
        _ => None,
    };
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0 && *port != ADMIN_PORT)?;
    (!elsewhere).then_some((handler, port))
}

/// Puts the probes back that [`rewrite`] took away, as the sidecar's table remembers them.
pub(crate) fn restore(spec: &mut Value) {
    let table = table_of(spec);
    for list in LISTS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (field, page) in KINDS {
                let Some(entry) = table.get(&format!("{name}/{page}")) else { continue };
                let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) else { continue };
                if let Some(handler) = HANDLERS.into_iter().find(|handler| !entry[handler].is_null()) {
                    probe.remove("httpGet");
                    probe.insert(handler.to_owned(), entry[handler].clone());
                }
            }
        }
    }
}

fn table_of(spec: &Value) -> Map<String, Value> {
    let containers = LISTS.iter().filter_map(|list| spec[list].as_array()).flatten();
    let mut proxies = containers.filter(|container| container["name"] == PROXY);
    let variables = proxies.next().and_then(|proxy| proxy["env"].as_array());
    let table = variables.into_iter().flatten().find(|variable| variable["name"] == PROBES_VARIABLE);
    let text = table.and_then(|variable| variable["value"].as_str()).unwrap_or("{}");
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_probe_keeps_its_timing_and_is_remembered() {
        let spec = json!({"containers": [{
            "name": "web",
            "ports": [{"name": "http", "containerPort": 8080}],
            "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "periodSeconds": 7, "timeoutSeconds": 3},
            "readinessProbe": {"grpc": {"port": 9000, "service": "ready"}},
            "startupProbe": {"tcpSocket": {"port": "8081"}},
        }]});
        let (probes, table) = rewrite(&spec);
        let live = json!({"httpGet": {"path": "/application-probes/web/live", "port": 15020, "scheme": "HTTP"},
            "periodSeconds": 7, "timeoutSeconds": 3});
        assert_eq!((probes.len(), &probes[0].probe), (3, &live));
        let remembered = json!({
            "web/live": {"httpGet": {"path": "/live", "port": "http"}, "resolvedPort": 8080, "timeoutSeconds": 3},
            "web/ready": {"grpc": {"port": 9000, "service": "ready"}, "resolvedPort": 9000, "timeoutSeconds": 1},
            "web/startup": {"tcpSocket": {"port": "8081"}, "resolvedPort": 8081, "timeoutSeconds": 1},
        });
        assert_eq!(Value::Object(table), remembered);
    }

    #[test]
    fn what_the_sidecar_cannot_do_stays() {
        let probes = [
            json!({"exec": {"command": ["true"]}}),
            json!({"httpGet": {"path": "/", "port": "nameless"}}),
            json!({"httpGet": {"path": "/", "port": 80, "host": "192.0.2.1"}}),
            json!({"tcpSocket": {"port": 0}}),
            json!({"httpGet": {"path": "/", "port": ADMIN_PORT}}),
            json!({}),
            json!("nonsense"),
        ];
        for probe in probes {
            let spec = json!({"containers": [{"name": "web", "livenessProbe": probe}]});
            assert!(rewrite(&spec).0.is_empty(), "{probe}");
        }
    }
}
