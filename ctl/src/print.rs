//! How answers look: tables for people, JSON and YAML for programs, spans of time in two units.
//!
//! Pure: values in, text out. Whatever a cell contains, it stays in its line: control characters are escaped, so that
//! nothing in the mesh can write to the terminal of who looks at it.

use comfy_table::{ColumnConstraint, ContentArrangement, Table as Grid, Width, presets};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a command has to say.
#[derive(Debug, Default)]
pub struct Output {
    /// For standard output.
    pub text: String,
    /// For standard error, a line each.
    pub notes: Vec<String>,
    /// The command did its work and the news is bad.
    pub failed: bool,
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// A table with more columns
    Wide,
    Json,
    Yaml,
}

/// Spaces between columns.
const GAP: u16 = 2;

/// Rows under headings, aligned by spaces.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// One cell per heading.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { plain(cell) }).collect());
    }

    /// As wide as the terminal, or as its content when there is none.
    pub fn render(&self) -> String {
        self.render_in(width())
    }

    fn render_in(&self, width: Option<usize>) -> String {
        let gap = usize::from(GAP);
        let least: usize = self.headings.iter().map(|heading| heading.len() + gap).sum();
        // Where not even the headings fit, a line for each cell is easier to read than columns of letters.
        if let Some(width) = width.filter(|width| *width + gap < least) {
            return self.records(width);
        }
        let mut grid = Grid::new();
        grid.load_preset(presets::NOTHING).force_no_tty();
        grid.set_header(&self.headings).add_rows(&self.rows);
        if let Some(width) = width {
            // The gap behind the last column is cut off.
            grid.set_width(u16::try_from(width).unwrap_or(u16::MAX).saturating_add(GAP));
            grid.set_content_arrangement(ContentArrangement::Dynamic);
        }
        for (column, heading) in grid.column_iter_mut().zip(&self.headings) {
            column.set_padding((0, GAP));
            // Headings are never broken in two.
            let width = u16::try_from(heading.len()).unwrap_or(u16::MAX).saturating_add(GAP);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
        let mut text = String::new();
        for line in grid.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A paragraph for each row, a line or more for each cell behind its heading.
    fn records(&self, width: usize) -> String {
        let label = self.headings.iter().map(|heading| heading.len()).max().unwrap_or(0) + usize::from(GAP);
        let row = |cells: &Vec<String>| -> String {
            let lines = self.headings.iter().zip(cells);
            lines.map(|(heading, cell)| wrapped(&format!("{heading:label$}"), cell, Some(width))).collect()
        };
        self.rows.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}

/// The columns of the terminal; `None`: standard output is none.
pub fn width() -> Option<usize> {
    Grid::new().width().map(usize::from).filter(|width| *width > 0)
}

/// `text` behind `prefix`, in lines that fit into `width`, those after the first as far in as the prefix is long. Words are
/// broken only when they would not fit into a line of their own.
pub fn wrapped(prefix: &str, text: &str, width: Option<usize>) -> String {
    const LEAST: usize = 8;
    let indent = prefix.chars().count();
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(LEAST));
    let (mut lines, mut line, mut length) = (Vec::new(), String::new(), 0);
    let mut words: Vec<&str> = text.split(' ').rev().collect();
    while let Some(word) = words.pop() {
        let long = word.chars().count();
        let gap = usize::from(length > 0);
        if length + gap + long <= room {
            line.extend((gap > 0).then_some(' '));
            line.push_str(word);
            length += gap + long;
        } else if length > 0 {
            lines.push(std::mem::take(&mut line));
            length = 0;
            words.push(word);
        } else {
            let (head, rest) = word.split_at(word.char_indices().nth(room).map_or(word.len(), |(at, _)| at));
            lines.push(head.to_owned());
            words.push(rest);
        }
    }
    lines.push(line);
    let margin = " ".repeat(indent);
    let full = |(n, line): (usize, String)| format!("{}{line}", if n == 0 { prefix } else { &margin });
    lines.into_iter().enumerate().map(full).fold(String::new(), |all, line| all + line.trim_end() + "\n")
}

/// `text` without control characters: they appear as escapes.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}

/// Indented JSON with a line break at its end.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// YAML documents, divided by `---`.
pub fn yaml<T: Serialize>(values: &[T]) -> Result<String, serde_yaml_ng::Error> {
    let documents: Result<Vec<_>, _> = values.iter().map(serde_yaml_ng::to_string).collect();
    Ok(documents?.join("---\n"))
}

/// The two largest units of a span: `3d4h`, `5m12s`, `0s`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, size) in units.iter().skip(first).take(2) {
        if rest >= *size || text.is_empty() {
            write!(text, "{}{unit}", rest / size).expect("writing to a String does not fail");
        }
        rest %= size;
    }
    text
}

