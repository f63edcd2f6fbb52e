//! Reviews that were sound before somebody changed them anywhere: they are answered, or refused with a reason, and nothing panics.
//!
//! What comes back is held to what a pod may expect: its patch can be applied, and an injected pod is injected once only.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use weft_inject::Skip;

const ANCHORS: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn settings() -> Settings {
    let flags = <crate::config::Flags as clap::Parser>::try_parse_from(["weft-injector", "--trust-anchors=x"]).unwrap();
    Settings::check(&flags.pods, ANCHORS).unwrap()
}

/// With something of everything that the injector looks at.
fn sound() -> Value {
    let get =
        |path: &str| json!({"httpGet": {"path": path, "port": "http", "httpHeaders": [{"name": "X-A", "value": "1"}]}});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "labels": {"weft.dev/inject": "enabled"}, "annotations": {
            "weft.dev/exclude-outbound-ports": "25,3306", "weft.dev/exclude-inbound-cidrs": "10.0.0.0/8", "weft.dev/workers": "2",
            "weft.dev/cpu-limit": "500m", "weft.dev/memory-request": "64Mi", "weft.dev/drain-timeout": "10s",
            "weft.dev/sidecar": "native", "weft.dev/log-level": "info,weft_proxy=debug", "weft.dev/dns-capture": "disabled",
        }},
        "spec": {
            "terminationGracePeriodSeconds": 60, "hostNetwork": false, "securityContext": {"runAsUser": 1000},
            "initContainers": [{"name": "migrate", "image": "i"}],
            "containers": [{
                "name": "web", "image": "i", "ports": [{"name": "http", "containerPort": 8080}],
                "livenessProbe": get("/live"), "readinessProbe": {"grpc": {"port": 9000, "service": "x"}},
                "startupProbe": {"tcpSocket": {"port": 8080}},
                "lifecycle": {"postStart": get("/warm"), "preStop": get("/drain")},
                "securityContext": {"runAsUser": 1000},
            }],
            "volumes": [{"name": "a", "emptyDir": {}}],
        },
    });
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "namespace": "shop", "operation": "CREATE", "object": pod,
    }})
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "web", "http", "weft-proxy", "enabled", "15020", "-1", "\u{0}", "ä/~0~1"])
            .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-zA-Z/~]{0,8}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Puts `new` in the place that the `turns` lead to, one for each level.
fn change(at: &mut Value, turns: &[u8], new: Value) {
    let Some((turn, rest)) = turns.split_first() else {
        *at = new;
        return;
    };
    let turn = usize::from(*turn);
    match at {
        Value::Array(items) if !items.is_empty() => {
            let n = turn % items.len();
            change(&mut items[n], rest, new);
        }
        Value::Object(fields) if !fields.is_empty() => {
            let n = turn % fields.len();
            change(fields.values_mut().nth(n).expect("there are as many"), rest, new);
        }
        _ => *at = new,
    }
}

/// The pod after what the answer asks for.
fn patched(review: &Review, answer: &Value) -> Option<Value> {
    use base64::Engine;
    let patch = answer["response"]["patch"].as_str()?;
    let patch = base64::engine::general_purpose::STANDARD.decode(patch).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON Patch");
    let mut pod = review.pod.clone();
    json_patch::patch(&mut pod, &patch).expect("a patch that can be applied");
    Some(pod)
}

fn hold(settings: &Settings, body: &[u8]) {
    let review = match Review::read(body) {
        Ok(review) => review,
        Err(malformed) => {
            assert_eq!(malformed.status(), StatusCode::BAD_REQUEST);
            return assert!(!malformed.to_string().is_empty());
        }
    };
    let namespace = Namespace { name: &review.namespace, label: Some("enabled") };
    let outcome = weft_inject::inject(settings, namespace, &review.pod);
    let answer = review.answer(&outcome);
    assert_eq!(answer["response"]["uid"], review.uid.as_str());
    assert_eq!(answer["response"]["allowed"], outcome.is_ok());
    if let Err(refusal) = &outcome {
        assert!(!refusal.to_string().is_empty());
    }
    if let Some(pod) = patched(&review, &answer) {
        let again = weft_inject::inject(settings, namespace, &pod).expect("it was good before");
        assert_eq!((again.decision, again.patch.is_empty()), (Decision::Skip(Skip::AlreadyInjected), true));
    }
}

#[test]
fn the_sound_review_is_injected() {
    let review = Review::read(sound().to_string().as_bytes()).unwrap();
    let outcome = weft_inject::inject(&settings(), Namespace { name: "shop", label: None }, &review.pod);
    let pod = patched(&review, &review.answer(&outcome)).unwrap();
    let hook = &pod["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"];
    assert_eq!(hook["path"], "/application-probes/web/pre-stop");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_change_to_a_review_makes_it_panic(
        changes in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), anything()), 1..5),
    ) {
        let mut review = sound();
        for (turns, new) in changes {
            change(&mut review, &turns, new);
        }
        hold(&settings(), review.to_string().as_bytes());
    }

    /// As `change`, but of the pod alone, so that more of them are looked at.
    #[test]
    fn no_change_to_a_pod_makes_it_panic(
        changes in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..7), anything()), 1..5),
    ) {
        let mut review = sound();
        for (turns, new) in changes {
            change(&mut review["request"]["object"], &turns, new);
        }
        hold(&settings(), review.to_string().as_bytes());
    }

    #[test]
    fn no_change_to_the_bytes_makes_it_panic(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..20)) {
        let mut body = sound().to_string().into_bytes();
        for (at, byte) in changes {
            let at = usize::from(at) % body.len();
            body[at] = byte;
        }
        hold(&settings(), &body);
    }
}
