//! `weftctl stat`: success, rate and latency of services, routes or pods, over the last seconds.
//!
//! Services and routes are seen from their clients' sidecars, pods from their own. Counters are read twice, so that the
//! figures are of now and not of all the time that a proxy has been up.

mod rows;

use crate::connect::Discovery;
use crate::measure::tally::HEADINGS;
use crate::measure::{Reading, account, window};
use crate::print::{self, Output, Table, wrapped};
use crate::scope::Scope;
use crate::watch::Watch;
use clap::error::ErrorKind;
use rows::{By, Row, rows};
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows for what
    #[arg(value_name = "KIND", default_value = "services")]
    by: By,
    #[command(flatten)]
    scope: Scope,
    /// Only requests of this client: a proxy or a service account, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "CLIENT")]
    from: Option<Name>,
    /// Only requests to this service, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "SERVICE")]
    to: Option<Name>,
    #[command(flatten)]
    watch: Watch,
}

/// NAME or NAMESPACE/NAME.
#[derive(Debug, Clone)]
pub struct Name {
    namespace: Option<String>,
    name: String,
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        let parts = namespace.as_deref().into_iter().chain([name]);
        if parts.into_iter().any(|part| weft_model::names::subdomain(part).is_err()) {
            return Err("it is not NAME or NAMESPACE/NAME".to_owned());
        }
        Ok(Self { namespace, name: name.to_owned() })
    }
}

impl Name {
    /// Whether this means `name` of `namespace`.
    pub fn means(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

const FAMILIES: &[&str] = &["weft_requests", "weft_request_duration_seconds"];

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    if args.by == By::Pods && args.from.is_some() {
        let message = "pods do not know who called by name: leave --from out, or see `weftctl edges`\n";
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message).into());
    }
    let asked = |proxy: &v1::Proxy| wanted(&args, proxy);
    args.watch.run(discovery, FAMILIES, asked, |before, after| show(&args, before, after)).await
}

/// Which proxies can have anything to say.
fn wanted(args: &Args, proxy: &v1::Proxy) -> bool {
    let account = account(proxy);
    match (args.by, &args.from) {
        (By::Pods, _) => args.scope.namespace().is_none_or(|namespace| namespace == proxy.namespace),
        (_, Some(from)) => from.means(&proxy.namespace, &proxy.name) || from.means(&proxy.namespace, account),
        (_, None) => true,
    }
}

fn show(args: &Args, before: &[Reading], after: &[Reading]) -> anyhow::Result<String> {
    let within = |row: &Row| match &args.to {
        Some(to) => to.means(&row.namespace, &row.name),
        None => args.scope.namespace().is_none_or(|namespace| namespace == row.namespace),
    };
    let rows: Vec<Row> = rows(args.by, &window(before, after)).into_iter().filter(within).collect();
    let values = || rows.iter().map(|row| row.json(args.by)).collect();
    args.watch.print(|wide| table(args.by, &rows, wide), values)
}

fn table(by: By, rows: &[Row], wide: bool) -> String {
    if rows.is_empty() {
        return wrapped("", "nothing was asked for meanwhile; -A looks into all namespaces", print::width());
    }
    let mut headings = vec!["NAMESPACE"];
    headings.extend(match by {
        By::Services => &["SERVICE"][..],
        By::Routes => &["SERVICE", "ROUTE"],
        By::Pods => &["POD"],
    });
    headings.extend(HEADINGS);
    if wide {
        headings.extend(["REQUESTS", "FAILED"]);
    }
    let mut table = Table::new(&headings);
    for row in rows {
        let mut cells = vec![row.namespace.clone(), row.name.clone()];
        if by == By::Routes {
            cells.push(row.route.clone());
        }
        cells.extend(row.tally.cells(row.window));
        if wide {
            cells.extend([row.tally.requests, row.tally.failed].map(|count| format!("{count:.0}")));
        }
        table.row(cells);
    }
    table.render()
}
