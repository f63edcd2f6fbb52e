//! Patches of whole pods: what they add, what they leave alone, what they refuse.
//!
//! Tables for single statements; properties over generated pods for order, repetition and removal.

use super::*;
use crate::decide::Skip;
use crate::remove;
use crate::settings::tests::{ANCHOR, settings};
use proptest::prelude::*;

const SHOP: Namespace<'static> = Namespace { name: "shop", label: Some("enabled") };

fn patched(settings: &Settings, pod: &Value) -> Value {
    let outcome = inject(settings, SHOP, pod).unwrap();
    let mut after = pod.clone();
    json_patch::patch(&mut after, &outcome.patch).unwrap();
    after
}

fn refused(pod: &Value) -> String {
    inject(&settings(&[]), SHOP, pod).unwrap_err().to_string()
}

fn web() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}})
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    container["env"].as_array().unwrap().iter().find(|v| v["name"] == name).map_or(&Value::Null, |v| &v["value"])
}

#[test]
fn a_native_sidecar_starts_before_everything_else() {
    let mut pod = web();
    pod["spec"]["initContainers"] = json!([{"name": "migrate"}]);
    let after = patched(&settings(&[]), &pod);
    assert_eq!(names(&after["spec"]["initContainers"]), [REDIRECT, PROXY, "migrate"]);
    assert_eq!(names(&after["spec"]["containers"]), ["web"]);
    let proxy = &after["spec"]["initContainers"][1];
    assert_eq!(proxy["restartPolicy"], "Always");
    assert_eq!(proxy["startupProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(after["metadata"]["annotations"][INJECTED], env!("CARGO_PKG_VERSION"));
    assert_eq!(after["metadata"]["annotations"][TRUST_ANCHORS], ANCHOR);
    assert_eq!(names(&after["spec"]["volumes"]), VOLUMES);
}

#[test]
fn a_classic_sidecar_starts_before_the_application_and_after_init_containers() {
    let mut pod = web();
    pod["spec"]["initContainers"] = json!([{"name": "migrate"}]);
    let classic = settings(&["--sidecar=classic"]);
    let after = patched(&classic, &pod);
    assert_eq!(names(&after["spec"]["initContainers"]), ["migrate", REDIRECT]);
    assert_eq!(names(&after["spec"]["containers"]), [PROXY, "web"]);
    let proxy = &after["spec"]["containers"][0];
    assert!(proxy["restartPolicy"].is_null() && proxy["startupProbe"].is_null());
    assert_eq!(proxy["lifecycle"]["postStart"]["exec"]["command"][1], "wait");
    assert_eq!(after["metadata"]["annotations"][DEFAULT_CONTAINER], "web");
    pod["metadata"]["annotations"] = json!({"weft.dev/sidecar": "native"});
    assert_eq!(names(&patched(&classic, &pod)["spec"]["containers"]), ["web"], "the pod has the last word");
}

#[test]
fn each_part_may_do_what_it_needs_and_no_more() {
    let capabilities = |args: &[&str]| {
        let after = patched(&settings(args), &web());
        let parts = &after["spec"]["initContainers"];
        for (index, user) in [(0, 0), (1, PROXY_UID)] {
            let security = &parts[index]["securityContext"];
            assert_eq!(security["runAsUser"], user);
            assert_eq!(security["runAsNonRoot"], user != 0);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["privileged"], false);
            assert_eq!(security["seccompProfile"], json!({"type": "RuntimeDefault"}));
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        }
        assert!(parts[1]["securityContext"]["capabilities"]["add"].is_null());
        (parts[0]["securityContext"]["capabilities"]["add"].clone(), parts[0]["env"].clone())
    };
    assert_eq!(capabilities(&[]), (json!(["NET_ADMIN"]), Value::Null));
    // The legacy tables take a raw socket, and a lock in a folder that can be written to.
    let lock = json!([{"name": "XTABLES_LOCKFILE", "value": "/dev/shm/xtables.lock"}]);
    assert_eq!(capabilities(&["--redirect-backend=legacy"]), (json!(["NET_ADMIN", "NET_RAW"]), lock));
}

#[test]
fn annotations_reach_sidecar_and_redirect() {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({
        "weft.dev/exclude-outbound-ports": "25, 3306", "weft.dev/exclude-outbound-cidrs": "10.0.0.0/8,fd00::/8",
        "weft.dev/exclude-inbound-ports": "9090", "weft.dev/exclude-inbound-cidrs": "192.0.2.1",
        "weft.dev/opaque-ports": "5432", "weft.dev/dns-capture": "disabled", "weft.dev/workers": "4",
        "weft.dev/drain-timeout": "10s", "weft.dev/log-level": "debug", "weft.dev/log-format": "json",
        "weft.dev/cpu-request": "100m", "weft.dev/cpu-limit": "1", "weft.dev/memory-request": "64Mi",
        "weft.dev/memory-limit": "128Mi", "weft.dev/oqaque-ports": "1",
    });
    let outcome = inject(&settings(&[]), SHOP, &pod).unwrap();
    assert!(outcome.warnings.len() == 1 && outcome.warnings[0].contains("oqaque"), "{:?}", outcome.warnings);
    let after = patched(&settings(&[]), &pod);
    let (redirect, proxy) = (&after["spec"]["initContainers"][0], &after["spec"]["initContainers"][1]);
    let args = redirect["args"].to_string();
    for pair in [
        r#""--dns-port","0""#,
        r#""--exclude-outbound-ports","25,3306""#,
        r#""--exclude-outbound-cidrs","10.0.0.0/8,fd00::/8""#,
        r#""--exclude-inbound-ports","9090""#,
        r#""--exclude-inbound-cidrs","192.0.2.1/32""#,
    ] {
        assert!(args.contains(pair), "{pair} in {args}");
    }
    for (name, value) in [
        ("WEFT_OPAQUE_PORTS", "5432"),
        ("WEFT_DNS_PORT", "0"),
        ("WEFT_WORKERS", "4"),
        ("WEFT_DRAIN_TIMEOUT", "10s"),
        ("WEFT_LOG_LEVEL", "debug"),
        ("WEFT_LOG_FORMAT", "json"),
    ] {
        assert_eq!(variable(proxy, name), value, "{name}");
    }
    let resources = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}});
    assert_eq!(proxy["resources"], resources);
}

