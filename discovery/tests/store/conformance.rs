//! The clauses of the store's contract. Each takes a store with nothing in it, and may not rely on being its only user:
//! revisions grow, but not always by one.

use crate::{PATIENCE, eventually, next, told};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};
use weft_discovery::store::{
    Batch, COMMIT_LIMIT, Compare, Entry, Event, LeaseId, OPS_LIMIT, Op, Revision, Store, StoreError, Watch,
};

type Shared = Arc<dyn Store>;

async fn put(store: &Shared, key: &str, value: &str) -> Revision {
    done(store, vec![Op::put(key, value.to_owned())]).await
}

async fn done(store: &Shared, ops: Vec<Op>) -> Revision {
    store.commit(vec![], ops).await.unwrap().expect("nothing was compared")
}

async fn keys(store: &Shared, prefix: &str) -> Vec<String> {
    store.range(prefix).await.unwrap().entries.into_iter().map(|e| e.key).collect()
}

fn leased(key: &str, lease: LeaseId) -> Op {
    Op::Put { key: key.to_owned(), value: "leased".into(), lease: Some(lease) }
}

/// Reads a watch up to a revision: every batch must be newer than the one before.
async fn until(watch: &mut Watch, last: Revision) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    while batches.last().is_none_or(|batch| batch.revision < last) {
        let batch = next(watch).await.unwrap();
        assert!(batches.last().is_none_or(|before| before.revision < batch.revision), "revisions must grow");
        batches.push(batch);
    }
    batches
}

pub async fn ranges_are_sorted_and_keep_to_their_prefix(store: Shared) {
    for key in ["b/1", "a/2", "ab", "a/1", "a"] {
        put(&store, key, key).await;
    }
    let last = put(&store, "a/10", "ten").await;
    let range = store.range("a/").await.unwrap();
    assert!(range.revision >= last);
    assert_eq!(range.entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["a/1", "a/10", "a/2"]);
    let ten = Entry { key: "a/10".to_owned(), value: "ten".into(), created: last, modified: last, lease: None };
    assert_eq!(range.entries[1], ten);
    assert_eq!(store.get("a/10").await.unwrap(), Some(ten));
    assert_eq!(store.get("a/3").await.unwrap(), None);
    assert_eq!(keys(&store, "").await.len(), 6);
    assert!(keys(&store, "c").await.is_empty());
}

