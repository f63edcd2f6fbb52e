//! Why a request takes the rule that it takes: every match of a table, and what was missing.
//!
//! For `weftctl explain`, beside the request path. Walks the entries that `Table::decide` walks and asks the same matchers; a
//! property test holds the two to each other.

use super::{Entry, Table};
use crate::request::RequestView;
use weft_model::explain::{Considered, Mismatch, Verdict};

impl Table {
    /// All matches, in the order in which they are tried, and what becomes of each for `request` to `port`.
    pub fn why(&self, port: u16, request: &impl RequestView) -> Vec<Considered> {
        let group = self.group(port);
        let best = group.and_then(|group| self.best(group, port, request));
        let verdict = |entry: &Entry, missed: &[Mismatch]| match best {
            _ if !entry.is_for(port) => Verdict::OtherPort,
            _ if Some(entry.group) != group => Verdict::NotInForce,
            Some(best) if std::ptr::eq(best, entry) => Verdict::Chosen,
            _ if missed.is_empty() => Verdict::Outranked,
            _ => Verdict::Unmatched,
        };
        let considered = self.entries.iter().map(|entry| {
            let missed = entry.missed(request);
            Considered {
                kind: entry.group.1,
                rule: entry.rule.label.clone(),
                number: entry.number,
                consumer: entry.group.0,
                verdict: verdict(entry, &missed),
                missed,
            }
        });
        considered.collect()
    }
}

impl Entry {
    fn missed(&self, request: &impl RequestView) -> Vec<Mismatch> {
        let host = self.host_rank(request.host()).is_none().then(|| Mismatch {
            part: "host".to_owned(),
            asked: self.hostnames.join(" or "),
            found: Some(request.host().to_owned()),
        });
        host.into_iter().chain(self.matcher.missed(request)).collect()
    }
}
