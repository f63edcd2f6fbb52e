//! Lines on standard output that nobody waits for: the access log's way out.
//!
//! A thread of its own writes them. Lines beyond a bounded queue are dropped and counted, so that a reader which is slow or has
//! stopped never blocks the program.

use crate::metrics::Registry;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::io::Write;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait.
const QUEUED_LINES: usize = 4 * 1024;

/// Takes lines. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lines(NonBlocking);

/// Writes out what is queued when it is dropped.
#[must_use = "queued lines are written out when this is dropped"]
pub struct Writer {
    _guard: WorkerGuard,
}

#[derive(Debug)]
struct Dropped(ErrorCounter);

/// Lines to standard output; those that were dropped are counted as `weft_access_log_dropped_total`.
pub fn to_stdout(registry: &mut Registry) -> (Lines, Writer) {
    to(std::io::stdout(), registry)
}

fn to(output: impl Write + Send + 'static, registry: &mut Registry) -> (Lines, Writer) {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUED_LINES);
    let (lines, guard) = builder.thread_name("weft-access").finish(output);
    registry.register_collector(Dropped(lines.error_counter()));
    (Lines(lines), Writer { _guard: guard })
}

impl Lines {
    /// Hands over a line with its end, unless too many wait already. Never waits.
    pub fn send(&self, line: &str) {
        // A full queue is no error here: it is counted where the line is dropped.
        let _ = self.0.clone().write_all(line.as_bytes());
    }
}

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let count = ConstCounter::new(self.0.dropped_lines() as u64);
        let help = "Lines of the access log that were dropped because standard output did not take them.";
        count.encode(encoder.encode_descriptor("access_log_dropped", help, None, count.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    /// Takes nothing until it is let go.
    struct Stopped(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error says that it has been let go.
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_output_that_takes_nothing_costs_lines_and_a_counter() {
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        let ((hold, held), written) = (channel(), Arc::new(Mutex::new(Vec::new())));
        let (lines, writer) = to(Stopped(held, Arc::clone(&written)), &mut registry);
        let sent = QUEUED_LINES + 100;
        (0..sent).for_each(|_| lines.send("a line\n"));
        let text = registry.encode().unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("weft_access_log_dropped_total "));
        let dropped: usize = count.unwrap().parse().unwrap();
        // One may be in the writer's hand.
        assert!((99..=100).contains(&dropped), "{dropped}");
        drop(hold);
        let (whole, deadline) = ((sent - dropped) * "a line\n".len(), Instant::now() + Duration::from_secs(60));
        while written.lock().unwrap().len() < whole && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(written.lock().unwrap().len(), whole);
        drop(writer);
    }
}
