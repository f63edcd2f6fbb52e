//! How busy and how quick an endpoint is, as one worker has seen it: peak-EWMA latency and requests in flight.
//!
//! After Finagle's and Linkerd's peak EWMA: a slow answer counts at once, a quick one slowly, so that trouble is noticed
//! with the first sign of it and forgotten with time. A failure adds a penalty on top, so that an endpoint that fails
//! fast attracts nothing. Cells, no locks: a load belongs to one worker.

use super::eject::{Ejection, Mark, Record};
use super::prequal::Probe;
use super::probed::Book;
use super::weights::Reported;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What an endpoint is taken to need while the first questions to it are open: enough not to be flooded.
const UNKNOWN: Duration = Duration::from_millis(5);
/// So many answers are only an acquaintance: each replaces the one before, because the first often waits for caches,
/// connections and compilers that no later one waits for, and a peak would keep that in mind for half a minute.
const ACQUAINTANCE: u32 = 4;
/// Nothing is taken to be quicker: differences below this are noise.
const FLOOR: f64 = 50e-6;
/// What a failure costs, at least; in a service that is slower than this, as many times what its answers take.
const FAILURE: Duration = Duration::from_millis(500);
const FAILURE_TIMES: f64 = 4.0;
/// A penalty loses all but 1/e in this time, times the failures in a row: one bad answer is soon forgiven, many are not.
const FORGIVE: Duration = Duration::from_secs(1);
/// How long an endpoint that cannot be reached is passed over: doubled each time that it is tried again in vain.
const SHUN_FIRST: Duration = Duration::from_millis(250);
const SHUN_MOST: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct State {
    /// Seconds.
    latency: Cell<f64>,
    seen: Cell<Instant>,
    answers: Cell<u32>,
    pending: Cell<u32>,
    /// Seconds.
    penalty: Cell<f64>,
    failed: Cell<Instant>,
    failures: Cell<u32>,
    unreached: Cell<u32>,
    unreached_until: Cell<Option<Instant>>,
    record: Record,
    mark: Mark,
    reported: Reported,
    book: Book,
}

/// One endpoint's load.
///
/// ```
/// # use std::time::{Duration, Instant};
/// # use weft_proxy::balance::Load;
/// let (decay, now) = (Duration::from_secs(10), Instant::now());
/// let load = Load::new(now);
/// let begun = load.begin(now);
/// begun.connected(now + Duration::from_millis(3)); // a new connection: its handshake is not the endpoint's latency
/// begun.end(now + Duration::from_millis(5), true, decay);
/// assert_eq!((load.latency(now, decay), load.pending()), (Duration::from_millis(2), 0));
/// ```
#[derive(Debug, Clone)]
pub struct Load(Rc<State>);

impl Load {
    pub fn new(now: Instant) -> Self {
        Self::marked(now, Mark::new(now))
    }

    /// Of an endpoint whose ejections `mark` tells.
    pub fn marked(now: Instant, mark: Mark) -> Self {
        Self(Rc::new(State {
            latency: Cell::new(0.0),
            seen: Cell::new(now),
            answers: Cell::new(0),
            pending: Cell::new(0),
            penalty: Cell::new(0.0),
            failed: Cell::new(now),
            failures: Cell::new(0),
            unreached: Cell::new(0),
            unreached_until: Cell::new(None),
            record: Record::default(),
            mark,
            reported: Reported::default(),
            book: Book::default(),
        }))
    }

    /// What the endpoint has said of itself.
    pub fn reported(&self) -> &Reported {
        &self.0.reported
    }

    /// A request goes out. It counts as in flight until the returned value ends or is dropped.
    pub fn begin(&self, now: Instant) -> Begun {
        Begun { found: self.pending(), serving: Some(self.serving()), started: Cell::new(now) }
    }

