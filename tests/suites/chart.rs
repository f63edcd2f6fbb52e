//! The chart, by a real helm and by weftctl against a real API server: what it renders is accepted, what is wrong is refused by its name.
//!
//! No pods run here: what the control plane does once it runs is for other suites. A discovery started by hand shows that the
//! chart's root of trust is one.

#[path = "chart/commands.rs"]
mod commands;
#[path = "chart/etcd.rs"]
mod etcd;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use weft_examples::mesh::binary;
use weft_examples::pods::Program;
use weft_tests::cluster::{Api, CHART, Channel, missing, parse};
use weft_tests::suite::Stage;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Suite};

const NAMESPACE: &str = "weft-system";
/// How long a case may take: some run helm dozens of times.
const LONG: std::time::Duration = std::time::Duration::from_secs(600);

struct Kept {
    api: Api,
    helm: PathBuf,
    home: tempfile::TempDir,
}

impl Stage for Kept {
    fn testimony(&self) -> String {
        self.api.testimony()
    }
}

fn helm() -> Result<PathBuf, String> {
    let path = std::env::var_os("WEFT_TEST_HELM").map(PathBuf::from).filter(|path| path.is_file());
    path.ok_or_else(|| "WEFT_TEST_HELM is not set to what `scripts/helm` prints".to_owned())
}

fn start() -> anyhow::Result<Kept> {
    let api = Api::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        api.install(&Path::new(CHART).join("crds")).await?;
        api.install_gateway_api(Channel::Standard).await?;
        api.namespace(NAMESPACE, &[]).await
    })?;
    Ok(Kept { api, helm: helm().map_err(anyhow::Error::msg)?, home: tempfile::tempdir()? })
}

fn main() -> ExitCode {
    Suite::on("chart", start)
        .limit(LONG)
        .unless(missing().or_else(|| helm().err()))
        .case("helm finds nothing to complain about", linted)
        .case("everything it renders is accepted", rendered)
        .case("the dashboards are there for Grafana's sidecar", dashboards)
        .case("a wrong value is refused by its name", wrong_values)
        .case("its root of trust serves discovery", root)
        .case("install, upgrade and uninstall leave nothing behind", lived)
        .case("etcd's members speak TLS, and those that did not go on as they are", etcd::members)
        .case("weftctl's dry run has all that an installation needs, and changes nothing", commands::dry_run)
        .case("weftctl refuses what is wrong before anything is done", commands::refusals)
        .case("weftctl installs, upgrades and uninstalls what helm knows", commands::lived)
        .case("discovery's account may do what it needs and no more", rights)
        .run()
}

impl Kept {
    /// What helm keeps for itself goes with the suite.
    fn at_home(&self, command: &mut Command) {
        let home = self.home.path();
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, home.join(folder));
        }
    }

    fn helm(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.helm);
        self.at_home(&mut command);
        let output = command.env("KUBECONFIG", self.api.kubeconfig()).args(args).output()?;
        let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "helm {}: {said}{failed}", args.join(" "));
        Ok(said.into_owned())
    }

    /// What the chart makes of these values.
    fn template(&self, set: &[&str]) -> anyhow::Result<String> {
        let mut args = vec!["template", "weft", CHART, "--namespace", NAMESPACE];
        set.iter().for_each(|value| args.extend(["--set", value]));
        self.helm(&args)
    }
}

async fn linted(kept: &Kept) -> Outcome {
    let said = kept.helm(&["lint", "--strict", CHART])?;
    ensure!(said.contains("0 chart(s) failed"), "{said}");
    Ok(())
}

async fn rendered(kept: &Kept) -> Outcome {
    let most: &[&str] = &[
        "discovery.replicas=3",
        "injector.failurePolicy=Ignore",
        "injector.exemptNamespaces={kube-system,storage}",
        "proxy.sidecar=classic",
        "proxy.resources.limits.cpu=1",
        "images.registry=images.test/mesh/",
        "images.tag=v1",
        "images.pullSecrets={pull}",
        "etcd.storage.className=fast",
        "metrics.annotations=false",
        "discovery.listenHost=[::]",
    ];
    let least: &[&str] =
        &["networkPolicies=false", "etcd.endpoints={http://etcd.storage:2379}", "trust.existingSecret=mine"];
    for (set, documents) in [(&[][..], 27), (most, 27), (least, 18)] {
        let yaml = kept.template(set)?;
        let accepted = kept.api.dry_run(&yaml).await.with_context(|| format!("{set:?}"))?;
        ensure!(accepted.len() == documents, "{} documents with {set:?}", accepted.len());
    }
    let secured = [
        "etcd.endpoints={https://etcd.storage:2379}",
        "etcd.tls.existingSecret=etcd-client",
        "etcd.auth.user=weft",
        "etcd.auth.existingSecret=etcd-user",
    ];
    let yaml = kept.template(&secured)?;
    kept.api.dry_run(&yaml).await?;
    for flag in
        ["store=etcd:https://etcd.storage:2379", "store-ca=", "store-certificate=", "store-key=", "store-user=weft"]
    {
        ensure!(yaml.contains(&format!("- --{flag}")), "--{flag} is missing");
    }
    let operators = kept.template(&["metrics.podMonitor=true", "metrics.prometheusRule=true"])?;
    let operators = parse(&operators)?;
    let of = |kind: &str| operators.iter().filter(|d| d.types.as_ref().is_some_and(|t| t.kind == kind)).count();
    ensure!(of("PodMonitor") == 3, "not one for discovery, one for the injector and one for sidecars");
    let rules = operators.iter().find(|d| d.types.as_ref().is_some_and(|t| t.kind == "PrometheusRule"));
    let groups = rules.context("no PrometheusRule")?.data["spec"]["groups"].as_array().map_or(0, Vec::len);
    ensure!(groups == 4, "{groups} groups of alert rules");
    Ok(())
}

