//! Serves one HTTP/1 client connection: request after request, each planned, tried, answered and counted.
//!
//! The story (`outbound` or `inbound`) says where requests go; this file says what that means for the two connections.
//! Whatever goes wrong, the client gets either a whole answer that says why, or a reset: never half an answer that looks
//! complete.

use super::answer::{Next, Said, answer, last};
use super::exchange::{self, Expect, Upload, Waited};
use super::framing::Framing;
use super::head::Head;
use super::hedge::{self, Late, Reply};
use super::mirror;
use super::pump::{Pump, Replay};
use super::rewrite;
use super::scratch::Scratch;
use super::view::View;
use crate::cluster::Upstream;
use crate::conn::Conn;
use crate::error::Failure;
use crate::plan::{self, Attempts, Mirrored, Open, Plan, Planned, Sent, Story, Tried, within};
use crate::record::{End, Observed};
use crate::respond;
use crate::retry::{Verdict, idempotent};
use crate::tunnel;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::{timeout, timeout_at};

/// Serves `client` until it leaves, fails, or draining ends it.
pub async fn serve(story: &impl Story, mut client: Conn) {
    loop {
        if client.buf.is_empty() {
            tokio::select! {
                biased;
                filled = client.fill_idle() => match filled {
                    Ok(n) if n > 0 => {}
                    Ok(_) => return Box::pin(client.finish()).await,
                    Err(_) => return client.abort(),
                },
                // A request that is here already is not lost; its answer asks the client to leave.
                () = story.wait_closed() => if !client.has_arrived() {
                    return Box::pin(client.finish()).await;
                },
            }
        }
        let mut scratch = Scratch::take();
        let limits = story.limits();
        let reading = exchange::read_request(&mut client, &mut scratch.request, limits.max_head);
        let next = match timeout(limits.header_timeout, reading).await.unwrap_or(Err(Failure::HeaderTimeout)) {
            // Boxed, as the end: an idle connection's task must not be as large as one that carries a request.
            Ok(true) => Box::pin(one(story, &mut client, &mut scratch)).await,
            Ok(false) => Next::Close,
            Err(Failure::ClientGone) => Next::Abort,
            Err(failure) => {
                story.refused("http1", &failure, Duration::ZERO);
                last(&mut client, Said::Failure(&failure), false).await
            }
        };
        scratch.give_back();
        match next {
            Next::Keep => {}
            Next::Close => return Box::pin(client.finish()).await,
            Next::Abort => return client.abort(),
        }
    }
}

async fn one(story: &impl Story, client: &mut Conn, scratch: &mut Scratch) -> Next {
    let started = Instant::now();
    for name in story.removed() {
        scratch.request.remove(name);
    }
    let observed = observe(story, &scratch.request, started);
    let mut plan = match plan::decide(story, &View::new(&scratch.request)).await {
        Ok(Planned::Forward(plan)) => Plan { observed, ..plan },
        Ok(Planned::Redirect(redirected)) => {
            redirected.count(started.elapsed());
            observed.end(&View::new(&scratch.request), redirected.end());
            return answer(story, client, &scratch.request, &mut scratch.wire, Said::Redirect(&redirected)).await;
        }
        Err(failure) => {
            story.refused("http1", &failure, started.elapsed());
            observed.end(&View::new(&scratch.request), End::failed(&failure, "", false));
            return answer(story, client, &scratch.request, &mut scratch.wire, Said::Failure(&failure)).await;
        }
    };
    let mirrors = std::mem::take(&mut plan.mirrors);
    let mut turn = Turn { story, plan: &plan, mirrors, started, client, scratch };
    match plan.end(started) {
        None => turn.run().await,
        Some((end, failure)) => match timeout_at(end, turn.run()).await {
            Ok(next) => next,
            Err(_) => turn.timed_out(&failure).await,
        },
    }
}

/// What will be told of the request, if anybody asks.
fn observe(story: &impl Story, request: &Head, begun: Instant) -> Observed {
    story.watch().map(|watch| watch.begin(&View::new(request), begun)).unwrap_or_default()
}

