//! `weftctl` on a Kubernetes cluster: a kube config is all that it is given, and the API server is the only way in.
//!
//! The API server is a real one, and so is the forwarding through it; what a kubelet does at its end of a forwarded port is done
//! by the harness. Discovery answers on loopback of the node, which stands for its pod's.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use weft_examples::mesh::{Member, Mesh, Options, Workload, binary};
use weft_examples::pods::{Network, Output, Program, poll_until};
use weft_tests::cluster::{Api, Channel, Kubelet, TestPod, missing};
use weft_tests::suite::Stage;
use weft_tests::{Outcome, Suite};

const LONG: Duration = Duration::from_secs(45);
const POD: &str = "weft-discovery-6c5f-x2x8z";

struct Kept {
    // In the order in which they have to go.
    _client: Member,
    _kubelet: Kubelet,
    mesh: Mesh,
    api: Api,
    viewer: PathBuf,
    nobody: PathBuf,
    _runtime: Runtime,
}

impl Stage for Kept {
    fn testimony(&self) -> String {
        let log = self.mesh.discovery()[0].log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        format!("{}\n{}", lines[lines.len().saturating_sub(6)..].join("\n"), self.api.testimony())
    }
}

/// What an account needs for weftctl, as docs/kubernetes.md says; and one that may only look.
const RIGHTS: &str = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: { name: weftctl, namespace: weft-system }\nrules:\n\
    - { apiGroups: [''], resources: [pods], verbs: [list] }\n\
    - { apiGroups: [''], resources: [pods/portforward], verbs: [get, create] }\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: { name: weftctl, namespace: weft-system }\n\
    roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: weftctl }\n\
    subjects: [{ kind: ServiceAccount, name: operator, namespace: weft-system }]\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: { name: viewer, namespace: weft-system }\nrules:\n\
    - { apiGroups: [''], resources: [pods], verbs: [list] }\n---\n\
    apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: { name: viewer, namespace: weft-system }\n\
    roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: viewer }\n\
    subjects: [{ kind: ServiceAccount, name: viewer, namespace: weft-system }]\n";

fn start() -> anyhow::Result<Kept> {
    let network = Network::new()?;
    let api = Api::start_on(&network)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (kubelet, viewer, nobody) = runtime.block_on(async {
        api.namespace("weft-system", &[]).await?;
        api.namespace("empty", &[]).await?;
        for account in ["operator", "viewer", "nobody"] {
            api.account("weft-system", account).await?;
        }
        api.apply(RIGHTS).await?;
        let kubelet = api.kubelet("node-0").await?;
        let discovery = |name: &str| {
            TestPod::new("weft-system", name, Ipv4Addr::new(10, 244, 0, 9))
                .label("app.kubernetes.io/name", "weft-discovery")
        };
        api.pod(&discovery(POD)).await?;
        let viewer = api.kubeconfig_as("weft-system", "viewer").await?;
        anyhow::Ok((kubelet, viewer, api.kubeconfig_as("weft-system", "nobody").await?))
    })?;
    let discovery_args = vec!["--admin-forward-port=15012".to_owned()];
    let mesh = Mesh::start_on(network, &Options { discovery_args, ..Options::default() })?;
    let client = mesh.join(Workload::new("test", "client", "client"))?;
    Ok(Kept { _client: client, _kubelet: kubelet, mesh, api, viewer, nobody, _runtime: runtime })
}

fn main() -> ExitCode {
    Suite::on("cluster", start)
        .unless(missing())
        .case("a kube config is enough to see and change the mesh", seen)
        .case("the account needs no more than the page says", rights)
        .case("without the rights it says which are missing", without_rights)
        .case("where there is no discovery it says where it looked", elsewhere)
        .case("a kube config that cannot be used is named", bad_config)
        .case("check names pods that slipped through injection", slipped)
        .case("check --pre says whether the mesh could be installed", before)
        .case("an API server that is away is said to be", away)
        .run()
}

/// Runs `weftctl` on the node with this kube config and no word about discovery.
fn weftctl(kept: &Kept, config: &Path, args: &[&str], input: &str) -> anyhow::Result<Output> {
    let program = Program::new(binary("weftctl")?).env("KUBECONFIG", config).args(args).input(input);
    Ok(kept.api.node().run(program)?)
}

fn done(kept: &Kept, args: &[&str], input: &str) -> anyhow::Result<String> {
    let output = weftctl(kept, kept.api.kubeconfig(), args, input)?;
    ensure!(output.status.success(), "weftctl {args:?}: {} {}", output.status, output.text());
    Ok(output.stdout)
}

fn fails(output: &Output, words: &[&str]) -> Outcome {
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{} {}", output.status, output.text());
    ensure!(output.stderr.trim().lines().count() == 1, "more than a line: {}", output.stderr);
    for word in words {
        ensure!(output.stderr.contains(word), "it does not say {word:?}: {}", output.stderr);
    }
    Ok(())
}

const SERVICE: &str =
    "apiVersion: v1\nkind: Service\nmetadata: { name: cart, namespace: test }\nspec: { ports: [{ port: 80 }] }\n";

