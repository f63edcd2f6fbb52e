//! HTTP/1.1 at a fixed rate, free of coordinated omission: a request's time starts when it was due, not when it could be sent.
//!
//! One thread per connection, each with its own timetable, blocking: between the clock and the socket stands nothing but the
//! kernel. A connection that falls behind sends late, and all that lateness is counted. One failure fails the run.

use crate::latency::Latencies;
use crate::message;
use anyhow::{Context, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use weft_examples::pods::Pod;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// From the making of the threads to the first request.
const LEAD: Duration = Duration::from_millis(50);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests per second over all connections.
    pub rate: u32,
    pub connections: u32,
    /// Bytes in a request's body.
    pub body: usize,
}

/// Paces `target` from inside `client` for `duration`: the times from when requests were due to the ends of their answers.
pub fn run(client: &Pod, target: SocketAddr, pace: &Pace, duration: Duration) -> anyhow::Result<Latencies> {
    let dial =
        || (0..pace.connections).map(|_| TcpStream::connect_timeout(&target, LIMIT)).collect::<Result<Vec<_>, _>>();
    let streams = client.within(dial)?.context("dial")?;
    let head = format!("POST / HTTP/1.1\r\nhost: {target}\r\ncontent-length: {}\r\n\r\n", pace.body);
    let request = [head.into_bytes(), vec![b'x'; pace.body]].concat();
    let step = Duration::from_secs(1) * pace.connections / pace.rate;
    let begin = Instant::now() + LEAD;
    let timetable = |index: u32| {
        let first = begin + Duration::from_secs(1) * index / pace.rate;
        (0..).map(move |turn| first + step * turn).take_while(move |due| *due < begin + duration)
    };
    let parts = thread::scope(|scope| {
        let request = &request;
        let start = |(index, stream)| scope.spawn(move || converse(stream, request, index));
        let threads: Vec<_> = (0..).map(timetable).zip(streams).map(|(due, stream)| start((due, stream))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Vec<Duration>>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    });
    Latencies::of(parts?.concat()).with_context(|| format!("no request was due within {duration:?}"))
}

/// Sends `request` whenever it is due, and waits for the answer.
fn converse(
    mut stream: TcpStream,
    request: &[u8],
    timetable: impl Iterator<Item = Instant>,
) -> anyhow::Result<Vec<Duration>> {
    // Otherwise the kernel wakes sleepers up to 50 us late.
    nix::sys::prctl::set_timerslack(1)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let (mut latencies, mut buffer) = (vec![], vec![]);
    for due in timetable {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request).context("send a request")?;
        receive(&mut stream, &mut buffer)?;
        latencies.push(due.elapsed());
    }
    Ok(latencies)
}

/// Reads one answer, which has to be a 200; `buffer` is scratch space.
pub fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    let mut chunk = [0; 4096];
    while message::first(buffer).is_none() {
        match stream.read(&mut chunk).context("wait for an answer")? {
            0 => bail!("the connection ended before the answer"),
            length => buffer.extend_from_slice(&chunk[..length]),
        }
    }
    ensure!(buffer.starts_with(b"HTTP/1.1 200 "), "the answer is {:?}", String::from_utf8_lossy(buffer));
    Ok(())
}
