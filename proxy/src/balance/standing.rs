//! Who the first try of a request chooses among, who comes later, and why: what `Chooser::choose` does, said in words.
//!
//! For `weftctl explain`, beside the request path. Asks the same questions of `Admission` in the same order; a property test
//! holds the two to each other.

use super::Chooser;
use super::admission::Admission;
use super::member::Candidate;
use std::time::Instant;
use weft_model::EndpointState;
use weft_model::explain::{Behind, Standing, Unfit};

impl Chooser {
    /// For each of `candidates`, which stand in the order of the members, where it stands in the first try of a request with
    /// this `key`. Without a key, chance decides anew for each request which new endpoints take part in their slow start:
    /// those that might are chosen among.
    pub fn standings<C: Candidate>(&self, candidates: &[C], key: Option<u64>, now: Instant) -> Vec<Standing> {
        let who = Admission::new(&self.spread, &self.members, candidates, now, key.unwrap_or_default());
        let all = 0..self.members.len();
        let own = |at: usize| self.own.has(at);
        let certain = |at: usize| own(at) && who.up(at) && if key.is_some() { who.ripe(at) } else { who.settled(at) };
        let possible = |at: usize| own(at) && who.up(at) && (key.is_none() || who.ripe(at));
        let (near, fresh) = (self.zoned && all.clone().any(|at| certain(at) && who.near(at)), all.clone().any(certain));
        let (reached, beyond) = (all.clone().any(|at| own(at) && who.up(at)), all.clone().any(|at| who.up(at)));
        let first = |at: usize| match () {
            () if near => possible(at) && who.near(at),
            () if fresh => possible(at),
            () if reached => own(at) && who.up(at),
            () if beyond => who.up(at),
            () => who.admitted(at),
        };
        let behind = |at: usize| match candidates[at].load().shunned_for(now) {
            _ if !own(at) => Behind::Subset,
            Some(left) => Behind::Unreached(left),
            None if !possible(at) => Behind::SlowStart,
            None => Behind::Zone,
        };
        let standing = |at: usize| match who.admitted(at) {
            false => Standing::Out(self.unfit(at)),
            true if first(at) => Standing::Candidate,
            true => Standing::Later(behind(at)),
        };
        all.clone().map(standing).collect()
    }

    fn unfit(&self, at: usize) -> Unfit {
        match (self.members[at].state, self.members[at].weight) {
            (EndpointState::Terminating, _) => Unfit::Terminating,
            (_, 0) => Unfit::NoWeight,
            _ => Unfit::NotReady,
        }
    }
}
