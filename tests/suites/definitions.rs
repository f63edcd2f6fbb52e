//! Weft's kinds in a real API server: served, shown, and refused where a document is wrong, naming the field.
//!
//! The definitions are the chart's own files. What the documentation shows has to be accepted; so do the bounds themselves.

use anyhow::{Context, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use weft_tests::cluster::{Api, CHART, Channel, missing, parse};
use weft_tests::pages::examples;
use weft_tests::{Outcome, Suite};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

fn start() -> anyhow::Result<Api> {
    let api = Api::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        api.account("default", "default").await?;
        api.install(&Path::new(CHART).join("crds")).await?;
        api.install_gateway_api(Channel::Experimental).await
    })?;
    Ok(api)
}

fn main() -> ExitCode {
    Suite::on("definitions", start)
        .unless(missing())
        .case("the kinds are served under all their names", served)
        .case("every example of the documentation is accepted", documented)
        .case("a list shows what matters", shown)
        .case("the status is written by itself", status)
        .case("what a TrafficPolicy may not say is refused by its field", bad_traffic)
        .case("what an authorization may not say is refused by its field", bad_authorization)
        .case("the bounds themselves are accepted", bounds)
        .run()
}

async fn get(api: &Api, path: &str, accept: &str) -> anyhow::Result<Value> {
    let request = http::Request::get(path).header("accept", accept).body(vec![])?;
    Ok(api.client().await?.request(request).await?)
}

async fn served(api: &Api) -> Outcome {
    let group = get(api, "/apis/weft.dev/v1alpha1", "application/json").await?;
    for (plural, short, kind) in [
        ("trafficpolicies", "tpol", "TrafficPolicy"),
        ("authorizationpolicies", "authz", "AuthorizationPolicy"),
        ("namespacepolicies", "nspol", "NamespacePolicy"),
    ] {
        let mut resources = group["resources"].as_array().into_iter().flatten();
        let resource = resources.find(|resource| resource["name"] == plural).with_context(|| group.to_string())?;
        let said = (&resource["kind"], &resource["shortNames"], &resource["categories"]);
        ensure!(said == (&json!(kind), &json!([short]), &json!(["weft"])), "{resource}");
    }
    Ok(())
}

async fn documented(api: &Api) -> Outcome {
    let (mut namespaces, mut kinds) = (BTreeSet::from(["default".to_owned()]), BTreeSet::new());
    for entry in std::fs::read_dir(DOCS)? {
        let path = entry?.path();
        let Some(page) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".md")) else { continue };
        for (number, example) in examples(page)?.into_iter().enumerate() {
            for document in parse(&example).with_context(|| format!("{page} {number}"))? {
                // Without a kind it is another program's configuration.
                let Some(kind) = document.types.as_ref().map(|types| types.kind.clone()) else { continue };
                let namespace = document.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
                // A cluster has its own endpoints; ours are for machines outside.
                if kind == "Endpoint" {
                    continue;
                }
                if namespaces.insert(namespace.clone()) {
                    api.namespace(&namespace, &[]).await?;
                }
                let text = serde_json::to_string(&document)?;
                api.dry_run(&text).await.with_context(|| format!("docs/{page}.md, example {number}"))?;
                kinds.insert(kind);
            }
        }
    }
    for kind in ["TrafficPolicy", "AuthorizationPolicy", "NamespacePolicy", "HTTPRoute"] {
        ensure!(kinds.contains(kind), "no example of {kind} was found: {kinds:?}");
    }
    Ok(())
}

fn traffic(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{ name: {name} }}\n\
         spec: {{ targetRefs: [{{ name: cart }}], {spec} }}\n"
    )
}

async fn shown(api: &Api) -> Outcome {
    api.apply(&traffic("shown", "loadBalancer: { algorithm: random }")).await?;
    let path = "/apis/weft.dev/v1alpha1/namespaces/default/trafficpolicies";
    let table = get(api, path, "application/json;as=Table;v=v1;g=meta.k8s.io").await?;
    let headings = table["columnDefinitions"].as_array().into_iter().flatten().map(|column| &column["name"]);
    let headings: Vec<&str> = headings.filter_map(Value::as_str).collect();
    ensure!(headings == ["Name", "Targets", "Algorithm", "Accepted", "Age"], "{headings:?}");
    let row = &table["rows"][0]["cells"];
    ensure!(row[0] == "shown" && row[1] == "cart" && row[2] == "random", "{row}");
    Ok(())
}

