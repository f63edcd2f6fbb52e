//! Lines on standard output that nobody waits for: the access log's way out.
//!
//! A thread of its own writes them, many at once: it is woken for the first line and then lets more come for a moment, so that a
//! busy program pays for a place in a queue and not for a switch of threads and a system call. Lines beyond a bounded queue are
//! dropped and counted: a reader that is slow or has stopped never blocks the program.

use crate::metrics::Registry;
use prometheus_client::metrics::counter::Counter;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Thread};
use std::time::Duration;

/// Lines that may wait.
const QUEUED_LINES: usize = 4 * 1024;
/// For how long a first line waits for more. Nobody who reads along notices it.
const GATHER: Duration = Duration::from_millis(20);
/// How long the end of the program may wait for an output that takes nothing.
const LAST: Duration = Duration::from_secs(1);

/// Takes lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lines {
    queue: SyncSender<String>,
    writer: Thread,
    shared: Arc<Shared>,
}

/// Writes out what is queued when it is dropped.
#[must_use = "queued lines are written out when this is dropped"]
pub struct Writer {
    lines: Lines,
    ended: Receiver<()>,
}

#[derive(Debug)]
struct Shared {
    /// Lines in the queue.
    queued: AtomicUsize,
    closing: AtomicBool,
    dropped: Counter,
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
    let shared = Arc::new(Shared { queued: AtomicUsize::new(0), closing: AtomicBool::new(false), dropped });
    let (queue, waiting) = sync_channel(QUEUED_LINES);
    let (end, ended) = sync_channel(1);
    let its = Arc::clone(&shared);
    let run = move || {
        write(output, &waiting, &its);
        let _ = end.try_send(());
    };
    let thread = thread::Builder::new().name("weft-access".into()).spawn(run).expect("a thread for the access log");
    let lines = Lines { queue, writer: thread.thread().clone(), shared };
    (lines.clone(), Writer { lines, ended })
}

/// The writer's thread, until there is nobody left to send lines or it is told to end.
fn write(mut output: impl Write, lines: &Receiver<String>, shared: &Shared) {
    let mut text = String::new();
    while let Ok(first) = lines.recv() {
        if !shared.closing.load(Relaxed) {
            thread::park_timeout(GATHER);
        }
        text.push_str(&first);
        let more = lines.try_iter().take(QUEUED_LINES).map(|line| text.push_str(&line)).count();
        let count = more + 1;
        shared.queued.fetch_sub(count, Relaxed);
        if output.write_all(text.as_bytes()).and_then(|()| output.flush()).is_err() {
            shared.dropped.inc_by(count as u64);
        }
        text.clear();
        if shared.closing.load(Relaxed) && shared.queued.load(Relaxed) == 0 {
            return;
        }
    }
}

impl Lines {
    /// Hands over a line with its end, unless too many wait already. Never waits.
    pub fn send(&self, line: String) {
        match self.offer(line) {
            // So many come that there is no time to gather.
            Some(queued) if queued == QUEUED_LINES / 2 => self.writer.unpark(),
            Some(_) => {}
            None => {
                self.shared.dropped.inc();
            }
        }
    }

    /// How many are queued with it; `None`: it is not.
    fn offer(&self, line: String) -> Option<usize> {
        let queued = self.shared.queued.fetch_add(1, Relaxed) + 1;
        if self.queue.try_send(line).is_err() {
            self.shared.queued.fetch_sub(1, Relaxed);
            return None;
        }
        Some(queued)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines.shared.closing.store(true, Relaxed);
        // Wakes a writer that waits for a line; one that has a full queue needs no waking.
        let _ = self.lines.offer(String::new());
        self.lines.writer.unpark();
        let _ = self.ended.recv_timeout(LAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Mutex;
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
        let sent = 2 * QUEUED_LINES + 100;
        (0..sent).for_each(|_| lines.send("a line\n".to_owned()));
        let text = registry.encode().unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("weft_access_log_dropped_total "));
        let dropped: usize = count.unwrap().parse().unwrap();
        assert!((99..=QUEUED_LINES + 100).contains(&dropped), "{dropped}");
        drop(hold);
        let (whole, deadline) = ((sent - dropped) * "a line\n".len(), Instant::now() + Duration::from_secs(60));
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
        lines.send("first\n".to_owned());
        hold.send(()).unwrap();
        (0..100).for_each(|_| lines.send("a line\n".to_owned()));
        drop(hold);
        drop(writer);
        assert_eq!(length(&written), "first\n".len() + 100 * "a line\n".len());
        // The first may have gone alone; what came while it was written did not.
        assert!(written.lock().unwrap().len() <= 10, "{} writes", written.lock().unwrap().len());
    }
}
