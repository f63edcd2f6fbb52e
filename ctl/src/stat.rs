//! `weftctl stat`: success, rate and latency of services, routes or pods, over the last seconds.
//!
//! Services and routes are seen from their clients' sidecars, pods from their own. Counters are read twice, so that the
//! figures are of now and not of all the time that a proxy has been up.

mod rows;

use crate::connect::Discovery;
use crate::measure::tally::HEADINGS;
use crate::measure::{Reading, readings, window};
use crate::print::{self, Format, Output, Table, plain};
use crate::scope::Scope;
use clap::error::ErrorKind;
use rows::{By, Row, rows};
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
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
    /// Over how long
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = seconds)]
    window: Duration,
    /// Again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
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

/// Half a second to an hour: less is noise, and more is a case for Prometheus.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let sound = (Duration::from_millis(500)..=Duration::from_secs(3600)).contains(&window);
    sound.then_some(window).ok_or_else(|| "it is not between 500ms and 1h".to_owned())
}

const FAMILIES: &[&str] = &["weft_requests", "weft_request_duration_seconds"];

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    if args.by == By::Pods && args.from.is_some() {
        let message = "pods do not know who called by name: leave --from out, or see `weftctl edges`\n";
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message).into());
    }
    let asked = |proxy: &v1::Proxy| wanted(&args, proxy);
    let (mut before, _) = readings(discovery, FAMILIES, asked).await?;
    loop {
        if !args.watch && std::io::stderr().is_terminal() {
            eprintln!("counting for {}...", humantime::format_duration(args.window));
        }
        tokio::time::sleep(args.window).await;
        let (after, notes) = readings(discovery, FAMILIES, asked).await?;
        let output = show(&args, &before, &after, notes)?;
        if !args.watch {
            return Ok(output);
        }
        if !refresh(&output)? {
            return Ok(Output::default());
        }
        before = after;
    }
}

/// Which proxies can have anything to say.
fn wanted(args: &Args, proxy: &v1::Proxy) -> bool {
    let account = proxy.identity.rsplit('/').next().unwrap_or_default();
    match (args.by, &args.from) {
        (By::Pods, _) => args.scope.namespace().is_none_or(|namespace| namespace == proxy.namespace),
        (_, Some(from)) => from.means(&proxy.namespace, &proxy.name) || from.means(&proxy.namespace, account),
        (_, None) => true,
    }
}

fn show(args: &Args, before: &[Reading], after: &[Reading], notes: Vec<String>) -> anyhow::Result<Output> {
    let within = |row: &Row| match &args.to {
        Some(to) => to.means(&row.namespace, &row.name),
        None => args.scope.namespace().is_none_or(|namespace| namespace == row.namespace),
    };
    let rows: Vec<Row> = rows(args.by, &window(before, after)).into_iter().filter(within).collect();
    let text = match args.output {
        Format::Table | Format::Wide => table(args, &rows),
        Format::Json => print::json(&rows.iter().map(|row| row.json(args.by)).collect::<Vec<_>>())?,
        Format::Yaml => print::yaml(&[rows.iter().map(|row| row.json(args.by)).collect::<Vec<_>>()])?,
    };
    Ok(Output { text, notes: notes.iter().map(|note| plain(note)).collect(), failed: false })
}

fn table(args: &Args, rows: &[Row]) -> String {
    if rows.is_empty() {
        return "nothing was asked for meanwhile; -A looks into all namespaces\n".to_owned();
    }
    let wide = args.output == Format::Wide;
    let mut headings = vec!["NAMESPACE"];
    headings.extend(match args.by {
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
        if args.by == By::Routes {
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

/// Shows the next state in the place of the last one. `false`: nobody reads any more.
pub fn refresh(output: &Output) -> std::io::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    // Home, and clear what is below: less flicker than clearing all of it first.
    let clear = if stdout.is_terminal() { "\x1b[H\x1b[J" } else { "" };
    let notes: String = output.notes.iter().map(|note| format!("{note}\n")).collect();
    match write!(stdout, "{clear}{}{notes}", output.text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