#[test]
fn the_drain_fits_into_the_grace_period() {
    let drain = |grace: Value| {
        let mut pod = web();
        pod["spec"]["terminationGracePeriodSeconds"] = grace;
        let after = patched(&settings(&[]), &pod);
        variable(&after["spec"]["initContainers"][1], "WEFT_DRAIN_TIMEOUT").clone()
    };
    assert_eq!([drain(Value::Null), drain(json!(5)), drain(json!(300)), drain(json!(0))], ["30s", "5s", "30s", "1s"]);
}

#[test]
fn pods_that_would_not_work_are_refused_naming_the_field() {
    let with = |pointer: &str, value: Value| {
        let mut pod = web();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value;
        pod
    };
    let table = [
        (with("/spec/containers", json!([])), "spec.containers: "),
        (with("/spec/initContainers", json!([{"name": REDIRECT}])), "spec.initContainers[weft-redirect]: "),
        (with("/spec/containers/0/name", json!(PROXY)), "spec.containers[weft-proxy]: "),
        (with("/spec/securityContext", json!({"runAsUser": PROXY_UID})), "spec.securityContext.runAsUser: "),
        (
            with("/spec/containers/0/securityContext", json!({"runAsUser": PROXY_UID})),
            "spec.containers[web].securityContext.runAsUser: ",
        ),
        (with("/spec/containers/0/ports", json!([{"containerPort": 15006}])), "spec.containers[web].ports: 15006 "),
        (with("/spec/volumes", json!([{"name": "weft-token"}])), "spec.volumes[weft-token]: "),
        (with("/metadata/annotations", json!({"weft.dev/drain-timeout": "31s"})), "weft.dev/drain-timeout: 31s "),
        (with("/metadata/annotations", json!({"weft.dev/memory-request": "1Gi"})), "weft.dev/memory-request: 1Gi "),
        (with("/metadata/annotations", json!({"weft.dev/workers": "many"})), "weft.dev/workers: "),
    ];
    for (pod, start) in table {
        let refusal = refused(&pod);
        assert!(refusal.starts_with(start), "{start}: {refusal}");
    }
}

