//! Proof by service account: who gets a certificate from a real API server's word, and what each refusal says.
//!
//! Discovery has an account of its own here that may ask about tokens and nothing else. Proxies are the real ones, and what
//! they log is what their operators would read.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::DeleteParams;
use nix::sys::signal::Signal;
use std::fs::Permissions;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::mesh::{Mesh, Options, binary};
use weft_examples::pods::{Network, Process, Program};
use weft_tests::cluster::{Api, TestPod, discovery_rights, missing};
use weft_tests::suite::Stage;
use weft_tests::world::SOON;
use weft_tests::{Outcome, Suite};

/// What discovery needs for this, and all that it has here.
const AUDIENCE: &[&str] = &["weft.local"];

/// The Secret, and discovery's right to it, as the chart gives it.
const TRUST: &str = r#"
apiVersion: v1
kind: Secret
metadata: { name: weft-trust, namespace: weft-system }
type: kubernetes.io/tls
stringData: { tls.crt: something else, tls.key: something else }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: weft-discovery, namespace: weft-system }
rules:
  - { apiGroups: [""], resources: [secrets], resourceNames: [weft-trust], verbs: [get, patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: weft-discovery, namespace: weft-system }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: weft-discovery }
subjects: [{ kind: ServiceAccount, name: weft-discovery, namespace: weft-system }]
"#;

struct Kept {
    mesh: Mesh,
    api: Api,
    network: Network,
}

impl Stage for Kept {
    fn testimony(&self) -> String {
        let log = self.mesh.discovery()[0].log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }
}

fn start() -> anyhow::Result<Kept> {
    let network = Network::new()?;
    let api = Api::start_on(&network)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kubeconfig = runtime.block_on(async {
        api.namespace("weft-system", &[]).await?;
        api.namespace("shop", &[]).await?;
        api.account("weft-system", "weft-discovery").await?;
        api.kubeconfig_as("weft-system", "weft-discovery").await
    })?;
    // So short that every certificate is due at once: they begin five minutes before they are signed.
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let secret = "--trust-secret=weft-system/weft-trust";
    let flags = ["--kubernetes", "--certificate-lifetime=60s", secret, &kubeconfig];
    let discovery_args = flags.map(str::to_owned).to_vec();
    let mesh = Mesh::start_on(network.clone(), &Options { discovery_args, ..Options::default() })?;
    Ok(Kept { mesh, api, network })
}

fn main() -> ExitCode {
    Suite::on("accounts", start)
        .unless(missing())
        .case("discovery without the right to ask says so", no_right)
        .case("a token brings the identity of its account", right)
        .case("what a token brought is not renewed without one", no_renewal)
        .case("a token for another audience is refused", audience)
        .case("a token that was changed is refused", forged)
        .case("the token of a deleted account is refused", deleted)
        .case("the token of a deleted pod is refused", pod_gone)
        .case("a proxy does not become what its token says", another)
        .case("no account can stand for discovery", own)
        .case("the Secret follows the root of trust, also when it is replaced", secret)
        .case("an API server that hangs is waited for in vain, then in earnest", hangs)
        .run()
}

/// A proxy of `account` in a pod of its own that shows `token`.
fn proxy(kept: &Kept, name: &str, account: &str, token: &str) -> anyhow::Result<Process> {
    let file = state(kept, name)?.join("token");
    std::fs::write(&file, token)?;
    let program = program(kept, name, account)?.arg("--token-file").arg(file);
    Ok(kept.network.pod_in("shop", name)?.spawn(program)?)
}

fn state(kept: &Kept, name: &str) -> anyhow::Result<PathBuf> {
    let dir = kept.network.dir().join("proofs").join(name);
    std::fs::create_dir_all(&dir)?;
    std::fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
    Ok(dir)
}

/// A proxy without any token.
fn program(kept: &Kept, name: &str, account: &str) -> anyhow::Result<Program> {
    let program = Program::new(binary("weft-proxy")?)
        .args(["run", "--name", name, "--namespace", "shop", "--service-account", account])
        .args(["--discovery", &kept.mesh.discovery_urls().join(",")])
        .arg("--trust-anchors")
        .arg(kept.mesh.discovery()[0].trust_anchors())
        .arg("--state-dir")
        .arg(state(kept, name)?);
    Ok(program)
}

/// Waits until the proxy has said `text`.
fn says(proxy: &Process, text: &str) -> Outcome {
    proxy.wait_log(text, SOON).with_context(|| proxy.log_tail(8))?;
    Ok(())
}

/// A proxy with this token stays without certificate, and says why.
fn refused(kept: &Kept, name: &str, token: &str, why: &str) -> Outcome {
    let proxy = proxy(kept, name, "web", token)?;
    says(&proxy, "no certificate yet")?;
    says(&proxy, why)?;
    ensure!(!proxy.log().contains("identity in force"), "{}", proxy.log_tail(8));
    Ok(())
}

async fn no_right(kept: &Kept) -> Outcome {
    kept.api.account("shop", "web").await?;
    let token = kept.api.token("shop", "web", AUDIENCE).await?;
    refused(kept, "early", &token, "tokenreviews.authentication.k8s.io is forbidden")?;
    kept.api.apply(&discovery_rights()?).await.map(drop)
}

async fn right(kept: &Kept) -> Outcome {
    let token = kept.api.token("shop", "web", AUDIENCE).await?;
    let proxy = proxy(kept, "web-0", "web", &format!("{token}\n"))?;
    says(&proxy, "identity in force")?;
    let listed = kept.mesh.weftctl(&["get", "certificates", "-A"])?;
    let row = listed.lines().find(|line| line.contains("web-0")).with_context(|| listed.clone())?;
    ensure!(row.contains("spiffe://weft.local/ns/shop/sa/web"), "{listed}");
    Ok(())
}

