//! A real API server with two injectors behind its webhook configuration, set up by the documentation's own documents.
//!
//! The injectors have the rights of the documented account and no others. One entry of the configuration leads to each, by
//! URL, because nobody routes Services here; all else is as the page says.

use anyhow::{Context, ensure};
use base64::Engine;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;
use weft_examples::mesh::binary;
use weft_examples::pods::{Network, Process, Program, poll_until, poll_until_async};
use weft_tests::cluster::Api;
use weft_tests::pages;
use weft_tests::suite::Stage;
use weft_tests::world::SOON;

/// Where the injectors listen: reviews, and probes one port further.
pub const PORTS: [u16; 2] = [18443, 18453];
/// What the mesh trusts, in this suite: what it looks like is nobody's business here.
pub const ANCHORS: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
/// Of the injectors' certificate: short, so that a case can see it turn.
const LIFETIME: &str = "16s";

/// Everything, up and ready.
pub struct Cluster {
    pub api: Api,
    // Ended before the API server that they ask.
    injectors: Vec<Process>,
    pub anchors: PathBuf,
}

impl Cluster {
    /// Blocks the thread until both injectors are ready.
    pub fn start() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let api = Api::start_on(&network)?;
        let anchors = api.node().dir().join("anchors.pem");
        std::fs::write(&anchors, ANCHORS)?;
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        // On a thread of its own, because the caller's may already drive a runtime.
        let prepare = || runtime()?.block_on(prepare(&api));
        let kubeconfig = std::thread::scope(|scope| scope.spawn(prepare).join());
        let kubeconfig = kubeconfig.map_err(|_| anyhow::anyhow!("preparing panicked"))??;
        let mut cluster = Self { api, injectors: Vec::new(), anchors };
        for port in PORTS {
            let injector = cluster.injector(port, &kubeconfig)?;
            cluster.injectors.push(cluster.api.node().spawn(injector)?);
        }
        PORTS.iter().try_for_each(|port| cluster.wait_ready(*port))?;
        Ok(cluster)
    }

    fn injector(&self, port: u16, kubeconfig: &std::path::Path) -> anyhow::Result<Program> {
        let program = Program::new(binary("weft-injector")?).label(format!("injector-{port}"));
        Ok(program
            .env("KUBECONFIG", kubeconfig)
            .arg("--trust-anchors")
            .arg(&self.anchors)
            .args([format!("--listen=127.0.0.1:{port}"), format!("--admin-listen=127.0.0.1:{}", port + 1)])
            .args(["--certificate-names=127.0.0.1", "--certificate-lifetime", LIFETIME]))
    }

    fn wait_ready(&self, port: u16) -> anyhow::Result<()> {
        let mut said = String::new();
        let ready = || {
            said = self.admin(port, "/readyz").unwrap_or_else(|error| error.to_string());
            said.starts_with("ready").then_some(())
        };
        let found = poll_until(Instant::now() + SOON * 3, "an injector", ready);
        found.with_context(|| format!("injector {port} says {said}\n{}", self.testimony()))
    }

    /// A page of an injector's admin endpoint.
    pub fn admin(&self, port: u16, page: &str) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}{page}", port + 1);
        Ok(self.api.node().run(Program::new("curl").args(["-sS", "-m", "5", &url]))?.stdout)
    }

    /// A metric of both injectors together.
    pub fn counted(&self, metric: &str) -> anyhow::Result<f64> {
        let mut sum = 0.0;
        for port in PORTS {
            let page = self.admin(port, "/metrics")?;
            let values = page.lines().filter_map(|line| line.strip_prefix(metric)?.trim().parse::<f64>().ok());
            sum += values.sum::<f64>();
        }
        Ok(sum)
    }

    /// The configuration as it is now.
    pub async fn configuration(&self) -> anyhow::Result<MutatingWebhookConfiguration> {
        Ok(kube::Api::all(self.api.client().await?).get("weft-injector").await?)
    }

    /// The bundle that the API server trusts, as a file; the same in both entries.
    pub async fn bundle(&self) -> anyhow::Result<PathBuf> {
        let configuration = self.configuration().await?;
        let webhooks = configuration.webhooks.unwrap_or_default();
        let mut bundles: Vec<Vec<u8>> =
            webhooks.into_iter().filter_map(|webhook| Some(webhook.client_config.ca_bundle?.0)).collect();
        ensure!(bundles.len() == 2 && bundles[0] == bundles[1], "{} bundles, or two that differ", bundles.len());
        let file = self.api.node().dir().join("bundle.pem");
        std::fs::write(&file, bundles.remove(0))?;
        Ok(file)
    }

    /// What the API server makes of a pod in `namespace` that is created and not kept.
    pub async fn create(&self, namespace: &str, pod: &Value) -> anyhow::Result<Result<Value, String>> {
        let pods = kube::Api::<Pod>::namespaced(self.api.client().await?, namespace);
        let params = PostParams { dry_run: true, ..PostParams::default() };
        match pods.create(&params, &serde_json::from_value(pod.clone())?).await {
            Ok(pod) => Ok(Ok(serde_json::to_value(pod)?)),
            Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks an injector itself, as the API server would; the status and what it says.
    pub async fn ask(&self, path: &str, body: &[u8]) -> anyhow::Result<(u16, String)> {
        let file = self.api.node().dir().join("review.json");
        std::fs::write(&file, body)?;
        let url = format!("https://127.0.0.1:{}{path}", PORTS[0]);
        let curl = Program::new("curl").args(["-sS", "-m", "20", "-w", "\n%{http_code}", "-X", "POST", "--cacert"]);
        let curl = curl.arg(self.bundle().await?).arg("--data-binary").arg(format!("@{}", file.display())).arg(url);
        let said = self.api.node().run_ok(curl)?;
        let (text, status) = said.trim_end().rsplit_once('\n').context("a status")?;
        Ok((status.parse()?, text.to_owned()))
    }

    /// The pod that an injector makes of `pod`, its answer's patch applied.
    pub async fn reviewed(&self, namespace: &str, pod: &Value) -> anyhow::Result<Value> {
        let (status, text) = self.ask("/inject/namespace", review(namespace, pod).to_string().as_bytes()).await?;
        ensure!(status == 200, "{status}: {text}");
        let answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["response"]["allowed"] == true, "{answer}");
        let mut after = pod.clone();
        if let Some(patch) = answer["response"]["patch"].as_str() {
            let patch = base64::engine::general_purpose::STANDARD.decode(patch)?;
            json_patch::patch(&mut after, &serde_json::from_slice::<json_patch::Patch>(&patch)?)?;
        }
        Ok(after)
    }
}