#[test]
fn nonsense_is_refused_and_never_panics() {
    for pod in [json!(null), json!(7), json!([]), json!({}), json!({"spec": 1}), json!({"spec": {"containers": {}}})] {
        assert!(inject(&settings(&[]), SHOP, &pod).is_err(), "{pod}");
    }
}

/// Pods with some of everything that a patch touches.
fn pods() -> impl Strategy<Value = Value> {
    let probe = prop_oneof![
        Just(Value::Null),
        Just(json!({"httpGet": {"path": "/a", "port": 8080}, "periodSeconds": 3})),
        Just(json!({"tcpSocket": {"port": "http"}})),
        Just(json!({"grpc": {"port": 9000}})),
        Just(json!({"exec": {"command": ["true"]}})),
    ];
    let container = (proptest::array::uniform3(probe), any::<bool>()).prop_map(|(probes, ports)| {
        let mut container = json!({"image": "i"});
        for (field, probe) in ["livenessProbe", "readinessProbe", "startupProbe"].iter().zip(probes) {
            if !probe.is_null() {
                container[field] = probe;
            }
        }
        if ports {
            container["ports"] = json!([{"name": "http", "containerPort": 8080}]);
        }
        container
    });
    let named = |containers: Vec<Value>, prefix: &'static str| -> Vec<Value> {
        let name = |(index, mut container): (usize, Value)| {
            container["name"] = format!("{prefix}{index}").into();
            container
        };
        containers.into_iter().enumerate().map(name).collect()
    };
    let lists = (
        proptest::collection::vec(container.clone(), 0..4),
        proptest::collection::vec(container, 1..4),
        0..3usize,
        proptest::option::of(proptest::bool::ANY),
        any::<bool>(),
    );
    lists.prop_map(move |(initial, containers, volumes, style, metadata)| {
        let mut pod = json!({"spec": {"containers": named(containers, "c")}});
        if !initial.is_empty() {
            pod["spec"]["initContainers"] = named(initial, "i").into();
        }
        if volumes > 0 {
            pod["spec"]["volumes"] = named(vec![json!({"emptyDir": {}}); volumes], "v").into();
        }
        if let Some(native) = style {
            let style = if native { "native" } else { "classic" };
            pod["metadata"] = json!({"annotations": {"weft.dev/sidecar": style, "a/b~c": "d"}});
        } else if metadata {
            pod["metadata"] = json!({"labels": {"a": "b"}});
        }
        pod
    })
}

proptest! {
    #[test]
    fn a_second_time_changes_nothing(pod in pods()) {
        let once = patched(&settings(&[]), &pod);
        let again = inject(&settings(&[]), SHOP, &once).unwrap();
        prop_assert_eq!(again.decision, Decision::Skip(Skip::AlreadyInjected));
        prop_assert!(again.patch.is_empty());
    }

    #[test]
    fn what_was_there_keeps_its_order(pod in pods()) {
        let after = patched(&settings(&[]), &pod);
        let ours = [&[PROXY, REDIRECT][..], &VOLUMES[..]].concat();
        for list in ["initContainers", "containers", "volumes"] {
            let kept: Vec<&str> = names(&after["spec"][list]).into_iter().filter(|name| !ours.contains(name)).collect();
            prop_assert_eq!(kept, names(&pod["spec"][list]));
        }
    }

    #[test]
    fn removal_gives_back_what_was_there(pod in pods()) {
        let mut after = patched(&settings(&[]), &pod);
        prop_assert!(remove(&mut after));
        if pod.get("metadata").is_none() {
            after.as_object_mut().unwrap().remove("metadata");
        }
        prop_assert_eq!(&after, &pod);
        prop_assert!(!remove(&mut after));
    }
}
