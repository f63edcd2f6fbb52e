//! What has to be written so that the store has what is wanted, and nothing of anybody else's is touched.
//!
//! Pure: the records that are known to be there and those that are wanted in, transactions out. A record belongs to who wrote it;
//! one that somebody else wrote stays as it is, whatever Kubernetes says. Each write compares with what was known.

use crate::record::{self, Content, Key, Source};
use crate::store::{COMMIT_LIMIT, Compare, Entry, OPS_LIMIT, Op, Revision};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use weft_model::ServiceName;

/// One withdrawal may be added to what is counted, and the fence to what is compared.
const MOST_OPS: usize = OPS_LIMIT - 2;
/// Leaves room for keys that are compared.
const MOST_BYTES: usize = COMMIT_LIMIT / 2;

/// The records that a reader of the store has seen.
#[derive(Debug, Default)]
pub struct Mirror(BTreeMap<String, Held>);

#[derive(Debug, Clone, PartialEq)]
struct Held {
    modified: Revision,
    value: Bytes,
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Kubernetes,
    SomebodyElse,
    /// It cannot be read: whoever wants the key may have it.
    Nobody,
}

/// What is to be done at once.
#[derive(Debug, Default, PartialEq)]
pub struct Transaction {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}

/// What has to be done, in order, and which keys somebody else has.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub transactions: Vec<Transaction>,
    pub taken: BTreeSet<String>,
}

impl Mirror {
    pub fn see(&mut self, entry: Entry) {
        let owner = match Content::decode(&entry) {
            Some(Ok((_, content))) if content.source() == Some(Source::Kubernetes) => Owner::Kubernetes,
            Some(Ok(_)) => Owner::SomebodyElse,
            Some(Err(_)) => Owner::Nobody,
            None => return,
        };
        self.0.insert(entry.key, Held { modified: entry.modified, value: entry.value, owner });
    }

    /// Forgets what lies under `prefix`: it is about to be read again.
    pub fn forget(&mut self, prefix: &str) {
        self.0.retain(|key, _| !key.starts_with(prefix));
    }

    /// What was done at `revision`.
    pub fn did(&mut self, ops: &[Op], revision: Revision) {
        for op in ops {
            match op {
                Op::Put { key, value, .. } if !key.starts_with(Key::WITHDRAWALS) => {
                    let held = Held { modified: revision, value: value.clone(), owner: Owner::Kubernetes };
                    self.0.insert(key.clone(), held);
                }
                Op::Delete { key } => drop(self.0.remove(key)),
                Op::Put { .. } | Op::DeletePrefix { .. } => {}
            }
        }
    }

    /// Whether there is any record under `prefix`, whoever's.
    pub fn has_any(&self, prefix: &str) -> bool {
        self.0.range(prefix.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(prefix))
    }

    /// The keys of records that are Kubernetes'.
    pub fn ours(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, held)| held.owner == Owner::Kubernetes).map(|(key, _)| key.as_str())
    }

    /// What makes `service` and its endpoints `wanted`.
    pub fn plan_service(&self, service: &ServiceName, wanted: &BTreeMap<String, Bytes>) -> Plan {
        let (own, endpoints) = keys(service);
        let mut plan = self.puts(wanted);
        let prefixed = self.0.range(endpoints.clone()..).take_while(|(key, _)| key.starts_with(&endpoints));
        let stale = |(key, held): &(&String, &Held)| held.owner == Owner::Kubernetes && !wanted.contains_key(*key);
        let leaving: Vec<_> = prefixed.filter(stale).collect();
        for leaving in leaving.chunks(MOST_OPS) {
            let ids = leaving.iter().filter_map(|(key, _)| key.strip_prefix(&endpoints)).map(str::to_owned);
            let compares = leaving.iter().map(|(key, held)| Compare::Modified((*key).clone(), held.modified)).collect();
            let ops = record::withdraw(service, ids);
            plan.add(Transaction { compares, ops });
        }
        if let Some(held) = self.0.get(&own).filter(|held| stale(&(&own, held))) {
            plan.add(Transaction {
                compares: vec![Compare::Modified(own.clone(), held.modified)],
                ops: vec![Op::delete(own)],
            });
        }
        plan
    }

    /// What makes the record at `key` the `wanted` one; `None`: there is to be none.
    pub fn plan_record(&self, key: &str, wanted: Option<Bytes>) -> Plan {
        match (wanted, self.0.get(key)) {
            (Some(value), _) => self.puts(&BTreeMap::from([(key.to_owned(), value)])),
            (None, Some(Held { modified, owner: Owner::Kubernetes, .. })) => {
                let compares = vec![Compare::Modified(key.to_owned(), *modified)];
                Plan { transactions: vec![Transaction { compares, ops: vec![Op::delete(key)] }], ..Plan::default() }
            }
            (None, _) => Plan::default(),
        }
    }

    fn puts(&self, wanted: &BTreeMap<String, Bytes>) -> Plan {
        let mut plan = Plan::default();
        // In reverse: a service comes before its endpoints.
        for (key, value) in wanted.iter().rev() {
            let modified = match self.0.get(key) {
                Some(held) if held.owner == Owner::SomebodyElse => {
                    plan.taken.insert(key.clone());
                    continue;
                }
                Some(held) if held.value == *value => continue,
                Some(held) => held.modified,
                None => 0,
            };
            let compares = vec![Compare::Modified(key.clone(), modified)];
            plan.add(Transaction { compares, ops: vec![Op::put(key.clone(), value.clone())] });
        }
        plan
    }
}

impl Plan {
    /// Into the last transaction as far as there is room.
    fn add(&mut self, more: Transaction) {
        match self.transactions.last_mut() {
            Some(last) if last.has_room_for(&more) => {
                last.compares.extend(more.compares);
                last.ops.extend(more.ops);
            }
            _ => self.transactions.push(more),
        }
    }
}

impl Transaction {
    fn has_room_for(&self, more: &Self) -> bool {
        let size = |ops: &[Op]| -> usize {
            let size = |op: &Op| if let Op::Put { value, .. } = op { value.len() } else { 0 };
            ops.iter().map(size).sum()
        };
        let twice = |op: &Op| matches!(op, Op::Put { key, .. } if key.starts_with(Key::WITHDRAWALS));
        self.ops.len() + more.ops.len() <= MOST_OPS
            && size(&self.ops) + size(&more.ops) <= MOST_BYTES
            && !(self.ops.iter().any(twice) && more.ops.iter().any(twice))
    }
}

/// The key of a service, and the prefix of its endpoints' keys.
pub fn keys(service: &ServiceName) -> (String, String) {
    let endpoint = Key::Endpoint { service: service.clone(), id: String::new() };
    (Key::Service(service.clone()).to_string(), endpoint.to_string())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