/// The dashboards arrive at Grafana as they are in the chart, under the label that its sidecar looks for.
async fn dashboards(kept: &Kept) -> Outcome {
    let yaml = kept.template(&["metrics.dashboards=true"])?;
    kept.api.dry_run(&yaml).await?;
    let maps: Vec<ConfigMap> = parse(&yaml)?
        .into_iter()
        .filter(|document| document.metadata.labels.iter().flatten().any(|(label, _)| label == "grafana_dashboard"))
        .map(|document| serde_json::from_value(serde_json::to_value(document)?))
        .collect::<Result<_, _>>()?;
    ensure!(maps.len() == 4, "{} dashboards", maps.len());
    for map in maps {
        ensure!(map.metadata.labels.unwrap_or_default()["grafana_dashboard"] == "1");
        for (file, content) in map.data.unwrap_or_default() {
            let name = file.strip_prefix("weft-").context("another name")?;
            let ours = std::fs::read_to_string(Path::new(CHART).join("dashboards").join(name))?;
            ensure!(content.trim() == ours.trim(), "{file} is not what the chart has");
        }
    }
    let none = kept.template(&[])?;
    ensure!(!none.contains("grafana_dashboard"), "dashboards that nobody asked for");
    Ok(())
}

async fn wrong_values(kept: &Kept) -> Outcome {
    for (value, named) in [
        ("discovery.replica=3", "/discovery"),
        ("discovery.replicas=0", "/discovery/replicas"),
        ("discovery.replicas=many", "/discovery/replicas"),
        ("discovery.certificateLifetime=soon", "/discovery/certificateLifetime"),
        ("trustDomain=Weft_Local", "/trustDomain"),
        ("injector.failurePolicy=Maybe", "/injector/failurePolicy"),
        ("proxy.sidecar=none", "/proxy/sidecar"),
        ("proxy.resources.requests.cpu=lots", "/proxy/resources/requests/cpu"),
        ("etcd.endpoints={etcd.storage:2379}", "/etcd/endpoints/0"),
        ("etcd.endpoints={https://etcd.storage:2379}", "/etcd/endpoints/0"),
        ("etcd.tls.existingSecret=etcd-client", "/etcd/endpoints"),
        ("etcd.auth.user=weft", "/etcd/auth/existingSecret"),
        ("etcd.prefix=weft", "/etcd/prefix"),
        ("etcd.tls.members=yes", "/etcd/tls/members"),
        ("images.pullPolicy=Sometimes", "/images/pullPolicy"),
        ("images.registry=images.test/mesh", "/images/registry"),
        ("networkPolicies=some", "/networkPolicies"),
        ("metrics.dashboards=1", "/metrics/dashboards"),
        ("sidecars=true", "sidecars"),
    ] {
        match kept.template(&[value]) {
            Ok(_) => bail!("{value} was taken"),
            Err(error) => ensure!(says(&format!("{error:#}"), named), "{value} is not named: {error:#}"),
        }
    }
    Ok(())
}

/// Whether `text` has `word`. A value that the schema refuses is named by its JSON pointer, as helm 4 does; helm 3 begins a line with
/// its path in dots.
fn says(text: &str, word: &str) -> bool {
    let listed = word.strip_prefix('/').map(|path| format!("- {}: ", path.replace('/', ".")));
    let of_helm_3 = |listed: &String| text.lines().any(|line| line.trim_start().starts_with(listed));
    text.contains(word) || listed.as_ref().is_some_and(of_helm_3)
}

