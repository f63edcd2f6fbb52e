//! What `top` shows and in which order: rows, the column they are sorted by, the filter, the place in the list.
//!
//! Pure: keys and new rows in, a state to be drawn out. While it is paused, new rows are left aside.

use crate::measure::tally::HEADINGS;
use crate::stat::rows::{By, Row};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::cmp::Ordering;
use std::time::Duration;

/// The longest filter.
const MOST_FILTER: usize = 64;

/// A column; its place is its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Namespace,
    Name,
    Route,
    Success,
    Rate,
    P50,
    P95,
    P99,
}

/// What follows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Go,
    Quit,
}

#[derive(Debug)]
pub struct State {
    pub by: By,
    pub window: Duration,
    pub coloured: bool,
    pub columns: Vec<Column>,
    pub sort: Column,
    /// The other way round than usual.
    pub reversed: bool,
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    pub paused: bool,
    /// The first row on the screen.
    pub first: usize,
    /// Rows that have room on the screen; what was drawn last says so.
    pub room: usize,
    /// Who has nothing to tell, and why.
    pub notes: Vec<String>,
    /// None: nothing has been counted yet.
    pub rows: Option<Vec<Row>>,
}

impl Column {
    pub fn heading(self, by: By) -> &'static str {
        let [success, rate, p50, p95, p99] = HEADINGS;
        match self {
            Self::Namespace => "NAMESPACE",
            Self::Name if by == By::Pods => "POD",
            Self::Name => "SERVICE",
            Self::Route => "ROUTE",
            Self::Success => success,
            Self::Rate => rate,
            Self::P50 => p50,
            Self::P95 => p95,
            Self::P99 => p99,
        }
    }

    /// Figures begin with the largest, success with the worst, names with A.
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let figure = |row: &Row| match self {
            Self::Success => row.tally.success().map(|share| -share),
            Self::Rate => Some(row.tally.requests / row.window.as_secs_f64()),
            Self::P50 => row.tally.quantile(0.5).map(|latency| latency.as_secs_f64()),
            Self::P95 => row.tally.quantile(0.95).map(|latency| latency.as_secs_f64()),
            Self::P99 => row.tally.quantile(0.99).map(|latency| latency.as_secs_f64()),
            Self::Namespace | Self::Name | Self::Route => None,
        };
        let by_name = || (&a.namespace, &a.name, &a.route).cmp(&(&b.namespace, &b.name, &b.route));
        let first = match self {
            Self::Namespace => Ordering::Equal,
            Self::Name => a.name.cmp(&b.name),
            Self::Route => a.route.cmp(&b.route),
            _ => figure(b).unwrap_or(f64::NEG_INFINITY).total_cmp(&figure(a).unwrap_or(f64::NEG_INFINITY)),
        };
        first.then_with(by_name)
    }
}

impl State {
    pub fn new(by: By, window: Duration, coloured: bool) -> Self {
        let names = if by == By::Routes { &[Column::Name, Column::Route][..] } else { &[Column::Name] };
        let figures = [Column::Success, Column::Rate, Column::P50, Column::P95, Column::P99];
        let columns = [Column::Namespace].into_iter().chain(names.iter().copied()).chain(figures).collect();
        Self {
            by,
            window,
            coloured,
            columns,
            sort: Column::Rate,
            reversed: false,
            filter: String::new(),
            typing: false,
            paused: false,
            first: 0,
            room: 1,
            notes: Vec::new(),
            rows: None,
        }
    }

    /// New figures.
    pub fn take(&mut self, rows: Vec<Row>) {
        if !self.paused {
            self.rows = Some(rows);
        }
    }

    /// The rows that pass the filter, in order.
    pub fn shown(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let passes = |row: &&Row| {
            filter.is_empty()
                || [&row.namespace, &row.name, &row.route].iter().any(|text| text.to_lowercase().contains(&filter))
        };
        let mut rows: Vec<&Row> = self.rows.iter().flatten().filter(passes).collect();
        rows.sort_by(|a, b| self.sort.compare(a, b));
        if self.reversed {
            rows.reverse();
        }
        rows
    }

    pub fn key(&mut self, key: KeyEvent) -> After {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return After::Quit,
            KeyCode::Char(_) if control => {}
            code if self.typing => self.typed(code),
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char(' ' | 'p') => self.paused = !self.paused,
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char(digit @ '1'..='9') => self.sort_by(digit as usize - '1' as usize),
            KeyCode::Left => self.move_sort(-1),
            KeyCode::Right => self.move_sort(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::PageUp => self.scroll(-(self.room as isize)),
            KeyCode::PageDown => self.scroll(self.room as isize),
            KeyCode::Home | KeyCode::Char('g') => self.first = 0,
            KeyCode::End | KeyCode::Char('G') => self.scroll(isize::MAX),
            _ => {}
        }
        After::Go
    }

    fn typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.len() < MOST_FILTER && !c.is_control() => self.filter.push(c),
            _ => {}
        }
        self.first = 0;
    }

    /// By the column number `at`; again: the other way round.
    fn sort_by(&mut self, at: usize) {
        let Some(column) = self.columns.get(at) else { return };
        self.reversed = *column == self.sort && !self.reversed;
        self.sort = *column;
    }

    fn move_sort(&mut self, by: isize) {
        let at = self.columns.iter().position(|column| *column == self.sort).unwrap_or(0);
        let last = self.columns.len().saturating_sub(1);
        self.sort = self.columns[at.saturating_add_signed(by).min(last)];
        self.reversed = false;
    }

    fn scroll(&mut self, by: isize) {
        let last = self.shown().len().saturating_sub(self.room);
        self.first = self.first.saturating_add_signed(by).min(last);
    }
}
