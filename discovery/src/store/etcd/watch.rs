//! A watch on etcd, cut into batches of one whole revision each.
//!
//! etcd never splits a revision over two messages unless asked to, so it is not asked to. Ends with `Compacted` or
//! `Unavailable`; a member without a leader ends its watches by itself, one that hangs is found by the connection's probes.

use super::fault::Fault;
use super::members::{Members, Repeat};
use super::wire::{ANSWER_LIMIT, after, entry, signed, unsigned};
use crate::store::{Batch, Event, Revision, StoreError, Watch};
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use futures::StreamExt;
use std::collections::VecDeque;
use tokio::time::timeout;

struct Following {
    stream: WatchStream,
    /// The store's prefix, which is cut off the keys.
    prefix: String,
    from: Revision,
    ready: VecDeque<Batch>,
    ended: bool,
}

pub(super) async fn open(
    members: &Members,
    prefix: String,
    watched: String,
    from: Revision,
) -> Result<Watch, StoreError> {
    // Revision 0 would mean "from now on" to etcd.
    let from = from.max(1);
    let options =
        WatchOptions::new().with_range(after(&watched)).with_start_revision(signed(from)).with_progress_notify();
    let stream =
        members
            .call(Repeat::Safe, |client| {
                let (watched, options) = (watched.clone(), options.clone());
                async move {
                    client.watch_client().max_decoding_message_size(ANSWER_LIMIT).watch(watched, Some(options)).await
                }
            })
            .await?;
    let mut following = Following { stream, prefix, from, ready: VecDeque::new(), ended: false };
    // etcd's first message says that the watch stands: from here on a fault is seen on the stream.
    match timeout(members.request_timeout(), following.message()).await {
        Ok(first) => first?,
        Err(_) => return Err(StoreError::Unavailable("etcd does not confirm the watch".to_owned())),
    }
    Ok(futures::stream::unfold(following, Following::next).boxed())
}

impl Following {
    async fn next(mut self) -> Option<(Result<Batch, StoreError>, Self)> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some((Ok(batch), self));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.message().await {
                self.ended = true;
                return Some((Err(error), self));
            }
        }
    }

    /// Reads one message and puts what it says into `ready`.
    async fn message(&mut self) -> Result<(), StoreError> {
        let message = match self.stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(StoreError::Unavailable("etcd closed the watch".to_owned())),
            Err(error) => {
                return Err(match Fault::of(&error) {
                    Fault::Answer(error) => error,
                    Fault::NotDone(text) | Fault::Unknown(text) => StoreError::Unavailable(text),
                });
            }
        };
        if message.compact_revision() > 0 {
            return Err(StoreError::Compacted { oldest: unsigned(message.compact_revision()) + 1 });
        }
        if message.canceled() {
            return Err(StoreError::Unavailable(format!("etcd ended the watch: {}", message.cancel_reason())));
        }
        if !message.created() {
            self.take(&message);
        }
        Ok(())
    }

    fn take(&mut self, message: &WatchResponse) {
        if message.events().is_empty() {
            let revision = message.header().map_or(0, |h| unsigned(h.revision()));
            // Only marks sent for this very watch (identifier 0) stand in order with its events.
            if message.watch_id() == 0 && revision >= self.from {
                self.ready.push_back(Batch { revision, events: Vec::new() });
            }
            return;
        }
        for event in message.events() {
            let Some(kv) = event.kv() else { continue };
            let Some(entry) = entry(&self.prefix, kv) else { continue };
            let revision = entry.modified;
            let event = match event.event_type() {
                EventType::Put => Event::Put(entry),
                EventType::Delete => Event::Delete { key: entry.key },
            };
            match self.ready.back_mut() {
                Some(batch) if batch.revision == revision => batch.events.push(event),
                _ => self.ready.push_back(Batch { revision, events: vec![event] }),
            }
        }
    }
}
