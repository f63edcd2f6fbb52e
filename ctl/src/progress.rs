//! Says on a terminal's standard error how far long work is, and takes it away again.
//!
//! Nothing is written when standard error is no terminal, nor for work that is done before anybody wonders. What cannot be
//! written is left out: no command fails for it.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::time::Instant;

/// Work that takes less is not told of.
const PATIENCE: Duration = Duration::from_millis(300);

/// Work of so many steps. The line goes when this is dropped.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    steps: Cell<usize>,
    done: Cell<usize>,
    shown: Cell<bool>,
    since: Instant,
    terminal: bool,
}

impl Progress {
    /// `steps` of 0: nobody knows how many.
    pub fn new(what: &'static str, steps: usize) -> Self {
        Self::on(std::io::stderr().is_terminal(), what, steps)
    }

    /// Of work that has a screen of its own.
    pub fn silent() -> Self {
        Self::on(false, "", 0)
    }

    fn on(terminal: bool, what: &'static str, steps: usize) -> Self {
        let (steps, done, shown) = (Cell::new(steps), Cell::new(0), Cell::new(false));
        Self { what, steps, done, shown, since: Instant::now(), terminal }
    }

    /// Only now it is known how many steps there are.
    pub fn expect(&self, steps: usize) {
        self.steps.set(steps);
    }

    /// One more is done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        self.show();
    }

    /// So many are done of so many, of work that others do.
    pub fn at(&self, done: usize, steps: usize) {
        self.done.set(done);
        self.steps.set(steps);
        self.show();
    }

    /// Shows the line, if it is time to.
    pub fn show(&self) {
        if self.terminal && self.since.elapsed() >= PATIENCE {
            self.shown.set(true);
            write(&format!("\r\x1b[K{}", line(self.what, self.done.get(), self.steps.get())));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.get() {
            write("\r\x1b[K");
        }
    }
}

fn line(what: &str, done: usize, steps: usize) -> String {
    if steps == 0 { format!("{what}...") } else { format!("{what}... {done}/{steps}") }
}

/// A line at once, for work that takes its time. Where nobody reads any more, the work goes on all the same.
pub fn say(line: &str) {
    write(&format!("{line}\n"));
}

/// On standard error. Where nobody reads it any more (`2>&1 | head`), that is no reason to panic, as `eprintln` would.
pub fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_the_work_is() {
        assert_eq!(line("asking proxies", 3, 12), "asking proxies... 3/12");
        assert_eq!(line("waiting", 0, 0), "waiting...");
    }
}
