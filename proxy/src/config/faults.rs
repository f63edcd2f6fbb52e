//! What is wrong with a configuration, all of it, and how single values are read.
//!
//! Below the parts of the configuration. A value that is refused leaves a stand-in, which nobody sees: a configuration with faults
//! is not handed out.

use std::str::FromStr;
use std::time::Duration;

/// One line for each value that was refused.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, flag: &str, reason: impl std::fmt::Display) {
        self.0.push(format!("{flag}: {reason}"));
    }

    pub(super) fn take<T: Default, E: std::fmt::Display>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        self.take_or(flag, text, parse, T::default())
    }

    /// The parsed value. After a fault the stand-in, which nobody sees: a configuration with faults is not returned.
    pub(super) fn take_or<T, E: std::fmt::Display>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
        stand_in: T,
    ) -> T {
        parse(text).unwrap_or_else(|error| {
            self.add(flag, error);
            stand_in
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, one a line.
    pub(super) fn lines(&self) -> String {
        self.0.join("\n  ")
    }
}

/// Any type that reads itself; the error quotes the text.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

/// A duration that is not nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{text:?}: {error} (write 100ms, 30s, 5m)")),
    }
}
