//! The two tries of an HTTP/2 request that is at two endpoints at once.
//!
//! Beside `exchange`, when an answer is late and `plan` has found another endpoint. The request has been sent whole and kept;
//! the stream of the try that loses is reset with CANCEL when it is dropped.

use super::{Answer, Exchange, Failed, unwelcome};
use crate::cluster::Upstream;
use crate::connect::http2::failure;
use crate::error::Failure;
use crate::http2::body::{self, Upload};
use crate::plan::{Attempts, Open, Sent, Story, Tried, within};
use crate::pool::Place;
use crate::retry::{Verdict, Why};
use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use http::HeaderMap;
use std::future::poll_fn;
use std::rc::Rc;
use tokio::time::Instant;

/// A try whose request has been sent, and whose answer is late.
type Late = (ResponseFuture, SendStream<Bytes>, Place);

/// A response, and what keeps its stream open.
struct Reply {
    answer: Answer,
    stream: (SendStream<Bytes>, Place),
}

/// Goes on waiting, until `end` at most.
async fn wait((response, to, place): Late, end: Option<Instant>) -> Result<Reply, Failure> {
    let answer = within(end, async { response.await.map_err(|error| failure(&error)) }).await?;
    Ok(Reply { answer, stream: (to, place) })
}

impl<S: Story> Exchange<'_, S> {
    /// The answer of `open` is `late`: goes on waiting for it until `end`, and for that of another endpoint if there may be one.
    pub(super) async fn hedge(
        &self,
        open: Open,
        late: Late,
        end: Option<Instant>,
        upload: &mut Upload,
        respond: &mut SendResponse<Bytes>,
        attempts: &mut Attempts<'_>,
    ) -> Result<(), Failed> {
        let whole = upload.whole();
        let repeatable = whole.is_some();
        let upstream = Rc::clone(&open.upstream);
        let rival = attempts.rival(&open, Sent { idempotent: self.idempotent(), repeatable, retry_after: None });
        let judge = |upstream: &Upstream, reply: &Reply| unwelcome(upstream, &reply.answer);
        let trying = async {
            match rival.zip(whole) {
                None => attempts.settle(open, wait(late, end).await, judge),
                Some((rival, (body, trailers))) => {
                    let upstream = Rc::clone(&rival.upstream);
                    let second = self.send(&upstream, body, trailers);
                    attempts.race((open, wait(late, end)), (rival, second), judge).await
                }
            }
        };
        let Tried { upstream, result, failure } = tokio::select! {
            biased;
            tried = trying => tried,
            _ = poll_fn(|cx| respond.poll_reset(cx)) => {
                return Err(Failed { upstream, failure: Failure::ClientGone, verdict: Verdict::GiveUp(Why::Final) });
            }
        };
        let (result, _stream) = match result {
            Ok(Reply { answer, stream }) => (Ok(answer), Some(stream)),
            Err(failure) => (Err(failure), None),
        };
        let tried = Tried { upstream, result, failure };
        self.conclude(tried, attempts, repeatable, respond, async {}).await
    }

    /// Sends the whole request to `upstream` and waits for its answer.
    async fn send(&self, upstream: &Upstream, body: Vec<Bytes>, trailers: Option<HeaderMap>) -> Result<Reply, Failure> {
        let empty = body.is_empty() && trailers.is_none();
        let (response, mut to, place) = self.open(upstream, empty).await?;
        let end = self.plan.try_timeout.map(|limit| Instant::now() + limit);
        let sending = async {
            if !empty {
                // An endpoint that does not take all of it may answer all the same.
                let _ = body::send_whole(&mut to, body, trailers).await;
            }
        };
        let exchange = async {
            let (answer, ()) = futures::join!(response, sending);
            answer.map_err(|error| failure(&error))
        };
        let answer = within(end, exchange).await?;
        Ok(Reply { answer, stream: (to, place) })
    }
}
