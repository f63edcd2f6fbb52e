//! Objects as API servers give them, and the facts that are kept of each.
//! Pure: objects are made of JSON here, as the API server sends them.

use super::*;
use serde_json::{Value, json};

fn service(spec: Value) -> Option<Service> {
    let object = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
    Service::read(&serde_json::from_value(object).unwrap())
}

#[test]
fn services_of_every_kind() {
    let http = json!({"name": "http", "port": 80, "targetPort": 8080});
    let read = service(json!({
        "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10", "fd00::a"], "ipFamilies": ["IPv4", "IPv6"],
        "internalTrafficPolicy": "Local", "publishNotReadyAddresses": true,
        "ports": [
            http,
            {"name": "grpc", "port": 90, "targetPort": "api", "appProtocol": "kubernetes.io/h2c"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    }));
    let read = read.unwrap();
    assert_eq!(read.addresses, ["10.96.0.10".parse::<IpAddr>().unwrap(), "fd00::a".parse().unwrap()]);
    let ports: Vec<_> =
        read.ports.iter().map(|p| (p.name.as_str(), p.port.get(), p.target_port.get(), p.protocol)).collect();
    assert_eq!(ports, [("http", 80, 8080, Protocol::Http), ("grpc", 90, 90, Protocol::Http2)]);
    assert!(read.node_local && read.publish_not_ready && !read.prefers_v6);
    let headless =
        service(json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv6"], "ports": [http]}));
    let headless = headless.unwrap();
    assert!(headless.addresses.is_empty() && headless.prefers_v6 && !headless.node_local);
    for (what, spec) in [
        ("another name", json!({"type": "ExternalName", "externalName": "example.com", "ports": [http]})),
        ("no address yet", json!({"ports": [http]})),
        ("no ports", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        ("UDP alone", json!({"clusterIP": "10.96.0.10", "ports": [{"port": 53, "protocol": "UDP"}]})),
    ] {
        assert_eq!(service(spec), None, "{what}");
    }
}

fn slice(change: impl FnOnce(&mut Value)) -> Option<Slice> {
    let mut object = json!({
        "metadata": {"name": "web-x1", "namespace": "shop", "labels": {SERVICE_NAME: "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        "endpoints": [{
            "addresses": ["10.0.0.1"], "nodeName": "node-a", "zone": "a", "hostname": "web-0",
            "hints": {"forZones": [{"name": "a"}, {"name": "b"}], "forNodes": [{"name": "node-a"}]},
            "conditions": {"ready": false, "serving": true, "terminating": true},
            "targetRef": {"kind": "Pod", "name": "web-0", "namespace": "shop", "uid": "u0"},
        }],
    });
    change(&mut object);
    Slice::read(&serde_json::from_value(object).unwrap())
}

#[test]
fn slices_and_their_conditions() {
    let read = slice(|_| {}).unwrap();
    assert_eq!((read.service.as_str(), read.ports.len()), ("web", 1));
    let member = &read.endpoints[0];
    assert_eq!(member.pod, Some(("web-0".to_owned(), "u0".to_owned())));
    assert_eq!((member.ready, member.terminating), (false, true));
    assert_eq!(
        (&member.hints.zones[..], &member.hints.nodes[..]),
        (&["a", "b"].map(String::from)[..], &["node-a".to_owned()][..])
    );
    let unsaid = slice(|object| object["endpoints"][0]["conditions"] = Value::Null).unwrap();
    assert_eq!((unsaid.endpoints[0].ready, unsaid.endpoints[0].terminating), (true, false));
    let node = slice(|object| object["endpoints"][0]["targetRef"]["kind"] = "Node".into()).unwrap();
    assert_eq!(node.endpoints[0].pod, None);
    for address in ["0.0.0.0", "224.0.0.1", "example"] {
        let read = slice(|object| object["endpoints"][0]["addresses"][0] = address.into()).unwrap();
        assert_eq!(read.endpoints, [], "{address}");
    }
    assert_eq!(slice(|object| object["addressType"] = "FQDN".into()), None);
    assert_eq!(slice(|object| object["metadata"]["labels"] = json!({})), None);
}

fn pod(change: impl FnOnce(&mut Value)) -> Pod {
    let mut object = json!({
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "u0", "annotations": {INJECTED: "0.1.0"}},
        "spec": {
            "serviceAccountName": "web",
            "initContainers": [{"name": "weft-redirect"}, {"name": SIDECAR, "restartPolicy": "Always"}],
            "containers": [{"name": "app"}],
        },
    });
    change(&mut object);
    Pod::read(&serde_json::from_value(object).unwrap()).unwrap()
}

#[test]
fn a_pod_is_meshed_when_the_injector_says_so_and_the_sidecar_is_there() {
    let read = pod(|_| {});
    assert_eq!(read, Pod { uid: "u0".into(), account: "web".into(), meshed: true, terminating: false });
    let classic = pod(|object| object["spec"] = json!({"containers": [{"name": "app"}, {"name": SIDECAR}]}));
    assert!(classic.meshed && classic.account == "default");
    assert!(!pod(|object| object["metadata"]["annotations"] = json!({})).meshed);
    assert!(!pod(|object| object["spec"]["initContainers"] = json!([])).meshed);
    assert!(pod(|object| object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into()).terminating);
}
