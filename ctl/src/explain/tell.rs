//! An explanation for people: a line or a few for each step, in 80 columns.
//!
//! Pure. Whatever a name contains stays in its line (`print::plain`); colours are only ever around whole words.

use crate::print::{Table, plain};
use std::fmt::Write as _;
use std::time::Duration;
use weft_model::EndpointState;
use weft_model::explain::access::{Access, Limited, Occupied, RateLeft, Ruling};
use weft_model::explain::{
    Behind, Candidate, Considered, Explanation, Imagined, InForce, Origin, Outcome, Refusal, Standing, Tries, Unfit,
    Verdict, Way,
};
use weft_model::limits::RateKey;
use weft_model::policy::{HashKey, Hedge, Retry};
use weft_model::route::{HeaderEdit, RouteKind};

/// Lines are at most this long, unless a single word is longer.
const WIDTH: usize = 80;
/// Where the text beside the labels begins.
const INDENT: usize = 10;

/// Lines with labels.
struct Lines {
    text: String,
    colours: bool,
}

/// How a step stands out.
#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Good,
    Bad,
}

impl Lines {
    fn say(&mut self, label: &str, text: &str) {
        self.toned(label, text, Tone::Plain);
    }

    /// `label`, and beside it `text`, broken between words.
    fn toned(&mut self, label: &str, text: &str, tone: Tone) {
        let (on, off) = match tone {
            Tone::Good if self.colours => ("\x1b[32m", "\x1b[0m"),
            Tone::Bad if self.colours => ("\x1b[31m", "\x1b[0m"),
            _ => ("", ""),
        };
        let mut label = label;
        for line in broken(&plain(text)) {
            let line = format!("{label:INDENT$}{on}{line}{off}");
            self.text.push_str(line.trim_end());
            self.text.push('\n');
            label = "";
        }
    }
}

fn broken(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a last line");
        if !line.is_empty() && INDENT + line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(word.to_owned());
        } else {
            let gap = if line.is_empty() { "" } else { " " };
            line.push_str(&[gap, word].concat());
        }
    }
    lines
}

/// The whole of it.
pub fn tell(request: &Imagined, explanation: &Explanation, colours: bool) -> String {
    let Explanation { from, service, routing, ways, outcome } = explanation;
    let mut lines = Lines { text: String::new(), colours };
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    lines.say("request", &format!("{} {}{query}", request.method, request.path));
    request.headers.iter().for_each(|(name, value)| lines.say("", &format!("{name}: {value}")));
    let zone = from.zone.as_ref().map(|zone| format!(", zone {zone}")).unwrap_or_default();
    let away = if from.connected { "" } else { "; discovery is away" };
    lines.say("from", &format!("{}/{}{zone}, at revision {}{away}", from.namespace, from.proxy, from.revision));
    let addresses: Vec<String> = service.virtual_addresses.iter().map(ToString::to_string).collect();
    let addresses = if addresses.is_empty() { String::new() } else { format!(", {}", addresses.join(", ")) };
    let protocol = format!("{:?}", service.protocol).to_lowercase();
    lines.say("service", &format!("{}, port {} ({protocol}){addresses}", service.service, service.port));
    if let Some(endpoint) = &service.endpoint {
        lines.say("endpoint", &format!("{endpoint}, dialled by its own name or address"));
    }
    match (&routing.skipped, &routing.considered[..]) {
        (Some(why), _) => lines.say("routes", why),
        (None, []) => lines.say("routes", "none: straight to the service"),
        (None, all) => considered(&mut lines, all),
    }
    for mirror in &routing.mirrors {
        let refused = if mirror.refused { ", which is not granted: not sent" } else { "" };
        let (n, of) = (mirror.numerator, mirror.denominator);
        lines.say("mirror", &format!("{n} of {of} copied to {}:{}{refused}", mirror.service, mirror.port));
    }
    ways.iter().for_each(|way| tell_way(&mut lines, way, from.workers));
    lines.text.push('\n');
    match outcome {
        Outcome::Forwarded if reset(ways) => lines.toned("result", "reset by the endpoint's sidecar", Tone::Bad),
        Outcome::Forwarded if ways.len() > 1 => lines.toned("result", "sent to one of the backends", Tone::Good),
        Outcome::Forwarded => lines.toned("result", "sent to an endpoint", Tone::Good),
        Outcome::Redirected { status, location } => {
            lines.toned("result", &format!("redirected: {status}, location {location}"), Tone::Good);
        }
        Outcome::Refused(refusal) => lines.toned("result", &refused(refusal), Tone::Bad),
    }
    lines.text
}

