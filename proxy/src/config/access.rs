//! Which requests the access log has, and in which shape: flags, and the small language of `--access-log-filter`.
//!
//! Below the log itself, which asks [`Filter`] when a request has ended. A filter that cannot be read is refused at the start, with
//! the position of what is wrong: `status >= 500 or duration > 1s`.

use super::faults::{Faults, parsed};
use super::flags::AccessFlags;
use std::time::Duration;
use weft_telemetry::logs::Format;
use weft_telemetry::otlp::{Limits, exporter};

/// The access log as it was asked for.
#[derive(Debug, Clone)]
pub struct AccessLog {
    /// Of lines on standard output, if there are any.
    pub format: Option<Format>,
    /// Of records for the collector, if it gets them.
    pub records: Option<Limits>,
    /// Share of the requests that the filter lets through, 0 to 1.
    pub sample: f64,
    /// `None`: all.
    pub filter: Option<Filter>,
}

/// Alternatives, each of which asks for all of its tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(pub Vec<Vec<Test>>);

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Number { field: Number, compare: Compare, value: u64 },
    Took { compare: Compare, value: Duration },
    Text { field: Text, equal: bool, value: String },
}

/// Fields that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Status,
    Grpc,
    Attempts,
}

/// Fields that are words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    Direction,
    Service,
    Route,
    Endpoint,
    Method,
    Path,
    Reason,
    Peer,
}

/// How two values have to stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl Compare {
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

const FIELDS: &str =
    "status, grpc, attempts, duration, direction, service, route, endpoint, method, path, reason, peer";

impl Faults {
    /// `None`: there is no access log.
    pub(super) fn access_log(&mut self, flags: AccessFlags, collector: bool) -> Option<AccessLog> {
        let flags = flags.without_empty();
        let format = match flags.access_log.as_str() {
            "off" => None,
            "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            other => {
                self.add("--access-log", format!("{other:?} is none of off, text, json"));
                None
            }
        };
        let sample = self.take("--access-log-sample", &flags.access_log_sample, |text| match parsed::<f64>(text) {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            Ok(ratio) => Err(format!("{ratio} is not between 0 and 1")),
            Err(reason) => Err(reason),
        });
        let filter = flags.access_log_filter.as_deref().filter(|text| !text.trim().is_empty());
        let filter =
            filter.and_then(|text| self.take("--access-log-filter", text, |text| Filter::parse(text).map(Some)));
        let wanted = self.take("--logs-exporter", &flags.logs_exporter, exporter);
        if wanted && !collector {
            self.add("--logs-exporter", "otlp needs --otlp-endpoint");
        }
        let limits = self.limits([
            ("--record-queue", &flags.record_queue),
            ("--record-batch", &flags.record_batch),
            ("--record-delay", &flags.record_delay),
            ("--record-timeout", &flags.record_timeout),
        ]);
        let records = wanted.then_some(limits);
        (format.is_some() || wanted).then_some(AccessLog { format, records, sample, filter })
    }
}

impl Filter {
    /// Comparisons, joined by `and` and `or`; `and` binds closer. Errors name the position, counted in characters from 1.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let mut words = words.iter().peekable();
        let end = text.chars().count() + 1;
        let mut alternatives = vec![Vec::new()];
        loop {
            let test = test(&mut words, end)?;
            alternatives.last_mut().expect("there is one from the start").push(test);
            match words.next() {
                None => return Ok(Self(alternatives)),
                Some(word) if word.text == "and" && !word.quoted => {}
                Some(word) if word.text == "or" && !word.quoted => alternatives.push(Vec::new()),
                Some(word) => return Err(word.refused("`and` or `or`")),
            }
        }
    }
}

/// A piece of the filter, and where it begins.
struct Word {
    at: usize,
    text: String,
    quoted: bool,
}

impl Word {
    fn refused(&self, wanted: &str) -> String {
        format!("at {}: {wanted} was expected, not {:?}", self.at, self.text)
    }
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let letters: Vec<char> = text.chars().collect();
    let (mut words, mut at) = (Vec::new(), 0);
    let operator = |c: char| matches!(c, '=' | '!' | '<' | '>');
    while at < letters.len() {
        let begin = at;
        let c = letters[at];
        if c.is_whitespace() {
            at += 1;
            continue;
        }
        if c == '"' {
            let length = letters[at + 1..].iter().position(|c| *c == '"');
            let length = length.ok_or_else(|| format!("at {}: the quotation has no end", begin + 1))?;
            at += length + 2;
            let text = letters[begin + 1..at - 1].iter().collect();
            words.push(Word { at: begin + 1, text, quoted: true });
            continue;
        }
        let same = |other: &&char| !other.is_whitespace() && **other != '"' && operator(**other) == operator(c);
        at += letters[at..].iter().take_while(same).count();
        words.push(Word { at: begin + 1, text: letters[begin..at].iter().collect(), quoted: false });
    }
    Ok(words)
}

