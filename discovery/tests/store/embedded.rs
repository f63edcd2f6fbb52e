//! The embedded store: the contract, and what a file has to withstand.
//!
//! Crashes are real: a child process of this test's own program is killed while it writes.

use crate::{Fixture, PATIENCE, conforms, eventually, next, told};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::timeout;
use weft_discovery::store::embedded::Clock;
use weft_discovery::store::{Embedded, EmbeddedSettings, Op, Store, StoreError};

fn settings(folder: &Path) -> EmbeddedSettings {
    EmbeddedSettings::new(folder.join("state").join("weft.redb"))
}

async fn open() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    Fixture { store: Arc::new(Embedded::open(&settings(folder.path())).unwrap()), keep: Box::new(folder) }
}

conforms! { open:
    ranges_are_sorted_and_keep_to_their_prefix
    large_ranges_are_read_at_one_revision
    a_commit_happens_only_if_every_comparison_holds
    concurrent_increments_are_not_lost
    a_key_is_made_anew_after_it_was_deleted
    bad_commits_are_refused_naming_the_fault
    a_watch_joins_history_and_presence_without_gap_or_duplicate
    a_watch_gives_whole_revisions
    a_watch_may_begin_in_the_future
    several_watches_see_the_same
    compaction_ends_watches_from_before_it_and_no_others
    a_lease_that_runs_out_takes_its_keys_along
    a_lease_that_is_renewed_stays
    a_lease_can_be_revoked
    a_dropped_watch_and_a_slow_one_hold_nothing_up
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_writes_nothing() {
    crate::leader::a_leader_that_stood_still_writes_nothing(open().await).await;
}

/// A clock that stands still until it is moved.
struct Stopped(Mutex<Instant>);

impl Clock for Stopped {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

fn leased(key: &str, lease: weft_discovery::store::LeaseId) -> Op {
    Op::Put { key: key.to_owned(), value: "".into(), lease: Some(lease) }
}

#[tokio::test]
async fn leases_follow_the_clock_and_begin_anew_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Stopped(Mutex::new(Instant::now())));
    let settings = EmbeddedSettings { clock: clock.clone(), ..settings(folder.path()) };
    let pass = |time| *clock.0.lock().unwrap() += time;

    let store = Embedded::open(&settings).unwrap();
    let lease = store.grant(Duration::from_millis(59_001)).await.unwrap();
    store.commit(vec![], vec![leased("key", lease)]).await.unwrap();
    pass(Duration::from_secs(59));
    assert!(store.keep_alive(lease).await.unwrap());
    pass(Duration::from_secs(59));
    assert!(store.get("key").await.unwrap().is_some());
    drop(store);

    let store = Embedded::open(&settings).unwrap();
    pass(Duration::from_secs(59));
    assert!(store.get("key").await.unwrap().is_some());
    pass(Duration::from_secs(1));
    assert!(!store.keep_alive(lease).await.unwrap(), "a lease that is due cannot be renewed");
    eventually("the lease's key is gone", || async { store.get("key").await.unwrap().is_none() }).await;
    let next = store.grant(Duration::from_secs(1)).await.unwrap();
    assert_ne!(next, lease);
}

#[tokio::test]
async fn old_history_makes_room_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings { history_events: 10, history_bytes: 1000, ..settings(folder.path()) };
    let store = Embedded::open(&settings).unwrap();
    let mut revisions = Vec::new();
    for i in 0..30 {
        revisions.push(store.commit(vec![], vec![Op::put("k", i.to_string())]).await.unwrap().unwrap());
    }
    let mut watch = store.watch("", revisions[20]).await.unwrap();
    assert_eq!(told(&next(&mut watch).await.unwrap()), ["+k=20"]);
    let mut watch = store.watch("", revisions[19]).await.unwrap();
    assert_eq!(next(&mut watch).await, Err(StoreError::Compacted { oldest: revisions[20] }));
    // By size; the newest revision stays, however large it is.
    let last = store.commit(vec![], vec![Op::put("k", vec![0; 5000])]).await.unwrap().unwrap();
    let mut watch = store.watch("", revisions[29]).await.unwrap();
    assert_eq!(next(&mut watch).await, Err(StoreError::Compacted { oldest: last }));
    let mut watch = store.watch("", last).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap().revision, last);
}

#[tokio::test]
async fn closing_ends_the_watches_and_frees_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let store = Embedded::open(&settings).unwrap();
    let mut watch = store.watch("", 1).await.unwrap();
    let Err(StoreError::Open(reason)) = Embedded::open(&settings).map(drop) else { panic!("opened twice") };
    assert!(reason.contains("weft.redb") && reason.contains("another process"), "{reason}");
    let revision = store.commit(vec![], vec![Op::put("key", "1")]).await.unwrap().unwrap();
    assert_eq!(next(&mut watch).await.unwrap().revision, revision);
    drop(store);
    assert!(matches!(next(&mut watch).await, Err(StoreError::Unavailable(_))));
    let store = Embedded::open(&settings).unwrap();
    assert_eq!(store.range("").await.unwrap().revision, revision);
}

#[tokio::test]
async fn a_file_that_is_not_a_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "dear diary, ".repeat(1000)).unwrap();
    let Err(StoreError::Open(reason)) = Embedded::open(&EmbeddedSettings::new(&path)).map(drop) else { panic!() };
    assert!(reason.contains("notes.txt"), "{reason}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("dear diary"));
    let under_a_file = EmbeddedSettings::new(path.join("weft.redb"));
    assert!(matches!(Embedded::open(&under_a_file).map(drop), Err(StoreError::Open(_))));
}

#[test]
fn only_the_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    drop(Embedded::open(&settings).unwrap());
    assert_eq!(std::fs::metadata(&settings.path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Where the child that is to be killed keeps its store.
const CRASHING: &str = "WEFT_TEST_CRASHING_STORE";

/// Not a test of its own: the process that the test below kills. It writes as fast as it can and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashing_child() {
    let Some(folder) = std::env::var_os(CRASHING) else { return };
    let store = Embedded::open(&settings(Path::new(&folder))).unwrap();
    let first = store.get("count/a").await.unwrap().map_or(0, |entry| number(&entry.value));
    for i in first + 1.. {
        let ops = ["count/a", "count/b"].map(|key| Op::put(key, i.to_string())).to_vec();
        let revision = store.commit(vec![], ops).await.unwrap().unwrap();
        println!("acknowledged {i} {revision}");
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::crashing_child", "--nocapture"])
            .env(CRASHING, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = |line: String| {
            let mut words = line.split_once("acknowledged ")?.1.split(' ').map(|word| word.parse().unwrap());
            Some((words.next()?, words.next()?))
        };
        let mut lines = lines.filter_map(acknowledged);
        let mut last: (u64, u64) = lines.nth(20 * round).expect("the child writes");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts, too.
        last = lines.last().unwrap_or(last);

        let store = Embedded::open(&settings(folder.path())).unwrap();
        let range = store.range("count/").await.unwrap();
        let counts: Vec<u64> = range.entries.iter().map(|entry| number(&entry.value)).collect();
        assert_eq!(counts[0], counts[1], "both or none");
        assert!(counts[0] >= last.0, "acknowledged {}, found {}", last.0, counts[0]);
        let mut watch = store.watch("count/", 2).await.unwrap();
        for count in 1..=counts[0] {
            let batch = timeout(PATIENCE, next(&mut watch)).await.unwrap().unwrap();
            assert_eq!(told(&batch), [format!("+count/a={count}"), format!("+count/b={count}")]);
        }
    }
}
