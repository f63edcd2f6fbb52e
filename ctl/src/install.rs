//! `weftctl install`: the control plane into a cluster that has none.
//!
//! Looks first (the checks of `check --pre`, whether a mesh is there, the values), then changes. What is refused leaves the cluster as it
//! was; what fails later stays as far as it came, and `upgrade` or `uninstall` goes on from there.

use crate::check::obstacles;
use crate::connect::Discovery;
use crate::print::Output;
use crate::progress::say;
use crate::release::{self, Flags, Installed, Release, Values, Verb, definitions, elsewhere};
use anyhow::{anyhow, bail};
use kube::Client;

pub const ABOUT: &str = "Install the mesh's control plane into a Kubernetes cluster.\n\nThe chart comes with weftctl; the helm in the path \
installs it, so that `helm` and `weftctl` may both be used on the release from then on. First the checks of `weftctl check --pre` are made, and \
nothing is done if one of them fails.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    release: Flags,
    /// Print the manifests instead, the mesh's new keys included, and change nothing; with --skip-checks no cluster is asked
    #[arg(long)]
    dry_run: bool,
    /// Do not look first whether the cluster can take the mesh
    #[arg(long)]
    skip_checks: bool,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let release = Release::open(args.release, args.values, discovery).await?;
    if args.dry_run && args.skip_checks {
        let manifests = release.ask(Verb::Render { offline: true }).await?;
        return Ok((namespace(&release.namespace) + &release::definitions_text() + &manifests).into());
    }
    let client = Release::client(discovery).await?;
    if !args.skip_checks {
        let failed = |found| {
            anyhow!(
                "this cluster cannot take the mesh; nothing was done:\n{found}(--skip-checks installs it all the same)"
            )
        };
        let warnings = obstacles(discovery).await.map_err(failed)?;
        if !warnings.is_empty() {
            say(warnings.trim_end());
        }
    }
    if let Some(installed) = release.installed().await? {
        bail!(there(&release.full_name(), &installed));
    }
    if let Some(place) = elsewhere(&client, &release).await? {
        bail!("a mesh is installed in this cluster already; nothing was done (weftctl upgrade {place})");
    }
    let manifests = release.ask(Verb::Render { offline: false }).await?;
    if args.dry_run {
        let known = release::namespace::exists(&client, &release.namespace).await.map_err(anyhow::Error::msg)?;
        let first = if known { String::new() } else { namespace(&release.namespace) };
        return Ok((first + &release::definitions_text() + &manifests).into());
    }
    install(&release, &client).await
}

async fn install(release: &Release, client: &Client) -> anyhow::Result<Output> {
    say(&format!("Installing Weft {} as {}.", release::version(), release.full_name()));
    definitions::apply(client).await?;
    let told = release.work(Verb::Install, client).await.map_err(|error| {
        anyhow!(
            "{error}\nWhat was made is still there: `weftctl upgrade` tries again, `weftctl uninstall` takes it away"
        )
    })?;
    Ok(notes(&told).into())
}

/// What the chart says to whoever has installed it.
fn notes(told: &str) -> String {
    let notes = told.split_once("NOTES:\n").map_or(told, |(_, notes)| notes);
    notes.trim().to_owned() + "\n"
}

/// Why there is nothing to install.
fn there(name: &str, installed: &Installed) -> String {
    let Installed { version, status, .. } = installed;
    match status.as_str() {
        "deployed" => format!("Weft {version} is installed already as {name}: `weftctl upgrade` changes it"),
        "failed" => {
            format!(
                "Weft {version} is there as {name}, and its last change failed: `weftctl upgrade` tries again, `weftctl uninstall` takes it away"
            )
        }
        other => match release::settled(other) {
            Err(refusal) => format!("{name}: {refusal}"),
            Ok(()) => format!("Weft {version} is there as {name} ({other}): `weftctl upgrade` changes it"),
        },
    }
}

/// The namespace as a document: helm makes it without having one.
fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_pointed_to() {
        let told = |status: &str| {
            let (chart, version, status) = ("weft".to_owned(), "0.1.0".to_owned(), status.to_owned());
            there("mesh/weft", &Installed { chart, version, revision: 3, status })
        };
        for (status, words) in [
            ("deployed", "installed already as mesh/weft: `weftctl upgrade`"),
            ("failed", "its last change failed: `weftctl upgrade` tries again"),
            ("pending-install", "another helm is at work, or was interrupted"),
            ("superseded", "(superseded)"),
        ] {
            assert!(told(status).contains(words), "{}", told(status));
        }
    }

    #[test]
    fn only_the_charts_own_words_are_passed_on() {
        assert_eq!(notes("NAME: weft\nREVISION: 1\nNOTES:\nWeft is in.\n\n  a\n"), "Weft is in.\n\n  a\n");
        assert_eq!(notes("no notes"), "no notes\n");
    }
}
