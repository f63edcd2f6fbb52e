//! Lines on standard output that nobody waits for: the access log's way out.
//!
//! They are put one after another into a buffer that a thread of its own writes out: it is woken for the first line and then lets
//! more come for a moment, so that a busy program pays for a copy and not for memory, a switch of threads and a system call.
//! What the buffer has no room for is dropped and counted: a reader that is slow or has stopped never blocks the program.

use crate::metrics::Registry;
use prometheus_client::metrics::counter::Counter;
use std::io::Write;
use std::mem;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that may wait.
const ROOM: usize = 1 << 20;
/// With so many of them there is no time to gather more.
const MUCH: usize = ROOM / 2;
/// Room that is kept for the lines to come once it has been needed.
const KEPT: usize = 128 << 10;
/// For how long a first line waits for more. Nobody who reads along notices it.
const GATHER: Duration = Duration::from_millis(20);
/// How long the end of the program may wait for an output that takes nothing.
const LAST: Duration = Duration::from_secs(1);

/// Takes lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lines(Arc<Shared>);

/// Writes out what waits when it is dropped.
#[must_use = "waiting lines are written out when this is dropped"]
pub struct Writer {
    lines: Lines,
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    /// Held while one line is copied, or while all are taken: for less than the switch of threads that a queue would cost.
    waiting: Mutex<Waiting>,
    come: Condvar,
    dropped: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    lines: u64,
    closing: bool,
}

/// Lines to standard output; those that were dropped are counted as `weft_access_log_dropped_total`.
///
/// # Panics
/// When the system has no thread for it, as a runtime does that needs one.
pub fn to_stdout(registry: &mut Registry) -> (Lines, Writer) {
    to(std::io::stdout(), registry)
}

fn to(output: impl Write + Send + 'static, registry: &mut Registry) -> (Lines, Writer) {
    let help = "Lines of the access log that were dropped because standard output did not take them";
    let dropped = registry.register("access_log_dropped", help, Counter::default());
    let lines = Lines(Arc::new(Shared { waiting: Mutex::default(), come: Condvar::new(), dropped }));
    let (end, ended) = sync_channel(1);
    let shared = Arc::clone(&lines.0);
    let run = move || {
        shared.write(output);
        let _ = end.try_send(());
    };
    thread::Builder::new().name("weft-access".into()).spawn(run).expect("a thread for the access log");
    (lines.clone(), Writer { lines, ended })
}

impl Shared {
    /// Nobody leaves it half changed, whatever happens to them.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's thread, until it is told to end.
    fn write(&self, mut output: impl Write) {
        let mut text = Vec::new();
        loop {
            let (lines, closing) = self.gather(&mut text);
            if output.write_all(&text).and_then(|()| output.flush()).is_err() {
                self.dropped.inc_by(lines);
            }
            text.clear();
            text.shrink_to(KEPT);
            if closing && self.waiting().text.is_empty() {
                return;
            }
        }
    }

    /// Waits for a first line and for a moment more, and takes them all into `text`, which is empty. How many, and whether to end.
    fn gather(&self, text: &mut Vec<u8>) -> (u64, bool) {
        let nothing = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.closing;
        let little = |waiting: &mut Waiting| waiting.text.len() < MUCH && !waiting.closing;
        let first = self.come.wait_while(self.waiting(), nothing).unwrap_or_else(PoisonError::into_inner);
        let more = self.come.wait_timeout_while(first, GATHER, little);
        let (mut waiting, _) = more.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut waiting.text, text);
        (mem::take(&mut waiting.lines), waiting.closing)
    }
}

impl Lines {
    /// Hands over a line with its end, unless too much waits already. Waits for nothing but another line that is being copied.
    pub fn send(&self, line: &[u8]) {
        let mut waiting = self.0.waiting();
        let before = waiting.text.len();
        let after = before + line.len();
        if after > ROOM {
            drop(waiting);
            self.0.dropped.inc();
            return;
        }
        waiting.text.extend_from_slice(line);
        waiting.lines += 1;
        drop(waiting);
        if before == 0 || (before < MUCH && after >= MUCH) {
            self.0.come.notify_one();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines.0.waiting().closing = true;
        self.lines.0.come.notify_one();
        let _ = self.ended.recv_timeout(LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Instant;

    type Written = Arc<Mutex<Vec<Vec<u8>>>>;

    /// Takes nothing until it is let go.
    struct Stopped(Receiver<()>, Written);

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error says that it has been let go.
            let _ = self.0.recv();
            self.1.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stopped(registry: &mut Registry) -> (Lines, Writer, Sender<()>, Written) {
        let ((hold, held), written) = (channel(), Written::default());
        let (lines, writer) = to(Stopped(held, Arc::clone(&written)), registry);
        (lines, writer, hold, written)
    }

    fn length(written: &Written) -> usize {
        written.lock().unwrap().iter().map(Vec::len).sum()
    }

    #[test]
    fn an_output_that_takes_nothing_costs_lines_and_a_counter() {
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        let (lines, writer, hold, written) = stopped(&mut registry);
        // As many again may be in the writer's hand.
        let (line, most) = ("a line\n", ROOM / 7);
        let sent = 2 * most + 100;
        (0..sent).for_each(|_| lines.send(line.as_bytes()));
        let text = registry.encode().unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("weft_access_log_dropped_total "));
        let dropped: usize = count.unwrap().parse().unwrap();
        assert!((99..=most + 101).contains(&dropped), "{dropped}");
        drop(hold);
        let (whole, deadline) = ((sent - dropped) * line.len(), Instant::now() + Duration::from_secs(60));
        while length(&written) < whole && Instant::now() < deadline {
            thread::yield_now();
        }
        assert_eq!(length(&written), whole);
        drop(writer);
    }

    #[test]
    fn lines_that_come_together_are_written_together_and_the_end_forgets_none() {
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        let (lines, writer, hold, written) = stopped(&mut registry);
        lines.send(b"first\n");
        hold.send(()).unwrap();
        (0..100).for_each(|_| lines.send(b"a line\n"));
        drop(hold);
        drop(writer);
        assert_eq!(length(&written), "first\n".len() + 100 * "a line\n".len());
        // The first may have gone alone; what came while it was written did not.
        assert!(written.lock().unwrap().len() <= 10, "{} writes", written.lock().unwrap().len());
    }
}
