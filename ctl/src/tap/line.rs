//! How a tapped request looks: a line of columns for people, a line of JSON for programs.
//!
//! Pure. Columns grow with what has passed through them, since nobody knows what comes; whatever a client has sent, a line stays a
//! line, and nothing in it reaches the terminal as a command.

use super::live::Event;
use crate::print::plain;
use serde_json::json;

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Form {
    #[default]
    Table,
    /// With bytes, identity and trace
    Wide,
    Json,
}

/// Columns do not grow beyond this; what is longer runs over.
const WIDEST: usize = 48;
const HEADINGS: [&str; 8] = ["TIME", "DIR", "FROM", "TO", "REQUEST", "STATUS", "ENDPOINT", "TOOK"];
const WIDE: [&str; 4] = ["SENT", "RECEIVED", "IDENTITY", "TRACE"];

/// Lines, each laid out under those before it.
#[derive(Debug)]
pub struct Lines {
    form: Form,
    widths: Vec<usize>,
}

impl Lines {
    pub fn new(form: Form) -> Self {
        // What is usual, so that the first lines stand under each other as well.
        Self { form, widths: vec![12, 3, 12, 12, 20, 6, 10, 6, 6, 8, 36] }
    }

    /// `None` in JSON.
    pub fn headings(&mut self) -> Option<String> {
        let wide = if self.form == Form::Wide { &WIDE[..] } else { &[] };
        let headings = HEADINGS.iter().chain(wide).map(|heading| (*heading).to_owned()).collect();
        (self.form != Form::Json).then(|| self.lay_out(headings))
    }

    pub fn of(&mut self, event: &Event) -> String {
        if self.form == Form::Json {
            let line = serde_json::to_string(event).unwrap_or_default();
            return escaped(&line) + "\n";
        }
        let mut text = self.cells(event);
        for (mark, fields) in [('>', &event.request_headers), ('<', &event.response_headers)] {
            for (name, value) in fields {
                text += &format!("    {mark} {}: {}\n", plain(name), plain(value));
            }
        }
        text
    }

    /// The last line for programs.
    pub fn end(&self, shown: u64, dropped: u64) -> Option<String> {
        let end = || json!({ "end": { "requests": shown, "dropped": dropped } });
        (self.form == Form::Json).then(|| format!("{}\n", end()))
    }

    fn cells(&mut self, event: &Event) -> String {
        // The time of the day; whoever wants the date has JSON.
        let time = event.time.get(11..23).unwrap_or(&event.time);
        let request = match event.method.is_empty() {
            true => event.protocol.clone(),
            false => format!("{} {}{}", event.method, event.host, event.path),
        };
        let tries = if event.attempts > 1 { format!(" x{}", event.attempts) } else { String::new() };
        let mut cells = vec![
            time.to_owned(),
            if event.direction == "inbound" { "in" } else { "out" }.to_owned(),
            event.from.clone(),
            event.to.clone(),
            request,
            status(event),
            if event.endpoint.is_empty() { String::new() } else { format!("{}{tries}", event.endpoint) },
            took(event.took_seconds),
        ];
        if self.form == Form::Wide {
            cells.extend([event.sent_bytes.to_string(), event.received_bytes.to_string()]);
            cells.extend([event.identity.clone(), event.trace_id.clone()]);
        }
        self.lay_out(cells)
    }

    fn lay_out(&mut self, cells: Vec<String>) -> String {
        let mut line = String::with_capacity(160);
        for (at, cell) in cells.iter().enumerate() {
            let cell = if cell.is_empty() { "-".to_owned() } else { plain(cell) };
            line.push_str(&cell);
            let Some(width) = self.widths.get_mut(at) else { continue };
            let length = cell.chars().count();
            *width = length.clamp(*width, WIDEST.max(*width));
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(length) + 2));
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

/// HTTP's and gRPC's, and the mesh's reason.
fn status(event: &Event) -> String {
    let mut words = Vec::new();
    match (event.grpc_status, event.status) {
        (Some(grpc), _) => words.push(format!("grpc:{grpc}")),
        (None, Some(status)) => words.push(status.to_string()),
        (None, None) => {}
    }
    if !event.reason.is_empty() {
        words.push(event.reason.clone());
    }
    words.join(" ")
}

fn took(seconds: f64) -> String {
    match seconds {
        s if s >= 10.0 => format!("{s:.0}s"),
        s if s >= 1.0 => format!("{s:.1}s"),
        s if s >= 0.01 => format!("{:.0}ms", s * 1e3),
        s => format!("{:.1}ms", s * 1e3),
    }
}

/// For standard error, at the end.
pub fn summary(shown: u64, dropped: u64, rate: u32) -> Vec<String> {
    let requests = if shown == 1 { "request" } else { "requests" };
    vec![match dropped {
        0 => format!("{shown} {requests}"),
        _ => format!(
            "{shown} {requests}, {dropped} dropped: more than {rate} a second of one sidecar (--rate), or than was read"
        ),
    }]
}

/// JSON leaves DEL and the controls of C1 as they are, which terminals obey.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() { out.push_str(&format!("\\u{:04x}", u32::from(c))) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            time: "2026-01-02T03:04:05.678901Z".to_owned(),
            direction: "outbound",
            from: "shop/frontend-0".to_owned(),
            to: "search.shop".to_owned(),
            method: "GET".to_owned(),
            host: "search".to_owned(),
            path: "/a\r\n\u{1b}[2J\u{9b}x".to_owned(),
            status: Some(503),
            reason: "no-endpoints".to_owned(),
            endpoint: "search-1".to_owned(),
            attempts: 3,
            took_seconds: 0.0123,
            request_headers: vec![("x".to_owned(), "a\nb".to_owned())],
            ..Event::default()
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        let mut lines = Lines::new(Form::Table);
        let text = lines.headings().unwrap() + &lines.of(&event());
        let expected = "TIME          DIR  FROM          TO            REQUEST               STATUS  ENDPOINT    TOOK\n\
            03:04:05.678  out  shop/frontend-0  search.shop   GET search/a\\r\\n\\u{1b}[2J\\u{9b}x  503 no-endpoints  \
            search-1 x3  12ms\n    > x: a\\nb\n";
        assert_eq!(text, expected);
        let json = Lines::new(Form::Json).of(&event());
        assert!(json.lines().count() == 1 && !json.trim_end().contains(char::is_control), "{json:?}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["path"], event().path);
    }

    #[test]
    fn what_was_wide_keeps_its_column() {
        let mut lines = Lines::new(Form::Wide);
        lines.of(&event());
        let (first, second) = (lines.of(&event()), lines.of(&Event { from: "a/b".to_owned(), ..event() }));
        assert_eq!(first.find("search.shop"), second.find("search.shop"));
        let grpc = Event { grpc_status: Some(14), reason: String::new(), ..event() };
        assert!(lines.of(&grpc).contains(" grpc:14 "));
        let tcp =
            Event { protocol: "tcp".to_owned(), status: None, reason: String::new(), method: String::new(), ..event() };
        assert!(lines.of(&tcp).contains("  tcp  "));
    }

    #[test]
    fn the_end_says_what_is_missing() {
        assert_eq!(summary(1, 0, 100), ["1 request"]);
        assert!(summary(5, 3, 100)[0].starts_with("5 requests, 3 dropped: more than 100 a second"));
        assert_eq!(Lines::new(Form::Json).end(5, 3).unwrap(), "{\"end\":{\"dropped\":3,\"requests\":5}}\n");
        assert_eq!(Lines::new(Form::Table).end(5, 3), None);
    }
}