async fn status(api: &Api) -> Outcome {
    api.apply(&traffic("judged", "retry: { attempts: 1 }")).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("weft.dev", "v1alpha1", "TrafficPolicy"));
    let kind = ApiResource { plural: "trafficpolicies".to_owned(), ..kind };
    let policies = kube::Api::<DynamicObject>::namespaced_with(api.client().await?, "default", &kind);
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let change = json!({ "spec": { "retry": { "attempts": 9 } }, "status": { "conditions": [condition] } });
    let judged = policies.patch_status("judged", &PatchParams::default(), &Patch::Merge(change)).await?;
    ensure!(judged.data["status"]["conditions"][0]["status"] == "True", "{}", judged.data);
    ensure!(judged.data["spec"]["retry"]["attempts"] == 1, "the status changed the spec: {}", judged.data);
    Ok(())
}

/// Every document is refused with a word that names the field.
async fn all_refused(api: &Api, rows: &[(String, &str)]) -> Outcome {
    for (document, field) in rows {
        let refused = api.dry_run(document).await.err().with_context(|| format!("accepted: {document}"))?;
        ensure!(format!("{refused:#}").contains(field), "{document}\ndoes not name {field}: {refused:#}");
    }
    Ok(())
}

async fn bad_traffic(api: &Api) -> Outcome {
    const BAD: &[(&str, &str)] = &[
        ("retries: 3", ".spec.retries"),
        ("retry: { attempts: many }", ".spec.retry.attempts"),
        ("retry: { attempts: 11 }", "spec.retry.attempts"),
        ("retry: { statusCodes: [200] }", "spec.retry.statusCodes[0]"),
        ("retry: { backoff: { base: 2s, max: 1s } }", "spec.retry.backoff"),
        ("retry: { backoff: { base: 61s } }", "spec.retry.backoff.base"),
        ("timeouts: { connect: 0s }", "spec.timeouts.connect"),
        ("timeouts: { request: soon }", "spec.timeouts.request"),
        ("loadBalancer: { algorithm: best }", "spec.loadBalancer.algorithm"),
        ("loadBalancer: { algorithm: random, choices: 3 }", "spec.loadBalancer.choices"),
        ("loadBalancer: { hashOn: { header: a } }", "spec.loadBalancer.hashOn"),
        ("loadBalancer: { algorithm: maglev }", "hashOn is missing"),
        ("loadBalancer: { algorithm: maglev, hashOn: { header: a, cookie: b } }", "spec.loadBalancer.hashOn"),
        ("loadBalancer: { algorithm: maglev, hashOn: { sourceAddress: false } }", "spec.loadBalancer.hashOn"),
        ("loadBalancer: { slowStart: { window: 2h } }", "spec.loadBalancer.slowStart.window"),
        ("healthCheck: { interval: 1s }", "spec.healthCheck"),
        ("healthCheck: { tcp: {}, http: { path: / } }", "spec.healthCheck"),
        ("healthCheck: { http: { path: status } }", "spec.healthCheck.http.path"),
        ("healthCheck: { tcp: {}, interval: 2h }", "spec.healthCheck.interval"),
        ("throttle: { k: 0.5 }", "spec.throttle.k"),
        ("limits: { concurrency: {} }", "spec.limits.concurrency"),
        ("limits: { concurrency: { adaptive: { min: 2000 } } }", "spec.limits.concurrency.adaptive"),
        ("limits: { rate: [{ requests: 0 }] }", "spec.limits.rate[0].requests"),
        ("limits: { rate: [{ requests: 1, per: 1500ms }] }", "spec.limits.rate[0].per"),
        ("limits: { rate: [{ requests: 1, key: me }] }", "spec.limits.rate[0].key"),
        ("faults: {}", "spec.faults"),
        ("faults: { abort: { percent: 1 } }", "spec.faults.abort"),
        ("faults: { delay: { percent: 1, duration: 6m } }", "spec.faults.delay.duration"),
        ("outlierDetection: { maxEjectionTime: 10s }", "spec.outlierDetection"),
        ("circuitBreaker: { maxRetries: 0 }", "spec.circuitBreaker.maxRetries"),
        ("circuitBreaker: { maxConnections: 0 }", "spec.circuitBreaker.maxConnections"),
        ("retry: { hedge: {} }", "spec.retry.hedge.after"),
        ("retry: { hedge: { after: 2m } }", "spec.retry.hedge.after"),
        ("retry: { hedge: { after: 1s, percentile: 100 } }", "spec.retry.hedge.percentile"),
        ("retry: { attempts: 0, hedge: { after: 1s } }", "spec.retry"),
        ("sessionAffinity: {}", "spec.sessionAffinity.cookie"),
        ("sessionAffinity: { cookie: { name: s, sameSite: None } }", "spec.sessionAffinity.cookie"),
        ("sessionAffinity: { cookie: { name: s, ttl: 500ms } }", "spec.sessionAffinity.cookie.ttl"),
    ];
    let mut rows: Vec<_> = BAD.iter().map(|(spec, field)| (traffic("bad", spec), *field)).collect();
    let targets = |refs: &str| traffic("bad", "").replace("[{ name: cart }]", refs);
    rows.push((targets("[]"), "spec.targetRefs"));
    rows.push((targets("[{ name: a }, { name: a }]"), "spec.targetRefs"));
    rows.push((targets("[{ name: a, kind: Pod }]"), "spec.targetRefs[0].kind"));
    rows.push((targets("[{ name: A_b }]"), "spec.targetRefs[0].name"));
    all_refused(api, &rows).await
}

