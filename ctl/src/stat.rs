//! `weftctl stat`: success, rate and latency of services, routes or pods, over the last seconds.
//!
//! Services and routes are seen from their clients' sidecars, pods from their own. Counters are read twice, so that the
//! figures are of now and not of all the time that a proxy has been up.

pub mod rows;

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
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    watch: Watch,
}

/// Which rows there are.
#[derive(Debug, clap::Args)]
pub struct Subject {
    /// Rows for what
    #[arg(value_name = "KIND", default_value = "services")]
    pub by: By,
    #[command(flatten)]
    scope: Scope,
    /// Only requests of this client: a proxy or a service account, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "CLIENT")]
    from: Option<Name>,
    /// Only requests to this service, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "SERVICE")]
    to: Option<Name>,
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

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Name {
    /// Whether this means `name` of `namespace`.
    pub fn means(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_deref().is_none_or(|own| own == namespace)
    }
}

/// The counters that rows are made of.
pub const FAMILIES: &[&str] = &["weft_requests", "weft_request_duration_seconds"];

impl Subject {
    /// Arguments that are wrong together.
    pub fn check(&self) -> Result<(), clap::Error> {
        let message = "pods do not know who called by name: leave --from out, or see `weftctl edges`\n";
        let wrong = self.by == By::Pods && self.from.is_some();
        if wrong { Err(clap::Error::raw(ErrorKind::ArgumentConflict, message)) } else { Ok(()) }
    }

    /// Whether this proxy can have anything to say.
    pub fn asks(&self, proxy: &v1::Proxy) -> bool {
        let account = account(proxy);
        match (self.by, &self.from) {
            (By::Pods, _) => self.scope.namespace().is_none_or(|namespace| namespace == proxy.namespace),
            (_, Some(from)) => from.means(&proxy.namespace, &proxy.name) || from.means(&proxy.namespace, account),
            (_, None) => true,
        }
    }

    /// What came between two readings.
    pub fn rows(&self, before: &[Reading], after: &[Reading]) -> Vec<Row> {
        let within = |row: &Row| match &self.to {
            Some(to) => to.means(&row.namespace, &row.name),
            None => self.scope.namespace().is_none_or(|namespace| namespace == row.namespace),
        };
        rows(self.by, &window(before, after)).into_iter().filter(within).collect()
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    args.subject.check()?;
    let Args { subject, watch } = &args;
    let show = |before: &[Reading], after: &[Reading]| {
        let rows = subject.rows(before, after);
        let values = || rows.iter().map(|row| row.json(subject.by)).collect();
        watch.print(|wide| table(subject.by, &rows, wide), values)
    };
    watch.run(discovery, FAMILIES, |proxy| subject.asks(proxy), show).await
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
