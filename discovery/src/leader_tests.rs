//! Elections on the embedded store: one leads at a time, the next one follows, and a late writer is refused.
//!
//! The same on real etcd with paused processes is in the suite `controller`.

use super::*;
use crate::store::{Embedded, EmbeddedSettings};

const SHORT: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(20);

fn store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let dir = tempfile::tempdir().unwrap();
    let settings = EmbeddedSettings::new(dir.path().join("store"));
    (dir, Arc::new(Embedded::open(&settings).unwrap()))
}

fn candidate(store: &Arc<dyn Store>, replica: &str) -> Election {
    Election::new(store.clone(), "test", replica).with_ttl(SHORT)
}

async fn write(store: &Arc<dyn Store>, lead: &Lead, value: &str) -> bool {
    store.commit(vec![lead.fence()], vec![Op::put("written", value.to_owned())]).await.unwrap().is_some()
}

#[tokio::test]
async fn one_leads_and_the_next_follows_when_it_resigns() {
    let (_dir, store) = store();
    let first = timeout(DEADLINE, candidate(&store, "a").win()).await.unwrap();
    let second = candidate(&store, "b");
    let waiting = tokio::spawn(async move { second.win().await });
    assert!(write(&store, &first, "a").await && first.holds().await.unwrap());
    // The lease is renewed: it outlives its time.
    sleep(SHORT * 2).await;
    assert!(write(&store, &first, "a").await && !waiting.is_finished());
    let fence = first.fence();
    first.resign().await;
    let second = timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert!(write(&store, &second, "b").await);
    assert!(store.commit(vec![fence], vec![Op::put("written", "late")]).await.unwrap().is_none());
    assert_eq!(store.get("written").await.unwrap().unwrap().value, "b");
}

#[tokio::test]
async fn a_leader_that_does_not_renew_is_fenced_off_even_from_itself() {
    let (_dir, store) = store();
    let first = timeout(DEADLINE, candidate(&store, "a").win()).await.unwrap();
    // As if the process had been stopped.
    first.keeper.abort();
    let again = timeout(DEADLINE, candidate(&store, "a").win()).await.unwrap();
    assert!(!first.holds().await.unwrap() && again.holds().await.unwrap());
    assert!(!write(&store, &first, "late").await && write(&store, &again, "now").await);
}

#[tokio::test]
async fn a_lease_that_is_gone_ends_leadership() {
    let (_dir, store) = store();
    let lead = timeout(DEADLINE, candidate(&store, "a").win()).await.unwrap();
    store.revoke(lead.lease).await.unwrap();
    timeout(DEADLINE, lead.lost()).await.unwrap();
    assert!(!lead.holds().await.unwrap());
}
