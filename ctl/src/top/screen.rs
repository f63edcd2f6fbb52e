//! How `top` looks: a title, a table, a line of keys, as wide as the terminal is.
//!
//! Draws a state and notes how many rows have room. Where not all columns fit, the least telling ones go; nothing in a cell reaches the
//! terminal as a command.

use super::state::{Column, State};
use crate::print::plain;
use crate::stat::rows::Row;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Table};

/// Spaces between columns.
const GAP: u16 = 2;
/// Names are not cut below this.
const LEAST_NAME: u16 = 10;
/// Columns in the order in which they go when there is no room.
const DISPENSABLE: [Column; 5] = [Column::P50, Column::Namespace, Column::P95, Column::Route, Column::P99];
/// Success below this is worth a look.
const GOOD: f64 = 0.99;

pub fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let notes = u16::try_from(state.notes.len().min(3)).unwrap_or(0);
    let parts = [Constraint::Length(1), Constraint::Min(1), Constraint::Length(notes), Constraint::Length(1)];
    let [title, body, below, keys] = Layout::vertical(parts).areas(frame.area());
    state.room = usize::from(body.height.saturating_sub(1)).max(1);
    frame.render_widget(Paragraph::new(headline(state)), title);
    table(frame, body, state);
    let notes: Vec<Line> = state.notes.iter().take(usize::from(notes)).map(|note| Line::raw(note.as_str())).collect();
    frame.render_widget(Paragraph::new(notes), below);
    frame.render_widget(Paragraph::new(help(state)), keys);
}

fn headline(state: &State) -> Line<'_> {
    let what = format!("weftctl top  last {}", humantime::format_duration(state.window));
    let mut spans = vec![Span::styled(what, Style::new().add_modifier(Modifier::BOLD))];
    if state.paused {
        spans.push(Span::styled("  PAUSED", colour(state, Color::Yellow)));
    }
    if !state.filter.is_empty() && !state.typing {
        spans.push(Span::raw(format!("  /{}", state.filter)));
    }
    Line::from(spans)
}

fn help(state: &State) -> Line<'_> {
    if state.typing {
        return Line::raw(format!("/{}_  enter: keep  esc: drop", state.filter));
    }
    Line::raw("q quit  1-9 sort  / filter  space pause")
}

fn colour(state: &State, colour: Color) -> Style {
    if state.coloured { Style::new().fg(colour) } else { Style::new() }
}

fn table(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let rows = state.shown();
    let Some(all) = &state.rows else {
        return frame.render_widget(Paragraph::new("counting..."), area);
    };
    let columns = fitting(state, area.width, &rows);
    let shown = rows.iter().skip(state.first).take(state.room);
    let body: Vec<Cells> =
        shown.map(|row| Cells::new(columns.iter().map(|(column, _)| cell(state, *column, row)))).collect();
    let headings =
        columns.iter().map(|(column, _)| Cell::from(Line::raw(heading(state, *column)).alignment(side(*column))));
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    let header = Cells::new(headings).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(body, widths).header(header).column_spacing(GAP), area);
    if rows.is_empty() && area.height > 1 {
        let text =
            if all.is_empty() { "no requests; -A looks into all namespaces" } else { "nothing passes the filter" };
        frame.render_widget(Paragraph::new(text), Rect { y: area.y + 1, height: 1, ..area });
    }
}

/// Names begin on the left, figures end on the right.
fn side(column: Column) -> Alignment {
    match column {
        Column::Namespace | Column::Name | Column::Route => Alignment::Left,
        _ => Alignment::Right,
    }
}

/// With its key, and which way it is sorted.
fn heading(state: &State, column: Column) -> String {
    let key = state.columns.iter().position(|other| *other == column).map_or(0, |at| at + 1);
    let mark = match (state.sort == column, state.reversed) {
        (false, _) => "",
        (true, false) => "▼",
        (true, true) => "▲",
    };
    format!("{key}{}{mark}", column.heading(state.by))
}

fn text(column: Column, row: &Row) -> String {
    let [success, rate, p50, p95, p99] = row.tally.cells(row.window);
    let text = match column {
        Column::Namespace => plain(&row.namespace),
        Column::Name => plain(&row.name),
        Column::Route => plain(&row.route),
        Column::Success => success,
        Column::Rate => rate,
        Column::P50 => p50,
        Column::P95 => p95,
        Column::P99 => p99,
    };
    if text.is_empty() { "-".to_owned() } else { text }
}

fn cell(state: &State, column: Column, row: &Row) -> Cell<'static> {
    let bad = column == Column::Success && row.tally.success().is_some_and(|share| share < GOOD);
    let style = if bad { colour(state, Color::Red) } else { Style::new() };
    Cell::from(Line::raw(text(column, row)).alignment(side(column))).style(style)
}

/// The columns that fit, and how wide each is. What is left over stays empty; names give way before columns do.
fn fitting(state: &State, width: u16, rows: &[&Row]) -> Vec<(Column, u16)> {
    let needed = |column: Column| {
        let cells = rows.iter().map(|row| text(column, row).chars().count()).max().unwrap_or(0);
        // One more for the mark, so that sorting moves nothing.
        let heading = column.heading(state.by).len() + 2;
        u16::try_from(cells.max(heading)).unwrap_or(u16::MAX)
    };
    let mut columns: Vec<(Column, u16)> = state.columns.iter().map(|column| (*column, needed(*column))).collect();
    let total = |columns: &[(Column, u16)]| {
        columns.iter().fold(0u16, |sum, (_, width)| sum.saturating_add(*width).saturating_add(GAP)).saturating_sub(GAP)
    };
    for gone in DISPENSABLE {
        let over = total(&columns).saturating_sub(width);
        let name = columns.iter_mut().find(|(column, _)| *column == Column::Name);
        match name {
            _ if over == 0 => break,
            Some((_, name)) if name.saturating_sub(over) >= LEAST_NAME => *name -= over,
            _ => columns.retain(|(column, _)| *column != gone),
        }
    }
    columns
}
