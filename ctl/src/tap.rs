//! `weftctl tap`: requests as they end, a line each, from the sidecars that carry them.
//!
//! The filters are the sidecars' to carry out: what nobody asked for is not sent. Standard output has the requests, standard error
//! who is left out and how many requests were. Ends without an error on Ctrl-C, and when nobody reads its output any more.

pub mod live;
mod line;

use crate::connect::Discovery;
use crate::print::{Output, plain};
use crate::scope::Scope;
use crate::stat::Name;
use anyhow::bail;
use clap::error::ErrorKind;
use futures::StreamExt as _;
use line::{Form, Lines};
use live::Told;
use std::io::Write as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use weft_model::names::subdomain;
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the sidecars of this service's pods; without it, those of the whole namespace
    #[arg(value_name = "SERVICE", conflicts_with = "proxy", value_parser = |text: &str| subdomain(text))]
    service: Option<String>,
    /// Only this sidecar
    #[arg(long, value_name = "NAME", value_parser = |text: &str| subdomain(text))]
    proxy: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// Only requests of this client: a proxy or a service account, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "CLIENT")]
    from: Option<Name>,
    /// Only requests to this service, NAME or NAMESPACE/NAME
    #[arg(long, value_name = "SERVICE")]
    to: Option<Name>,
    /// Only requests with this method, as in POST
    #[arg(long, value_name = "METHOD", value_parser = method)]
    method: Option<String>,
    /// Only paths that begin so
    #[arg(long, value_name = "PREFIX", value_parser = path)]
    path: Option<String>,
    /// Only answers with this HTTP status: 503, 5xx, or >=500
    #[arg(long, value_name = "STATUS", value_parser = Statuses::parse)]
    status: Option<Statuses>,
    /// Only requests of which the mesh says this reason, as in no-endpoints
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<String>,
    /// Only what sidecars let in, or only what they send out
    #[arg(long, value_name = "DIRECTION")]
    direction: Option<Direction>,
    /// Show header fields as well; credentials and cookies are masked
    #[arg(long)]
    headers: bool,
    /// End after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = seconds)]
    time: Duration,
    /// The most requests a second that one sidecar tells of; the rest is counted
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// How to print; json is one object a line
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Direction {
    #[value(alias = "in")]
    Inbound,
    #[value(alias = "out")]
    Outbound,
}

/// A range of statuses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Statuses {
    min: u32,
    max: u32,
}

impl Statuses {
    /// `503`, `5xx`, or a comparison as in `>=500`.
    fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let status = text.trim().parse().ok().filter(|status| (100..=599).contains(status));
            status.ok_or_else(|| format!("{text:?} is no status from 100 to 599; write 503, 5xx or >=500"))
        };
        if let Some(class) = text.strip_suffix("xx") {
            let hundreds = class.parse::<u32>().ok().filter(|class| (1..=5).contains(class)).map(|class| class * 100);
            let min = hundreds.ok_or_else(|| format!("{text:?} is none of 1xx to 5xx"))?;
            return Ok(Self { min, max: min + 99 });
        }
        Ok(match () {
            () if text.starts_with(">=") => Self { min: number(&text[2..])?, max: 599 },
            () if text.starts_with("<=") => Self { min: 100, max: number(&text[2..])? },
            () if text.starts_with('>') => Self { min: number(&text[1..])? + 1, max: 600 },
            () if text.starts_with('<') => Self { min: 1, max: number(&text[1..])? - 1 },
            () => number(text).map(|status| Self { min: status, max: status })?,
        })
    }
}

fn method(text: &str) -> Result<String, String> {
    let sound = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(&b));
    sound.then(|| text.to_ascii_uppercase()).ok_or_else(|| "it is no HTTP method".to_owned())
}