fn authorization(spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {{ name: bad }}\nspec: {{ {spec} }}\n")
}

fn namespace_policy(name: &str, spec: &str) -> String {
    format!("apiVersion: weft.dev/v1alpha1\nkind: NamespacePolicy\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n")
}

async fn bad_authorization(api: &Api) -> Outcome {
    const BAD: &[(&str, &str)] = &[
        ("action: DENY", "a DENY policy without rules denies nothing"),
        ("action: MAYBE", "spec.action"),
        ("mode: dry", "spec.mode"),
        ("targetRefs: []", "spec.targetRefs"),
        ("rules: [{ from: [] }]", "spec.rules[0].from"),
        ("rules: [{ from: [{}] }]", "spec.rules[0].from[0]"),
        ("rules: [{ from: [{ namespaces: [A_b] }] }]", "spec.rules[0].from[0].namespaces[0]"),
        ("rules: [{ to: [{ ports: [0] }] }]", "spec.rules[0].to[0].ports[0]"),
        ("rules: [{ to: [{ methods: [get] }] }]", "spec.rules[0].to[0].methods[0]"),
        ("rules: [{ to: [{ paths: [a] }] }]", "spec.rules[0].to[0].paths[0]"),
        ("rules: [{ when: always }]", "rules[0].when"),
    ];
    let mut rows: Vec<_> = BAD.iter().map(|(spec, field)| (authorization(spec), *field)).collect();
    rows.push((namespace_policy("other", ""), "metadata.name"));
    rows.push((namespace_policy("default", "mtls: maybe"), "spec.mtls"));
    rows.push((namespace_policy("default", "strict: true"), "spec.strict"));
    all_refused(api, &rows).await
}

async fn bounds(api: &Api) -> Outcome {
    for spec in [
        "timeouts: { request: 0s, connect: 1ms }",
        "retry: { attempts: 0, backoff: { base: 1m, max: 1m, maxRetryAfter: 0s }, replayBytes: 16777216 }",
        "loadBalancer: { algorithm: least-request, choices: 100, loadReports: { blackout: 0s, expiry: 24h } }",
        "loadBalancer: { ewmaDecay: 1h30m, subsetSize: 1000000, panicThreshold: 100 }",
        "loadBalancer: { algorithm: source-ip-hash, tableSize: 251, maxLoadPercent: 101 }",
        "limits: { rate: [{ requests: 1000000, per: 24h }], concurrency: { adaptive: { min: 1000 } } }",
        "healthCheck: { tcp: {}, interval: 100ms, timeout: 1m, jitter: 0 }",
        "outlierDetection: { baseEjectionTime: 10s, maxEjectionTime: 10s }",
        "throttle: { k: 100 }",
    ] {
        api.dry_run(&traffic("bounds", spec)).await.with_context(|| spec.to_owned())?;
    }
    for document in [
        authorization("action: DENY, rules: [{}]"),
        authorization("rules: [{ from: [{ identities: ['*'] }], to: [{ ports: [65535], paths: ['/*'] }] }]"),
        authorization(""),
        namespace_policy("default", "defaultAction: DENY, mtls: strict"),
    ] {
        api.dry_run(&document).await.with_context(|| document.clone())?;
    }
    Ok(())
}
