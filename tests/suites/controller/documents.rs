//! Routes and policies as custom resources: in force when they are good, and their status says what became of them.
//!
//! Statuses are read as a user would, from the API server; what is in force is seen in answers.

use crate::stage::{Kubernetes, SOON};
use anyhow::{Context, ensure};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Instant;
use weft_examples::mesh::get;
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::pages::example;
use weft_tests::world::NAMESPACE;

/// A route for `web` that adds a response header, to `backend`.
fn routed(filter: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: web, namespace: {NAMESPACE} }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: web, port: 80 }}]\n  rules:\n    - filters: [{filter}]\n      \
         backendRefs: [{{ name: {backend}, port: 80 }}]\n"
    )
}

const MARK: &str =
    "{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-route, value: marked }] } }";
/// Belongs to the connection: the API server takes it, the mesh does not.
const BAD: &str = "{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Connection, value: x }] } }";

async fn document(cluster: &Kubernetes, group: &str, version: &str, kind: &str, name: &str) -> anyhow::Result<Value> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: kube::Api<DynamicObject> = kube::Api::namespaced_with(cluster.api.client().await?, NAMESPACE, &kind);
    Ok(serde_json::to_value(api.get(name).await?)?)
}

/// Waits until the conditions at `at` of the document's status are these `type=status/reason`, of the present generation.
async fn wait_status(
    cluster: &Kubernetes,
    (group, version, kind, name): (&str, &str, &str, &str),
    at: &str,
    wanted: &[&str],
) -> anyhow::Result<Value> {
    let said = std::cell::RefCell::new(Value::Null);
    let look = || async {
        let document = document(cluster, group, version, kind, name).await.ok()?;
        said.replace(document["status"].clone());
        let conditions = document["status"].pointer(at)?.as_array()?.clone();
        let word = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
        let words: Vec<_> = conditions
            .iter()
            .map(|c| format!("{}={}/{}", word(c, "type"), word(c, "status"), word(c, "reason")))
            .collect();
        let present = conditions.iter().all(|c| c["observedGeneration"] == document["metadata"]["generation"]);
        (present && words == wanted).then_some(document["status"].clone())
    };
    let found = poll_until_async(Instant::now() + SOON, &format!("{kind} {name} {wanted:?}"), look).await;
    found.with_context(|| said.borrow().to_string())
}

const ROUTE: (&str, &str, &str, &str) = ("gateway.networking.k8s.io", "v1", "HTTPRoute", "web");
const OF_PARENT: &str = "/parents/0/conditions";

async fn wait_mark(cluster: &Kubernetes) -> Outcome {
    let to = SocketAddr::from((cluster.addresses("web").await?[0], 80));
    let marked = || async {
        let reply = get(cluster.world.client(), to, "/name").ok()?;
        (reply.header("x-route") == Some("marked")).then_some(())
    };
    Ok(poll_until_async(Instant::now() + SOON, "the route to be in force", marked).await?)
}

pub async fn route(cluster: &Kubernetes) -> Outcome {
    cluster.apply(&example("endpoints", 0)?).await?;
    wait_mark(cluster).await?;
    let good = ["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs"];
    let status = wait_status(cluster, ROUTE, OF_PARENT, &good).await?;
    ensure!(status["parents"][0]["controllerName"] == "weft.dev/mesh", "{status}");
    ensure!(status["parents"][0]["parentRef"]["name"] == "web", "{status}");
    cluster.apply(&routed(MARK, "nowhere")).await?;
    let unresolved = ["Accepted=True/Accepted", "ResolvedRefs=False/BackendNotFound"];
    wait_status(cluster, ROUTE, OF_PARENT, &unresolved).await?;
    // Nobody touches the route: the service it asks for comes.
    cluster.service("nowhere", "").await?;
    wait_status(cluster, ROUTE, OF_PARENT, &good).await.map(drop)
}

pub async fn faulty(cluster: &Kubernetes) -> Outcome {
    cluster.apply(&routed(MARK, "web")).await?;
    wait_mark(cluster).await?;
    cluster.apply(&routed(BAD, "web")).await?;
    let status = wait_status(cluster, ROUTE, OF_PARENT, &["Accepted=False/UnsupportedValue"]).await?;
    ensure!(status.to_string().contains("spec.rules[0].filters[0]"), "{status}");
    wait_mark(cluster).await?;
    cluster.define().await?;
    let policy = format!(
        "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: bad, namespace: {NAMESPACE} }}\nspec:\n  \
         targetRefs: [{{ kind: Service, name: web }}]\n  faults:\n    delay: {{ percent: 1, duration: 1s }}\n    \
         matches: [{{ path: {{ type: RegularExpression, value: \"(\" }} }}]\n"
    );
    // What no schema can tell.
    cluster.apply(&policy).await?;
    let own = ("weft.dev", "v1alpha1", "TrafficPolicy", "bad");
    let status = wait_status(cluster, own, "/conditions", &["Accepted=False/Invalid"]).await?;
    ensure!(status.to_string().contains("spec.faults.matches[0].path"), "{status}");
    Ok(())
}

pub async fn policies(cluster: &Kubernetes) -> Outcome {
    let policy = format!(
        "apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {{ name: secret, namespace: {NAMESPACE} }}\nspec:\n  \
         targetRefs: [{{ kind: Service, name: web }}]\n  action: DENY\n  rules: [{{ to: [{{ ports: [8080], paths: [/secret] }}] }}]\n"
    );
    cluster.apply(&policy).await?;
    let own = ("weft.dev", "v1alpha1", "AuthorizationPolicy", "secret");
    wait_status(cluster, own, "/conditions", &["Accepted=True/Accepted"]).await?;
    let to = SocketAddr::from((cluster.addresses("web").await?[0], 80));
    let said = std::cell::RefCell::new(String::new());
    let denied = || async {
        // All three have to have heard of it.
        for _ in 0..12 {
            let reply = get(cluster.world.client(), to, "/secret").ok()?;
            said.replace(format!("{reply:?}"));
            if reply.header("weft-reason") != Some("denied-by=test/secret") {
                return None;
            }
        }
        Some(())
    };
    let found = poll_until_async(Instant::now() + SOON, "the policy to be in force", denied).await;
    found.with_context(|| said.borrow().clone())?;
    ensure!(get(cluster.world.client(), to, "/name")?.status == 200);
    Ok(())
}
