//! `weftctl status`: every discovery replica, then every proxy.
//!
//! Replicas are asked one by one and their proxies merged: a proxy that has just moved is listed where it connected last.
//! A replica that does not answer is listed as such; the command fails when none does.

use crate::connect::{Address, CallError, Discovery};
use crate::print::{self, Format, Output, Table, date, plain, span, time, wrapped};
use anyhow::bail;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::SystemTime;
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// A replica and what it said of itself.
pub type Replica<'a> = (&'a Address, Result<v1::StatusResponse, CallError>);

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let replicas = replicas(discovery).await;
    if replicas.iter().all(|(_, answer)| answer.is_err()) {
        let errors = replicas.into_iter().filter_map(|(_, answer)| answer.err());
        bail!(errors.map(|error| error.to_string()).collect::<Vec<_>>().join("\n"));
    }
    let proxies = proxies(discovery).await;
    Ok(match args.output {
        Format::Table | Format::Wide => {
            let wide = args.output == Format::Wide;
            format!("{}\n{}", replica_table(&replicas), proxy_table(&proxies, wide, SystemTime::now()))
        }
        Format::Json => print::json(&value(&replicas, &proxies))?,
        Format::Yaml => print::yaml(&[value(&replicas, &proxies)])?,
    }
    .into())
}

/// The wide tables, as text.
pub async fn text(discovery: &Discovery) -> anyhow::Result<String> {
    Ok(run(Args { output: Format::Wide }, discovery).await?.text)
}

/// What every replica says of itself.
pub async fn replicas(discovery: &Discovery) -> Vec<Replica<'_>> {
    discovery.each(async |mut admin| admin.status(v1::StatusRequest {}).await).await
}

/// Every connected proxy, by namespace and name. Replicas that do not answer have nothing to add.
pub async fn proxies(discovery: &Discovery) -> Vec<v1::Proxy> {
    connected(discovery).await.unwrap_or_default()
}

/// The same, and an error when no replica answers.
pub async fn connected(discovery: &Discovery) -> Result<Vec<v1::Proxy>, CallError> {
    let answers = discovery.each(async |mut admin| admin.list_proxies(v1::ListProxiesRequest {}).await).await;
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        return Err(CallError::of_all(answers.into_iter().filter_map(|(_, answer)| answer.err()).collect()));
    }
    let mut merged: BTreeMap<(String, String), v1::Proxy> = BTreeMap::new();
    for proxy in answers.into_iter().filter_map(|(_, answer)| answer.ok()).flat_map(|answer| answer.proxies) {
        let known = merged.entry((proxy.namespace.clone(), proxy.name.clone())).or_insert_with(|| proxy.clone());
        if known.connected_at < proxy.connected_at {
            *known = proxy;
        }
    }
    Ok(merged.into_values().collect())
}

/// How far a proxy is behind what discovery knows for it; `None`: it has all of it in force.
pub fn behind(proxy: &v1::Proxy) -> Option<String> {
    if proxy.pending > 0 {
        Some(format!("{} unsent", proxy.pending))
    } else if proxy.acked_revision < proxy.sent_revision {
        Some(format!("at {} of {}", proxy.acked_revision, proxy.sent_revision))
    } else {
        None
    }
}

