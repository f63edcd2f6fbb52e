//! HTTP/1.1 at a fixed rate, free of coordinated omission: a request's time starts when it was due, not when it could be sent.
//!
//! One thread per connection, each with its own timetable, blocking: between the clock and the socket stands nothing but the
//! kernel. A connection that falls behind sends late, and all that lateness is counted, but what the machine's own stalls made late
//! is left out. One failure fails the run.

use crate::latency::Latencies;
use crate::message;
use crate::stalls::Watch;
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

/// What one run came to.
#[derive(Debug)]
pub struct Paced {
    /// From when requests were due to the ends of their answers; `None`: the machine stood still for all of them.
    pub latencies: Option<Latencies>,
    /// All requests that were due, also those whose latency is left out.
    pub sent: u64,
    /// Requests before those, one on each connection.
    pub first: u64,
}

/// When a request was due, and when it was answered.
type Exchange = (Instant, Instant);

/// Paces `target` from inside `client` for `duration`.
pub fn run(client: &Pod, target: SocketAddr, pace: &Pace, duration: Duration) -> anyhow::Result<Paced> {
    let dial =
        || (0..pace.connections).map(|_| TcpStream::connect_timeout(&target, LIMIT)).collect::<Result<Vec<_>, _>>();
    let mut streams = client.within(dial)?.context("dial")?;
    let head = format!("POST / HTTP/1.1\r\nhost: {target}\r\ncontent-length: {}\r\n\r\n", pace.body);
    let request = [head.into_bytes(), vec![b'x'; pace.body]].concat();
    // What a new connection costs is another scenario's question.
    for stream in &mut streams {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&request).context("send the first request")?;
        receive(stream, &mut vec![])?;
    }
    let watch = Watch::start()?;
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
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Vec<Exchange>>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    });
    let (all, stalls) = (parts?.concat(), watch.stop()?);
    let calm = all.iter().filter(|(due, answered)| !stalls.touch(*due, *answered));
    let latencies = Latencies::of(calm.map(|(due, answered)| *answered - *due).collect()).ok();
    Ok(Paced { latencies, sent: all.len() as u64, first: u64::from(pace.connections) })
}

/// Sends `request` whenever it is due, and waits for the answer.
fn converse(
    mut stream: TcpStream,
    request: &[u8],
    timetable: impl Iterator<Item = Instant>,
) -> anyhow::Result<Vec<Exchange>> {
    // Otherwise the kernel wakes sleepers up to 50 us late.
    nix::sys::prctl::set_timerslack(1)?;
    let (mut exchanges, mut buffer) = (vec![], vec![]);
    for due in timetable {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(request).context("send a request")?;
        receive(&mut stream, &mut buffer)?;
        exchanges.push((due, Instant::now()));
    }
    Ok(exchanges)
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
