//! A release of the chart: what `install`, `upgrade` and `uninstall` have in common.
//!
//! weftctl carries the chart and has the user's helm do the work, so that a release made by the one can be changed by the other. What helm
//! leaves alone (definitions, the namespace, who still needs the mesh) is weftctl's own. Nothing is changed before all was looked at.

mod chart;
mod helm;
mod versions;
mod changes;
pub mod definitions;
pub mod namespace;
pub mod pods;

pub use changes::{Objects, objects, told};
pub use chart::{definitions_text, version};
pub use helm::Installed;
pub use versions::{Refusal, settled, step};

use crate::connect::Discovery;
use crate::connect::cluster::{client_of_cluster, words as said};
use crate::progress::Progress;
use anyhow::{Context as _, anyhow, bail};
use chart::Chart;
use helm::{Helm, words};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Client;
use kube::api::Api;
use serde_json::Value;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempPath;
use tokio::time::sleep;

/// The chart's name.
const CHART: &str = "weft";
/// An object of the whole cluster that each release has.
const WEBHOOK: &str = "weft-injector";
/// While helm works, the mesh's pods are looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Which release, and by which helm.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The release, as helm calls it
    #[arg(long, value_name = "NAME", default_value = CHART)]
    release: String,
    /// The helm that does the work [default: the one in the PATH]
    #[arg(long, env = "WEFT_HELM", value_name = "PROGRAM")]
    helm: Option<PathBuf>,
    /// How long to wait until all is done; 0s: do not wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Values of the chart.
#[derive(Debug, Default, clap::Args)]
pub struct Values {
    /// Set values of the chart, separated by commas; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// The same, taken as text even if they look like numbers
    #[arg(long, value_name = "PATH=VALUE")]
    set_string: Vec<String>,
    /// File of values, YAML, or - for standard input; may be repeated, and later ones win
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    values: Vec<PathBuf>,
}

/// What helm is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// The manifests of the release, printed. `offline`: without a cluster.
    Render {
        offline: bool,
    },
    Install,
    /// What an upgrade would make of the release, as JSON.
    Compare,
    Upgrade,
    Uninstall,
}

/// A release, there or not, and what it takes to change it.
#[derive(Debug)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    pub wait: Duration,
    helm: Helm,
    chart: Chart,
    values: Values,
    /// What was read from standard input, for helm may ask for it several times.
    _piped: Option<TempPath>,
}

impl Release {
    pub async fn open(flags: Flags, mut values: Values, discovery: &Discovery) -> anyhow::Result<Self> {
        let (cluster, _) = discovery.cluster();
        let helm = Helm::find(flags.helm.as_deref(), cluster).await?;
        let piped = piped(&mut values)?;
        let chart = Chart::unpack().context("the chart cannot be written to a temporary folder")?;
        let (name, namespace) = (flags.release, cluster.mesh_namespace.clone());
        Ok(Self { name, namespace, wait: flags.wait, helm, chart, values, _piped: piped })
    }

