//! Which faults one request meets, of those that its service's policy asks for.
//!
//! Pure: the dice are the caller's. `outbound` carries the verdict out before it lets the request go.

use std::time::Duration;
use weft_model::faults::{Answer, Faults};

/// A delay comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub delay: Option<Duration>,
    pub abort: Option<Answer>,
}

/// `below` gives a number below its argument; `grpc`: whether the request is gRPC.
pub fn decide(faults: &Faults, grpc: bool, mut below: impl FnMut(u32) -> u32) -> Verdict {
    let mut hit = |percent: u32| below(100) < percent;
    let delay = faults.delay.filter(|delay| hit(delay.percent)).map(|delay| delay.duration);
    let abort = faults.abort.filter(|abort| hit(abort.percent)).map(|abort| abort.answer);
    Verdict { delay, abort: abort.filter(|answer| grpc || matches!(answer, Answer::Status(_))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_model::faults::{Abort, Delay};

    #[test]
    fn the_share_is_what_the_policy_says() {
        let delay = Delay { percent: 25, duration: Duration::from_secs(1) };
        let abort = Abort { percent: 10, answer: Answer::Status(503) };
        let faults = Faults { delay: Some(delay), abort: Some(abort), matches: vec![] };
        let mut rng = fastrand::Rng::with_seed(1);
        let verdicts: Vec<Verdict> = (0..10_000).map(|_| decide(&faults, false, |most| rng.u32(..most))).collect();
        let share = |of: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| of(verdict)).count();
        assert!((2_350..2_650).contains(&share(|verdict| verdict.delay.is_some())));
        assert!((900..1_100).contains(&share(|verdict| verdict.abort.is_some())));
    }

    #[test]
    fn a_grpc_status_is_for_grpc_alone() {
        let abort = Some(Abort { percent: 100, answer: Answer::GrpcStatus(14) });
        let faults = Faults { delay: None, abort, matches: vec![] };
        assert_eq!(decide(&faults, false, |_| 99).abort, None);
        assert_eq!(decide(&faults, true, |_| 99).abort, Some(Answer::GrpcStatus(14)));
    }
}