    /// Counts as in flight for as long as the value lives: a response body, a tunnel.
    pub fn serving(&self) -> Serving {
        self.0.pending.set(self.0.pending.get() + 1);
        Serving(self.clone())
    }

    pub fn pending(&self) -> u32 {
        self.0.pending.get()
    }

    /// What it answers to a probe.
    pub fn probe(&self, now: Instant) -> Probe {
        Probe { in_flight: self.pending(), latency: self.0.book.estimate(self.pending(), now) }
    }

    /// The mean latency of answers at `now`, decayed since the last one; zero before the first.
    pub fn latency(&self, now: Instant, decay: Duration) -> Duration {
        Duration::from_secs_f64(self.mean(now, decay))
    }

    /// What failures add to the latency at `now`.
    pub fn penalty(&self, now: Instant, decay: Duration) -> Duration {
        Duration::from_secs_f64(self.punishment(now, decay))
    }

    /// Cost of sending one more request there, in seconds: lower is better.
    ///
    /// An endpoint that is hardly known costs nothing while it is idle, so that it is tried as soon as a request comes,
    /// and `UNKNOWN` while a request to it is open, so that the others do not all follow.
    pub fn score(&self, now: Instant, decay: Duration) -> f64 {
        self.score_of(1.0, now, decay)
    }

    /// The same for an endpoint as big as so many others: what is in flight is shared out among them.
    pub fn score_of(&self, size: f64, now: Instant, decay: Duration) -> f64 {
        let state = &*self.0;
        let pending = state.pending.get();
        let latency = match state.answers.get() < ACQUAINTANCE {
            true if pending == 0 => 0.0,
            true => self.mean(now, decay).max(UNKNOWN.as_secs_f64()),
            false => self.mean(now, decay).max(FLOOR),
        };
        (latency + self.punishment(now, decay)) * (f64::from(pending) / size + 1.0)
    }

    /// Whether it is passed over while there are others: it could not be reached just now, or is ejected.
    pub fn shunned(&self, now: Instant) -> bool {
        self.unreached(now) || self.0.mark.is_out(now)
    }

    /// Whether it has been tried again in vain since it could not be reached.
    pub fn given_up(&self) -> bool {
        self.0.unreached.get() > 1
    }

    /// Whether it is ejected.
    pub fn ejected(&self, now: Instant) -> bool {
        self.0.mark.is_out(now)
    }

    /// Why and until when it is ejected, if it is.
    pub fn ejection(&self, now: Instant) -> Option<Ejection> {
        self.0.mark.ejection(now)
    }

    /// What its tries were like, for ejection.
    pub fn record(&self) -> &Record {
        &self.0.record
    }

    fn unreached(&self, now: Instant) -> bool {
        self.0.unreached_until.get().is_some_and(|until| now < until)
    }

    /// For how long it is still passed over because it could not be reached.
    pub fn shunned_for(&self, now: Instant) -> Option<Duration> {
        self.0.unreached_until.get().filter(|until| now < *until).map(|until| until.saturating_duration_since(now))
    }

    /// The endpoint could not be reached at all. Attempts that were under way together count once.
    fn unreachable(&self, now: Instant) {
        if self.unreached(now) {
            return;
        }
        let times = self.0.unreached.get();
        self.0.unreached.set(times.saturating_add(1));
        let pause = SHUN_FIRST.saturating_mul(1 << times.min(10)).min(SHUN_MOST);
        self.0.unreached_until.set(Some(now + pause));
    }

    fn mean(&self, now: Instant, decay: Duration) -> f64 {
        // Without news the mean moves back towards zero, so that an endpoint that was slow is tried again.
        self.0.latency.get() * fading(now, self.0.seen.get(), decay)
    }

    fn punishment(&self, now: Instant, decay: Duration) -> f64 {
        match self.0.penalty.get() {
            0.0 => 0.0,
            penalty => {
                let memory = FORGIVE.saturating_mul(self.0.failures.get().max(1)).min(decay);
                penalty * fading(now, self.0.failed.get(), memory)
            }
        }
    }

