//! What the status of a route says of each of its parents: every reason, several parents at once, and what others have said.
//!
//! HTTPRoute and GRPCRoute alike. Read from the API server, which has checked each status against the Gateway API's own schema.

use crate::stage::{Kubernetes, SOON};
use anyhow::{Context, ensure};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::mesh::get;
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::world::NAMESPACE;

const KINDS: [&str; 2] = ["HTTPRoute", "GRPCRoute"];
const GOOD: &str = "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs";
const OURS: &str = "weft.dev/mesh";

async fn routes(cluster: &Kubernetes, kind: &str) -> anyhow::Result<kube::Api<DynamicObject>> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", kind));
    Ok(kube::Api::namespaced_with(cluster.api.client().await?, NAMESPACE, &kind))
}

/// For each parent, by controller and name, what is said of it; nothing is, as long as it is said of an older document.
async fn said(cluster: &Kubernetes, kind: &str, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let route = serde_json::to_value(routes(cluster, kind).await?.get(name).await?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parent = |parent: &Value| {
        let (at, controller) = (&parent["parentRef"], text(&parent["controllerName"]));
        let port = at["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
        let conditions = parent["conditions"].as_array().into_iter().flatten();
        let present = |c: &&Value| controller != OURS || c["observedGeneration"] == route["metadata"]["generation"];
        let word = |c: &Value| format!("{}={}/{}", text(&c["type"]), text(&c["status"]), text(&c["reason"]));
        let words: Vec<_> = conditions.filter(present).map(word).collect();
        (format!("{controller} {}{port}", text(&at["name"])), words.join(" "))
    };
    Ok(route["status"]["parents"].as_array().into_iter().flatten().map(parent).collect())
}

async fn wait_said(cluster: &Kubernetes, kind: &str, name: &str, wanted: &[(&str, &str)]) -> Outcome {
    let wanted: BTreeMap<_, _> =
        wanted.iter().map(|(parent, words)| ((*parent).to_owned(), (*words).to_owned())).collect();
    let last = std::cell::RefCell::new(BTreeMap::new());
    let look = || async {
        let now = said(cluster, kind, name).await.ok()?;
        let found = (now == wanted).then_some(());
        last.replace(now);
        found
    };
    let found = poll_until_async(Instant::now() + SOON, &format!("{kind} {name}: {wanted:?}"), look).await;
    found.with_context(|| format!("{:?}", last.borrow()))
}

/// A route called `status` with these parents and rules.
async fn apply(cluster: &Kubernetes, kind: &str, parents: &str, rules: &str) -> Outcome {
    cluster
        .apply(&format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: status, namespace: {NAMESPACE} }}\n\
             spec:\n  parentRefs: {parents}\n  rules: {rules}\n"
        ))
        .await
}

async fn delete(cluster: &Kubernetes, kind: &str) -> Outcome {
    routes(cluster, kind).await?.delete("status", &Default::default()).await?;
    Ok(())
}

const EDGE: &str = "{ name: edge }";
const WEB: &str = "{ group: \"\", kind: Service, name: web, port: 80 }";
const TO_WEB: &str = "[{ backendRefs: [{ name: web, port: 80 }] }]";

/// Another controller's word about the parent that is a Gateway.
async fn speak(cluster: &Kubernetes, kind: &str) -> Outcome {
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let own = json!({
        "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge" },
        "controllerName": "example.com/gateway", "conditions": [condition],
    });
    let routes = routes(cluster, kind).await?;
    // Beside what is there, as every controller does it; somebody else may be writing at the same time.
    let spoken = || async {
        let route = routes.get("status").await.ok()?;
        let mut parents = route.data["status"]["parents"].as_array().cloned().unwrap_or_default();
        parents.push(own.clone());
        let metadata = json!({ "resourceVersion": route.metadata.resource_version });
        let patch = Patch::Merge(json!({ "metadata": metadata, "status": { "parents": parents } }));
        routes.patch_status("status", &PatchParams::default(), &patch).await.ok()
    };
    poll_until_async(Instant::now() + SOON, "another controller to be heard", spoken).await?;
    Ok(())
}

pub async fn parents(cluster: &Kubernetes) -> Outcome {
    // What earlier cases have left would be told of as well.
    let _ = routes(cluster, "HTTPRoute").await?.delete("web", &Default::default()).await;
    const THEIRS: (&str, &str) = ("example.com/gateway edge", "Accepted=True/Accepted");
    let missing = "Accepted=False/NoMatchingParent ResolvedRefs=True/ResolvedRefs";
    for kind in KINDS {
        let closed = WEB.replace("80", "9999");
        let ghost = WEB.replace("name: web", "name: ghost");
        apply(cluster, kind, &format!("[{EDGE}, {WEB}, {closed}, {ghost}]"), TO_WEB).await?;
        let [web, shut, nobody] = ["web:80", "web:9999", "ghost:80"].map(|name| format!("{OURS} {name}"));
        let ours = [(web.as_str(), GOOD), (shut.as_str(), missing), (nobody.as_str(), missing)];
        wait_said(cluster, kind, "status", &ours).await?;
        speak(cluster, kind).await?;
        wait_said(cluster, kind, "status", &[&ours[..], &[THEIRS]].concat()).await?;
        // Parents that are gone are spoken of no more, others' words stay.
        apply(cluster, kind, &format!("[{EDGE}, {WEB}]"), TO_WEB).await?;
        wait_said(cluster, kind, "status", &[ours[0], THEIRS]).await?;
        apply(cluster, kind, &format!("[{EDGE}]"), TO_WEB).await?;
        wait_said(cluster, kind, "status", &[THEIRS]).await?;
        delete(cluster, kind).await?;
    }
    Ok(())
}