pub async fn large_ranges_are_read_at_one_revision(store: Shared) {
    let names: Vec<String> = (0..1000).map(|i| format!("many/{i:04}")).collect();
    for names in names.chunks(OPS_LIMIT) {
        done(&store, names.iter().map(|name| Op::put(name, "0")).collect()).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (writing, stopped) = (store.clone(), stop.clone());
    let writer = tokio::spawn(async move {
        let mut round = 0;
        while !stopped.load(Ordering::Relaxed) {
            round += 1;
            let value = format!("{round}");
            let ops = vec![Op::put("many/0000", value.clone()), Op::put("many/0999", value)];
            done(&writing, ops).await;
        }
        round
    });
    for _ in 0..20 {
        let range = store.range("many/").await.unwrap();
        assert!(range.entries.iter().map(|e| &e.key).eq(&names));
        assert_eq!(range.entries[0].value, range.entries[999].value, "the two were only ever written together");
        assert!(range.entries.iter().all(|e| e.modified <= range.revision));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
}

pub async fn a_commit_happens_only_if_every_comparison_holds(store: Shared) {
    let created = put(&store, "key", "1").await;
    let modified = put(&store, "key", "2").await;
    let key = || "key".to_owned();
    let other = || "other".to_owned();
    let hold = [
        Compare::Created(key(), created),
        Compare::Modified(key(), modified),
        Compare::Exists(key()),
        Compare::Absent(other()),
        Compare::Created(other(), 0),
        Compare::Modified(other(), 0),
    ];
    let fail = [
        Compare::Created(key(), modified),
        Compare::Modified(key(), created),
        Compare::Exists(other()),
        Compare::Absent(key()),
        Compare::Created(key(), 0),
        Compare::Modified(other(), modified),
    ];
    for compare in &fail {
        let compares = hold.iter().chain([compare]).cloned().collect();
        assert_eq!(store.commit(compares, vec![Op::put("made", "x")]).await.unwrap(), None, "{compare:?}");
    }
    assert_eq!(store.get("made").await.unwrap(), None);
    let made = store.commit(hold.to_vec(), vec![Op::put("made", "x")]).await.unwrap().unwrap();
    assert_eq!(store.get("made").await.unwrap().unwrap().created, made);
}

pub async fn concurrent_increments_are_not_lost(store: Shared) {
    put(&store, "counter", "0").await;
    let increment = |store: Shared| async move {
        for _ in 0..20 {
            loop {
                let entry = store.get("counter").await.unwrap().unwrap();
                let number: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let compares = vec![Compare::Modified("counter".to_owned(), entry.modified)];
                let ops = vec![Op::put("counter", (number + 1).to_string())];
                if store.commit(compares, ops).await.unwrap().is_some() {
                    break;
                }
            }
        }
    };
    let tasks: Vec<_> = (0..6).map(|_| tokio::spawn(increment(store.clone()))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(store.get("counter").await.unwrap().unwrap().value, "120");
}

pub async fn a_key_is_made_anew_after_it_was_deleted(store: Shared) {
    let first = put(&store, "key", "1").await;
    let second = put(&store, "key", "2").await;
    assert!(second > first);
    let entry = store.get("key").await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (first, second));
    let deleted = done(&store, vec![Op::delete("key")]).await;
    assert!(deleted > second);
    // Nothing to delete, nothing to say: a watch from here sees only the key made anew.
    let mut watch = store.watch("key", deleted + 1).await.unwrap();
    done(&store, vec![Op::delete("key"), Op::DeletePrefix { prefix: "no".to_owned() }]).await;
    let third = put(&store, "key", "3").await;
    assert_eq!(next(&mut watch).await.unwrap().revision, third);
    assert_eq!(store.get("key").await.unwrap().unwrap().created, third);
}

pub async fn bad_commits_are_refused_naming_the_fault(store: Shared) {
    let refused = |ops: Vec<Op>| {
        let store = store.clone();
        async move { store.commit(vec![], ops).await.unwrap_err() }
    };
    for ops in [
        vec![Op::put("key", "1"), Op::put("key", "2")],
        vec![Op::put("key/1", "1"), Op::DeletePrefix { prefix: "key/".to_owned() }],
        vec![Op::put("", "1")],
        (0..=OPS_LIMIT).map(|i| Op::put(format!("{i}"), "1")).collect(),
    ] {
        let error = refused(ops.clone()).await;
        assert!(matches!(error, StoreError::Invalid(_)), "{ops:?}: {error}");
    }
    let gone = LeaseId(0x7ead);
    assert_eq!(refused(vec![Op::put("key", "1"), leased("leased", gone)]).await, StoreError::LeaseGone(gone));
    let error = refused(vec![Op::put("key", "1"), Op::put("large", vec![b'x'; COMMIT_LIMIT])]).await;
    assert!(matches!(&error, StoreError::TooLarge { key, .. } if key == "large"), "{error}");
    assert!(keys(&store, "").await.is_empty());
    put(&store, "large", &"x".repeat(COMMIT_LIMIT - "large".len())).await;
    assert_eq!(store.range("").await.unwrap().entries[0].value.len(), COMMIT_LIMIT - "large".len());
}

pub async fn a_watch_joins_history_and_presence_without_gap_or_duplicate(store: Shared) {
    let mut written = Vec::new();
    for i in 0..100 {
        written.push((put(&store, &format!("seen/{}", i % 7), &i.to_string()).await, i));
    }
    let mut watch = store.watch("seen/", written[0].0).await.unwrap();
    let writing = store.clone();
    let writer = tokio::spawn(async move {
        let mut written = Vec::new();
        for i in 100..300 {
            written.push((put(&writing, &format!("seen/{}", i % 7), &i.to_string()).await, i));
            put(&writing, "unseen", "x").await;
        }
        written
    });
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let batch = next(&mut watch).await.unwrap();
        let [Event::Put(entry)] = &batch.events[..] else { panic!("one put a revision, not {batch:?}") };
        assert_eq!(entry.modified, batch.revision);
        seen.push((batch.revision, std::str::from_utf8(&entry.value).unwrap().parse().unwrap()));
    }
    written.extend(writer.await.unwrap());
    assert_eq!(seen, written);
}

pub async fn a_watch_gives_whole_revisions(store: Shared) {
    let keys: Vec<String> = (0..OPS_LIMIT).map(|i| format!("whole/{i:03}")).collect();
    let value = "v".repeat(4096);
    let first = done(&store, keys.iter().map(|key| Op::put(key, value.clone())).collect()).await;
    let second = done(&store, vec![Op::put("whole/000", "n"), Op::delete("whole/001"), Op::put("out", "x")]).await;
    let third = done(&store, vec![Op::DeletePrefix { prefix: "whole/".to_owned() }]).await;
    // Once as history, once as it happens.
    let mut watch = store.watch("whole/", first).await.unwrap();
    let batches = until(&mut watch, third).await;
    assert_eq!(batches.iter().map(|b| b.revision).collect::<Vec<_>>(), [first, second, third]);
    assert!(batches[0].events.iter().map(Event::key).eq(&keys));
    assert_eq!(told(&batches[1]), ["+whole/000=n", "-whole/001"]);
    assert_eq!(batches[2].events.len(), OPS_LIMIT - 1);
    assert!(batches[2].events.iter().all(|event| matches!(event, Event::Delete { .. })));
    let live = done(&store, keys.iter().map(|key| Op::put(key, value.clone())).collect()).await;
    let batch = next(&mut watch).await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (live, OPS_LIMIT));
}