async fn seen(kept: &Kept) -> Outcome {
    let mut said = String::new();
    let look = || {
        said = done(kept, &["status", "-o", "json"], "").unwrap_or_else(|error| error.to_string());
        said.contains("\"name\": \"client\"").then_some(())
    };
    poll_until(Instant::now() + LONG, "the proxy to be listed", look).with_context(|| said.clone())?;
    let status: Value = serde_json::from_str(&said)?;
    ensure!(status["discovery"][0]["address"] == format!("pod weft-system/{POD}"), "{said}");
    ensure!(done(kept, &["apply", "-f", "-"], SERVICE)?.contains("created"));
    ensure!(done(kept, &["get", "services", "-n", "test"], "")?.contains("cart"));
    ensure!(done(kept, &["delete", "service", "cart", "-n", "test"], "")?.contains("cart"));
    let dump = done(kept, &["--context", "test", "proxy", "config", "client", "-n", "test"], "")?;
    ensure!(dump.contains("check-port"), "{dump}");
    let file = kept.api.kubeconfig().display().to_string();
    let checked = kept.api.node().run(Program::new(binary("weftctl")?).args(["--kubeconfig", &file, "check"]))?;
    ensure!(
        checked.status.success() && checked.stdout.contains(&format!("discovery at pod weft-system/{POD}")),
        "{}",
        checked.text()
    );
    Ok(())
}

async fn rights(kept: &Kept) -> Outcome {
    let operator = kept.api.kubeconfig_as("weft-system", "operator").await?;
    let output = weftctl(kept, &operator, &["status"], "")?;
    ensure!(output.status.success() && output.stdout.contains("client"), "{}", output.text());
    Ok(())
}

async fn without_rights(kept: &Kept) -> Outcome {
    let blind = weftctl(kept, &kept.nobody, &["status"], "")?;
    fails(&blind, &["pods is forbidden", "nobody", "weft-system", "pods/portforward", "--discovery"])?;
    let looks_on = weftctl(kept, &kept.viewer, &["get", "services", "-A"], "")?;
    fails(&looks_on, &[POD, "403", "create pods/portforward"])
}

async fn elsewhere(kept: &Kept) -> Outcome {
    let output = weftctl(kept, kept.api.kubeconfig(), &["--mesh-namespace", "empty", "status"], "")?;
    fails(&output, &["no discovery pod runs in namespace empty", "--mesh-namespace"])?;
    let both = weftctl(kept, kept.api.kubeconfig(), &["--discovery", "/a.sock", "--context", "test", "status"], "")?;
    ensure!(both.status.code() == Some(2) && both.stderr.contains("--context"), "{}", both.text());
    Ok(())
}

async fn bad_config(kept: &Kept) -> Outcome {
    fails(
        &weftctl(kept, Path::new("/nowhere/config"), &["status"], "")?,
        &["/run/weft/discovery.sock", "--discovery", "--kubeconfig"],
    )?;
    fails(&weftctl(kept, kept.api.kubeconfig(), &["--context", "other", "status"], "")?, &["other", "--context"])?;
    fails(
        &weftctl(kept, kept.api.kubeconfig(), &["--kubeconfig", "/nowhere/config", "status"], "")?,
        &["/nowhere/config"],
    )
}

async fn away(kept: &Kept) -> Outcome {
    kept.api.stop_server();
    let output = weftctl(kept, kept.api.kubeconfig(), &["status"], "");
    kept.api.start_server()?;
    fails(&output?, &["cannot list pods", "refused"])?;
    done(kept, &["status"], "").map(drop)
}

/// The findings of `check`, by the word of each.
fn check(kept: &Kept, config: &Path, more: &[&str]) -> anyhow::Result<Vec<Value>> {
    let output = weftctl(kept, config, &[&["check", "-o", "json"], more].concat(), "")?;
    serde_json::from_str(&output.stdout).with_context(|| output.text())
}

fn result<'a>(findings: &'a [Value], check: &str) -> anyhow::Result<(&'a str, String)> {
    let finding = findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.with_context(|| format!("no {check} in {findings:#?}"))?;
    Ok((finding["result"].as_str().unwrap_or_default(), finding["faults"].to_string()))
}

async fn slipped(kept: &Kept) -> Outcome {
    let api = &kept.api;
    api.namespace("shop", &[("weft.dev/inject", "enabled")]).await?;
    api.namespace("other", &[]).await?;
    let pod = |name: &str| TestPod::new("shop", name, Ipv4Addr::new(10, 244, 0, 20));
    api.pod(&pod("meshed").meshed()).await?;
    api.pod(&pod("apart").label("weft.dev/inject", "disabled")).await?;
    ensure!(result(&check(kept, api.kubeconfig(), &[])?, "injection")?.0 == "ok", "all is as it should be");
    api.pod(&pod("early")).await?;
    api.pod(&TestPod::new("other", "asking", Ipv4Addr::new(10, 244, 0, 21)).label("weft.dev/inject", "enabled"))
        .await?;
    let found = result(&check(kept, api.kubeconfig(), &[])?, "injection")?.1;
    ensure!(found == r#"["other/asking","shop/early"]"#, "{found}");
    let operator = api.kubeconfig_as("weft-system", "operator").await?;
    let unseen = check(kept, &operator, &[])?;
    let (level, why) = result(&unseen, "injection")?;
    ensure!(level == "warning" && why.contains("forbidden"), "{level}: {why}");
    Ok(())
}

async fn before(kept: &Kept) -> Outcome {
    let api = &kept.api;
    let bare = check(kept, api.kubeconfig(), &["--pre"])?;
    for (word, level) in
        [("api", "ok"), ("version", "ok"), ("rights", "ok"), ("definitions", "ok"), ("gateway-api", "warning")]
    {
        ensure!(result(&bare, word)?.0 == level, "{word}: {bare:#?}");
    }
    api.install_gateway_api(Channel::Standard).await?;
    api.install(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/weft/crds")).await?;
    let ready = weftctl(kept, api.kubeconfig(), &["check", "--pre"], "")?;
    ensure!(ready.status.success() && ready.stdout.contains("all 5 checks passed"), "{}", ready.text());
    let nobody = check(kept, &kept.nobody, &["--pre"])?;
    let (level, missing) = result(&nobody, "rights")?;
    ensure!(level == "failed" && missing.contains("create deployments in weft-system"), "{level}: {missing}");
    Ok(())
}