fn considered(lines: &mut Lines, all: &[Considered]) {
    for (number, match_) in all.iter().enumerate() {
        let label = if number == 0 { "routes" } else { "" };
        let kind = match match_.kind {
            RouteKind::Http => "HTTPRoute",
            RouteKind::Grpc => "GRPCRoute",
        };
        let consumer = if match_.consumer { " of this namespace" } else { "" };
        let missed = match_.missed.iter().map(|missed| {
            let found = missed.found.as_ref().map_or("there is none".to_owned(), |found| format!("it is {found}"));
            format!("{}: {found}, not {}", missed.part, missed.asked)
        });
        let (why, tone) = match match_.verdict {
            Verdict::Chosen => ("matches: this rule applies".to_owned(), Tone::Good),
            Verdict::Outranked => ("matches too, but the one that applies comes before it".to_owned(), Tone::Plain),
            Verdict::Unmatched => (format!("does not match: {}", missed.collect::<Vec<_>>().join("; ")), Tone::Plain),
            Verdict::OtherPort => ("is for another port".to_owned(), Tone::Plain),
            Verdict::NotInForce => ("is not in force: routes of another group have this port".to_owned(), Tone::Plain),
        };
        lines.toned(label, &format!("{kind} {}, match {}{consumer}: {why}", match_.rule, match_.number), tone);
    }
}

fn tell_way(lines: &mut Lines, way: &Way, workers: usize) {
    lines.text.push('\n');
    lines.say("backend", &format!("{}:{}, {} of the requests", way.service, way.port, percent(way.share)));
    if let Some(refusal) = &way.refused {
        lines.toned("", &refused(refusal), Tone::Bad);
    }
    if let Some(host) = &way.host {
        lines.say("rewrite", &format!("host {host}"));
    }
    if let Some(target) = &way.target {
        lines.say("rewrite", &format!("path {target}"));
    }
    edits(lines, "request", &way.request_headers);
    edits(lines, "response", &way.response_headers);
    if let Some(tries) = &way.tries {
        tell_tries(lines, tries, workers);
    }
    if let Some(access) = &way.access {
        tell_access(lines, access);
    }
}

fn tell_access(lines: &mut Lines, Access { endpoint, ruling, limits }: &Access) {
    let by = |policy: &str| match policy {
        "default" => "by the namespace's default".to_owned(),
        policy => format!("by policy {policy}"),
    };
    let (text, tone) = match ruling {
        Ruling::Untold => (format!("{endpoint} was never told any policies: let in"), Tone::Plain),
        Ruling::Open => (format!("{endpoint} lets it in: no policy concerns it"), Tone::Plain),
        Ruling::Allowed { policy, audit } => {
            let audit = audit.as_ref().map(|audit| format!("; {audit}, which is in audit mode, would deny it"));
            (format!("{endpoint} lets it in {}{}", by(policy), audit.unwrap_or_default()), Tone::Good)
        }
        Ruling::Refused { policy, answer } => {
            let by = policy.as_deref().map(|policy| format!(" {}", by(policy))).unwrap_or_default();
            let answer = answer.as_ref().map_or("the connection is reset".to_owned(), refused);
            (format!("denied at {endpoint}{by}: {answer}"), Tone::Bad)
        }
        Ruling::NoSidecar => (format!("{endpoint} has no sidecar: nobody decides"), Tone::Plain),
        Ruling::Unknown(why) => (format!("whether {endpoint} lets it in is unknown: {why}"), Tone::Plain),
    };
    lines.toned("access", &text, tone);
    for (n, line) in limits.iter().flat_map(limited).enumerate() {
        lines.say(if n == 0 { "limits" } else { "" }, &line);
    }
}

