//! Log lines on standard error, as text for people or JSON for machines.
//!
//! Stands beside everything. A reader that is slow or stopped never blocks the program: lines beyond a bounded queue are
//! dropped and counted. One event is one line whatever its values contain: control characters in text are escaped, in
//! JSON they are escapes anyway.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Lines that may wait for standard error to take them.
const QUEUED_LINES: usize = 16 * 1024;

/// The shape of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Text,
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither text nor json")),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Text { "text" } else { "json" })
    }
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log filter {filter:?}: {reason} (write a level such as info, or info,weft_proxy=debug)")]
    Filter { filter: String, reason: String },
    #[error("logging has been set up already")]
    Again,
}

/// Keeps logging going; dropping it writes out what is queued, so `main` holds it to the end.
#[must_use = "queued lines are written out when this is dropped"]
pub struct Logs {
    filter: Filter,
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Which events are written. Clones are the same filter.
#[derive(Clone)]
pub struct Filter {
    handle: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

impl Filter {
    /// Puts `filter` into force at once and returns the one before it. One that cannot be read changes nothing.
    pub fn set(&self, filter: &str) -> Result<String, LogError> {
        let parsed = parse(filter)?;
        let mut text = self.text();
        self.handle.reload(parsed).map_err(|error| refused(filter, error))?;
        Ok(std::mem::replace(&mut text, filter.to_owned()))
    }

    /// The filter in force, as it was given.
    pub fn get(&self) -> String {
        self.text().clone()
    }

    fn text(&self) -> MutexGuard<'_, String> {
        // Whoever panicked left a whole text behind.
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logs {
    /// What is written, to be changed while the program runs.
    pub fn filter(&self) -> Filter {
        self.filter.clone()
    }

    /// Lines dropped so far because standard error did not take them.
    pub fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }
}

/// Sends the program's events to standard error, those that `filter` lets through (`tracing-subscriber`'s directives:
/// `info`, `warn,weft_proxy=debug`).
pub fn init(format: Format, filter: &str) -> Result<Logs, LogError> {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(QUEUED_LINES)
        .thread_name("weft-logs")
        .finish(std::io::stderr());
    let dropped = writer.error_counter();
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let subscriber = tracing_subscriber::registry().with(layer).with(lines(format, writer));
    subscriber.try_init().map_err(|_| LogError::Again)?;
    let filter = Filter { handle, text: Arc::new(Mutex::new(filter.to_owned())) };
    Ok(Logs { filter, dropped, _writer: guard })
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(filter)
        .map_err(|error| refused(filter, error))
}

fn refused(filter: &str, reason: impl fmt::Display) -> LogError {
    LogError::Filter { filter: filter.to_owned(), reason: reason.to_string() }
}

fn lines<S, W>(format: Format, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    match format {
        Format::Text => layer.compact().fmt_fields(OneLine).boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    }
}

/// Writes fields as `message key=value key="other value"`, on one line.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Fields { writer, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Fields<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        if field.name() == "message" {
            return escaped(&mut self.writer, value, false);
        }
        write!(self.writer, "{}=", field.name())?;
        let bare = !value.is_empty() && value.chars().all(|c| !c.is_whitespace() && c != '"' && c != '=');
        if bare {
            return escaped(&mut self.writer, value, false);
        }
        self.writer.write_char('"')?;
        escaped(&mut self.writer, value, true)?;
        self.writer.write_char('"')
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        self.record_str(field, &text);
    }
}

/// Control characters (line breaks, ESC, and those of C1) become `\n`, `\u{1b}` and so on.
fn escaped(writer: &mut Writer<'_>, value: &str, quoted: bool) -> fmt::Result {
    let special = |c: char| c.is_control() || quoted && (c == '"' || c == '\\');
    let mut rest = value;
    while let Some(at) = rest.find(special) {
        writer.write_str(&rest[..at])?;
        let c = rest[at..].chars().next().expect("find has just pointed at a character");
        write!(writer, "{}", c.escape_default())?;
        rest = &rest[at + c.len_utf8()..];
    }
    writer.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = lines(format, move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(parse(filter).unwrap()).with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_compact_and_one_line_whatever_it_says() {
        let evil = "a\r\nERROR forged\x1b[2J \u{9b}\"q\"";
        let text = logged(Format::Text, "info", || {
            tracing::info!(path = evil, code = 503, peer = %"10.0.0.1:80", why = "no endpoints", "refused {}", evil);
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains(['\x1b', '\r', '\u{9b}']), "{text:?}");
        let line = text.split_once("refused ").unwrap().1.trim_end();
        let message = r#"a\r\nERROR forged\u{1b}[2J \u{9b}"q""#;
        let path = r#"path="a\r\nERROR forged\u{1b}[2J \u{9b}\"q\"""#;
        assert_eq!(line, format!(r#"{message} {path} code=503 peer=10.0.0.1:80 why="no endpoints""#));
        assert!(text.contains(" INFO "), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(Format::Json, "info", || tracing::warn!(reason = "a\nb", "refused"));
        let object: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(
            (&object["reason"], &object["message"], &object["level"]),
            (&"a\nb".into(), &"refused".into(), &"WARN".into())
        );
    }

    #[test]
    fn the_filter_decides() {
        let log = || {
            tracing::debug!(target: "weft_proxy::outbound", "seen");
            tracing::info!("unseen");
        };
        let text = logged(Format::Text, "warn,weft_proxy=debug", log);
        assert!(text.contains("seen") && !text.contains("unseen"), "{text}");
        assert!(parse("weft=loud").unwrap_err().to_string().contains("weft=loud"));
        assert!("xml".parse::<Format>().is_err());
    }
}