/// One request being carried out.
struct Turn<'a, S> {
    story: &'a S,
    plan: &'a Plan,
    /// Copies that have not been sent yet.
    mirrors: Vec<Mirrored>,
    started: Instant,
    client: &'a mut Conn,
    scratch: &'a mut Scratch,
}

/// An attempt that has brought a response head.
struct Answered {
    upstream: Rc<Upstream>,
    port: u16,
    conn: Conn,
    /// What the mesh says beside it; empty: nothing.
    reason: &'static str,
}

/// An attempt, as far as it has come.
enum Attempt {
    /// The response head is in the scratch.
    Answered(Conn, u16),
    Late(Late),
}

impl<S: Story> Turn<'_, S> {
    async fn run(&mut self) -> Next {
        self.write_head();
        self.scratch.answering = false;
        let framing = self.scratch.request.framing();
        let retry = self.plan.retry();
        let keeps = (retry.attempts > 0 || !self.mirrors.is_empty()) && framing != Framing::None;
        let replay = keeps.then(|| Replay::new(retry.replay_bytes));
        let mut upload = Upload::new(framing, std::mem::take(&mut self.scratch.out), &self.scratch.wire, replay);
        let tried = self.attempts(&mut upload).await;
        self.mirror(&upload);
        match tried {
            Ok(answered) if self.scratch.response.status == 101 => self.upgrade(answered, upload).await,
            Ok(answered) => self.relay(answered, upload).await,
            Err((failure, served)) => self.failed(failure, served, &upload).await,
        }
    }

    /// The request's head for an endpoint, into `wire`.
    fn write_head(&mut self) {
        rewrite::request(&mut self.scratch.request, self.plan, self.story.added(), &mut self.scratch.wire);
    }

    /// Sends the copies that the request's rule asks for, as far as the whole of it is there.
    fn mirror(&mut self, upload: &Upload) {
        let request = &self.scratch.request;
        let (tunnel, to_head) = (request.hop.upgrade || request.method() == b"CONNECT", request.method() == b"HEAD");
        for copy in self.mirrors.drain(..) {
            match upload.copy().filter(|_| !tunnel) {
                Some(body) => mirror::send(copy, [&self.scratch.wire, body].concat(), to_head),
                None => self.story.mirror_dropped(),
            }
        }
    }

    /// Tries until a response head is there that is worth passing on.
    async fn attempts(&mut self, upload: &mut Upload) -> Result<Answered, (Failure, Option<Rc<Upstream>>)> {
        let safe = idempotent(self.scratch.request.method());
        let mut attempts = Attempts::new(self.plan);
        loop {
            let upstream = attempts.pick(Instant::now()).map_err(|failure| (failure, None))?;
            let open = Open::at(upstream);
            let tried = match self.attempt(&open.upstream, upload, safe).await {
                // Boxed: few requests are hedged, and the task of every connection would be larger for it.
                Ok(Attempt::Late(late)) => Box::pin(self.hedge(&mut attempts, open, late, upload, safe)).await,
                Ok(Attempt::Answered(conn, port)) => {
                    attempts.settle(open, Ok((conn, port)), |upstream, _| unwelcome(upstream, &self.scratch.response))
                }
                Err(failure) => attempts.settle(open, Err(failure), |_, _| None),
            };
            let Tried { upstream, result: tried, failure } = tried;
            let tried = tried.map(|(conn, port)| Answered { upstream: Rc::clone(&upstream), port, conn, reason: "" });
            let Some(failure) = failure else { return tried.map_err(|f| (f, Some(upstream))) };
            let repeatable = self.repeatable(upload);
            let retry_after = tried.is_ok().then(|| self.scratch.response.values("retry-after").next()).flatten();
            match attempts.again(&upstream, &failure, Sent { idempotent: safe, repeatable, retry_after }) {
                Verdict::Retry(pause) => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    if self.plan.deadline.is_some() || self.plan.observed.differs_by_try() {
                        // Less time is left than the try before was told; each try is a span of its own.
                        self.write_head();
                    }
                    upload.restart(&self.scratch.wire);
                }
                Verdict::GiveUp(why) => {
                    let answered = tried.map(|answered| Answered { reason: why.beside(), ..answered });
                    return answered.map_err(|failure| (why.instead_of(failure), Some(upstream)));
                }
            }
        }
    }

    fn repeatable(&self, upload: &Upload) -> bool {
        self.scratch.request.framing() == Framing::None || upload.repeatable()
    }

    /// The answer of `open` is late: goes on waiting for it, and for that of another endpoint if there may be one.
    async fn hedge(
        &mut self,
        attempts: &mut Attempts<'_>,
        open: Open,
        late: Late,
        upload: &mut Upload,
        safe: bool,
    ) -> Tried<(Conn, u16)> {
        let sent = Sent { idempotent: safe, repeatable: upload.copy().is_some(), retry_after: None };
        let rival = attempts.rival(&open, sent);
        if rival.is_some() && (self.plan.deadline.is_some() || self.plan.observed.differs_by_try()) {
            // Less time is left than the first try was told; each try is a span of its own.
            self.write_head();
        }
        let message = || [&self.scratch.wire, upload.copy().unwrap_or_default()].concat();
        let second = rival.map(|rival| (Rc::clone(&rival.upstream), rival, message()));
        let (head, expect) = (std::mem::take(&mut self.scratch.response), late.expect);
        let first = hedge::wait(self.client, late, upload, head);
        let judge = |upstream: &Upstream, reply: &Reply| unwelcome(upstream, &reply.head);
        let tried = match second {
            None => attempts.settle(open, first.await, judge),
            Some((upstream, rival, message)) => {
                let second = hedge::send(self.plan, &upstream, message, expect);
                attempts.race((open, first), (rival, second), judge).await
            }
        };
        let Tried { upstream, result, failure } = tried;
        let result = result.map(|reply| {
            self.scratch.response = reply.head;
            (reply.conn, reply.port)
        });
        Tried { upstream, result, failure }
    }

    /// One try: connection, request, response head.
    async fn attempt(&mut self, upstream: &Rc<Upstream>, upload: &mut Upload, safe: bool) -> Result<Attempt, Failure> {
        let port = self.plan.port_of(upstream);
        let (mut conn, reused) = upstream.http1(port, self.plan.connect_timeout(), safe).await?;
        let expect = Expect {
            to_head: self.scratch.request.method() == b"HEAD",
            interim: self.scratch.request.minor == 1,
            reused,
            max_head: self.story.limits().max_head,
            patience: self.plan.patience(safe).filter(|_| !self.scratch.request.hop.upgrade),
        };
        let end = self.plan.try_timeout.map(|limit| tokio::time::Instant::now() + limit);
        let exchange = exchange::request(self.client, &mut conn, upload, &mut self.scratch.response, expect);
        match within(end, exchange).await {
            Ok(Waited::Answered) => {}
            Ok(Waited::InVain) => return Ok(Attempt::Late(Late { conn, port, expect, end })),
            Err(failure) => {
                if matches!(failure, Failure::ClientGone) {
                    // The endpoint meets with what its client has done.
                    conn.abort();
                }
                return Err(failure);
            }
        }
        let status = self.scratch.response.status;
        if status == 101 && !self.scratch.request.hop.upgrade {
            return Err(Failure::MalformedResponse("upgrade that nobody asked for"));
        }
        Ok(Attempt::Answered(conn, port))
    }

    /// Passes the response on, then decides what both connections are still good for.
    async fn relay(&mut self, answered: Answered, mut upload: Upload) -> Next {
        let Answered { upstream, port, mut conn, reason } = answered;
        let _serving = upstream.load.serving();
        let tunnel = self.scratch.request.method() == b"CONNECT" && (200..300).contains(&self.scratch.response.status);
        let framing = if tunnel { Framing::None } else { self.scratch.response.framing() };
        let close = framing == Framing::UntilClose || !self.scratch.request.persistent() || self.story.draining();
        let connection = match self.scratch.request.minor {
            _ if close && !tunnel => "close",
            0 => "keep-alive",
            _ => "",
        };
        let added = [("connection", connection), (respond::REASON, reason)];
        rewrite::response(&mut self.scratch.response, self.plan, &upstream, &added, &mut self.scratch.wire);
        self.scratch.answering = true;
        self.plan.observed.answered(|each| self.scratch.response.each_field(each));
        // The request's head is not needed any more once there is an answer to pass on.
        let mut download = Pump::new(framing, std::mem::take(&mut self.scratch.wire));
        let moved = exchange::response(self.client, &mut conn, &mut upload, &mut download).await;
        self.count(&upstream, moved.as_ref().err(), reason, (upload.pump.moved, download.moved));
        if tunnel && moved.is_ok() {
            return self.tunnel(conn).await;
        }
        let whole = moved.is_ok();
        let keep_upstream = whole
            && framing != Framing::UntilClose
            && upload.complete()
            && !upload.ended()
            && self.scratch.response.persistent()
            && conn.buf.is_empty();
        let complete = upload.complete();
        self.scratch.wire = download.into_buffer();
        self.scratch.out = upload.into_buffer();
        if keep_upstream {
            upstream.give_back(port, conn);
        }
        match whole {
            false => Next::Abort,
            true if close || !complete => Next::Close,
            true => Next::Keep,
        }
    }

    /// 101: from here on the connection is the application's own protocol.
    async fn upgrade(&mut self, answered: Answered, upload: Upload) -> Next {
        let Answered { upstream, conn, .. } = answered;
        let mut head = std::mem::take(&mut self.scratch.wire);
        head.clear();
        self.scratch.response.write_response(&mut head);
        head.extend_from_slice(b"connection: upgrade\r\n\r\n");
        self.plan.observed.answered(|each| self.scratch.response.each_field(each));
        self.count(&upstream, None, "", (upload.pump.moved, 0));
        match self.client.send(&head).await {
            Ok(()) => self.tunnel(conn).await,
            Err(_) => Next::Abort,
        }
    }

    async fn tunnel(&mut self, mut conn: Conn) -> Next {
        match tunnel::run(self.client, &mut conn).await {
            (_, Ok(())) => Next::Close,
            (_, Err(_)) => {
                conn.abort();
                Next::Abort
            }
        }
    }

    /// No attempt brought an answer.
    async fn failed(&mut self, failure: Failure, served: Option<Rc<Upstream>>, upload: &Upload) -> Next {
        match &served {
            Some(upstream) => self.count(upstream, Some(&failure), "", (upload.pump.moved, 0)),
            None => self.plan.failed(&View::new(&self.scratch.request), &failure, false, self.started.elapsed()),
        }
        tracing::debug!(reason = failure.reason(), %failure, "request failed");
        if matches!(failure, Failure::ClientGone) {
            return Next::Abort;
        }
        if upload.complete() {
            self.scratch.request.body_taken();
        }
        let Scratch { request, wire, .. } = &mut *self.scratch;
        answer(self.story, self.client, request, wire, Said::Failure(&failure)).await
    }

    /// The whole request took too long. Dropping the attempt has closed its upstream connection.
    async fn timed_out(&mut self, failure: &Failure) -> Next {
        self.plan.failed(&View::new(&self.scratch.request), failure, false, self.started.elapsed());
        if self.scratch.answering {
            return Next::Abort;
        }
        last(self.client, Said::Failure(failure), self.scratch.request.method() == b"HEAD").await
    }

    /// `beside`: the reason when nothing failed; `moved`: bytes of the bodies, up and down.
    fn count(&self, upstream: &Upstream, failure: Option<&Failure>, beside: &'static str, moved: (u64, u64)) {
        let (status, reason) = match failure {
            Some(failure) => (failure.status(), failure.reason()),
            None => (self.scratch.response.status, beside),
        };
        let route = self.plan.route();
        let trace = self.plan.observed.sampled();
        upstream.meter.record_traced(route, status, reason, self.started.elapsed(), trace);
        upstream.meter.moved(route, moved.0, moved.1);
        let end = End { status, grpc: None, reason, route, sent: moved.0, received: moved.1 };
        self.plan.observed.end(&View::new(&self.scratch.request), end);
    }
}

/// An answer that another endpoint might do better than.
fn unwelcome(upstream: &Upstream, head: &Head) -> Option<Failure> {
    let reason = head.values(respond::REASON).next();
    respond::unwelcome(head.status, reason.filter(|_| upstream.has_sidecar()))
}
