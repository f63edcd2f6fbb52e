//! `weftctl install`, `upgrade` and `uninstall` against a real API server: what they refuse, what they would do, and that helm knows the
//! releases that they make, and the other way round.
//!
//! No controllers run here, so that nothing becomes ready: commands are told not to wait. Namespaces that go stay in `Terminating`; each case
//! has its own.

use crate::{CHART, Kept, NAMESPACE, says};
use anyhow::{Context, bail, ensure};
use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;
use weft_examples::mesh::binary;
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::cluster::{TestPod, parse};
use weft_tests::world::SOON;

/// Runs `weftctl` as administrator, unless `more` says otherwise.
fn weftctl(kept: &Kept, args: &[&str], more: impl FnOnce(&mut Command)) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("weftctl")?);
    kept.at_home(&mut command);
    command.env("KUBECONFIG", kept.api.kubeconfig()).env("WEFT_HELM", &kept.helm).env("NO_COLOR", "1");
    command.env_remove("WEFT_DISCOVERY").stdin(Stdio::null()).args(["--timeout", "60s"]).args(args);
    more(&mut command);
    Ok(command.output()?)
}

/// What it prints, on standard output alone.
fn done(kept: &Kept, args: &[&str]) -> anyhow::Result<String> {
    let output = weftctl(kept, args, |_| {})?;
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "weftctl {args:?}: {} {said}{failed}", output.status);
    Ok(said.into_owned())
}

/// It must end with status 1, print nothing and say all of `words`.
fn refused(output: &Output, words: &[&str]) -> Outcome {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{} {said}", output.status);
    for word in words {
        ensure!(says(&said, word), "it does not say {word:?}: {said}");
    }
    ensure!(!said.contains("panicked"), "{said}");
    Ok(())
}

/// `Kind name` of each document.
fn names(yaml: &str) -> anyhow::Result<Vec<String>> {
    let kind = |document: &DynamicObject| document.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
    let name = |document: &DynamicObject| document.metadata.name.clone().unwrap_or_default();
    let mut names: Vec<String> = parse(yaml)?.iter().map(|one| format!("{} {}", kind(one), name(one))).collect();
    names.sort();
    Ok(names)
}

/// What a dry run prints is what helm would make of the chart, and all that an installation needs.
pub async fn dry_run(kept: &Kept) -> Outcome {
    let place = ["--mesh-namespace", "weft-dry"];
    let online = done(kept, &[&["install", "--dry-run"][..], &place].concat())?;
    let helms = kept.helm(&["template", "weft", CHART, "--namespace", "weft-dry", "--include-crds"])?;
    let mut wanted = names(&helms)?;
    wanted.push("Namespace weft-dry".to_owned());
    wanted.sort();
    ensure!(names(&online)? == wanted, "{:?}", names(&online)?);
    ensure!(
        online.trim_start().starts_with("---\napiVersion: v1\nkind: Namespace\n"),
        "the namespace is not the first"
    );
    let offline = weftctl(kept, &[&["install", "--dry-run", "--skip-checks"][..], &place].concat(), |command| {
        command.env("KUBECONFIG", "/nowhere/config");
    })?;
    ensure!(offline.status.success(), "{}", String::from_utf8_lossy(&offline.stderr));
    ensure!(names(&String::from_utf8_lossy(&offline.stdout))? == wanted, "another chart without a cluster");
    let here = done(kept, &["install", "--dry-run", "--set", "discovery.replicas=5", "--set-string", "images.tag=1"])?;
    ensure!(here.contains("replicas: 5") && here.contains("weft-discovery:1"), "{here}");
    ensure!(!names(&here)?.iter().any(|name| name.starts_with("Namespace ")), "a namespace that is there");
    kept.api.dry_run(&here).await?;
    let client = kept.api.client().await?;
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(client);
    ensure!(namespaces.get_opt("weft-dry").await?.is_none(), "a dry run made a namespace");
    ensure!(kept.helm(&["list", "--all-namespaces", "-q"])?.trim().is_empty(), "a dry run made a release");
    Ok(())
}

