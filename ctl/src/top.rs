//! `weftctl top`: the figures of `stat`, live in the terminal, to be sorted and filtered by keys.
//!
//! Proxies are asked once a second; each row is of the last seconds. A discovery that goes away leaves what was known on the screen, with
//! the reason below. The terminal is given back as it was: after q and Ctrl-C, signals, errors and panics.

mod keys;
mod screen;
mod state;

use crate::connect::Discovery;
use crate::measure::{Reading, readings};
use crate::print::{self, Output, plain};
use crate::progress::Progress;
use crate::stat::{FAMILIES, Subject};
use crate::watch;
use anyhow::{Context as _, bail};
use futures::future::LocalBoxFuture;
use keys::{Heard, Keys};
use state::{After, State};
use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Keys: 1 to 9 sort by a column, again the other way round; / filters; space pauses; arrows scroll; q quits."
)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    /// Over how long
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = watch::seconds)]
    window: Duration,
}

/// How often proxies are asked.
const EVERY: Duration = Duration::from_secs(1);

/// Readings, and a line for each proxy that has none.
type Answer = anyhow::Result<(Vec<Reading>, Vec<String>)>;

/// Gives the terminal back.
struct Borrowed;

impl Drop for Borrowed {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The readings of one window.
struct History {
    window: Duration,
    readings: VecDeque<(Instant, Vec<Reading>)>,
}

impl History {
    /// The readings to compare with: the youngest that is as old as the window, or the oldest there is.
    fn take(&mut self, readings: Vec<Reading>, now: Instant) -> &[Reading] {
        self.readings.push_back((now, readings));
        while self.readings.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= self.window) {
            self.readings.pop_front();
        }
        self.readings.front().map_or(&[], |(_, readings)| readings)
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    args.subject.check()?;
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        bail!("top needs a terminal; for pipes and files there is `weftctl stat --watch`");
    }
    let subject = &args.subject;
    // What is wrong from the beginning is said without a screen around it.
    let (first, notes) = readings(discovery, FAMILIES, |proxy| subject.asks(proxy), &Progress::silent()).await?;
    let mut history = History { window: args.window, readings: VecDeque::new() };
    history.take(first, Instant::now());
    let mut state = State::new(subject.by, args.window, print::colours());
    state.notes = notes.iter().map(|note| plain(note)).collect();
    let mut signals = signals()?;
    // Panics give the terminal back as well: try_init sees to that.
    let mut terminal = ratatui::try_init().context("cannot take the terminal over")?;
    let _borrowed = Borrowed;
    let mut keys = Keys::listen();
    let mut asking = ask(discovery, subject);
    loop {
        terminal.draw(|frame| screen::draw(frame, &mut state)).context("cannot draw")?;
        tokio::select! {
            heard = keys.next() => match heard {
                Heard::Key(key) if state.key(key) == After::Quit => break,
                Heard::Key(_) | Heard::Resized => {}
                Heard::Gone => break,
            },
            answer = &mut asking => {
                take(&mut state, &mut history, subject, answer);
                asking = ask(discovery, subject);
            }
            () = ended(&mut signals) => break,
        }
    }
    Ok(Output::default())
}

fn ask<'a>(discovery: &'a Discovery, subject: &'a Subject) -> LocalBoxFuture<'a, Answer> {
    Box::pin(async move {
        tokio::time::sleep(EVERY).await;
        readings(discovery, FAMILIES, |proxy| subject.asks(proxy), &Progress::silent()).await
    })
}

fn take(state: &mut State, history: &mut History, subject: &Subject, answer: Answer) {
    match answer {
        Ok((after, notes)) => {
            let before = history.take(after.clone(), Instant::now());
            state.notes = notes.iter().map(|note| plain(note)).collect();
            state.take(subject.rows(before, &after));
        }
        Err(error) => state.notes = format!("{error:#}").lines().map(plain).collect(),
    }
}

/// What ends a program from outside.
fn signals() -> std::io::Result<[Signal; 3]> {
    Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?])
}

async fn ended([interrupt, terminate, hangup]: &mut [Signal; 3]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(test)]
#[path = "top/tests.rs"]
mod tests;
