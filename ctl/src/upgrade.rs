//! `weftctl upgrade`: another version of the control plane, or other values, with the values of before where none are given.
//!
//! Looks first (which version is there, whether it can follow, the values), then brings the definitions up to date, then has helm replace the
//! parts one by one. What is refused leaves the cluster as it was.

use crate::connect::Discovery;
use crate::print::{Output, colours};
use crate::progress::say;
use crate::release::{self, Flags, Installed, Objects, Refusal, Release, Values, Verb, definitions, elsewhere};
use anyhow::{anyhow, bail};
use kube::Client;

pub const ABOUT: &str = "Upgrade the mesh's control plane in a Kubernetes cluster, or change its values.\n\nThe release gets the chart that comes \
with weftctl and keeps the values that it has, but for those that are given here. Definitions (CRDs) are brought up to date, too. Parts are \
replaced one by one, and the mesh goes on meanwhile; pods keep the sidecar that they have until they are made anew.";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    release: Flags,
    /// Show what would change, object by object, without what Secrets hold, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also to an older minor version, or over one: nobody has tested that
    #[arg(long)]
    force: bool,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let release = Release::open(args.release, args.values, discovery).await?;
    let client = Release::client(discovery).await?;
    let Some(installed) = release.installed().await? else {
        let place = elsewhere(&client, &release).await?;
        bail!(nothing(&release.full_name(), place));
    };
    judged(&installed, &release::version(), args.force)?;
    // Also finds values that are wrong, while nothing has changed yet.
    let (before, after) = (release.manifest().await?, release.upgraded().await?);
    if args.dry_run {
        return compared(&release, &installed, (before, after), &client).await;
    }
    upgrade(&release, &installed, &client).await
}

async fn upgrade(release: &Release, installed: &Installed, client: &Client) -> anyhow::Result<Output> {
    let (name, version) = (release.full_name(), release::version());
    say(&format!("Upgrading {name} from Weft {} to {version}.", installed.version));
    definitions::apply(client).await?;
    let again =
        |error| anyhow!("{error}\nIt is as far as it came: `weftctl upgrade` tries again, `helm rollback` goes back");
    release.work(Verb::Upgrade, client).await.map_err(again)?;
    let revision = release.installed().await?.map_or(installed.revision + 1, |installed| installed.revision);
    let text = format!(
        "Weft {version} is in {}, revision {revision}.\n\n  weftctl check                              whether all is well\n  \
         kubectl -n NAME rollout restart deployment  pods keep their sidecar until they are made anew\n",
        release.namespace
    );
    Ok(text.into())
}

async fn compared(
    release: &Release,
    installed: &Installed,
    (mut before, mut after): (Objects, Objects),
    client: &Client,
) -> anyhow::Result<Output> {
    let (there, then) = definitions::compared(client).await?;
    before.extend(there);
    after.extend(then);
    let (name, version) = (release.full_name(), release::version());
    let note = format!("{name}: Weft {}, revision {}; would be {version}", installed.version, installed.revision);
    let text = release::told(&before, &after, colours());
    Ok(Output { text, notes: vec![note], failed: false })
}

/// Whether it may be upgraded to `version`.
fn judged(installed: &Installed, version: &str, force: bool) -> anyhow::Result<()> {
    let refusal = release::settled(&installed.status).and_then(|()| release::step(&installed.version, version));
    match refusal {
        Err(refusal) if refusal.can_be_forced() && !force => bail!("{refusal} (--force does it all the same)"),
        Err(refusal @ Refusal::Pending { .. }) => bail!(refusal),
        _ => Ok(()),
    }
}

/// Why there is nothing to upgrade.
fn nothing(name: &str, elsewhere: Option<String>) -> String {
    match elsewhere {
        Some(place) => {
            format!("there is no release {name}; the mesh of this cluster is another: weftctl upgrade {place}")
        }
        None => format!("there is no release {name}, and no mesh in this cluster: `weftctl install` installs it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_far_off_needs_force_and_what_is_under_way_cannot_be_forced() {
        let judged = |version: &str, status: &str, force: bool| {
            let (chart, version, status) = ("weft".to_owned(), version.to_owned(), status.to_owned());
            super::judged(&Installed { chart, version, revision: 1, status }, "0.2.0", force).map_err(|e| e.to_string())
        };
        assert_eq!(judged("0.1.0", "deployed", false), Ok(()));
        assert_eq!(judged("0.2.0", "failed", false), Ok(()), "tries again");
        assert!(judged("0.3.0", "deployed", false).unwrap_err().contains("older: use the weftctl of the version"));
        assert!(judged("0.3.0", "deployed", false).unwrap_err().ends_with("(--force does it all the same)"));
        assert_eq!(judged("0.3.0", "deployed", true), Ok(()));
        assert!(judged("0.1.0", "pending-upgrade", true).unwrap_err().contains("helm rollback"));
    }

    #[test]
    fn where_the_mesh_is_instead_is_said() {
        assert!(nothing("mesh/weft", None).contains("`weftctl install`"));
        let other = nothing("mesh/weft", Some("--mesh-namespace b --release c".to_owned()));
        assert!(other.ends_with("weftctl upgrade --mesh-namespace b --release c"), "{other}");
    }
}
