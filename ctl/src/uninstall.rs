//! `weftctl uninstall`: the control plane, its definitions and its namespace out of the cluster, without a trace.
//!
//! Gathers first what would go and who would miss it; refuses while pods have sidecars or policies are in force, naming them. What is gone
//! already is passed over, so that an interrupted call can be repeated. Nothing that the mesh did not make is removed.

mod plan;

use crate::connect::Discovery;
use crate::connect::cluster::words;
use crate::print::{Output, plain};
use crate::progress::say;
use crate::release::{Flags, Release, Values, Verb, definitions, elsewhere, namespace, pods};
use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Client;
use kube::api::{Api, ListParams};
use plan::Plan;

pub const ABOUT: &str = "Take the mesh out of a Kubernetes cluster, without a trace: the release and etcd's volumes, the definitions (CRDs) and with \
them all policies, and the namespace unless something else is in it.\n\nRefused while pods have sidecars or policies are there. What is gone \
already is passed over: interrupted, the same command goes on.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    release: Flags,
    /// List what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave the definitions (CRDs) and all policies for another installation
    #[arg(long)]
    keep_definitions: bool,
    /// Even if pods have sidecars, which go on with what they know, and if policies are there
    #[arg(long)]
    force: bool,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let release = Release::open(args.release, Values::default(), discovery).await?;
    let client = Release::client(discovery).await?;
    let plan = gather(&release, &client, args.keep_definitions).await?;
    if plan.is_empty() {
        bail!("there is no release {}, and nothing is left of one", release.full_name());
    }
    let refusal = plan.refusal().filter(|_| !args.force);
    if args.dry_run {
        let notes = refusal.into_iter().map(|refusal| format!("would be refused: {refusal}"));
        return Ok(Output { text: plan.listed(), notes: notes.chain(plan.notes()).collect(), failed: false });
    }
    if let Some(refusal) = refusal {
        bail!("{refusal}\nNothing was done; --force does it all the same");
    }
    uninstall(&plan, &release, &client).await?;
    Ok(Output { text: plan.listed(), notes: plan.notes(), failed: false })
}

async fn uninstall(plan: &Plan, release: &Release, client: &Client) -> anyhow::Result<()> {
    if plan.installed {
        say(&format!("Uninstalling {}.", release.full_name()));
        release.work(Verb::Uninstall, client).await?;
    }
    definitions::delete(client, &plan.definitions, release.wait).await?;
    if plan.namespace_goes() {
        namespace::delete(client, &release.namespace, release.wait).await.map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

/// What there is of the mesh, and who uses it.
async fn gather(release: &Release, client: &Client, keep_definitions: bool) -> anyhow::Result<Plan> {
    let installed = release.installed().await?.is_some();
    if !installed && let Some(place) = elsewhere(client, release).await? {
        bail!(
            "there is no release {}; the mesh of this cluster is another: weftctl uninstall {place}",
            release.full_name()
        );
    }
    let text = anyhow::Error::msg;
    let objects = if installed { release.manifest().await?.into_keys().collect() } else { Vec::new() };
    let definitions = if keep_definitions { Vec::new() } else { definitions::present(client).await? };
    let policies = definitions::policies(client, &definitions).await?;
    let there = namespace::exists(client, &release.namespace).await.map_err(text)?;
    let strangers = match there {
        true => namespace::strangers(client, &release.namespace, &release.name).await.map_err(text)?,
        false => Vec::new(),
    };
    Ok(Plan {
        installed,
        objects,
        volumes: volumes(client, release).await?,
        definitions,
        policies,
        namespace: there.then(|| release.namespace.clone()),
        strangers,
        meshed: pods::meshed(client).await.map_err(text)?,
        labelled: labelled(client).await?,
    })
}

/// Claims of etcd's members, which go with their StatefulSet.
async fn volumes(client: &Client, release: &Release) -> anyhow::Result<Vec<String>> {
    let selector = format!("app.kubernetes.io/name=weft-etcd,app.kubernetes.io/instance={}", release.name);
    let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &release.namespace);
    let list = api.list(&ListParams::default().labels(&selector)).await;
    let list = list.map_err(|error| anyhow!("list persistentvolumeclaims: {}", words(&error)))?;
    Ok(list.items.into_iter().filter_map(|claim| claim.metadata.name).collect())
}

/// Namespaces that ask for sidecars.
async fn labelled(client: &Client) -> anyhow::Result<Vec<String>> {
    let asking = namespace::asking(client).await.map_err(|error| anyhow!("list namespaces: {}", words(&error)))?;
    Ok(asking.iter().map(|name| plain(name)).collect())
}
