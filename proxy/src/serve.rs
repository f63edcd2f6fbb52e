//! A data worker's thread: its runtime, its listeners, and a task for every connection they take.
//!
//! Between `run` and the stories. The thread ends when both directions are closed and their last connection has gone.

use crate::accept;
use crate::drain::Direction;
use crate::http1::scratch;
use crate::questions::{self, Question};
use crate::worker::{Shared, Worker};
use crate::{inbound, outbound};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::Receiver;
use tokio::task::{LocalSet, spawn_local};

/// How often pools are looked through for connections that have been idle too long.
const SWEEP: Duration = Duration::from_secs(5);

/// Opens the listeners of one worker and starts its thread. Fails when an address cannot be bound.
pub fn start(
    shared: Arc<Shared>,
    number: usize,
    questions: Receiver<Question>,
) -> io::Result<std::thread::JoinHandle<()>> {
    let (outbound, inbound) = (shared.config.outbound_port, shared.config.inbound_port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        let _entered = runtime.enter();
        (accept::listen(accept::OUTBOUND, outbound)?, accept::listen(accept::INBOUND, inbound)?)
    };
    std::thread::Builder::new().name(format!("weft-data-{number}")).spawn(move || {
        let tasks = LocalSet::new();
        let worker = Rc::new(Worker::new(shared));
        tasks.spawn_local(answer(Rc::clone(&worker), questions));
        tasks.block_on(&runtime, serve(worker, listeners.0, listeners.1));
    })
}

async fn serve(worker: Rc<Worker>, outbound: Vec<TcpListener>, inbound: Vec<TcpListener>) {
    for listener in outbound {
        spawn_local(take(Rc::clone(&worker), listener, Direction::Outbound));
    }
    for listener in inbound {
        spawn_local(take(Rc::clone(&worker), listener, Direction::Inbound));
    }
    let drain = worker.shared.drain.clone();
    let sweeper = spawn_local(async move {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            worker.sweep();
            scratch::sweep();
        }
    });
    for direction in [Direction::Inbound, Direction::Outbound] {
        drain.wait_closed(direction).await;
        drain.wait_empty(direction).await;
    }
    sweeper.abort();
}

/// Answers what discovery asks, one question after the other.
async fn answer(worker: Rc<Worker>, mut questions: Receiver<Question>) {
    while let Some(Question { topic, json, reply }) = questions.recv().await {
        let said = match topic.as_str() {
            questions::EXPLAIN => outbound::explain(&worker, &json).await,
            questions::AUTHORIZE => inbound::authorize(&worker, &json),
            questions::LIMITS => inbound::limits(&worker, &json),
            other => Err(format!("no worker knows questions about {other:?}")),
        };
        // Who asked may have given up meanwhile.
        let _ = reply.send(said);
    }
}

/// Accepts on one listener until its direction is closed.
async fn take(worker: Rc<Worker>, listener: TcpListener, direction: Direction) {
    let drain = worker.shared.drain.clone();
    let metrics = worker.shared.metrics.clone();
    let pressed = |error: &io::Error| {
        metrics.accept_failed();
        tracing::warn!(%error, "accepting a connection failed");
    };
    loop {
        let (stream, peer, destination) = tokio::select! {
            biased;
            accepted = accept::next(&listener, pressed) => accepted,
            () = drain.wait_closed(direction) => return,
        };
        let ticket = drain.enter(direction);
        let worker = Rc::clone(&worker);
        // What a connection is takes more memory to find out than to go on with, so that the rest is a task of its own.
        match direction {
            Direction::Outbound => spawn_local(async move {
                if let Some(session) = outbound::recognize(worker, stream, destination).await {
                    spawn_local(session.serve(ticket));
                }
            }),
            Direction::Inbound => spawn_local(async move {
                if let Some(session) = inbound::recognize(worker, stream, peer, destination).await {
                    spawn_local(session.serve(ticket));
                }
            }),
        };
    }
}
