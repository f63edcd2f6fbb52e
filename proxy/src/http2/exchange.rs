//! One HTTP/2 request: planned, tried, answered and counted.
//!
//! As `http1::serve` does for HTTP/1, over streams instead of connections. Until the response head has come nothing has
//! been said to the client; afterwards a failure resets the client's stream with the same code.

mod hedge;
mod open;

use super::body::{self, BodyError, Progress, Upload};
use super::mirror;
use super::rewrite;
use super::view::View;
use crate::cluster::Upstream;
use crate::connect::http2::failure;
use crate::error::Failure;
use crate::plan::{self, Attempts, Mirrored, Open, Plan, Planned, Sent, Story, Tried, within};
use crate::record::End;
use crate::respond;
use crate::retry::{Verdict, idempotent};
use crate::route::Carried;
use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, uri};
use std::cell::OnceCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout_at};

/// A client's stream and what is known about its request.
struct Exchange<'a, S> {
    story: &'a S,
    plan: Plan,
    head: Parts,
    started: Instant,
    grpc: bool,
    /// Of the request's body, once that is on its way.
    progress: OnceCell<Rc<Progress>>,
}

/// gRPC status of a call that its client has given up.
const CANCELLED: u16 = 1;
/// gRPC status of an answer that names none.
const UNKNOWN: u16 = 2;

/// A response whose body is still to come.
type Answer = Response<RecvStream>;

/// A try that brought nothing for the client, and whether there is another.
struct Failed {
    upstream: Rc<Upstream>,
    failure: Failure,
    verdict: Verdict,
}

/// Serves one stream of a client.
pub async fn serve(story: &impl Story, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let started = Instant::now();
    let (mut head, body) = request.into_parts();
    for name in story.removed() {
        head.headers.remove(*name);
    }
    let grpc = respond::is_grpc(&head.headers);
    let whole = complete_uri(&mut head);
    let observed = story.watch().map(|watch| watch.begin(&View::new(&head), started)).unwrap_or_default();
    let planned = match whole {
        Ok(()) => plan::decide(story, &View::new(&head)).await,
        Err(failure) => Err(failure),
    };
    match planned {
        Ok(Planned::Forward(plan)) => {
            let mut plan = Plan { observed, ..plan };
            let mirrors = std::mem::take(&mut plan.mirrors);
            let mut exchange = Exchange { story, plan, head, started, grpc, progress: OnceCell::new() };
            exchange.edit_request();
            match exchange.plan.end(started) {
                None => exchange.run(body, mirrors, &mut respond).await,
                Some((end, failure)) => {
                    if timeout_at(end, exchange.run(body, mirrors, &mut respond)).await.is_err() {
                        exchange.plan.failed(&View::new(&exchange.head), &failure, grpc, started.elapsed());
                        say(&mut respond, &failure, grpc);
                    }
                }
            }
        }
        Ok(Planned::Redirect(to)) => {
            to.count(started.elapsed());
            observed.end(&View::new(&head), to.end());
            let answer = respond::http2_redirect(to.status(), &to.location, &to.rule.response_headers);
            if respond.send_response(answer, true).is_err() {
                respond.send_reset(Reason::CANCEL);
            }
        }
        Err(failure) => {
            story.refused("http2", &failure, started.elapsed());
            observed.end(&View::new(&head), End::failed(&failure, "", grpc));
            say(&mut respond, &failure, grpc);
        }
    }
}

/// The mesh's own answer; when part of another has been sent, a reset.
fn say(respond: &mut SendResponse<Bytes>, failure: &Failure, grpc: bool) {
    if respond.send_response(respond::http2(failure, grpc), true).is_err() {
        respond.send_reset(Reason::CANCEL);
    }
}

/// The `h2` client wants an authority in the URI; RFC 9113 section 8.3.1 lets it come in `host`.
fn complete_uri(head: &mut Parts) -> Result<(), Failure> {
    if head.uri.authority().is_some() {
        return Ok(());
    }
    let missing = || Failure::MalformedRequest("no authority");
    let host = head.headers.get(http::header::HOST).ok_or_else(missing)?;
    let mut parts = uri::Parts::from(std::mem::take(&mut head.uri));
    parts.authority = Some(uri::Authority::try_from(host.as_bytes()).map_err(|_| missing())?);
    parts.scheme = Some(parts.scheme.unwrap_or(uri::Scheme::HTTP));
    head.uri = uri::Uri::from_parts(parts).map_err(|_| missing())?;
    Ok(())
}

