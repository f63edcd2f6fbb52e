//! The keys of session tokens: made once, by whichever replica is first, and replaced in turn.
//!
//! Beside the root of trust; the registry shows them to the streams. Two are valid at a time. A new one is handed out a while
//! before tokens are sealed with it, so that no proxy meets a token it cannot open. Every write is a comparison: replicas that
//! rotate at the same time make one key.

use super::fault::AuthorityError;
use crate::record::{Content, Key, SessionKeys};
use crate::store::{Compare, Op, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use weft_model::session::SessionKey;

/// How long before its time a new key is handed out: longer than a proxy takes to come back to a replica.
const AHEAD: Duration = Duration::from_secs(60);
/// A key's age is looked at so many times in its life.
const LOOKS: u32 = 20;

/// Makes the first key if there is none. A record that cannot be read is an error: sessions would move without need.
pub async fn agree(store: &dyn Store, now: SystemTime) -> Result<(), AuthorityError> {
    let at = Key::SessionKeys.to_string();
    match store.get(&at).await? {
        Some(entry) => match Content::decode(&entry) {
            Some(Ok((_, Content::SessionKeys(sessions)))) if !sessions.keys.is_empty() => Ok(()),
            Some(Err(error)) => Err(AuthorityError::Damaged { key: "sessions/keys", reason: error.reason }),
            _ => Err(AuthorityError::Damaged { key: "sessions/keys", reason: "no keys".to_owned() }),
        },
        None => {
            let first = SessionKeys { keys: vec![made(1, since_epoch(now))] };
            // Somebody else's is as good.
            store.commit(vec![Compare::Absent(at.clone())], vec![Op::put(at, encode(&first))]).await?;
            Ok(())
        }
    }
}

/// Replaces the key whenever it is as old as `lifetime`, until told to end.
pub async fn keep(store: Arc<dyn Store>, lifetime: Duration, shutdown: CancellationToken) {
    loop {
        match rotate(&*store, lifetime, SystemTime::now()).await {
            Ok(Some(id)) => tracing::info!(id, "made a new key for session tokens"),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot look after the keys of session tokens; trying again"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(lifetime / LOOKS) => {}
        }
    }
}

/// The id of the new key, if it was time for one.
async fn rotate(store: &dyn Store, lifetime: Duration, now: SystemTime) -> Result<Option<u32>, StoreError> {
    let at = Key::SessionKeys.to_string();
    let Some(entry) = store.get(&at).await? else { return Ok(None) };
    let Some(Ok((_, Content::SessionKeys(SessionKeys { keys })))) = Content::decode(&entry) else { return Ok(None) };
    let Some(newest) = keys.iter().max_by_key(|key| key.from).cloned() else { return Ok(None) };
    let now = since_epoch(now);
    if now < newest.from.saturating_add(lifetime.as_secs()) {
        return Ok(None);
    }
    let next = made(newest.id.wrapping_add(1), now + AHEAD.as_secs());
    let id = next.id;
    let both = SessionKeys { keys: vec![next, newest] };
    let compares = vec![Compare::Modified(at.clone(), entry.modified)];
    let done = store.commit(compares, vec![Op::put(at, encode(&both))]).await?;
    Ok(done.map(|_| id))
}

fn made(id: u32, from: u64) -> SessionKey {
    let mut secret = [0; 32];
    let random = weft_identity::provider().secure_random;
    random.fill(&mut secret).expect("the provider aborts the process when the system has no randomness");
    SessionKey { id, secret, from }
}

fn since_epoch(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn encode(keys: &SessionKeys) -> Vec<u8> {
    serde_json::to_vec(keys).expect("numbers always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Embedded, EmbeddedSettings};

    async fn keys(store: &dyn Store) -> Vec<(u32, u64)> {
        let entry = store.get("sessions/keys").await.unwrap().unwrap();
        let Some(Ok((_, Content::SessionKeys(sessions)))) = Content::decode(&entry) else { panic!("no keys") };
        sessions.keys.iter().map(|key| (key.id, key.from)).collect()
    }

    #[tokio::test]
    async fn keys_are_made_once_and_two_are_valid_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(&EmbeddedSettings::new(dir.path().join("db"))).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let day = Duration::from_secs(86_400);
        agree(&store, at(1_000)).await.unwrap();
        agree(&store, at(2_000)).await.unwrap();
        assert_eq!(keys(&store).await, [(1, 1_000)]);
        assert_eq!(rotate(&store, day, at(87_399)).await.unwrap(), None);
        assert_eq!(rotate(&store, day, at(87_400)).await.unwrap(), Some(2));
        assert_eq!(rotate(&store, day, at(87_401)).await.unwrap(), None, "the new one is young");
        assert_eq!(keys(&store).await, [(2, 87_460), (1, 1_000)]);
        assert_eq!(rotate(&store, day, at(200_000)).await.unwrap(), Some(3));
        assert_eq!(keys(&store).await, [(3, 200_060), (2, 87_460)], "the oldest is gone");
    }
}
