//! TLS between the members of the chart's own etcd, and between them and discovery.
//!
//! What is rendered and kept from one upgrade to the next; that members and discovery agree by it is seen on a node (suite `install`).

use crate::{CHART, Kept, NAMESPACE};
use anyhow::{Context, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use std::collections::BTreeMap;
use weft_tests::Outcome;
use weft_tests::cluster::parse;

/// Who has one.
const SECRETS: [&str; 2] = ["weft-etcd-members", "weft-etcd-client"];

async fn arguments(kept: &Kept) -> anyhow::Result<String> {
    let sets = kube::Api::<StatefulSet>::namespaced(kept.api.client().await?, NAMESPACE);
    let template = sets.get("weft-etcd").await?.spec.context("no spec")?.template;
    let containers = template.spec.context("no pods")?.containers;
    Ok(containers.into_iter().flat_map(|container| container.args.unwrap_or_default()).collect::<Vec<_>>().join(" "))
}

type Data = Option<BTreeMap<String, ByteString>>;

async fn secrets(kept: &Kept) -> anyhow::Result<Vec<Data>> {
    let secrets = kube::Api::<Secret>::namespaced(kept.api.client().await?, NAMESPACE);
    let mut found = Vec::new();
    for name in SECRETS {
        found.extend(secrets.get_opt(name).await?.map(|secret| secret.data));
    }
    Ok(found)
}

pub async fn members(kept: &Kept) -> Outcome {
    let helm = |command: &str, more: &[&str]| {
        let args = [&[command, "weft", CHART, "--namespace", NAMESPACE][..], more].concat();
        kept.helm(&args).map(drop)
    };
    let spoken = |args: &str, scheme: &str| {
        args.contains(&format!("--listen-client-urls={scheme}://"))
            && args.contains(&format!("--listen-peer-urls={scheme}://"))
    };
    helm("install", &[])?;
    let (made, args) = (secrets(kept).await?, arguments(kept).await?);
    ensure!(made.len() == 2 && spoken(&args, "https") && args.contains("--peer-client-cert-auth"), "{args}");
    helm("upgrade", &["--set", "discovery.replicas=3"])?;
    ensure!(secrets(kept).await? == made, "an upgrade made other certificates");
    ensure!(spoken(&arguments(kept).await?, "https"), "an upgrade took TLS away");
    kept.helm(&["uninstall", "weft", "--namespace", NAMESPACE])?;

    // As an installation from before this was there.
    helm("install", &["--set", "etcd.tls.members=disabled"])?;
    ensure!(secrets(kept).await?.is_empty() && spoken(&arguments(kept).await?, "http"), "TLS that nobody asked for");
    helm("upgrade", &["--set", "etcd.tls.members=auto"])?;
    let args = arguments(kept).await?;
    ensure!(
        secrets(kept).await?.is_empty() && spoken(&args, "http"),
        "members that run would change their addresses: {args}"
    );
    kept.helm(&["uninstall", "weft", "--namespace", NAMESPACE])?;

    let named = |secret: &Option<String>| secret.as_deref().is_some_and(|name| SECRETS.contains(&name));
    let own = parse(&kept.template(&["etcd.endpoints={http://etcd.storage:2379}"])?)?;
    ensure!(!own.iter().any(|one| named(&one.metadata.name)), "certificates for somebody else's etcd");
    Ok(())
}