pub async fn a_watch_may_begin_in_the_future(store: Shared) {
    let now = put(&store, "key", "1").await;
    let mut watch = store.watch("key", now + 2).await.unwrap();
    let mut last = now;
    for i in 2..100 {
        last = put(&store, "key", &i.to_string()).await;
    }
    let batches = until(&mut watch, last).await;
    assert!(batches[0].revision >= now + 2);
    // Whatever else the store is used for, at most one of ours lies at the revision that was left out.
    assert!(batches.len() >= 97, "{}", batches.len());
}

pub async fn several_watches_see_the_same(store: Shared) {
    let start = put(&store, "start", "").await;
    let watches: Vec<Watch> =
        futures::future::join_all((0..8).map(|_| async { store.watch("", start + 1).await.unwrap() })).await;
    let mut last = 0;
    for i in 0..50 {
        last = put(&store, &format!("k{}", i % 3), &i.to_string()).await;
    }
    let mut different = BTreeSet::new();
    for mut watch in watches {
        let batches = until(&mut watch, last).await;
        different.insert(batches.iter().map(|b| format!("{} {:?}", b.revision, told(b))).collect::<Vec<_>>());
    }
    assert_eq!(different.len(), 1);
}

/// Needs a store of its own: compaction is for all its users.
pub async fn compaction_ends_watches_from_before_it_and_no_others(store: Shared) {
    let mut revisions = Vec::new();
    for i in 0..10 {
        revisions.push(put(&store, "key", &i.to_string()).await);
    }
    let middle = revisions[5];
    store.compact(middle).await.unwrap();
    store.compact(middle).await.unwrap();
    store.compact(revisions[2]).await.unwrap();
    let compacted = async {
        let mut watch = store.watch("key", revisions[3]).await?;
        next(&mut watch).await
    };
    match compacted.await {
        Err(StoreError::Compacted { oldest }) => assert_eq!(oldest, middle + 1),
        other => panic!("{other:?}"),
    }
    let mut watch = store.watch("key", middle + 1).await.unwrap();
    let batches = until(&mut watch, revisions[9]).await;
    assert_eq!(batches.iter().map(|b| b.revision).collect::<Vec<_>>(), revisions[6..]);
    assert_eq!(store.get("key").await.unwrap().unwrap().value, "9");
    assert!(matches!(store.compact(revisions[9] + 1000).await, Err(StoreError::Invalid(_))));
    // A watch that has its history behind it does not mind.
    let last = put(&store, "key", "10").await;
    assert_eq!(next(&mut watch).await.unwrap().revision, last);
    store.compact(last).await.unwrap();
    let after = put(&store, "key", "11").await;
    assert_eq!(next(&mut watch).await.unwrap().revision, after);
}

