//! The store on etcd: the contract on a real one, and what a cluster has to withstand.
//!
//! The clauses share one server and have a prefix each; whoever stops members has a cluster of its own.

use crate::{Fixture, PATIENCE, conforms, eventually, next, told};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use weft_discovery::store::{Etcd, EtcdSettings, Op, Store, StoreError};
use weft_examples::etcd::EtcdCluster;

const TIMEOUT: Duration = Duration::from_secs(3);

fn connect(endpoints: Vec<String>, prefix: &str) -> Etcd {
    let settings =
        EtcdSettings { endpoints, prefix: prefix.to_owned(), request_timeout: TIMEOUT, ..Default::default() };
    Etcd::open(&settings).unwrap()
}

/// A place of its own on an etcd that the tests share while any of them runs.
async fn open() -> Fixture {
    static SHARED: Mutex<Weak<EtcdCluster>> = Mutex::const_new(Weak::new());
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut shared = SHARED.lock().await;
    let cluster = match shared.upgrade() {
        Some(cluster) => cluster,
        None => Arc::new(EtcdCluster::start(1).await.unwrap()),
    };
    *shared = Arc::downgrade(&cluster);
    let prefix = format!("/test-{}/", NEXT.fetch_add(1, Ordering::Relaxed));
    Fixture { store: Arc::new(connect(cluster.endpoints(), &prefix)), keep: Box::new(cluster) }
}

async fn open_alone() -> Fixture {
    let cluster = EtcdCluster::start(1).await.unwrap();
    Fixture { store: Arc::new(connect(cluster.endpoints(), "/alone/")), keep: Box::new(cluster) }
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
    a_lease_that_runs_out_takes_its_keys_along
    a_lease_that_is_renewed_stays
    a_lease_can_be_revoked
    a_dropped_watch_and_a_slow_one_hold_nothing_up
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_writes_nothing() {
    crate::leader::a_leader_that_stood_still_writes_nothing(open().await).await;
}

conforms! { open_alone: compaction_ends_watches_from_before_it_and_no_others }

#[tokio::test]
async fn two_meshes_on_one_etcd_do_not_see_each_other() {
    let Fixture { store: _, keep } = open().await;
    let cluster = keep.downcast::<Arc<EtcdCluster>>().unwrap();
    let one = connect(cluster.endpoints(), "/one/");
    let other = connect(cluster.endpoints(), "/one/more/");
    one.commit(vec![], vec![Op::put("key", "1")]).await.unwrap();
    other.commit(vec![], vec![Op::put("key", "2")]).await.unwrap();
    assert_eq!(other.range("").await.unwrap().entries.len(), 1);
    other.commit(vec![], vec![Op::DeletePrefix { prefix: "key".to_owned() }]).await.unwrap();
    assert_eq!(one.get("key").await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn bad_settings_are_refused() {
    let with = |endpoints: &[&str], prefix: &str| {
        let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
        Etcd::open(&EtcdSettings { endpoints, prefix: prefix.to_owned(), ..Default::default() }).map(drop)
    };
    assert!(with(&["http://127.0.0.1:2379"], "/weft/").is_ok());
    for (endpoints, prefix) in [
        (&[][..], "/weft/"),
        (&["127.0.0.1:2379"], "/weft/"),
        (&["http://"], "/weft/"),
        (&["http://127.0.0.1:2379"], "/weft"),
        (&["http://127.0.0.1:2379"], "/"),
    ] {
        assert!(matches!(with(endpoints, prefix), Err(StoreError::Open(_))), "{endpoints:?} {prefix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_crash_and_come_back() {
    let mut cluster = EtcdCluster::start(1).await.unwrap();
    let store = connect(cluster.endpoints(), "/weft/");
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let leased = Op::Put { key: "leased".to_owned(), value: "".into(), lease: Some(lease) };
    let before = store.commit(vec![], vec![Op::put("key", "1"), leased]).await.unwrap().unwrap();
    let mut watch = store.watch("", before + 1).await.unwrap();

    cluster.kill(0).unwrap();
    assert!(matches!(next(&mut watch).await, Err(StoreError::Unavailable(_))));
    let began = Instant::now();
    assert!(matches!(store.range("").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.commit(vec![], vec![Op::put("key", "2")]).await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < 2 * TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());

    cluster.restart(0).await.unwrap();
    eventually("etcd answers again", || async { store.range("").await.is_ok() }).await;
    assert_eq!(store.get("key").await.unwrap().unwrap().value, "1");
    assert!(store.keep_alive(lease).await.unwrap());
    let after = store.commit(vec![], vec![Op::put("key", "3")]).await.unwrap().unwrap();
    let mut watch = store.watch("", before + 1).await.unwrap();
    let batch = next(&mut watch).await.unwrap();
    assert_eq!((batch.revision, told(&batch)), (after, vec!["+key=3".to_owned()]));
}

/// A commit whose outcome is unknown is read back before it is repeated, as any user of the store has to.
async fn put(store: &Etcd, key: &str, value: &str) {
    eventually("the commit is through", || async {
        let _ = store.commit(vec![], vec![Op::put(key, value.to_owned())]).await;
        matches!(store.get(key).await, Ok(Some(entry)) if entry.value == value.as_bytes())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_serves_while_most_of_its_members_do() {
    let mut cluster = EtcdCluster::start(3).await.unwrap();
    let store = connect(cluster.endpoints(), "/weft/");
    put(&store, "key", "0").await;
    // Every member in turn, so that the one asked first and the leader are among them.
    for member in 0..3 {
        cluster.kill(member).unwrap();
        put(&store, "key", &format!("{member} is killed")).await;
        cluster.restart(member).await.unwrap();
        cluster.pause(member).unwrap();
        put(&store, "key", &format!("{member} is paused")).await;
        cluster.resume(member).unwrap();
    }
    cluster.kill(0).unwrap();
    cluster.kill(1).unwrap();
    let began = Instant::now();
    assert!(matches!(store.range("").await, Err(StoreError::Unavailable(_))));
    assert!(began.elapsed() < TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
    cluster.restart(0).await.unwrap();
    put(&store, "key", "two are enough").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_at_a_member_that_hangs_ends_and_goes_on_elsewhere() {
    let cluster = EtcdCluster::start(3).await.unwrap();
    let all = connect(cluster.endpoints(), "/weft/");
    let first = all.commit(vec![], vec![Op::put("key", "1")]).await.unwrap().unwrap();
    let one = connect(vec![cluster.endpoints()[2].clone()], "/weft/");
    let mut watch = one.watch("", first).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap().revision, first);
    cluster.pause(2).unwrap();
    let ended = timeout(PATIENCE, next(&mut watch)).await.expect("a watch that hangs is found");
    assert!(matches!(ended, Err(StoreError::Unavailable(_))), "{ended:?}");
    put(&all, "key", "2").await;
    let mut watch = all.watch("", first + 1).await.unwrap();
    assert_eq!(told(&next(&mut watch).await.unwrap()), ["+key=2"]);
}