/// The review of a pod that is created.
pub fn review(namespace: &str, pod: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "CREATE", "namespace": namespace, "object": pod,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
    }})
}

/// The page's documents: account and rights, then the configuration. The account's kubeconfig.
async fn prepare(api: &Api) -> anyhow::Result<PathBuf> {
    api.namespace("weft-system", &[]).await?;
    api.apply(&pages::example("injection", 2)?).await.context("the page's rights")?;
    let mut configuration: Value = serde_yaml_ng::from_str(&pages::example("injection", 1)?)?;
    let webhooks = configuration["webhooks"].as_array_mut().context("webhooks")?;
    for (webhook, port) in webhooks.iter_mut().zip(PORTS) {
        let path = webhook["clientConfig"]["service"]["path"].as_str().context("a path")?.to_owned();
        webhook["clientConfig"] = json!({"url": format!("https://127.0.0.1:{port}{path}")});
    }
    api.apply(&configuration.to_string()).await.context("the page's webhook configuration")?;
    for (name, label) in [("shop", Some("enabled")), ("plain", None), ("away", Some("disabled"))] {
        let labels: Vec<_> = label.map(|label| ("weft.dev/inject", label)).into_iter().collect();
        api.namespace(name, &labels).await?;
    }
    // The role's bindings are seen by the authorizer a moment later.
    let look = || async {
        let client = api.client_as("weft-system", "weft-injector").await.ok()?;
        kube::Api::<MutatingWebhookConfiguration>::all(client).get("weft-injector").await.ok()
    };
    poll_until_async(Instant::now() + SOON, "the injector's rights", look).await?;
    api.kubeconfig_as("weft-system", "weft-injector").await
}

impl Stage for Cluster {
    fn testimony(&self) -> String {
        let logs = self.injectors.iter().map(|injector| injector.log_tail(15));
        logs.chain([self.api.testimony()]).collect::<Vec<_>>().join("\n")
    }
}
