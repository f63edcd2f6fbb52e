//! `top` on a terminal that exists only here: what keys change, and how it looks at several widths.
//! The real terminal is tmux's, in the suite of the same name.

use super::screen::draw;
use super::state::{After, Column, State};
use super::*;
use crate::measure::exposition::read;
use crate::measure::tally::Tally;
use crate::stat::rows::{By, Row};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

fn row(name: &str, requests: u32, failed: u32, seconds: f64) -> Row {
    let mut tally = Tally::default();
    let text = format!(
        "weft_requests_total{{status=\"200\"}} {}\nweft_requests_total{{status=\"503\"}} {failed}\n\
         weft_request_duration_seconds_bucket{{le=\"{seconds}\"}} {requests}\n",
        requests - failed
    );
    read(&text).unwrap().iter().for_each(|series| tally.add(series));
    let (namespace, route) = ("shop".to_owned(), String::new());
    Row { namespace, name: name.to_owned(), route, tally, window: Duration::from_secs(5) }
}

fn state() -> State {
    let mut state = State::new(By::Services, Duration::from_secs(5), true);
    state.take(vec![row("cart", 50, 0, 0.5), row("search", 500, 100, 0.002), row("ads", 5, 0, 0.1)]);
    state
}

fn press(state: &mut State, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        assert_eq!(state.key(code.into()), After::Go, "{keys:?}");
    }
}

fn names(state: &State) -> Vec<&str> {
    state.shown().iter().map(|row| &*row.name).collect()
}

fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let text = terminal.backend().to_string();
    text.lines().map(|line| line.trim_matches('"').trim_end().to_owned()).collect()
}

#[test]
fn columns_are_sorted_by_their_keys() {
    let mut state = state();
    assert_eq!(names(&state), ["search", "cart", "ads"], "by rate");
    for (keys, sorted) in [
        ("2", ["ads", "cart", "search"]),
        ("2", ["search", "cart", "ads"]),
        ("3", ["search", "ads", "cart"]),
        ("7", ["cart", "ads", "search"]),
        ("9", ["cart", "ads", "search"]),
        ("4", ["search", "cart", "ads"]),
        ("r", ["ads", "cart", "search"]),
    ] {
        press(&mut state, keys);
        assert_eq!(names(&state), sorted, "{keys}");
    }
    state.key(KeyCode::Right.into());
    assert_eq!((state.sort, state.reversed), (Column::P50, false));
    (0..20).for_each(|_| {
        state.key(KeyCode::Left.into());
    });
    assert_eq!(state.sort, Column::Namespace);
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut state = state();
    press(&mut state, "/Ar");
    assert!(state.typing && screen(&mut state, 80, 10).last().unwrap().starts_with("/Ar_"));
    assert_eq!(names(&state), ["search", "cart"]);
    press(&mut state, "q\u{8}\n");
    assert!(!state.typing && screen(&mut state, 80, 10)[0].ends_with("/Ar"));
    press(&mut state, "/zz");
    assert!(screen(&mut state, 80, 10)[2].contains("nothing passes the filter"));
    press(&mut state, "\u{1b}");
    assert_eq!(names(&state).len(), 3);
    assert_eq!(state.key(KeyCode::Char('q').into()), After::Quit);
    state.typing = true;
    assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), After::Quit);
}

#[test]
fn a_pause_leaves_the_figures_as_they_are() {
    let mut state = state();
    press(&mut state, " ");
    state.take(Vec::new());
    assert_eq!(names(&state).len(), 3);
    assert!(screen(&mut state, 80, 10)[0].contains("PAUSED"));
    press(&mut state, " ");
    state.take(Vec::new());
    assert!(screen(&mut state, 80, 10)[2].contains("no requests"));
}

#[test]
fn a_wide_terminal_shows_all() {
    let mut state = state();
    state.notes = vec!["shop/old: upgrade it".to_owned()];
    let lines = screen(&mut state, 80, 8);
    assert_eq!(lines[0], "weftctl top  last 5s");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&lines[1]), ["1NAMESPACE", "2SERVICE", "3SUCCESS", "4RPS▼", "5P50", "6P95", "7P99"]);
    assert_eq!(words(&lines[2]), ["shop", "search", "80.00%", "100.0", "1.0ms", "1.9ms", "2.0ms"]);
    assert_eq!(lines[6..], ["shop/old: upgrade it", "q quit  1-9 sort  / filter  space pause"]);
}

#[test]
fn a_narrow_terminal_shows_what_tells_most() {
    let mut state = state();
    state.rows.iter_mut().flatten().for_each(|row| row.name = format!("{}-with-a-very-long-name", row.name));
    for width in [1, 10, 20, 40, 60] {
        let lines = screen(&mut state, width, 8);
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width)), "{width}: {lines:?}");
    }
    let lines = screen(&mut state, 40, 8);
    assert!(["2SERVICE", "3SUCCESS", "4RPS▼"].iter().all(|word| lines[1].contains(word)), "{lines:?}");
    assert!(lines[2].starts_with("search-with") && lines[2].contains("80.00%"), "{lines:?}");
    // Nothing at all has room.
    screen(&mut state, 3, 1);
}

#[test]
fn many_rows_scroll_to_their_end() {
    let mut state = state();
    state.take((0..50).map(|n| row(&format!("s{n:02}"), 100, 0, 0.1)).collect());
    press(&mut state, "2");
    let seen = |state: &mut State| screen(state, 80, 13)[2].split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(seen(&mut state), "s00");
    state.key(KeyCode::PageDown.into());
    assert_eq!(seen(&mut state), "s10");
    state.key(KeyCode::End.into());
    assert_eq!(seen(&mut state), "s40");
    state.key(KeyCode::Down.into());
    state.key(KeyCode::Up.into());
    assert_eq!(seen(&mut state), "s39");
    state.key(KeyCode::Home.into());
    assert_eq!(seen(&mut state), "s00");
}

#[test]
fn colours_are_for_those_who_want_them() {
    let red = |coloured: bool| {
        let mut state = State { coloured, ..state() };
        let mut terminal = Terminal::new(TestBackend::new(80, 8)).unwrap();
        terminal.draw(|frame| draw(frame, &mut state)).unwrap();
        terminal.backend().buffer().content().iter().any(|cell| cell.fg == Color::Red)
    };
    assert!(red(true) && !red(false));
}

#[test]
fn names_cannot_command_the_terminal() {
    let mut state = state();
    state.take(vec![row("a\u{1b}[2J\nb", 1, 0, 0.1)]);
    assert!(screen(&mut state, 80, 8)[2].contains("a\\u{1b}[2J\\nb"));
}

#[test]
fn figures_are_of_the_window_once_there_is_so_much() {
    let begun = Instant::now();
    let reading = |proxy: u64| Reading {
        namespace: "shop".to_owned(),
        proxy: proxy.to_string(),
        account: "web".to_owned(),
        at: begun,
        series: Vec::new(),
    };
    let mut history = History { window: Duration::from_secs(5), readings: VecDeque::new() };
    for (second, oldest) in [(0, 0), (1, 0), (4, 0), (5, 0), (6, 1), (9, 4), (30, 9), (31, 9), (36, 31)] {
        let compared = history.take(vec![reading(second)], begun + Duration::from_secs(second));
        assert_eq!(compared[0].proxy, oldest.to_string(), "after {second} s");
    }
}