fn path(text: &str) -> Result<String, String> {
    text.starts_with('/').then(|| text.to_owned()).ok_or_else(|| "a path begins with /".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    let word = !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    word.then(|| text.to_owned()).ok_or_else(|| "a reason is a word as in no-endpoints".to_owned())
}

/// A second to a day: whoever goes home leaves nothing running for ever.
fn seconds(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let sound = (Duration::from_secs(1)..=Duration::from_secs(24 * 3600)).contains(&time);
    sound.then_some(time).ok_or_else(|| "it is not between 1s and 24h".to_owned())
}

impl Args {
    fn request(&self) -> v1::TapRequest {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let name = |name: &Option<Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        let direction = match self.direction {
            None => v1::TapDirection::Any,
            Some(Direction::Inbound) => v1::TapDirection::Inbound,
            Some(Direction::Outbound) => v1::TapDirection::Outbound,
        };
        let statuses = self.status.unwrap_or(Statuses { min: 0, max: 0 });
        let tap = v1::Tap {
            from: name(&self.from),
            to: name(&self.to),
            method: text(&self.method),
            path: text(&self.path),
            min_status: statuses.min,
            max_status: statuses.max,
            reason: text(&self.reason),
            direction: direction.into(),
            headers: self.headers,
            per_second: self.rate,
            seconds: self.time.as_secs(),
        };
        let namespace = self.scope.namespace().unwrap_or_default().to_owned();
        v1::TapRequest { namespace, proxy: text(&self.proxy), service: text(&self.service), tap: Some(tap) }
    }

    /// Whose sidecars are meant, for people.
    fn subject(&self) -> String {
        let namespace = self.scope.namespace().unwrap_or("any namespace");
        match (&self.service, &self.proxy) {
            (Some(service), _) => format!("sidecar of a service {service} in {namespace}"),
            (None, Some(proxy)) => format!("sidecar {proxy} in {namespace}"),
            (None, None) => format!("sidecar in {namespace}"),
        }
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    if args.service.is_some() && args.scope.all_namespaces {
        let message = "a service is one of a namespace: leave -A out, or the service; --to takes services of all\n";
        return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message).into());
    }
    let mut live = live::start(discovery, args.request()).await?;
    for note in &live.notes {
        eprintln!("{}", plain(note));
    }
    if live.proxies == 0 {
        bail!("no {} is connected; `weftctl status` lists those that are, -A taps all", args.subject());
    }
    let mut lines = Lines::new(args.output);
    // From the first line on, Ctrl-C is no error.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let (mut shown, mut dropped, mut read) = (0, 0, true);
    if let Some(headings) = lines.headings() {
        read = write(&headings)?;
    }
    // Proxies end by themselves, and say how much is missing.
    let over = tokio::time::sleep(args.time + LAST_WORDS);
    tokio::pin!(over);
    while read && args.max.is_none_or(|max| shown < max) {
        let told = tokio::select! {
            told = live.told.next() => told,
            () = &mut over => None,
            _ = interrupted.recv() => None,
        };
        match told {
            None => break,
            Some(Told::Request(event)) => {
                shown += 1;
                read = write(&lines.of(&event))?;
            }
            Some(Told::Dropped { count, .. }) => dropped += count,
            Some(Told::Left { proxy, why }) => eprintln!("{}", plain(&format!("{proxy}: {why}"))),
        }
    }
    if read && let Some(end) = lines.end(shown, dropped) {
        write(&end)?;
    }
    Ok(Output { notes: line::summary(shown, dropped, args.rate), ..Output::default() })
}

/// How long proxies have after their time for their last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// `false`: nobody reads any more.
fn write(text: &str) -> std::io::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_a_class_or_a_comparison() {
        for (text, min, max) in
            [("503", 503, 503), ("5xx", 500, 599), (">=500", 500, 599), ("<=299", 100, 299), (">499", 500, 600)]
        {
            assert_eq!(Statuses::parse(text), Ok(Statuses { min, max }), "{text}");
        }
        for text in ["", "5", "xx", "6xx", "50x", "=500", ">=", "<1000", "five", "-1xx"] {
            assert!(Statuses::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(method("get").is_ok_and(|method| method == "GET") && method("GE T").is_err() && method("").is_err());
        assert!(path("/a").is_ok() && path("a").is_err() && reason("no-endpoints").is_ok() && reason("No!").is_err());
        assert!(seconds("10m").is_ok() && seconds("25h").is_err() && seconds("1ms").is_err() && seconds("x").is_err());
    }
}