    /// A client of the cluster that is meant.
    pub async fn client(discovery: &Discovery) -> anyhow::Result<Client> {
        let (cluster, timeout) = discovery.cluster();
        Ok(client_of_cluster(cluster, timeout).await?)
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The release as it is in the cluster; refuses one of another chart.
    pub async fn installed(&self) -> anyhow::Result<Option<Installed>> {
        let installed = self.helm.installed(&self.name).await?;
        match installed {
            Some(Installed { chart, .. }) if chart != CHART => {
                bail!("release {} is of the chart {chart:?}, not of Weft's; --release names another", self.full_name())
            }
            other => Ok(other),
        }
    }

    /// The manifest that was applied last.
    pub async fn manifest(&self) -> anyhow::Result<Objects> {
        let text = self.helm.read(&words(&["get", "manifest", &self.name])).await?;
        objects(&text).context("the release's manifest cannot be read")
    }

    /// What helm prints when it is asked for something that is done at once.
    pub async fn ask(&self, verb: Verb) -> anyhow::Result<String> {
        Ok(self.helm.read(&self.arguments(verb)).await?)
    }

    /// The objects that an upgrade would lead to.
    pub async fn upgraded(&self) -> anyhow::Result<Objects> {
        let text = self.ask(Verb::Compare).await?;
        let release: Value = serde_json::from_str(&text).context("helm's answer cannot be read")?;
        objects(release["manifest"].as_str().unwrap_or_default()).context("what helm renders cannot be read")
    }

    /// Has helm do it, and shows how far it is. Whatever is not ready when helm gives up is named.
    pub async fn work(&self, verb: Verb, client: &Client) -> anyhow::Result<String> {
        let arguments = self.arguments(verb);
        let mut work = std::pin::pin!(self.helm.work(&arguments));
        let progress = Progress::new("waiting for the mesh's pods", 0);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = sleep(LOOK) => {
                    if let Ok(pods) = pods::standing(client, &self.namespace).await {
                        progress.at(pods.ready, pods.ready + pods.waiting.len());
                    }
                }
            }
        };
        drop(progress);
        let error = match outcome {
            Ok(said) => return Ok(said),
            Err(error) => error,
        };
        let pods = pods::standing(client, &self.namespace).await.unwrap_or_default();
        let waiting: String = pods.waiting.iter().map(|pod| format!("\n  not ready: {pod}")).collect();
        Err(anyhow!("{error}{waiting}"))
    }

    /// The command line after `helm`, but for which cluster it is.
    fn arguments(&self, verb: Verb) -> Vec<OsString> {
        let first = match verb {
            Verb::Render { .. } => "template",
            Verb::Install => "install",
            Verb::Compare | Verb::Upgrade => "upgrade",
            Verb::Uninstall => "uninstall",
        };
        let mut all = words(&[first, &self.name]);
        if verb != Verb::Uninstall {
            all.push(self.chart.path().into());
            all.extend(self.values.arguments());
        }
        all.extend(words(match verb {
            // Without definitions: helm would take those that are there for somebody else's.
            Verb::Render { offline: true } => &["--dry-run=client"],
            Verb::Render { offline: false } => &["--dry-run=server"],
            Verb::Install => &["--create-namespace"],
            Verb::Compare => &["--reset-then-reuse-values", "--dry-run=server", "--output=json"],
            Verb::Upgrade => &["--reset-then-reuse-values"],
            Verb::Uninstall => &[],
        }));
        if matches!(verb, Verb::Install | Verb::Upgrade | Verb::Uninstall) && !self.wait.is_zero() {
            all.extend(words(&["--wait", &format!("--timeout={}s", self.wait.as_secs().max(1))]));
        }
        all
    }
}

impl Values {
    fn arguments(&self) -> Vec<OsString> {
        let file = |path: &PathBuf| [OsString::from("--values"), path.into()];
        let pair = |flag: &str, value: &String| [OsString::from(flag), value.into()];
        let files = self.values.iter().flat_map(file);
        let set = self.set.iter().flat_map(|value| pair("--set", value));
        files.chain(set).chain(self.set_string.iter().flat_map(|value| pair("--set-string", value))).collect()
    }
}

/// Reads standard input if it is one of the files, and puts a file that lasts in its place.
fn piped(values: &mut Values) -> anyhow::Result<Option<TempPath>> {
    let mut named = values.values.iter_mut().filter(|path| path.as_os_str() == "-");
    let Some(first) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        bail!("--values: standard input is named twice");
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("--values: standard input")?;
    let file = tempfile::Builder::new().prefix("weft-values-").suffix(".yaml").tempfile();
    let path = file.context("--values: a temporary file")?.into_temp_path();
    std::fs::write(&path, text).context("--values: a temporary file")?;
    *first = path.to_path_buf();
    Ok(Some(path))
}

/// The release that the cluster has if it is not the one that was looked for: its webhook says which. Who may not see it learns it from helm.
pub async fn elsewhere(client: &Client, release: &Release) -> anyhow::Result<Option<String>> {
    let found = match Api::<MutatingWebhookConfiguration>::all(client.clone()).get_opt(WEBHOOK).await {
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
        found => found.map_err(|error| anyhow!("get the webhook configuration {WEBHOOK}: {}", said(&error)))?,
    };
    let Some(annotations) = found.and_then(|found| found.metadata.annotations) else { return Ok(None) };
    let of = |key: &str| annotations.get(&format!("meta.helm.sh/release-{key}")).cloned();
    let (Some(namespace), Some(name)) = (of("namespace"), of("name")) else { return Ok(None) };
    let other = namespace != release.namespace || name != release.name;
    Ok(other.then(|| format!("--mesh-namespace {namespace} --release {name}")))
}

#[cfg(test)]
#[path = "release/release_tests.rs"]
mod tests;