impl<S: Story> Exchange<'_, S> {
    async fn run(&self, body: RecvStream, mirrors: Vec<Mirrored>, respond: &mut SendResponse<Bytes>) {
        let retry = self.plan.retry();
        let keeps = retry.attempts > 0 || !mirrors.is_empty();
        let mut upload = Upload::new(body, if keeps { retry.replay_bytes } else { 0 });
        let _ = self.progress.set(upload.progress());
        self.attempts(&mut upload, respond).await;
        for copy in mirrors {
            match upload.whole() {
                Some((body, trailers)) => mirror::send(copy, self.request(), body, trailers),
                None => self.story.mirror_dropped(),
            }
        }
    }

    /// Tries until the client has its answer.
    async fn attempts(&self, upload: &mut Upload, respond: &mut SendResponse<Bytes>) {
        let mut attempts = Attempts::new(&self.plan);
        loop {
            let upstream = match attempts.pick(Instant::now()) {
                Ok(upstream) => upstream,
                Err(failure) => {
                    self.plan.failed(&View::new(&self.head), &failure, self.grpc, self.started.elapsed());
                    return say(respond, &failure, self.grpc);
                }
            };
            match self.attempt(upstream, upload, respond, &mut attempts).await {
                Ok(()) => return,
                Err(Failed { verdict: Verdict::Retry(pause), .. }) => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
                Err(Failed { upstream, failure, verdict: Verdict::GiveUp(why) }) => {
                    let failure = why.instead_of(failure);
                    self.count_failed(&upstream, &failure);
                    if !matches!(failure, Failure::ClientGone) {
                        say(respond, &failure, self.grpc);
                    }
                    return;
                }
            }
        }
    }

    fn idempotent(&self) -> bool {
        idempotent(self.head.method.as_str().as_bytes())
    }

    /// One try. `Ok`: the client has its answer, or part of it.
    async fn attempt(
        &self,
        upstream: Rc<Upstream>,
        upload: &mut Upload,
        respond: &mut SendResponse<Bytes>,
        attempts: &mut Attempts<'_>,
    ) -> Result<(), Failed> {
        let progress = upload.progress();
        let open = Open::at(upstream);
        let (mut response, mut to, place) = match self.open(&open.upstream, upload.empty()).await {
            Ok(opened) => opened,
            Err(failure) => {
                let tried = attempts.settle(open, Err(failure), unwelcome);
                return self.conclude(tried, attempts, !progress.overflowed(), respond, async {}).await;
            }
        };
        let end = self.plan.try_timeout.map(|limit| tokio::time::Instant::now() + limit);
        let patience = self.plan.patience(self.idempotent()).filter(|_| self.head.method != Method::CONNECT);
        {
            let mut sent = upload.empty();
            let mut sending = pin!(upload.run(&mut to));
            let waiting = answer(&mut response, sending.as_mut(), &mut sent, respond, patience);
            if let Some(result) = within(end, waiting).await.transpose() {
                let tried = attempts.settle(open, result, unwelcome);
                let sending = async {
                    if !sent {
                        // Its end is the endpoint's to judge; the answer is on its way already.
                        let _ = sending.await;
                    }
                };
                return self.conclude(tried, attempts, !progress.overflowed(), respond, sending).await;
            }
        }
        // Boxed: few requests are hedged, and the task of every stream would be larger for it.
        Box::pin(self.hedge(open, (response, to, place), end, upload, respond, attempts)).await
    }

    /// Passes the answer of a try on, should it be one, or finds out whether there is another try; `repeatable`: what has been sent
    /// can be sent again, and `sending` goes on with the rest.
    async fn conclude(
        &self,
        tried: Tried<Answer>,
        attempts: &mut Attempts<'_>,
        repeatable: bool,
        respond: &mut SendResponse<Bytes>,
        sending: impl Future<Output = ()>,
    ) -> Result<(), Failed> {
        let Tried { upstream, result, failure } = tried;
        let mut reason = "";
        if let Some(failure) = failure {
            let after = result.as_ref().ok().and_then(|answer| answer.headers().get(http::header::RETRY_AFTER));
            let retry_after = after.map(HeaderValue::as_bytes);
            let sent = Sent { idempotent: self.idempotent(), repeatable, retry_after };
            match attempts.again(&upstream, &failure, sent) {
                Verdict::GiveUp(why) if result.is_ok() => reason = why.beside(),
                verdict => return Err(Failed { upstream, failure, verdict }),
            }
        }
        if let Ok(answer) = result {
            let _serving = upstream.load.serving();
            self.relay(&upstream, answer, reason, respond, sending).await;
        }
        Ok(())
    }

    /// Passes the answer on, with the reason `beside` it unless that is empty, while the rest of the request goes up.
    async fn relay(
        &self,
        upstream: &Rc<Upstream>,
        answer: Answer,
        beside: &'static str,
        respond: &mut SendResponse<Bytes>,
        sending: impl Future<Output = ()>,
    ) {
        let (mut parts, body) = answer.into_parts();
        let status = parts.status.as_u16();
        let in_head = body::grpc_status(&parts.headers);
        self.edit_answer(upstream, &mut parts.headers, beside);
        let terms = self.plan.load_reports();
        let ended = body.is_end_stream();
        let Ok(mut down) = respond.send_response(Response::from_parts(parts, ()), ended) else {
            return self.count_failed(upstream, &Failure::ClientGone);
        };
        if ended {
            return self.count(upstream, status, beside, in_head, 0);
        }
        let (moved, result) = {
            let mut receiving =
                pin!(body::download(body, &mut down, |trailers| rewrite::take_reports(trailers, upstream, terms)));
            let mut sending = pin!(sending);
            let mut sent = false;
            loop {
                tokio::select! {
                    biased;
                    received = &mut receiving => break received,
                    () = &mut sending, if !sent => sent = true,
                }
            }
        };
        match result {
            Ok(trailers) => self.count(upstream, status, beside, trailers.or(in_head), moved),
            Err(BodyError::Sink(_)) => {
                self.count(upstream, status, Failure::ClientGone.reason(), Some(CANCELLED), moved);
            }
            Err(BodyError::Source(error)) => {
                down.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
                self.count(upstream, status, Failure::ResetMidResponse.reason(), None, moved);
            }
        }
    }

    /// What the mesh changes in the answer's head.
    fn edit_answer(&self, upstream: &Rc<Upstream>, headers: &mut HeaderMap, beside: &'static str) {
        if self.plan.is_local() {
            headers.remove(respond::REASON);
        }
        if !beside.is_empty() {
            headers.insert(respond::REASON, HeaderValue::from_static(beside));
        }
        rewrite::take_reports(headers, upstream, self.plan.load_reports());
        if let Some(rule) = self.plan.rule.as_ref().and_then(Carried::response_headers) {
            rewrite::edit(headers, rule);
        }
        respond::add(headers, self.plan.told());
        if let Some((name, value)) = self.plan.session_field(upstream)
            && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        {
            headers.append(name, value);
        }
        let headers = &*headers;
        let fields =
            |each: &mut dyn FnMut(&str, &[u8])| headers.iter().for_each(|(n, v)| each(n.as_str(), v.as_bytes()));
        self.plan.observed.answered(fields);
    }

    /// `grpc`: what the answer said of that; `received`: bytes of its body.
    fn count(&self, upstream: &Upstream, status: u16, reason: &'static str, grpc: Option<u16>, received: u64) {
        let route = self.plan.route();
        let trace = self.plan.observed.sampled();
        upstream.meter.record_traced(route, status, reason, self.started.elapsed(), trace);
        let grpc = self.grpc.then(|| grpc.unwrap_or(UNKNOWN));
        let sent = self.progress.get().map_or(0, |progress| progress.moved());
        upstream.meter.moved(route, sent, received);
        self.plan.observed.end(&View::new(&self.head), End { status, grpc, reason, route, sent, received });
    }

    fn count_failed(&self, upstream: &Upstream, failure: &Failure) {
        let route = self.plan.route();
        let (took, trace) = (self.started.elapsed(), self.plan.observed.sampled());
        upstream.meter.record_traced(route, failure.status(), failure.reason(), took, trace);
        self.plan.observed.end(&View::new(&self.head), End::failed(failure, route, self.grpc));
    }

    /// What the mesh changes in the request's head.
    fn edit_request(&mut self) {
        if let Some(rule) = &self.plan.rule {
            rewrite::target(&mut self.head, rule);
            if let Some(headers) = rule.request_headers() {
                rewrite::edit(&mut self.head.headers, headers);
            }
        }
        for (name, value) in self.story.added() {
            if let Ok(value) = HeaderValue::from_str(value) {
                self.head.headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Waits for the head of the endpoint's answer while the body goes up; `sent` says whether all of it is there. `None`: all is,
/// and `patience` is over.
async fn answer(
    response: &mut ResponseFuture,
    mut sending: Pin<&mut impl Future<Output = Result<(), BodyError>>>,
    sent: &mut bool,
    respond: &mut SendResponse<Bytes>,
    patience: Option<Duration>,
) -> Result<Option<Answer>, Failure> {
    let mut timer = None;
    loop {
        if *sent && timer.is_none() {
            timer = patience.map(|limit| Box::pin(sleep(limit)));
        }
        let expired = poll_fn(|cx| timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx)));
        tokio::select! {
            biased;
            answer = &mut *response => return answer.map(Some).map_err(|e| failure(&e)),
            done = sending.as_mut(), if !*sent => {
                *sent = true;
                if let Err(BodyError::Source(_)) = done {
                    return Err(Failure::ClientGone);
                }
            }
            _ = poll_fn(|cx| respond.poll_reset(cx)) => return Err(Failure::ClientGone),
            () = expired => return Ok(None),
        }
    }
}

/// An answer that another endpoint might do better than.
fn unwelcome(upstream: &Upstream, answer: &Answer) -> Option<Failure> {
    let reason = answer.headers().get(respond::REASON).filter(|_| upstream.has_sidecar()).map(HeaderValue::as_bytes);
    let status = match body::grpc_status(answer.headers()) {
        // UNAVAILABLE, the status that gRPC itself counts as worth a retry.
        Some(14) => 503,
        // RESOURCE_EXHAUSTED: too many requests.
        Some(8) => 429,
        _ => answer.status().as_u16(),
    };
    respond::unwelcome(status, reason)
}
