//! The last lines that were logged, kept in memory for whoever asks the program itself.
//!
//! Bounded in bytes: the oldest lines go first, and a line that is longer than all the room is not kept. Lines are as they
//! were written, one event each.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that are kept.
const ROOM: usize = 64 * 1024;

/// Clones keep the same lines.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Recent {
    /// The lines, the oldest first.
    pub fn text(&self) -> String {
        let lines = self.lines();
        lines.lines.iter().map(|line| String::from_utf8_lossy(line)).collect()
    }

    fn keep(&self, line: &[u8]) {
        let mut lines = self.lines();
        while lines.bytes + line.len() > ROOM {
            let Some(oldest) = lines.lines.pop_front() else { return };
            lines.bytes -= oldest.len();
        }
        lines.bytes += line.len();
        lines.lines.push_back(line.into());
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Whoever panicked left whole lines behind; `bytes` may then be too much, never too little room.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what it is given to another writer, and keeps it.
#[derive(Debug, Clone)]
pub struct Kept<W> {
    pub to: W,
    pub recent: Recent,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Kept<W> {
    type Writer = Kept<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Kept { to: self.to.make_writer(), recent: self.recent.clone() }
    }
}

impl<W: Write> Write for Kept<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// The whole line at once, as formatters write it.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        self.recent.keep(line);
        self.to.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_first() {
        let recent = Recent::default();
        let mut kept = Kept { to: Vec::new(), recent: recent.clone() };
        for n in 0..10_000 {
            kept.write_all(format!("line {n}\n").as_bytes()).unwrap();
        }
        let text = recent.text();
        assert!(text.len() <= ROOM && text.len() > ROOM - 20, "{}", text.len());
        assert!(text.ends_with("line 9998\nline 9999\n") && text.starts_with("line "));
        assert!(kept.to.starts_with(b"line 0\n"), "all of them went on");
        kept.write_all(&vec![b'x'; ROOM + 1]).unwrap();
        assert!(recent.text().len() <= ROOM);
    }
}