/// What a sidecar limits, a line for each.
fn limited(limits: &Limited) -> Vec<String> {
    let rate = |rate: &RateLeft| {
        let RateLeft { name, requests, per, key, left } = rate;
        let whom = match key {
            RateKey::Service => "all clients together",
            RateKey::Identity => "each identity",
            RateKey::Address => "each address",
        };
        let left = if *left == 0 { "none left: refused with 429".to_owned() } else { format!("{left} left") };
        format!("rate {name}: {requests} in {} for {whom}, {left}", time(*per))
    };
    let taken = |what: &str, Occupied { now, most }: &Occupied| format!("{what}: {now} of {most}");
    let rates = limits.rates.iter().map(rate);
    let requests = limits.requests.iter().map(|places| taken("requests under way", places));
    rates.chain(requests).chain(limits.connections.iter().map(|places| taken("connections", places))).collect()
}

/// Whether every way ends in a reset.
fn reset(ways: &[Way]) -> bool {
    let denied = |way: &Way| matches!(&way.access, Some(Access { ruling: Ruling::Refused { answer: None, .. }, .. }));
    !ways.is_empty() && ways.iter().all(|way| way.refused.is_some() || denied(way))
}

fn percent(share: f64) -> String {
    if (share - share.round()).abs() < 0.05 { format!("{share:.0} %") } else { format!("{share:.1} %") }
}

fn refused(Refusal { status, reason, text }: &Refusal) -> String {
    format!("refused: {status}, weft-reason: {reason} ({text})")
}

fn edits(lines: &mut Lines, of: &str, edit: &HeaderEdit) {
    let line = |word: &str, (name, value): &(String, String)| format!("{word} {name}: {value}");
    let set = edit.set.iter().map(|field| line("set", field));
    let add = edit.add.iter().map(|field| line("add", field));
    let remove = edit.remove.iter().map(|name| format!("remove {name}"));
    let all: Vec<String> = set.chain(add).chain(remove).collect();
    if !all.is_empty() {
        lines.say("headers", &format!("of the {of}: {}", all.join("; ")));
    }
}

fn tell_tries(lines: &mut Lines, tries: &Tries, workers: usize) {
    let hash = tries.hash.as_ref().map(|hash| {
        let to = hash.endpoint.as_ref().map_or("which the request lacks".to_owned(), |id| format!("which gives {id}"));
        format!(" on {}, {to}", key(&hash.on))
    });
    lines.say("balancer", &format!("{}{}", tries.balancer, hash.unwrap_or_default()));
    if let Some(session) = &tries.session {
        let endpoint = session.endpoint.as_ref();
        let to = endpoint.map_or("none yet: the answer brings one".to_owned(), |id| format!("it names {id}"));
        let carrier = if session.header { "header" } else { "cookie" };
        lines.say("session", &format!("by {carrier} {}; {to}", session.name));
    }
    endpoints(lines, &tries.endpoints);
    if tries.unlisted > 0 {
        lines.say("", &format!("and {} more", tries.unlisted));
    }
    if workers > 1 && !tries.endpoints.is_empty() {
        lines.say("", &format!("as the first of the proxy's {workers} workers sees them"));
    }
    encryption(lines, &tries.endpoints);
    let bound = |limit: &InForce<Option<Duration>>| {
        format!("{} ({})", limit.value.map_or("no limit".to_owned(), time), origin(limit.origin))
    };
    let connect = format!("{} ({})", time(tries.connect.value), origin(tries.connect.origin));
    let (request, each) = (bound(&tries.request), bound(&tries.each_try));
    lines.say("timeouts", &format!("request {request}, each try {each}, connect {connect}"));
    lines.say("retries", &retries(&tries.retry, tries.idempotent));
    if let Some(hedge) = &tries.retry.value.hedge {
        lines.say("hedging", &hedging(hedge, tries.hedged_after));
    }
}

fn key(on: &HashKey) -> String {
    match on {
        HashKey::SourceAddress => "the source address".to_owned(),
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie(name) => format!("cookie {name}"),
        HashKey::QueryParam(name) => format!("query parameter {name}"),
    }
}

