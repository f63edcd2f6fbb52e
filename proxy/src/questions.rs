//! Questions that discovery hands to this proxy, on their way from the control runtime to a data worker and back.
//!
//! Bounded everywhere: few wait, few are worked on, answers are short and come soon, or the question is refused in words for
//! people. Nothing here is on the request path.

pub mod here;

use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What this proxy can be asked. Hello says so, so that nobody waits in vain for an older one.
pub const TOPICS: &[&str] = &[EXPLAIN, AUTHORIZE, LIMITS, METRICS, LOGS, CHECK, CONFIG, TAP];
/// What would become of a request.
pub const EXPLAIN: &str = "explain";
/// Whether another proxy's request would be let in here.
pub const AUTHORIZE: &str = "authorize";
/// What another proxy's request would be limited by here.
pub const LIMITS: &str = "limits";
/// What the process has counted.
pub const METRICS: &str = "metrics";
/// What it logs, and from now on.
pub const LOGS: &str = "logs";
/// Whether all is well with the process and its pod.
pub const CHECK: &str = "check";
/// What it runs with.
pub const CONFIG: &str = "config";
/// Requests as they end: no question, but a stream (`tap`), which is announced here as well.
const TAP: &str = "tap";

/// Questions that may wait for one worker.
const WAITING: usize = 4;
/// Questions that this proxy works on at once.
const OPEN: usize = 8;
/// Discovery takes messages of 16 MiB from a proxy; an answer stays far below.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Discovery waits for 5 s. What is looked up meanwhile takes at most the resolve time-out.
const PATIENCE: Duration = Duration::from_secs(4);

/// An answer, or why there is none.
pub type Said = Result<String, String>;

/// A question on its way.
#[derive(Debug)]
pub struct Question {
    pub topic: String,
    pub json: String,
    pub reply: oneshot::Sender<Said>,
}

/// Finds the answer to a question of a topic.
pub type Answers = Arc<dyn Fn(String, String) -> BoxFuture<'static, Said> + Send + Sync>;

/// Answers what needs no worker, at once; `None`: a worker is to be asked.
pub type Here = Arc<dyn Fn(&str, &str) -> Option<Said> + Send + Sync>;

/// One end for the control runtime, and one for each of so many workers.
pub fn channel(workers: usize, here: Here) -> (Answers, Vec<mpsc::Receiver<Question>>) {
    let (to, from): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(WAITING)).unzip();
    let (to, open): (Arc<[_]>, _) = (to.into(), Arc::new(Semaphore::new(OPEN)));
    let answers: Answers = Arc::new(move |topic, json| {
        let (to, open, here) = (Arc::clone(&to), Arc::clone(&open), Arc::clone(&here));
        Box::pin(async move {
            let said = match here(&topic, &json) {
                Some(said) => said,
                None => ask(&to, &open, topic, json).await,
            };
            said.and_then(short)
        })
    });
    (answers, from)
}

async fn ask(to: &[mpsc::Sender<Question>], open: &Semaphore, topic: String, json: String) -> Said {
    let busy = || "the proxy has too many questions to answer already: try again".to_owned();
    let _place = open.try_acquire().map_err(|_| busy())?;
    if !TOPICS.contains(&topic.as_str()) {
        return Err(format!("the proxy does not know questions about {topic:?}"));
    }
    // The workers are alike; the first stands for them all.
    let worker = to.first().ok_or_else(busy)?;
    let (reply, answer) = oneshot::channel();
    worker.try_send(Question { topic, json, reply }).map_err(|_| busy())?;
    match tokio::time::timeout(PATIENCE, answer).await {
        Err(_) => Err("the proxy's worker does not answer in time".to_owned()),
        Ok(Err(_)) => Err("the proxy is ending".to_owned()),
        Ok(Ok(said)) => said,
    }
}

fn short(answer: String) -> Said {
    if answer.len() > MAX_ANSWER { Err(format!("the answer has {} bytes", answer.len())) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Here {
        Arc::new(|topic, _| (topic == METRICS).then(|| Ok("counted".to_owned())))
    }

    #[tokio::test]
    async fn a_question_goes_to_a_worker_and_its_answer_comes_back() {
        let (answers, mut workers) = channel(2, nothing());
        let asked = tokio::spawn(answers(EXPLAIN.to_owned(), "1".to_owned()));
        let Question { json, reply, .. } = workers[0].recv().await.unwrap();
        reply.send(Ok(format!("{json} it is"))).unwrap();
        assert_eq!(asked.await.unwrap(), Ok("1 it is".to_owned()));
        assert!(answers("weather".to_owned(), String::new()).await.unwrap_err().contains("weather"));
        assert_eq!(answers(METRICS.to_owned(), String::new()).await, Ok("counted".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_stuck_or_gone_costs_no_more_than_patience() {
        let (answers, workers) = channel(1, nothing());
        let asked: Vec<_> = (0..OPEN + 3).map(|_| answers(EXPLAIN.to_owned(), String::new())).collect();
        let said = futures::future::join_all(asked).await;
        let late = said.iter().filter(|said| said.as_ref().is_err_and(|why| why.contains("in time"))).count();
        assert_eq!(late, WAITING);
        assert!(said.iter().all(|said| said.is_err()));
        drop(workers);
        assert!(answers(EXPLAIN.to_owned(), String::new()).await.is_err());
        let (answers, mut workers) = channel(1, nothing());
        let asked = tokio::spawn(answers(EXPLAIN.to_owned(), String::new()));
        workers[0].recv().await.unwrap().reply.send(Ok("x".repeat(MAX_ANSWER + 1))).unwrap();
        assert!(asked.await.unwrap().unwrap_err().contains("bytes"));
    }
}
