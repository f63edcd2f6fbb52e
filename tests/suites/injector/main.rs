//! The injector with a real API server: which pods get sidecars, which are refused, and that it is never in the way.
//!
//! What the API server takes is judged by its own validation. `weftctl inject` has to give the very same pods.

mod cluster;
mod offline;
mod reviews;

use anyhow::{Context, ensure};
use cluster::{ANCHORS, Cluster, PORTS};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;
use weft_tests::cluster::missing;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Suite, pages};

fn main() -> ExitCode {
    Suite::on("kubernetes", Cluster::start)
        .unless(missing())
        .case("a pod of a namespace that asks comes back with its sidecar", injected)
        .case("the page's pod is taken, and says what the page says", example)
        .case("a classic sidecar is taken as well", classic)
        .case("the pod has the last word over its namespace", opted)
        .case("some pods are never injected", exempt)
        .case("a pod with faults is refused, each named", refused)
        .case("the sidecar's variables and flags are those of weft-proxy", offline::known_flags)
        .case("weftctl makes the very same pods", offline::same_pods)
        .case("what weftctl injected is taken and left alone", offline::injected_before)
        .case("weftctl takes sidecars out again", offline::removed)
        .case("what is no review gets a status and a reason", reviews::malformed)
        .case("reviews take their few milliseconds", reviews::fast)
        .case("its rights are the documented ones", rights)
        .case("trust anchors are read again when they change", anchors)
        .case("certificates turn while pods are created", rotation)
        .case("a caBundle that was taken out is put back", bundle)
        .case("a Secret that was deleted is made anew", secret)
        .run()
}

/// A pod as people write it.
pub fn web() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": {}},
        "spec": {
            "initContainers": [{"name": "migrate", "image": "i"}],
            "containers": [{
                "name": "web", "image": "i", "ports": [{"name": "http", "containerPort": 8080}],
                "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "periodSeconds": 3},
                "readinessProbe": {"grpc": {"port": 9000}}, "startupProbe": {"tcpSocket": {"port": 8080}},
                "lifecycle": {"postStart": {"httpGet": {"path": "/warm", "port": 8080}}, "preStop": {"sleep": {"seconds": 2}}},
            }],
        },
    })
}

/// The names of a list's items.
pub fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str()).collect()
}

fn is_meshed(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let proxy =
        names(&spec["initContainers"]).contains(&"weft-proxy") || names(&spec["containers"]).contains(&"weft-proxy");
    proxy && pod["metadata"]["annotations"]["weft.dev/injected"].is_string()
}

async fn created(cluster: &Cluster, namespace: &str, pod: &Value) -> anyhow::Result<Value> {
    let made = cluster.create(namespace, pod).await?;
    made.map_err(|reason| anyhow::anyhow!("{namespace}: {reason}"))
}

async fn injected(cluster: &Cluster) -> Outcome {
    let pod = created(cluster, "shop", &web()).await?;
    let spec = &pod["spec"];
    ensure!(names(&spec["initContainers"]) == ["weft-redirect", "weft-proxy", "migrate"], "{spec}");
    ensure!(names(&spec["containers"]) == ["web"], "{spec}");
    let proxy = &spec["initContainers"][1];
    ensure!(proxy["restartPolicy"] == "Always" && proxy["startupProbe"]["httpGet"]["path"] == "/readyz", "{proxy}");
    let live = &spec["containers"][0]["livenessProbe"];
    ensure!(live["httpGet"]["path"] == "/application-probes/web/live" && live["periodSeconds"] == 3, "{live}");
    let hooks = &spec["containers"][0]["lifecycle"];
    ensure!(hooks["postStart"]["httpGet"]["path"] == "/application-probes/web/post-start", "{hooks}");
    ensure!(hooks["preStop"] == json!({"sleep": {"seconds": 2}}), "{hooks}");
    let volumes = spec["volumes"].as_array().context("volumes")?;
    let token = volumes.iter().find(|volume| volume["name"] == "weft-token").context("the token")?;
    let source = &token["projected"]["sources"][0]["serviceAccountToken"];
    ensure!(source["audience"] == "weft.local" && source["path"] == "token", "{token}");
    ensure!(pod["metadata"]["annotations"]["weft.dev/trust-anchors"] == ANCHORS, "{pod}");
    ensure!(cluster.counted("weft_injector_reviews_total{result=\"injected\",reason=\"\"}")? >= 1.0);
    Ok(())
}

