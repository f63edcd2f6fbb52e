//! One answer of `weftctl check`: which question, how bad, every case that is wrong, and what to do.
//!
//! Data. What has no faults is ok and has no advice; what has some fails, unless its question is a mild one.

use serde_json::{Value, json};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Ok,
    /// Worth knowing; the command does not fail for it.
    Warning,
    Failed,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which question it was: the same word in every run, for programs.
    pub check: &'static str,
    pub what: String,
    pub level: Level,
    /// What is wrong, one text for each case; none: all is well.
    pub faults: Vec<String>,
    /// What to do about the faults.
    pub advice: String,
}

impl Finding {
    /// Failed if there are faults.
    pub fn of(
        check: &'static str,
        what: impl Into<String>,
        faults: impl IntoIterator<Item = String>,
        advice: impl Into<String>,
    ) -> Self {
        let faults: Vec<String> = faults.into_iter().collect();
        let level = if faults.is_empty() { Level::Ok } else { Level::Failed };
        let advice = if faults.is_empty() { String::new() } else { advice.into() };
        Self { check, what: what.into(), level, faults, advice }
    }

    /// The same, and no reason to fail.
    pub fn mildly(mut self) -> Self {
        if self.level == Level::Failed {
            self.level = Level::Warning;
        }
        self
    }

    /// For programs.
    pub fn value(&self) -> Value {
        let Self { check, what, level, faults, advice } = self;
        let advice = (!advice.is_empty()).then_some(advice);
        json!({ "check": check, "what": what, "result": level.word(), "faults": faults, "advice": advice })
    }
}
