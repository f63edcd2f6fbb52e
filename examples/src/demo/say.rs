//! How the story looks: chapters, sentences, figures, bars.
//!
//! Colour only where a person looks at a terminal (and NO_COLOR is unset). The last line has a fixed form for scripts.

use super::config::Verdict;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How wide a full bar is.
const BAR: usize = 32;

/// Where the story is told to.
#[derive(Debug, Clone)]
pub struct Say {
    colour: bool,
    begin: Instant,
}

impl Say {
    pub fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, begin: Instant::now() }
    }

    /// A line while things start: what, how it went, how long since the beginning.
    pub fn started(&self, what: &str, how: &str) {
        let since = format!("{:>5.1} s", self.begin.elapsed().as_secs_f64());
        line(&format!("  {}  {what:<10} {how}", self.dim(&since)));
    }

    pub fn title(&self, text: &str) {
        line(&format!("\n{}\n", self.bold(text)));
    }

    /// A chapter's number, its title, and what it is about.
    pub fn chapter(&self, number: u32, title: &str, about: &str) {
        line(&format!("\n{} {}\n  {}", self.bold(&format!("{number}.")), self.bold(title), self.dim(about)));
    }

    /// One finding.
    pub fn row(&self, name: &str, text: &str) {
        line(&format!("    {name:<34} {text}"));
    }

    /// A finding that is what it should be.
    pub fn good(&self, text: &str) {
        let tick = if self.colour { "\x1b[32m✓\x1b[0m" } else { "✓" };
        line(&format!("  {tick} {text}"));
    }

    /// A share of the whole, drawn.
    pub fn share(&self, name: &str, share: f64, text: &str) {
        let full = ((share * BAR as f64).round() as usize).min(BAR);
        let bar = format!("{}{}", "█".repeat(full), self.dim(&"·".repeat(BAR - full)));
        line(&format!("    {name:<12} {bar} {:>5.1} %  {text}", share * 100.0));
    }

    pub fn plain(&self, text: &str) {
        line(text);
    }

    pub fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A duration as people read it: three digits and a unit.
pub fn short(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        m if m < 1e3 => (m, "us"),
        m if m < 1e6 => (m / 1e3, "ms"),
        m => (m / 1e6, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$}{unit}")
}

/// Bytes as people read them.
pub fn bytes(count: u64) -> String {
    match count as f64 {
        n if n < 1e3 => format!("{n} B"),
        n if n < 1e6 => format!("{:.1} kB", n / 1e3),
        n => format!("{:.1} MB", n / 1e6),
    }
}

/// The verdict, in the form that scripts look for.
pub fn last_line(verdict: &Result<Verdict, String>) {
    line("");
    match verdict {
        Ok(Verdict { requests, retried, p50, p99 }) => {
            let (p50, p99) = (short(*p50), short(*p99));
            line(&format!("demo: ok requests={requests} failed=0 retried={retried} p50={p50} p99={p99}"));
        }
        Err(reason) => {
            let (reason, log) = reason.split_once('\n').unwrap_or((reason, ""));
            log.lines().for_each(|said| line(&format!("    {said}")));
            line(&format!("demo: failed: {reason}"));
        }
    }
}

/// A reader that has gone away is no reason to stop before everything is cleaned up.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let shown = [950, 1_900, 19_000, 190_000, 1_900_000].map(|micros| short(Duration::from_micros(micros)));
        assert_eq!(shown, ["950us", "1.90ms", "19.0ms", "190ms", "1.90s"]);
        assert_eq!((bytes(12), bytes(12_345), bytes(12_345_678)), ("12 B".into(), "12.3 kB".into(), "12.3 MB".into()));
    }
}