fn test<'a>(words: &mut impl Iterator<Item = &'a Word>, end: usize) -> Result<Test, String> {
    let mut next = |wanted: &str| words.next().ok_or_else(|| format!("at {end}: {wanted} was expected, not the end"));
    let field = next("a field")?;
    let sign = next("a comparison")?;
    let compare = match sign.text.as_str() {
        "=" | "==" => Compare::Equal,
        "!=" => Compare::Unequal,
        "<" => Compare::Less,
        "<=" => Compare::AtMost,
        ">" => Compare::Greater,
        ">=" => Compare::AtLeast,
        _ => return Err(sign.refused("one of == != < <= > >=")),
    };
    let number = |field| Ok(Wanted::Number(field));
    let text = |field| Ok(Wanted::Text(field));
    let wanted = match field.text.as_str() {
        "status" => number(Number::Status),
        "grpc" => number(Number::Grpc),
        "attempts" => number(Number::Attempts),
        "duration" => Ok(Wanted::Took),
        "direction" => text(Text::Direction),
        "service" => text(Text::Service),
        "route" => text(Text::Route),
        "endpoint" => text(Text::Endpoint),
        "method" => text(Text::Method),
        "path" => text(Text::Path),
        "reason" => text(Text::Reason),
        "peer" => text(Text::Peer),
        _ => Err(field.refused(&format!("one of {FIELDS}"))),
    }?;
    let value = next("a value")?;
    match wanted {
        Wanted::Number(field) => match value.text.parse() {
            Ok(number) => Ok(Test::Number { field, compare, value: number }),
            Err(_) => Err(value.refused("a number")),
        },
        Wanted::Took => match humantime::parse_duration(&value.text) {
            Ok(took) => Ok(Test::Took { compare, value: took }),
            Err(_) => Err(value.refused("a duration such as 250ms")),
        },
        Wanted::Text(field) => match compare {
            Compare::Equal => Ok(Test::Text { field, equal: true, value: value.text.clone() }),
            Compare::Unequal => Ok(Test::Text { field, equal: false, value: value.text.clone() }),
            _ => Err(sign.refused("== or !=, for a word,")),
        },
    }
}

enum Wanted {
    Number(Number),
    Took,
    Text(Text),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let status = |compare, value| Test::Number { field: Number::Status, compare, value };
        assert_eq!(Filter::parse("status >= 500"), Ok(Filter(vec![vec![status(Compare::AtLeast, 500)]])));
        let text = Test::Text { field: Text::Path, equal: false, value: "/a b".to_owned() };
        let slow = Test::Took { compare: Compare::Greater, value: Duration::from_millis(1500) };
        assert_eq!(
            Filter::parse("status<400 and path != \"/a b\" or duration>1500ms"),
            Ok(Filter(vec![vec![status(Compare::Less, 400), text], vec![slow]]))
        );
        assert!(Filter::parse("method == and or reason = \"\"").is_ok(), "a value may be any word");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_position() {
        for (text, wanted) in [
            ("", "at 1: a field was expected, not the end"),
            ("status", "at 7: a comparison was expected"),
            ("status >=", "at 10: a value was expected"),
            ("status >= abc", "at 11: a number was expected, not \"abc\""),
            ("status => 5", "at 8: one of == != < <= > >= was expected, not \"=>\""),
            ("state == 5", "at 1: one of status, grpc"),
            ("path > /a", "at 6: == or !=, for a word, was expected"),
            ("duration > soon", "at 12: a duration such as 250ms was expected"),
            ("status > 1 nor status < 3", "at 12: `and` or `or` was expected, not \"nor\""),
            ("status > 1 and", "at 15: a field was expected, not the end"),
            ("päth == 1", "at 1: one of"),
            ("path == \"ä\" und", "at 13: `and` or `or` was expected"),
            ("path == \"/a", "at 9: the quotation has no end"),
        ] {
            let said = Filter::parse(text).unwrap_err();
            assert!(said.starts_with(wanted), "{text:?}: {said}");
        }
    }
}