async fn example(cluster: &Cluster) -> Outcome {
    let documents = weft_tests::cluster::parse(&pages::example("injection", 0)?)?;
    let pod = created(cluster, "shop", &serde_json::to_value(documents.get(1).context("the page's pod")?)?).await?;
    let (redirect, proxy) = (&pod["spec"]["initContainers"][0], &pod["spec"]["initContainers"][1]);
    ensure!(redirect["args"].to_string().contains("\"--exclude-outbound-ports\",\"25,3306\""), "{redirect}");
    let variables = proxy["env"].as_array().context("variables")?;
    ensure!(variables.contains(&json!({"name": "WEFT_OPAQUE_PORTS", "value": "9000"})), "{proxy}");
    ensure!(proxy["resources"]["limits"]["memory"] == "128Mi", "{proxy}");
    ensure!(
        redirect["securityContext"]["capabilities"] == json!({"add": ["NET_ADMIN"], "drop": ["ALL"]}),
        "{redirect}"
    );
    Ok(())
}

async fn classic(cluster: &Cluster) -> Outcome {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({"weft.dev/sidecar": "classic"});
    let pod = created(cluster, "shop", &pod).await?;
    ensure!(names(&pod["spec"]["containers"]) == ["weft-proxy", "web"], "{pod}");
    ensure!(names(&pod["spec"]["initContainers"]) == ["migrate", "weft-redirect"], "{pod}");
    Ok(())
}

async fn opted(cluster: &Cluster) -> Outcome {
    let cases = [
        ("shop", None, None, true),
        ("plain", None, None, false),
        ("away", None, None, false),
        ("shop", Some("disabled"), None, false),
        ("shop", None, Some("disabled"), false),
        ("plain", Some("enabled"), None, true),
        ("plain", None, Some("enabled"), true),
        ("away", Some("enabled"), None, true),
        ("away", None, Some("enabled"), true),
    ];
    for (namespace, label, annotation, meshed) in cases {
        let mut pod = web();
        for (list, value) in [("labels", label), ("annotations", annotation)] {
            if let Some(value) = value {
                pod["metadata"][list]["weft.dev/inject"] = value.into();
            }
        }
        let made = created(cluster, namespace, &pod).await?;
        ensure!(is_meshed(&made) == meshed, "{namespace} {label:?} {annotation:?}: {made}");
    }
    Ok(())
}

async fn exempt(cluster: &Cluster) -> Outcome {
    let mut asking = web();
    asking["metadata"]["labels"]["weft.dev/inject"] = "enabled".into();
    // Also where somebody has labelled them: the configuration leaves them out.
    let namespaces = kube::Api::<Namespace>::all(cluster.api.client().await?);
    for namespace in ["kube-system", "weft-system"] {
        let label = Patch::Merge(json!({"metadata": {"labels": {"weft.dev/inject": "enabled"}}}));
        namespaces.patch(namespace, &PatchParams::default(), &label).await?;
        // Where it is missing, no pod could be made at all.
        let _ = cluster.api.account(namespace, "default").await;
        let made = created(cluster, namespace, &asking).await?;
        ensure!(!is_meshed(&made), "{namespace}: {made}");
        // And the injector itself, should a configuration lead them to it.
        ensure!(cluster.reviewed(namespace, &asking).await? == asking, "{namespace}");
    }
    asking["spec"]["hostNetwork"] = true.into();
    asking["spec"]["containers"][0]["ports"] = json!([]);
    asking["spec"]["containers"][0]["livenessProbe"] = Value::Null;
    ensure!(!is_meshed(&created(cluster, "shop", &asking).await?), "a pod on the node's network");
    ensure!(cluster.counted("weft_injector_reviews_total{result=\"skipped\",reason=\"host-network\"}")? >= 1.0);
    Ok(())
}

