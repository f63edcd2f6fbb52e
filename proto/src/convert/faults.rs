//! Failures that clients' sidecars make on purpose.
//!
//! Refuses shares above the whole, and answers that no client could read.

use super::policy::positive;
use super::{ConvertError, Result, each, micros};
use crate::v1;
use crate::v1::faults::Answer as Wire;
use weft_model::faults::{Abort, Answer, Delay, Faults};

impl From<&Faults> for v1::Faults {
    fn from(faults: &Faults) -> Self {
        let answer = faults.abort.map(|abort| match abort.answer {
            Answer::Status(status) => Wire::Status(status.into()),
            Answer::GrpcStatus(status) => Wire::GrpcStatus(status.into()),
        });
        Self {
            delay_percent: faults.delay.map_or(0, |delay| delay.percent),
            delay_us: faults.delay.map_or(0, |delay| micros(delay.duration)),
            abort_percent: faults.abort.map_or(0, |abort| abort.percent),
            matches: faults.matches.iter().map(Into::into).collect(),
            answer,
        }
    }
}

impl TryFrom<v1::Faults> for Faults {
    type Error = ConvertError;

    fn try_from(wire: v1::Faults) -> Result<Self> {
        let delay = match percent("delay_percent", wire.delay_percent)? {
            None => None,
            Some(percent) => Some(Delay { percent, duration: positive("delay_us", wire.delay_us)? }),
        };
        let abort = match percent("abort_percent", wire.abort_percent)? {
            None => None,
            Some(percent) => Some(Abort { percent, answer: answer(wire.answer)? }),
        };
        Ok(Self { delay, abort, matches: each("matches", wire.matches)? })
    }
}

fn percent(field: &str, percent: u32) -> Result<Option<u32>> {
    match percent {
        0 => Ok(None),
        1..=100 => Ok(Some(percent)),
        _ => Err(ConvertError::new(field, format!("{percent} is more than 100"))),
    }
}

fn answer(wire: Option<Wire>) -> Result<Answer> {
    match wire {
        Some(Wire::Status(status @ 400..=599)) => Ok(Answer::Status(status as u16)),
        Some(Wire::Status(status)) => Err(ConvertError::new("status", format!("{status} is not 400 to 599"))),
        Some(Wire::GrpcStatus(status @ 1..=16)) => Ok(Answer::GrpcStatus(status as u16)),
        Some(Wire::GrpcStatus(status)) => Err(ConvertError::new("grpc_status", format!("{status} is not 1 to 16"))),
        None => Err(ConvertError::new("answer", "missing")),
    }
}