/// A time of the wire: seconds since the epoch.
pub fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The same as people and programs read it (RFC 3339).
pub fn date(seconds: i64) -> String {
    humantime::format_rfc3339_seconds(time(seconds)).to_string()
}

/// How far `then` lies ahead (`in 3h`) or back (`5m ago`).
pub fn relative(then: SystemTime, now: SystemTime) -> String {
    match then.duration_since(now) {
        Ok(ahead) => format!("in {}", span(ahead)),
        Err(back) => format!("{} ago", span(back.duration())),
    }
}

/// Whether standard output takes colours: a terminal, and `NO_COLOR` unset or empty (no-color.org).
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_do_not_trail_blanks() {
        let mut table = Table::new(&["NAME", "PORTS"]);
        table.row(vec!["cart".to_owned(), "80/http".to_owned()]);
        table.row(vec!["a-long-name".to_owned(), String::new()]);
        assert_eq!(table.render_in(None), "NAME         PORTS\ncart         80/http\na-long-name  -\n");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let mut table = Table::new(&["NAME", "IDENTITY"]);
        table.row(vec!["cart-0".to_owned(), "spiffe://weft.local/ns/shop/sa/cart".to_owned()]);
        let text = table.render_in(Some(30));
        assert!(text.lines().all(|line| line.len() <= 30), "{text}");
        assert!(text.lines().count() > 2 && text.starts_with("NAME    IDENTITY\n"), "{text}");
        let text = table.render_in(Some(13));
        assert!(text.starts_with("NAME      cart-0\nIDENTITY  spiffe:/\n          /weft.lo\n"), "{text}");
        table.row(vec!["cart-1".to_owned(), String::new()]);
        assert!(table.render_in(Some(13)).ends_with("\n\nNAME      cart-1\nIDENTITY  -\n"), "a paragraph for each row");
    }

    #[test]
    fn text_is_wrapped_at_words() {
        assert_eq!(wrapped("ok  ", "one two three", Some(12)), "ok  one two\n    three\n");
        assert_eq!(wrapped("ok  ", "one two three", None), "ok  one two three\n");
        assert_eq!(wrapped("", "0123456789a b", Some(8)), "01234567\n89a b\n");
        assert_eq!(wrapped("- ", "", Some(40)), "-\n");
        assert_eq!(wrapped("", "äöüäöüäöü", Some(8)), "äöüäöüäö\nü\n", "letters, not bytes");
    }

    #[test]
    fn nothing_writes_to_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(vec!["a\x1b[2Jb\nc".to_owned()]);
        assert_eq!(table.render_in(None), "NAME\na\\u{1b}[2Jb\\nc\n");
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (312, "5m12s"), (3_600, "1h"), (273_900, "3d4h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(relative(time(100), time(40)), "in 1m");
        assert_eq!(relative(time(40), time(100)), "1m ago");
    }

    #[test]
    fn yaml_documents_can_be_read_again() {
        let values = [serde_json::json!({"a": 1}), serde_json::json!({"b": [1, "x"]})];
        let text = yaml(&values).unwrap();
        assert_eq!(text, "a: 1\n---\nb:\n- 1\n- x\n");
    }
}