async fn refused(cluster: &Cluster) -> Outcome {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({"weft.dev/workers": "many", "weft.dev/exclude-inbound-ports": "http"});
    pod["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 15100});
    let said = cluster.create("shop", &pod).await?.err().context("it was taken")?;
    for part in [
        "admission webhook \"namespace.injector.weft.dev\" denied the request: the pod cannot be injected: ",
        "weft.dev/workers: \"many\" is not a number of threads; allowed: 1 to 64",
        "weft.dev/exclude-inbound-ports: \"http\" is none of these; allowed: ports (1 to 65535)",
        "spec.containers[web].securityContext.runAsUser: 15100 is the sidecar's own user",
    ] {
        ensure!(said.contains(part), "{part:?} in {said}");
    }
    Ok(())
}

async fn rights(cluster: &Cluster) -> Outcome {
    let client = cluster.api.client_as("weft-system", "weft-injector").await?;
    let secrets = kube::Api::<Secret>::namespaced(client.clone(), "weft-system");
    ensure!(secrets.get("weft-injector-tls").await.is_ok(), "its own Secret");
    ensure!(secrets.list(&ListParams::default()).await.is_err(), "all Secrets of its namespace");
    ensure!(secrets.delete("weft-injector-tls", &DeleteParams::default()).await.is_err(), "deleting its Secret");
    ensure!(kube::Api::<Namespace>::all(client).list(&ListParams::default()).await.is_err(), "namespaces");
    Ok(())
}

async fn anchors(cluster: &Cluster) -> Outcome {
    let both = ANCHORS.repeat(2);
    std::fs::write(&cluster.anchors, format!("{both}-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n"))?;
    let carries = |wanted: String| async move {
        let look = || async {
            let pod = created(cluster, "shop", &web()).await.ok()?;
            (pod["metadata"]["annotations"]["weft.dev/trust-anchors"] == wanted.as_str()).then_some(())
        };
        poll_until_async(Instant::now() + SOON * 2, "the new anchors", look).await
    };
    carries(both.clone()).await?;
    // What is not there, or is no certificate, changes nothing.
    std::fs::write(&cluster.anchors, "nonsense")?;
    carries(both).await?;
    std::fs::write(&cluster.anchors, ANCHORS)?;
    Ok(carries(ANCHORS.to_owned()).await?)
}

async fn kept(cluster: &Cluster, part: &str) -> anyhow::Result<Vec<u8>> {
    let secrets = kube::Api::<Secret>::namespaced(cluster.api.client().await?, "weft-system");
    let data = secrets.get("weft-injector-tls").await?.data.unwrap_or_default();
    Ok(data.get(part).with_context(|| format!("{part} in the Secret"))?.0.clone())
}

async fn rotation(cluster: &Cluster) -> Outcome {
    let first = kept(cluster, "tls.crt").await?;
    let (mut turns, mut last, mut made) = (0, first, 0);
    let deadline = Instant::now() + Duration::from_secs(50);
    while turns < 2 {
        ensure!(Instant::now() < deadline, "the certificate turned {turns} times only");
        // Through both replicas, one for each entry.
        created(cluster, "shop", &web()).await?;
        let mut asking = web();
        asking["metadata"]["labels"]["weft.dev/inject"] = "enabled".into();
        ensure!(is_meshed(&created(cluster, "plain", &asking).await?), "not injected");
        made += 2;
        let now = kept(cluster, "tls.crt").await?;
        if now != last {
            turns += 1;
            last = now;
        }
    }
    eprintln!("{made} pods through {turns} certificates");
    Ok(())
}

async fn bundle(cluster: &Cluster) -> Outcome {
    let webhooks = kube::Api::<k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration>::all(
        cluster.api.client().await?,
    );
    let empty = |index: usize| json!({"op": "replace", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": ""});
    let patch = serde_json::from_value(json!([empty(0), empty(1)]))?;
    webhooks.patch("weft-injector", &PatchParams::default(), &Patch::Json::<()>(patch)).await?;
    let back = || async { cluster.bundle().await.ok() };
    poll_until_async(Instant::now() + SOON, "the caBundle", back).await?;
    taken_again(cluster).await
}

async fn secret(cluster: &Cluster) -> Outcome {
    let before = kept(cluster, "ca.crt").await?;
    let secrets = kube::Api::<Secret>::namespaced(cluster.api.client().await?, "weft-system");
    secrets.delete("weft-injector-tls", &DeleteParams::default()).await?;
    let other = || async { kept(cluster, "ca.crt").await.ok().filter(|now| *now != before) };
    let after = poll_until_async(Instant::now() + SOON, "a new Secret", other).await?;
    let published = || async { (std::fs::read(cluster.bundle().await.ok()?).ok()? == after).then_some(()) };
    poll_until_async(Instant::now() + SOON, "its authority in the caBundle", published).await?;
    taken_again(cluster).await?;
    for port in PORTS {
        ensure!(cluster.admin(port, "/readyz")?.starts_with("ready"), "injector {port}");
    }
    Ok(())
}

/// Until the API server has heard of the new bundle, and each replica of the new certificate.
async fn taken_again(cluster: &Cluster) -> Outcome {
    let mut asking = web();
    asking["metadata"]["labels"]["weft.dev/inject"] = "enabled".into();
    for namespace in ["shop", "plain"] {
        let look = || async { created(cluster, namespace, &asking).await.ok().filter(is_meshed) };
        poll_until_async(Instant::now() + SOON * 2, "pods to be taken again", look).await?;
    }
    Ok(())
}
