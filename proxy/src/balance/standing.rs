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
    /// this `key`. Without a key, chance decides anew for each request which new endpoints take part in their slow start, and
    /// which level's turn it is: those that might are chosen among.
    pub fn standings<C: Candidate>(&self, candidates: &[C], key: Option<u64>, now: Instant) -> Vec<Standing> {
        let coin = key.unwrap_or_default();
        let who = || Admission::new(&self.spread, &self.members, &self.levels, candidates, now, coin);
        let turns = match key {
            None if self.levels.len() > 1 => who().turns(&self.levels),
            _ => Vec::new(),
        };
        let firsts: Vec<Vec<bool>> = match turns.is_empty() {
            true => vec![self.first(&who(), key.is_some())],
            false => turns.iter().map(|level| self.first(&who().on(*level), key.is_some())).collect(),
        };
        let standing = |at: usize| match who().admitted(at) {
            false => Standing::Out(self.unfit(at)),
            true if firsts.iter().any(|first| first[at]) => Standing::Candidate,
            true => Standing::Later(self.behind(at, &who(), candidates, key, &turns, now)),
        };
        (0..self.members.len()).map(standing).collect()
    }

    /// For each member whether it might be chosen first, given whose turn it is.
    fn first<C: Candidate>(&self, who: &Admission<'_, C>, keyed: bool) -> Vec<bool> {
        let all = 0..self.members.len();
        let own = |at: usize| self.own.has(at) && who.in_turn(at);
        let certain = |at: usize| own(at) && who.up(at) && if keyed { who.ripe(at) } else { who.settled(at) };
        let possible = |at: usize| own(at) && who.up(at) && (!keyed || who.ripe(at));
        let (near, fresh) = (self.zoned && all.clone().any(|at| certain(at) && who.near(at)), all.clone().any(certain));
        let (reached, beyond) =
            (all.clone().any(|at| own(at) && who.up(at)), all.clone().any(|at| who.in_turn(at) && who.up(at)));
        let first = |at: usize| match () {
            () if near => possible(at) && who.near(at),
            () if fresh => possible(at),
            () if reached => own(at) && who.up(at),
            () if beyond => who.in_turn(at) && who.up(at),
            () => who.admitted(at),
        };
        all.clone().map(first).collect()
    }

    fn behind<C: Candidate>(
        &self,
        at: usize,
        who: &Admission<'_, C>,
        candidates: &[C],
        key: Option<u64>,
        turns: &[u64],
        now: Instant,
    ) -> Behind {
        let in_turn = if turns.is_empty() { who.in_turn(at) } else { turns.contains(&self.members[at].level) };
        let load = candidates[at].load();
        if let Some(ejection) = load.ejection(now) {
            let (cause, left) = (ejection.cause.word().to_owned(), ejection.until.saturating_duration_since(now));
            return Behind::Ejected { cause, left };
        }
        match load.shunned_for(now) {
            Some(left) => Behind::Unreached(left),
            None if !in_turn => Behind::Priority,
            None if !self.own.has(at) => Behind::Subset,
            None if key.is_some() && !who.ripe(at) => Behind::SlowStart,
            None => Behind::Zone,
        }
    }

    fn unfit(&self, at: usize) -> Unfit {
        match (self.members[at].state, self.members[at].weight) {
            (EndpointState::Terminating, _) => Unfit::Terminating,
            (_, 0) => Unfit::NoWeight,
            (EndpointState::NotReady, _) => Unfit::NotReady,
            (EndpointState::Ready, _) => Unfit::Unhealthy,
        }
    }
}
