//! How the kubelet's probes and HTTP hooks of the application reach it through the sidecar.
//!
//! The kubelet has no certificate of the mesh, so that a server that insists on mTLS would refuse it. Each probe and hook is
//! therefore pointed at the sidecar's admin port; the sidecar, told by a table in its environment, asks the application within
//! the pod what its author wrote. What the sidecar cannot do for the kubelet (exec, sleep, another host, a port that has no
//! number) stays as it is.

use crate::names::{ADMIN_PORT, PROBES_VARIABLE, PROXY};
use serde_json::{Map, Value, json};

/// A probe or hook that goes through the sidecar.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// List, index, fields: where it stands in the pod's `spec`.
    pub at: (&'static str, usize, &'static [&'static str]),
    pub probe: Value,
}

/// What the kubelet asks of a container.
struct Kind {
    fields: &'static [&'static str],
    /// What the sidecar's page for it is called.
    page: &'static str,
    /// What it may do, as far as the sidecar can.
    handlers: &'static [&'static str],
}

const PROBES: &[&str] = &["httpGet", "tcpSocket", "grpc"];
/// The kubelet does nothing for a hook that is a `tcpSocket`.
const HOOKS: &[&str] = &["httpGet"];
const KINDS: [Kind; 5] = [
    Kind { fields: &["livenessProbe"], page: "live", handlers: PROBES },
    Kind { fields: &["readinessProbe"], page: "ready", handlers: PROBES },
    Kind { fields: &["startupProbe"], page: "startup", handlers: PROBES },
    Kind { fields: &["lifecycle", "postStart"], page: "post-start", handlers: HOOKS },
    Kind { fields: &["lifecycle", "preStop"], page: "pre-stop", handlers: HOOKS },
];
const LISTS: [&str; 2] = ["initContainers", "containers"];
/// Kubernetes' own default.
const TIMEOUT_SECONDS: u64 = 1;
/// The kubelet sets hooks no limit but the pod's grace period; the longest that the sidecar knows.
const HOOK_SECONDS: u64 = 3600;

/// Every probe that goes through the sidecar, and the table that tells the sidecar how to make it.
pub(crate) fn rewrite(spec: &Value) -> (Vec<Rewritten>, Map<String, Value>) {
    let mut rewritten = Vec::new();
    let mut table = Map::new();
    for list in LISTS {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            for kind in &KINDS {
                let original = kind.fields.iter().fold(container, |value, field| &value[field]);
                let Some((handler, port)) = made_by_sidecar(container, original, kind.handlers) else { continue };
                let name = format!("{}/{}", container["name"].as_str().unwrap_or_default(), kind.page);
                let mut probe = original.clone();
                if let Some(probe) = probe.as_object_mut() {
                    probe.remove(handler);
                    let get =
                        json!({"path": format!("/application-probes/{name}"), "port": ADMIN_PORT, "scheme": "HTTP"});
                    probe.insert("httpGet".to_owned(), get);
                }
                let mut entry = json!({handler: original[handler], "resolvedPort": port});
                if kind.handlers == HOOKS {
                    entry["hook"] = true.into();
                    entry["timeoutSeconds"] = HOOK_SECONDS.into();
                } else {
                    entry["timeoutSeconds"] = original["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECONDS).into();
                }
                table.insert(name, entry);
                rewritten.push(Rewritten { at: (list, index, kind.fields), probe });
            }
        }
    }
    (rewritten, table)
}

/// Which of `handlers` the probe is and the number of its port, if the sidecar can do the same.
fn made_by_sidecar(container: &Value, probe: &Value, handlers: &[&'static str]) -> Option<(&'static str, u16)> {
    let handler = handlers.iter().copied().find(|handler| probe[handler].is_object())?;
    let action = &probe[handler];
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
            for kind in &KINDS {
                let Some(entry) = table.get(&format!("{name}/{}", kind.page)) else { continue };
                let at = kind.fields.iter().try_fold(&mut *container, |value, field| value.get_mut(field));
                let Some(probe) = at.and_then(Value::as_object_mut) else { continue };
                if let Some(handler) = kind.handlers.iter().find(|handler| !entry[handler].is_null()) {
                    probe.remove("httpGet");
                    probe.insert((*handler).to_owned(), entry[handler].clone());
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
    fn http_hooks_go_through_the_sidecar_and_come_back() {
        let original = json!({"containers": [{
            "name": "web",
            "ports": [{"name": "http", "containerPort": 8080}],
            "lifecycle": {
                "postStart": {"httpGet": {"path": "/warm", "port": "http", "httpHeaders": [{"name": "X-A", "value": "1"}]}},
                "preStop": {"httpGet": {"path": "/drain", "port": 8081}},
            },
        }, {
            "name": "other",
            "lifecycle": {"postStart": {"exec": {"command": ["true"]}}, "preStop": {"sleep": {"seconds": 3}}},
        }]});
        let (hooks, table) = rewrite(&original);
        let said: Vec<_> = hooks.iter().map(|hook| (hook.at, hook.probe.to_string())).collect();
        let page = |page: &str| {
            json!({"httpGet": {"path": format!("/application-probes/web/{page}"), "port": 15020, "scheme": "HTTP"}})
                .to_string()
        };
        let at = |fields: &'static [&'static str]| ("containers", 0, fields);
        let expected =
            [(at(&["lifecycle", "postStart"]), page("post-start")), (at(&["lifecycle", "preStop"]), page("pre-stop"))];
        assert_eq!(said, expected);
        let drain = json!({"httpGet": {"path": "/drain", "port": 8081}, "resolvedPort": 8081, "timeoutSeconds": 3600, "hook": true});
        assert_eq!(table["web/pre-stop"], drain);
        let mut spec = original.clone();
        for Rewritten { at: (list, index, fields), probe } in hooks {
            let place = fields.iter().fold(&mut spec[list][index], |value, field| &mut value[field]);
            *place = probe;
        }
        let variable = json!({"name": PROBES_VARIABLE, "value": Value::Object(table).to_string()});
        spec["initContainers"] = json!([{"name": PROXY, "env": [variable]}]);
        restore(&mut spec);
        assert_eq!(spec["containers"], original["containers"]);
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