pub async fn backends(cluster: &Kubernetes) -> Outcome {
    let web = format!("{OURS} web:80");
    let bucket = "{ group: example.com, kind: Bucket, name: store, port: 80 }";
    let far = "{ name: store, namespace: far, port: 80 }";
    cluster.api.namespace("far", &[]).await?;
    for kind in KINDS {
        let rules = |backend: &str| format!("[{{ backendRefs: [{backend}] }}]");
        let unresolved = |reason: &str| format!("Accepted=True/Accepted ResolvedRefs=False/{reason}");
        let expect = |backend: &str, words: String| {
            let (parents, rules, web) = (format!("[{WEB}]"), rules(backend), web.clone());
            async move {
                apply(cluster, kind, &parents, &rules).await?;
                wait_said(cluster, kind, "status", &[(&web, &words)]).await
            }
        };
        expect(bucket, unresolved("InvalidKind")).await?;
        expect("{ name: web, port: 81 }", unresolved("BackendNotFound")).await?;
        expect("{ name: nobody, port: 80 }", unresolved("BackendNotFound")).await?;
        expect(far, unresolved("RefNotPermitted")).await?;
        // Nobody touches the route any more: the grant comes, and the service.
        let grant = format!(
            "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {{ name: {}, namespace: far }}\n\
             spec:\n  from: [{{ group: gateway.networking.k8s.io, kind: {kind}, namespace: {NAMESPACE} }}]\n  \
             to: [{{ group: \"\", kind: Service }}]\n",
            kind.to_lowercase()
        );
        cluster.apply(&grant).await?;
        wait_said(cluster, kind, "status", &[(&web, &unresolved("BackendNotFound"))]).await?;
        let store = "apiVersion: v1\nkind: Service\nmetadata: { name: store, namespace: far }\nspec:\n  ports: [{ port: 80 }]\n";
        cluster.apply(store).await?;
        wait_said(cluster, kind, "status", &[(&web, GOOD)]).await?;
        let services = kube::Api::<k8s_openapi::api::core::v1::Service>::namespaced(cluster.api.client().await?, "far");
        services.delete("store", &Default::default()).await?;
        delete(cluster, kind).await?;
    }
    Ok(())
}

/// Status of a request for `path`, once it is as `wanted`.
async fn wait_answer(cluster: &Kubernetes, path: &str, wanted: u16) -> Outcome {
    let to = SocketAddr::from((cluster.addresses("web").await?[0], 80));
    let last = std::cell::Cell::new(0);
    let look = || async {
        last.set(get(cluster.world.client(), to, path).ok()?.status);
        (last.get() == wanted).then_some(())
    };
    let found = poll_until_async(Instant::now() + SOON, &format!("{wanted} for {path}"), look).await;
    found.with_context(|| format!("last: {}", last.get()))
}

pub async fn partial(cluster: &Kubernetes) -> Outcome {
    let rule =
        |path: &str, more: &str| format!("{{ matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}], {more} }}");
    let strange = "filters: [{ type: ExtensionRef, extensionRef: { group: example.com, kind: Filter, name: x } }], \
                   backendRefs: [{ name: web, port: 80 }]";
    let bucket = "backendRefs: [{ group: example.com, kind: Bucket, name: store, port: 80 }]";
    let rules = [
        rule("/strange", strange),
        rule("/bucket", bucket),
        rule("/weightless", "backendRefs: [{ name: web, port: 80, weight: 0 }]"),
        rule("/nobody", ""),
        rule("/name", "backendRefs: [{ name: web, port: 80 }]"),
    ];
    apply(cluster, "HTTPRoute", &format!("[{WEB}]"), &format!("[{}]", rules.join(", "))).await?;
    let web = format!("{OURS} web:80");
    let words =
        "Accepted=True/Accepted ResolvedRefs=False/InvalidKind PartiallyInvalid=True/UnsupportedValue".to_owned();
    wait_said(cluster, "HTTPRoute", "status", &[(&web, &words)]).await?;
    let route = serde_json::to_value(routes(cluster, "HTTPRoute").await?.get("status").await?)?;
    let messages = route["status"]["parents"][0]["conditions"].to_string();
    for said in ["Dropped Rule: spec.rules[0].filters[0]", "spec.rules[1].backendRefs[0]: is no Service"] {
        ensure!(messages.contains(said), "{said}: {messages}");
    }
    for (path, status) in [("/bucket", 500), ("/weightless", 500), ("/nobody", 500), ("/name", 200), ("/strange", 404)]
    {
        wait_answer(cluster, path, status).await?;
    }
    delete(cluster, "HTTPRoute").await
}