/// What is wrong is said before anything is done.
pub async fn refusals(kept: &Kept) -> Outcome {
    for (line, words) in [
        ("install --set discovery.replicas=0", &["/discovery/replicas"][..]),
        ("install --set sidecars=true", &["sidecars"]),
        ("install -f /nowhere/values.yaml", &["/nowhere/values.yaml"]),
        ("install --helm /nowhere/helm", &["/nowhere/helm is missing", "helm.sh/docs", "--helm"]),
        ("install --helm /bin/true", &["/bin/true", "no helm"]),
        ("install --kubeconfig /nowhere/config", &["/nowhere/config"]),
        ("install --context nowhere", &["nowhere"]),
        ("upgrade", &["no release weft-system/weft", "`weftctl install`"]),
        ("upgrade --dry-run --release mine", &["no release weft-system/mine"]),
        ("uninstall --keep-definitions --mesh-namespace nothing", &["no release nothing/weft"]),
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        refused(&weftctl(kept, &args, |_| {})?, words).with_context(|| line.to_owned())?;
    }
    let nobody = kept.api.kubeconfig_as(NAMESPACE, "default").await?;
    let output = weftctl(kept, &["install"], |command| {
        command.env("KUBECONFIG", &nobody);
    })?;
    refused(&output, &["nothing was done", "create clusterroles", "--skip-checks"])?;
    let piped = weftctl(kept, &["install", "--values", "-"], |command| {
        command.stdin(Stdio::from(values("injector: { replicas: none }").expect("a temporary file")));
    })?;
    refused(&piped, &["/injector/replicas"])?;
    ensure!(kept.helm(&["list", "--all-namespaces", "-q"])?.trim().is_empty(), "something was installed");
    Ok(())
}