fn endpoints(lines: &mut Lines, all: &[Candidate]) {
    let mut table = Table::new(&["ENDPOINT", "ADDRESS", "ZONE", "WEIGHT", "OPEN", "LATENCY", "FIRST TRY"]);
    for endpoint in all {
        let penalty =
            if endpoint.penalty.as_millis() == 0 { String::new() } else { format!("+{}", time(endpoint.penalty)) };
        table.row(vec![
            endpoint.id.clone(),
            endpoint.address.map(|address| address.to_string()).unwrap_or_default(),
            endpoint.zone.clone().unwrap_or_default(),
            endpoint.weight.to_string(),
            endpoint.in_flight.to_string(),
            time(endpoint.latency) + &penalty,
            standing(endpoint),
        ]);
    }
    if all.is_empty() {
        return lines.say("endpoints", "none");
    }
    for line in table.render().lines() {
        writeln!(lines.text, "  {line}").expect("writing to a String does not fail");
    }
}

fn standing(endpoint: &Candidate) -> String {
    match &endpoint.standing {
        // In a panic, or by its own address.
        Standing::Candidate if endpoint.state == EndpointState::NotReady => "yes, though not ready".to_owned(),
        Standing::Candidate => "yes".to_owned(),
        Standing::Later(Behind::Zone) => "later: other zone".to_owned(),
        Standing::Later(Behind::SlowStart) => "later: new".to_owned(),
        Standing::Later(Behind::Subset) => "later: not in subset".to_owned(),
        Standing::Later(Behind::Priority) => "later: priority".to_owned(),
        Standing::Later(Behind::Unreached(left)) => format!("later: unreached, {}", time(*left)),
        Standing::Later(Behind::Ejected { cause, left }) => format!("later: ejected ({cause}), {}", time(*left)),
        Standing::Later(Behind::NotNamed) => "later".to_owned(),
        Standing::Out(Unfit::NotReady) => "no: not ready".to_owned(),
        Standing::Out(Unfit::Unhealthy) => "no: fails checks".to_owned(),
        Standing::Out(Unfit::Terminating) => "no: terminating".to_owned(),
        Standing::Out(Unfit::NoWeight) => "no: weight 0".to_owned(),
    }
}

/// Whom the proxy expects, for endpoints that expect the same.
fn encryption(lines: &mut Lines, all: &[Candidate]) {
    let mut told = Vec::new();
    for endpoint in all {
        if told.contains(&&endpoint.identity) {
            continue;
        }
        let alike = all.iter().filter(|other| other.identity == endpoint.identity).count();
        let of = if alike == all.len() { String::new() } else { format!(" ({alike} of {})", all.len()) };
        match &endpoint.identity {
            Some(id) => lines.say("mtls", &format!("to {id}{of}")),
            None => lines.say("mtls", &format!("no, in the clear{of}")),
        }
        told.push(&endpoint.identity);
    }
}

fn retries(retry: &InForce<Retry>, idempotent: bool) -> String {
    let Retry { attempts, non_idempotent, statuses, .. } = &retry.value;
    let by = origin(retry.origin);
    if *attempts == 0 {
        return format!("none ({by})");
    }
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    let safe = "when an endpoint was not reached";
    match idempotent || *non_idempotent {
        true => format!("{attempts} at most ({by}): {safe}, on a reset, and on {}", statuses.join(", ")),
        false => format!("{attempts} at most ({by}): only {safe}, for the method is not idempotent"),
    }
}

fn hedging(hedge: &Hedge, now: Option<Duration>) -> String {
    match (now, hedge.percentile) {
        (None, _) => "no: only one endpoint may have this request".to_owned(),
        (Some(now), None) => format!("another endpoint is asked as well without an answer after {}", time(now)),
        (Some(now), Some(percent)) => {
            format!("another endpoint is asked as well after {}, by the {percent}. percentile", time(now))
        }
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Rule => "rule",
        Origin::Policy => "policy",
        Origin::Default => "default",
    }
}

/// Three digits of it are enough.
fn time(time: Duration) -> String {
    match time {
        Duration::ZERO => "0".to_owned(),
        short if short < Duration::from_millis(10) => format!("{:.1}ms", short.as_secs_f64() * 1e3),
        middle if middle < Duration::from_secs(1) => format!("{}ms", middle.as_millis()),
        long if long.subsec_millis() == 0 => format!("{}s", long.as_secs()),
        long => format!("{:.1}s", long.as_secs_f64()),
    }
}

#[cfg(test)]
#[path = "tell_tests.rs"]
mod tests;
