//! Watchers as they come and go: what they are told, what they are not, and that nothing is left of them.
//! No proxy is around them here; the suite `tap` has real ones.

use super::*;
use std::time::Duration;
use tokio::time::timeout;

/// Longer than any machine stands still.
const SOON: Duration = Duration::from_secs(30);

fn ended(taps: &Taps, status: u16) {
    let seen = Seen { status, ..Seen::default() };
    let event = |headers| v1::TapEvent { status: status.into(), attempts: u32::from(headers), ..Default::default() };
    taps.offer(&seen, Instant::now(), event);
}

async fn told(from: &mut mpsc::Receiver<Said>) -> v1::Tapped {
    match timeout(SOON, from.recv()).await {
        Ok(Some(Said::Tapped(tapped))) => tapped,
        other => panic!("not told: {other:?}"),
    }
}

async fn until_off(taps: &Taps) {
    let off = async {
        while taps.on() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, off).await.expect("nothing is left of a watcher");
}

#[tokio::test]
async fn a_watcher_is_told_what_it_wants_until_it_leaves() {
    let taps = Taps::default();
    ended(&taps, 503);
    assert!(!taps.on() && !taps.headers());
    let (to, mut from) = mpsc::channel(1);
    let task = taps.start(7, v1::Tap { min_status: 500, max_status: 599, headers: true, ..Default::default() }, to);
    assert!(taps.on() && taps.headers());
    [200, 503, 404, 500].into_iter().for_each(|status| ended(&taps, status));
    let tapped = told(&mut from).await;
    assert_eq!((tapped.id, tapped.dropped, &*tapped.ended), (7, 0, ""));
    assert_eq!(tapped.events.iter().map(|event| event.status).collect::<Vec<_>>(), [503, 500]);
    assert!(tapped.events.iter().all(|event| event.attempts == 1), "with header fields");
    task.abort();
    until_off(&taps).await;
    assert_eq!((taps.0.metrics.told.get(), taps.0.metrics.dropped.get(), taps.0.metrics.open.get()), (2, 0, 0));
}

#[tokio::test]
async fn what_is_too_much_is_counted_and_told() {
    let taps = Taps::default();
    let (to, mut from) = mpsc::channel(1);
    let _task = taps.start(1, v1::Tap { per_second: 3, ..Default::default() }, to);
    const SENT: u64 = 1000;
    (0..SENT).for_each(|_| ended(&taps, 200));
    let (mut events, mut dropped) = (0, 0);
    while events + dropped < SENT {
        let tapped = told(&mut from).await;
        (events, dropped) = (events + tapped.events.len() as u64, dropped + tapped.dropped);
    }
    assert!((3..SENT / 2).contains(&events), "{events} events");
    assert_eq!((events + dropped, taps.0.metrics.dropped.get()), (SENT, dropped));
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_costs_a_queue() {
    let taps = Taps::default();
    let (to, mut from) = mpsc::channel(1);
    let _task = taps.start(1, v1::Tap { per_second: 1000, ..Default::default() }, to);
    (0..5000).for_each(|_| ended(&taps, 200));
    let told_of = taps.0.metrics.told.get();
    assert!(told_of <= 512 + 2 * 128, "{told_of} are kept");
    let mut events = 0;
    while events < told_of {
        events += told(&mut from).await.events.len() as u64;
    }
    assert_eq!(events, told_of);
}

#[tokio::test]
async fn the_end_of_the_stream_ends_its_watchers() {
    let taps = Taps::default();
    let (to, from) = mpsc::channel(1);
    let _task = taps.start(1, v1::Tap::default(), to);
    drop(from);
    until_off(&taps).await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_has_its_time() {
    let taps = Taps::default();
    let (to, mut from) = mpsc::channel(1);
    let _task = taps.start(1, v1::Tap { seconds: 5, ..Default::default() }, to);
    ended(&taps, 200);
    assert_eq!(told(&mut from).await.events.len(), 1);
    let last = timeout(Duration::from_secs(3600), from.recv()).await.expect("it ends by itself");
    assert!(matches!(last, Some(Said::Tapped(tapped)) if tapped.ended.contains("time is over")));
    until_off(&taps).await;
}

#[tokio::test]
async fn there_is_room_for_few() {
    let taps = Taps::default();
    let (to, mut from) = mpsc::channel(1);
    let tasks: Vec<_> = (0..MOST_SESSIONS).map(|id| taps.start(id as u64, v1::Tap::default(), to.clone())).collect();
    taps.start(99, v1::Tap::default(), to.clone());
    let refused = told(&mut from).await;
    assert!(refused.id == 99 && refused.ended.contains("others"), "{refused:?}");
    tasks.iter().for_each(AbortHandle::abort);
    until_off(&taps).await;
}