fn values(text: &str) -> anyhow::Result<std::fs::File> {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

const LIFE: &str = "weft-life";
const PLACE: [&str; 4] = ["--mesh-namespace", LIFE, "--wait", "0s"];

/// From the installation to its end, with helm in between.
pub async fn lived(kept: &Kept) -> Outcome {
    let at = |args: &[&'static str]| [args, &PLACE].concat();
    let told = done(kept, &at(&["install", "--set", "discovery.replicas=3"]))?;
    ensure!(told.starts_with("Weft 0.") && told.contains("kubectl label namespace"), "{told}");
    let again = weftctl(kept, &at(&["install"]), |_| {})?;
    refused(&again, &["installed already as weft-life/weft", "`weftctl upgrade`"])?;
    for command in ["install", "upgrade", "uninstall"] {
        let elsewhere = weftctl(kept, &[command], |_| {})?;
        refused(&elsewhere, &["--mesh-namespace weft-life --release weft"]).context(command)?;
    }
    upgraded(kept).await?;
    versions(kept)?;
    uninstalled(kept).await
}

/// With the values of before, over definitions that somebody changed, and as helm sees it.
async fn upgraded(kept: &Kept) -> Outcome {
    let at = |args: &[&'static str]| [args, &PLACE].concat();
    let client = kept.api.client().await?;
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/namespacepolicies.weft.dev";
    let names = async || -> anyhow::Result<Value> {
        let found: Value = client.request(http::Request::get(definition).body(vec![])?).await?;
        Ok(found["spec"]["names"]["shortNames"].clone())
    };
    let before = names().await?;
    let old = serde_json::to_vec(&json!({ "spec": { "names": { "shortNames": ["older"] } } }))?;
    let patch = http::Request::patch(format!("{definition}?fieldManager=helm"));
    client.request::<Value>(patch.header("content-type", "application/merge-patch+json").body(old)?).await?;

    let change = ["upgrade", "--set", "injector.replicas=3"];
    let told = done(kept, &at(&[&change[..], &["--dry-run"]].concat()))?;
    ensure!(told.contains("Deployment weft-life/weft-injector changed\n"), "{told}");
    ensure!(told.contains("-  replicas: 2\n+  replicas: 3\n"), "{told}");
    ensure!(told.contains("CustomResourceDefinition namespacepolicies.weft.dev changed\n"), "{told}");
    ensure!(told.contains("\n2 changed, 0 added, 0 removed, "), "{told}");
    ensure!(!told.contains("PRIVATE") && !told.contains("weft-trust changed"), "{told}");
    ensure!(names().await? == json!(["older"]), "a dry run changed a definition");
    let bad = weftctl(kept, &at(&["upgrade", "--set", "injector.replicas=0"]), |_| {})?;
    refused(&bad, &["/injector/replicas"])?;
    ensure!(names().await? == json!(["older"]), "what was refused changed a definition");

    let told = done(kept, &at(&change))?;
    ensure!(told.contains("revision 2") && names().await? == before, "{told}");
    let values = kept.helm(&["get", "values", "weft", "-n", LIFE, "-o", "json"])?;
    let values: Value = serde_json::from_str(&values)?;
    ensure!(values == json!({ "discovery": { "replicas": 3 }, "injector": { "replicas": 3 } }), "{values}");
    kept.helm(&["upgrade", "weft", CHART, "-n", LIFE, "--reuse-values", "--set", "discovery.logLevel=debug"])?;
    let told = done(kept, &at(&["upgrade", "--dry-run"]))?;
    ensure!(told.starts_with("0 changed, 0 added, 0 removed, "), "{told}");
    Ok(())
}

/// A release of a version from which there is no way to this one.
fn versions(kept: &Kept) -> Outcome {
    let later = tempfile::tempdir()?;
    let copied = Command::new("cp").args(["-r", CHART]).arg(later.path()).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let file = later.path().join("weft/Chart.yaml");
    let text = std::fs::read_to_string(&file)?;
    let ours = text.lines().find_map(|line| line.strip_prefix("version: ")).context("no version")?.to_owned();
    std::fs::write(&file, text.replace(&format!("version: {ours}"), "version: 99.1.0"))?;
    let chart = later.path().join("weft").display().to_string();
    kept.helm(&["upgrade", "weft", &chart, "-n", LIFE, "--reuse-values"])?;
    let at = |args: &[&'static str]| [args, &PLACE].concat();
    refused(&weftctl(kept, &at(&["upgrade"]), |_| {})?, &["99.1.0 is installed", "older", "--force"])?;
    done(kept, &at(&["upgrade", "--force"])).map(drop)
}

async fn uninstalled(kept: &Kept) -> Outcome {
    let at = |args: &[&'static str]| [args, &PLACE].concat();
    kept.api.namespace("shop", &[]).await?;
    kept.api.pod(&TestPod::new("shop", "cart-0", Ipv4Addr::new(10, 244, 0, 7)).meshed()).await?;
    kept.api.pod(&TestPod::new("shop", "plain", Ipv4Addr::new(10, 244, 0, 8))).await?;
    let policy = "apiVersion: weft.dev/v1alpha1\nkind: NamespacePolicy\nmetadata: { name: default, namespace: shop }\nspec: { mtls: strict }\n";
    kept.api.apply(policy).await?;
    kept.api.apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: mine, namespace: {LIFE} }}\n")).await?;

    let output = weftctl(kept, &at(&["uninstall"]), |_| {})?;
    refused(&output, &["1 pod has a sidecar", "shop/cart-0", "NamespacePolicy shop/default", "--force"])?;
    ensure!(!String::from_utf8_lossy(&output.stderr).contains("shop/plain"), "a pod without a sidecar is named");
    let listed = done(kept, &at(&["uninstall", "--dry-run"]))?;
    for line in ["Deployment weft-life/weft-discovery", "CustomResourceDefinition trafficpolicies.weft.dev"] {
        ensure!(listed.lines().any(|listed| listed == line), "{line} is not in\n{listed}");
    }
    ensure!(!listed.contains("Namespace weft-life"), "a namespace with somebody's Secret would go:\n{listed}");
    ensure!(done(kept, &at(&["upgrade", "--dry-run"]))?.contains("0 changed"), "a dry run changed something");

    done(kept, &at(&["uninstall", "--force"]))?;
    let client = kept.api.client().await?;
    gone(&client).await?;
    let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client.clone(), LIFE);
    let names = secrets.list(&ListParams::default()).await?.items.into_iter().filter_map(|secret| secret.metadata.name);
    ensure!(names.collect::<Vec<_>>() == ["mine"], "what the mesh did not make is gone, or more is left");
    let again = weftctl(kept, &at(&["uninstall"]), |_| {})?;
    refused(&again, &["nothing is left of one"])?;
    // What other cases have begun with.
    kept.api.install(&Path::new(CHART).join("crds")).await
}

/// All that is of the whole cluster.
async fn gone(client: &kube::Client) -> Outcome {
    let left = async || -> anyhow::Result<Vec<String>> {
        let mut left = Vec::new();
        for path in [
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        ] {
            let list: Value = client.request(http::Request::get(path).body(vec![])?).await?;
            let names =
                list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str());
            left.extend(names.filter(|name| name.contains("weft")).map(str::to_owned));
        }
        Ok(left)
    };
    let none = || async { left().await.ok().filter(Vec::is_empty) };
    let waited = poll_until_async(Instant::now() + SOON, "all of it to be gone", none).await;
    match waited {
        Ok(_) => Ok(()),
        Err(error) => bail!("{error}: {:?}", left().await?),
    }
}