pub async fn a_lease_that_runs_out_takes_its_keys_along(store: Shared) {
    let began = Instant::now();
    let ttl = Duration::from_secs(2);
    let lease = store.grant(ttl).await.unwrap();
    let put = done(&store, vec![leased("mortal/1", lease), leased("mortal/2", lease), Op::put("mortal/3", "")]).await;
    assert_eq!(store.get("mortal/1").await.unwrap().unwrap().lease, Some(lease));
    let mut watch = store.watch("mortal/", put + 1).await.unwrap();
    let batch = next(&mut watch).await.unwrap();
    let told: BTreeSet<_> = told(&batch).into_iter().collect();
    assert_eq!(told, BTreeSet::from(["-mortal/1".to_owned(), "-mortal/2".to_owned()]));
    assert!(began.elapsed() >= ttl, "too early: {:?}", began.elapsed());
    assert_eq!(keys(&store, "mortal/").await, ["mortal/3"]);
    assert!(!store.keep_alive(lease).await.unwrap());
    let error = store.commit(vec![], vec![leased("mortal/4", lease)]).await.unwrap_err();
    assert_eq!(error, StoreError::LeaseGone(lease));
}

pub async fn a_lease_that_is_renewed_stays(store: Shared) {
    let (ttl, rounds) = (Duration::from_secs(2), 20);
    let kept = store.grant(ttl).await.unwrap();
    let left = store.grant(ttl).await.unwrap();
    assert_ne!(kept, left);
    done(&store, vec![leased("kept", kept), leased("left", left)]).await;
    let mut ticks = interval(Duration::from_millis(250));
    for _ in 0..rounds {
        ticks.tick().await;
        assert!(store.keep_alive(kept).await.unwrap());
    }
    // Meanwhile more than twice the time to live has passed.
    eventually("the lease that nobody renews is gone", || async {
        assert!(store.keep_alive(kept).await.unwrap());
        store.get("left").await.unwrap().is_none()
    })
    .await;
    assert!(store.get("kept").await.unwrap().is_some());
    eventually("the other one is gone, too", || async { store.get("kept").await.unwrap().is_none() }).await;
}

pub async fn a_lease_can_be_revoked(store: Shared) {
    let minute = Duration::from_secs(60);
    let lease = store.grant(minute).await.unwrap();
    let other = store.grant(minute).await.unwrap();
    let keys = ["mine/1", "mine/2", "moved", "freed"];
    done(&store, keys.iter().map(|key| leased(key, lease)).collect()).await;
    let put = done(&store, vec![leased("moved", other), Op::put("freed", "")]).await;
    let mut watch = store.watch("", put + 1).await.unwrap();
    store.revoke(lease).await.unwrap();
    let batch = next(&mut watch).await.unwrap();
    assert_eq!(batch.events.len(), 2, "{batch:?}");
    assert!(batch.events.iter().all(|event| event.key().starts_with("mine/")));
    assert!(store.get("moved").await.unwrap().is_some());
    assert!(store.get("freed").await.unwrap().is_some());
    store.revoke(lease).await.unwrap();
    assert!(!store.keep_alive(lease).await.unwrap());
    assert!(store.keep_alive(other).await.unwrap());
    store.revoke(other).await.unwrap();
    assert_eq!(store.get("moved").await.unwrap(), None);
}

pub async fn a_dropped_watch_and_a_slow_one_hold_nothing_up(store: Shared) {
    let start = put(&store, "start", "").await;
    drop(store.watch("", start).await.unwrap());
    let mut slow = store.watch("bulk/", start).await.unwrap();
    let value = "v".repeat(64 * 1024);
    let mut last = 0;
    for i in 0..200 {
        let writing = done(&store, vec![Op::put(format!("bulk/{}", i % 5), value.clone())]);
        last = timeout(PATIENCE, writing).await.expect("a reader that does not read holds a writer up");
    }
    assert_eq!(until(&mut slow, last).await.len(), 200);
}