    fn answered(&self, now: Instant, took: Duration, decay: Duration) {
        let state = &*self.0;
        let sample = took.as_secs_f64();
        let answers = state.answers.get();
        // The peak: a worse sample counts whole.
        let next = if answers < ACQUAINTANCE || sample > self.mean(now, decay) {
            sample
        } else {
            let kept = fading(now, state.seen.get(), decay);
            state.latency.get() * kept + sample * (1.0 - kept)
        };
        state.latency.set(next);
        state.seen.set(now);
        state.answers.set(answers.saturating_add(1));
        // One good answer among bad ones does not make up for all of them.
        state.failures.set(state.failures.get() / 2);
        state.unreached.set(0);
        state.unreached_until.set(None);
    }

    fn failed(&self, now: Instant, started: Instant, decay: Duration) {
        let state = &*self.0;
        let took = now.saturating_duration_since(started);
        let slow = FAILURE_TIMES * self.mean(now, decay);
        let penalty = took.max(FAILURE).as_secs_f64().max(slow).max(self.punishment(now, decay));
        state.penalty.set(penalty);
        // What was under way when the last one failed is the same trouble, not another failure in the row.
        if state.failures.get() == 0 || started >= state.failed.get() {
            state.failures.set(state.failures.get().saturating_add(1));
        }
        state.failed.set(now);
    }

    /// Nobody waits for the answer any more: all that is known is that it takes longer than `waited`.
    fn abandoned(&self, now: Instant, waited: Duration) {
        let state = &*self.0;
        if waited.as_secs_f64() > state.latency.get() {
            state.latency.set(waited.as_secs_f64());
            state.seen.set(now);
        }
    }
}

/// What is left at `now` of something that was whole at `then`.
fn fading(now: Instant, then: Instant, memory: Duration) -> f64 {
    let age = now.saturating_duration_since(then).as_secs_f64();
    (-age / memory.as_secs_f64().max(1e-3)).exp()
}

/// A request whose answer is awaited.
///
/// Dropping it instead of ending it means that the client left: the wait counts as a lower bound, so that an endpoint
/// that hangs is avoided even if nobody has the patience to see it fail.
#[derive(Debug)]
pub struct Begun {
    /// In flight when it came.
    found: u32,
    /// `None` once ended.
    serving: Option<Serving>,
    started: Cell<Instant>,
}

impl Begun {
    /// A connection had to be made first: latency counts from here on, as for the requests that find one open.
    pub fn connected(&self, now: Instant) {
        self.started.set(now);
    }

    /// The answer has come, or the attempt has failed.
    pub fn end(mut self, now: Instant, ok: bool, decay: Duration) {
        let Some(Serving(load)) = &self.serving else { return };
        match ok {
            true => {
                let took = now.saturating_duration_since(self.started.get());
                load.0.book.write(self.found, took, now);
                load.answered(now, took, decay);
            }
            false => load.failed(now, self.started.get(), decay),
        }
        self.serving = None;
    }

    /// The endpoint could not be reached: it is passed over for a while, which says nothing about how it will answer then.
    pub fn unreached(mut self, now: Instant) {
        if let Some(Serving(load)) = &self.serving.take() {
            load.unreachable(now);
        }
    }

    /// The client left, or the failure was not the endpoint's.
    pub fn abandon(mut self, now: Instant) {
        self.leave(now);
    }

    fn leave(&mut self, now: Instant) {
        if let Some(Serving(load)) = &self.serving.take() {
            load.abandoned(now, now.saturating_duration_since(self.started.get()));
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.serving.is_some() {
            // A future that is dropped has nobody to tell it the time.
            self.leave(Instant::now());
        }
    }
}

/// Something in flight.
#[derive(Debug)]
pub struct Serving(Load);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.pending.set(self.0.0.pending.get() - 1);
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
