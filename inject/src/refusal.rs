//! Why a pod cannot be injected as it is: all its faults at once, each naming what is wrong and what is allowed.
//!
//! Said to whoever creates the pod, by the API server or on the command line. A pod that is refused is not changed.

/// The faults of one pod; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Refusal(Vec<String>);

impl Refusal {
    /// The faults, in the order in which they were found.
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

/// Faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    pub fn add(&mut self, at: &str, reason: impl std::fmt::Display) {
        self.0.push(format!("{at}: {reason}"));
    }

    /// `value`, unless there were faults.
    pub fn or<T>(self, value: T) -> Result<T, Refusal> {
        if self.0.is_empty() { Ok(value) } else { Err(Refusal(self.0)) }
    }
}