async fn no_renewal(kept: &Kept) -> Outcome {
    let token = kept.api.token("shop", "web", AUDIENCE).await?;
    let owner = proxy(kept, "owner", "web", &token)?;
    says(&owner, "identity in force")?;
    drop(owner);
    // Whoever has its key and certificate, and nothing else.
    let thief = kept.network.pod_in("shop", "thief")?.spawn(program(kept, "owner", "web")?)?;
    says(&thief, "the certificate could not be renewed")?;
    says(&thief, "proven again by a service account's token")
}

async fn audience(kept: &Kept) -> Outcome {
    let elsewhere = kept.api.token("shop", "web", &["elsewhere"]).await?;
    refused(kept, "elsewhere", &elsewhere, "does not accept the token for the audience weft.local")?;
    // What every pod has without asking: the API server's own.
    let usual = kept.api.token("shop", "web", &[]).await?;
    refused(kept, "usual", &usual, "does not accept the token for the audience weft.local")
}

async fn forged(kept: &Kept) -> Outcome {
    let token = kept.api.token("shop", "web", AUDIENCE).await?;
    let (signed, signature) = token.rsplit_once('.').context("three parts")?;
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    refused(kept, "forged", &forged, "does not accept the token for the audience weft.local")?;
    refused(kept, "nonsense", "not a token", "service_account_token: is no token")
}

async fn deleted(kept: &Kept) -> Outcome {
    kept.api.account("shop", "leaver").await?;
    let token = kept.api.token("shop", "leaver", AUDIENCE).await?;
    let accounts = kube::Api::<ServiceAccount>::namespaced(kept.api.client().await?, "shop");
    accounts.delete("leaver", &DeleteParams::default()).await?;
    refused(kept, "leaver-0", &token, "does not accept the token for the audience weft.local")
}

async fn pod_gone(kept: &Kept) -> Outcome {
    let pod = TestPod::new("shop", "short-lived", Ipv4Addr::new(10, 244, 0, 5)).account("web");
    kept.api.pod(&pod).await?;
    // Two, because the API server remembers for ten seconds that it accepted one.
    let (token, unseen) = (kept.api.token_of(&pod, AUDIENCE).await?, kept.api.token_of(&pod, AUDIENCE).await?);
    let living = proxy(kept, "short-lived", "web", &token)?;
    says(&living, "identity in force")?;
    kept.api.delete_pod("shop", "short-lived").await?;
    refused(kept, "after-it", &unseen, "does not accept the token for the audience weft.local")
}

async fn another(kept: &Kept) -> Outcome {
    kept.api.account("shop", "cart").await?;
    let token = kept.api.token("shop", "cart", AUDIENCE).await?;
    refused(kept, "pretender", &token, "the token stands for spiffe://weft.local/ns/shop/sa/cart, this proxy is")
}

async fn own(kept: &Kept) -> Outcome {
    kept.api.namespace("weft", &[]).await?;
    kept.api.account("weft", "weft-discovery").await?;
    let token = kept.api.token("weft", "weft-discovery", AUDIENCE).await?;
    refused(kept, "usurper", &token, "no service account that can have an identity")
}

/// The Secret's field, once it is what it should be.
async fn holds(kept: &Kept, field: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    let secrets = kube::Api::<Secret>::namespaced(kept.api.client().await?, "weft-system");
    let deadline = Instant::now() + SOON;
    loop {
        let data = secrets.get("weft-trust").await?.data.unwrap_or_default();
        let text = data.get(field).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default();
        if wanted(&text) {
            return Ok(text);
        }
        ensure!(Instant::now() < deadline, "{field} stays {text:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn secret(kept: &Kept) -> Outcome {
    // As it is brought without anchors, by an operator who has written something else into it.
    kept.api.apply(TRUST).await?;
    let anchors = kept.mesh.weftctl(&["trust", "anchors"])?;
    holds(kept, "ca.crt", |text| text.trim() == anchors.trim()).await?;
    let first = holds(kept, "tls.crt", |text| text.contains("BEGIN CERTIFICATE")).await?;
    ensure!(first.trim() == anchors.trim(), "{first}");
    // Nobody waits for proxies whose pods are gone, though their certificates have not ended.
    kept.mesh.weftctl(&["trust", "rotate", "--wait", "2m"])?;
    let anchors = kept.mesh.weftctl(&["trust", "anchors"])?;
    ensure!(anchors.trim() != first.trim(), "the same root");
    holds(kept, "ca.crt", |text| text.trim() == anchors.trim()).await?;
    let second = holds(kept, "tls.crt", |text| text.trim() == anchors.trim()).await?;
    let key = holds(kept, "tls.key", |text| text.contains("PRIVATE KEY")).await?;
    // It can be brought to another mesh as it stands.
    let brought = state(kept, "brought")?;
    for (name, text) in [("tls.crt", &second), ("tls.key", &key), ("ca.crt", &anchors)] {
        std::fs::write(brought.join(name), text)?;
    }
    let flags = vec![format!("--root={}", brought.display())];
    let other = Mesh::start(&Options { discovery_args: flags, ..Options::default() })?;
    ensure!(other.weftctl(&["trust", "anchors"])? == anchors);
    Ok(())
}

async fn hangs(kept: &Kept) -> Outcome {
    let token = kept.api.token("shop", "web", AUDIENCE).await?;
    kept.api.signal(Signal::SIGSTOP);
    let waiting = proxy(kept, "patient", "web", &token)?;
    let told = says(&waiting, "no certificate yet");
    kept.api.signal(Signal::SIGCONT);
    told?;
    says(&waiting, "identity in force")
}