async fn root(kept: &Kept) -> Outcome {
    let yaml = kept.template(&["trustDomain=mesh.test"])?;
    let secret = parse(&yaml)?.into_iter().find(|d| d.metadata.name.as_deref() == Some("weft-trust"));
    let secret: Secret = serde_json::from_value(serde_json::to_value(secret.context("no weft-trust")?)?)?;
    let node = kept.api.node();
    let dir = node.dir().join("chart-root");
    std::fs::create_dir_all(&dir)?;
    for (name, content) in secret.data.unwrap_or_default() {
        std::fs::write(dir.join(&name), &content.0)?;
        std::fs::set_permissions(dir.join(&name), std::fs::Permissions::from_mode(0o600))?;
    }
    let file = |name: &str| dir.join(name).display().to_string();
    let discovery = node.spawn(
        Program::new(binary("weft-discovery")?)
            .args(["--trust-domain=mesh.test", "--replica=a", "--root", &dir.display().to_string()])
            .args(["--store", &format!("embedded:{}", file("store")), "--admin-socket", &file("socket")])
            .args(["--trust-anchors-out", &file("anchors.pem")]),
    )?;
    discovery.wait_log("ready for proxies", SOON).with_context(|| discovery.log_tail(8))?;
    let (anchors, brought) = (std::fs::read_to_string(file("anchors.pem"))?, std::fs::read_to_string(file("tls.crt"))?);
    ensure!(anchors.trim() == brought.trim(), "other anchors than the chart's root:\n{anchors}\n{brought}");
    Ok(())
}

async fn lived(kept: &Kept) -> Outcome {
    let trust = async || {
        let secrets = kube::Api::<Secret>::namespaced(kept.api.client().await?, NAMESPACE);
        anyhow::Ok(secrets.get("weft-trust").await?.data)
    };
    kept.helm(&["install", "weft", CHART, "--namespace", NAMESPACE])?;
    let made = trust().await?;
    kept.helm(&["upgrade", "weft", CHART, "--namespace", NAMESPACE, "--set", "discovery.replicas=3"])?;
    ensure!(trust().await? == made, "the upgrade made another root of trust");
    kept.helm(&["uninstall", "weft", "--namespace", NAMESPACE])?;
    let client = kept.api.client().await?;
    let secrets = kube::Api::<Secret>::namespaced(client.clone(), NAMESPACE).list(&ListParams::default()).await?;
    ensure!(secrets.items.is_empty(), "{:?}", secrets.iter().map(|s| &s.metadata.name).collect::<Vec<_>>());
    let policies = kube::Api::<NetworkPolicy>::namespaced(client.clone(), NAMESPACE);
    ensure!(policies.list(&ListParams::default()).await?.items.is_empty(), "NetworkPolicies are left");
    for path in [
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    ] {
        let list: Value = client.request(http::Request::get(path).body(vec![])?).await?;
        let mut names = list["items"].as_array().into_iter().flatten().map(|item| &item["metadata"]["name"]);
        ensure!(!names.any(|name| name.as_str().is_some_and(|n| n.starts_with("weft"))), "something is left in {path}");
    }
    Ok(())
}

/// Whether discovery's account may.
async fn may(client: &kube::Client, group: &str, resource: &str, verb: &str) -> anyhow::Result<bool> {
    use k8s_openapi::api::authorization::v1::SubjectAccessReview;
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = json!({
        "group": group, "resource": resource, "subresource": subresource, "verb": verb, "namespace": "shop",
    });
    let user = format!("system:serviceaccount:{NAMESPACE}:weft-discovery");
    let spec = json!({ "user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes });
    let review: SubjectAccessReview = serde_json::from_value(json!({ "spec": spec }))?;
    let review = kube::Api::<SubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

async fn rights(kept: &Kept) -> Outcome {
    kept.helm(&["install", "weft", CHART, "--namespace", NAMESPACE])?;
    let client = kept.api.client().await?;
    let pods = kube::Api::<Pod>::all(kept.api.client_as(NAMESPACE, "weft-discovery").await?);
    let listed = async || pods.list(&ListParams::default()).await.is_ok();
    let deadline = std::time::Instant::now() + SOON;
    while !listed().await {
        ensure!(std::time::Instant::now() < deadline, "its rights never came into force");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for (group, resource, verb, right) in [
        ("authentication.k8s.io", "tokenreviews", "create", true),
        ("", "services", "watch", true),
        ("discovery.k8s.io", "endpointslices", "list", true),
        ("gateway.networking.k8s.io", "httproutes/status", "patch", true),
        ("weft.dev", "trafficpolicies/status", "patch", true),
        ("weft.dev", "trafficpolicies", "patch", false),
        ("", "secrets", "get", false),
        ("", "secrets", "list", false),
        ("", "pods", "delete", false),
        ("", "configmaps", "list", false),
        ("", "serviceaccounts/token", "create", false),
        ("gateway.networking.k8s.io", "httproutes", "update", false),
    ] {
        ensure!(may(&client, group, resource, verb).await? == right, "{verb} {resource}: not {right}");
    }
    Ok(())
}