fn replica_table(replicas: &[Replica<'_>]) -> String {
    let headings = [
        "DISCOVERY",
        "REPLICA",
        "VERSION",
        "STORE",
        "REVISION",
        "READY",
        "SERVICES",
        "ENDPOINTS",
        "ROUTES",
        "POLICIES",
    ];
    let mut table = Table::new(&headings);
    let (mut notes, width) = (String::new(), print::width());
    for (address, answer) in replicas {
        let mut cells = vec![address.to_string()];
        match answer {
            Ok(status) => {
                cells.extend([status.replica.clone(), status.version.clone(), status.store.clone()]);
                cells.push(status.revision.to_string());
                cells.push(if status.ready { "yes" } else { "no" }.to_owned());
                let counts = [status.services, status.endpoints, status.routes, status.policies];
                cells.extend(counts.map(|count| count.to_string()));
                for note in &status.notes {
                    notes.push_str(&wrapped(&format!("{}: ", plain(&status.replica)), &plain(note), width));
                }
            }
            Err(error) => {
                cells.resize(headings.len(), String::new());
                notes.push_str(&wrapped("", &error.to_string(), width));
            }
        }
        table.row(cells);
    }
    table.render() + &notes
}

fn proxy_table(proxies: &[v1::Proxy], wide: bool, now: SystemTime) -> String {
    if proxies.is_empty() {
        return "no proxy is connected\n".to_owned();
    }
    let mut headings =
        vec!["NAMESPACE", "PROXY", "IDENTITY", "VERSION", "REPLICA", "SENT", "ACKED", "BEHIND", "CONNECTED"];
    if wide {
        headings.extend(["ADDRESS", "ZONE", "SUBSCRIPTIONS"]);
    }
    let mut table = Table::new(&headings);
    for proxy in proxies {
        let connected = now.duration_since(time(proxy.connected_at)).unwrap_or_default();
        let mut cells = vec![
            proxy.namespace.clone(),
            proxy.name.clone(),
            proxy.identity.clone(),
            proxy.version.clone(),
            proxy.replica.clone(),
            proxy.sent_revision.to_string(),
            proxy.acked_revision.to_string(),
            behind(proxy).unwrap_or_else(|| "current".to_owned()),
            span(connected),
        ];
        if wide {
            cells.extend([proxy.address.clone(), proxy.zone.clone(), proxy.subscriptions.to_string()]);
        }
        table.row(cells);
    }
    table.render()
}

/// For programs: every replica, then every proxy.
pub fn value(replicas: &[Replica<'_>], proxies: &[v1::Proxy]) -> Value {
    let replica = |(address, answer): &Replica<'_>| match answer {
        Err(error) => json!({ "address": address.to_string(), "error": error.to_string() }),
        Ok(status) => json!({
            "address": address.to_string(),
            "replica": status.replica,
            "version": status.version,
            "store": status.store,
            "revision": status.revision,
            "ready": status.ready,
            "skipped": status.skipped,
            "notes": status.notes,
            "services": status.services,
            "endpoints": status.endpoints,
            "routes": status.routes,
            "policies": status.policies,
        }),
    };
    let proxy = |proxy: &v1::Proxy| {
        json!({
            "namespace": proxy.namespace,
            "name": proxy.name,
            "identity": proxy.identity,
            "address": proxy.address,
            "version": proxy.version,
            "zone": proxy.zone,
            "replica": proxy.replica,
            "sentRevision": proxy.sent_revision,
            "ackedRevision": proxy.acked_revision,
            "pending": proxy.pending,
            "subscriptions": proxy.subscriptions,
            "connectedAt": date(proxy.connected_at),
        })
    };
    json!({
        "discovery": replicas.iter().map(replica).collect::<Vec<_>>(),
        "proxies": proxies.iter().map(proxy).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(sent: u64, acked: u64, pending: u64) -> v1::Proxy {
        v1::Proxy {
            name: "cart-0".to_owned(),
            namespace: "shop".to_owned(),
            sent_revision: sent,
            acked_revision: acked,
            pending,
            connected_at: 100,
            replica: "d-1".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_proxy_is_current_when_all_is_sent_and_acknowledged() {
        assert_eq!(behind(&proxy(7, 7, 0)), None);
        assert_eq!(behind(&proxy(7, 5, 0)).unwrap(), "at 5 of 7");
        assert_eq!(behind(&proxy(7, 7, 2)).unwrap(), "2 unsent");
    }

    #[test]
    fn replicas_and_proxies_are_shown() {
        let (up, down): (Address, Address) = ("/run/a.sock".parse().unwrap(), "/run/b.sock".parse().unwrap());
        let status = v1::StatusResponse {
            replica: "d-1".to_owned(),
            store: "embedded".to_owned(),
            revision: 7,
            ready: true,
            notes: vec!["the brake holds shop/cart".to_owned()],
            ..Default::default()
        };
        let silent = CallError::Silent { address: down.clone(), reason: "timeout".to_owned() };
        let replicas = [(&up, Ok(status)), (&down, Err(silent))];
        let text = replica_table(&replicas);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("unix:///run/a.sock  d-1"), "{text}");
        assert!(lines[1].contains("embedded") && lines[1].contains("yes"), "{text}");
        assert_eq!(lines[3], "d-1: the brake holds shop/cart");
        assert!(lines[4].contains("does not answer"), "{text}");

        let text = proxy_table(&[proxy(7, 5, 0)], true, time(160));
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["shop", "cart-0", "-", "-", "d-1", "7", "5", "at", "5", "of", "7", "1m", "-", "-", "0"]);
        assert_eq!(proxy_table(&[], false, time(0)), "no proxy is connected\n");

        let value = value(&replicas, &[proxy(7, 5, 0)]);
        assert_eq!(value["discovery"][0]["revision"], 7);
        assert!(value["discovery"][1]["error"].as_str().unwrap().contains("b.sock"));
        assert_eq!(value["proxies"][0]["connectedAt"], "1970-01-01T00:01:40Z");
    }
}
