//! The one place where wire turns into model and back.
//!
//! To the wire with `From<&model>`, which always works; back with `TryFrom`, which checks everything the model promises
//! and names the first field that breaks it, so that the receiver can keep what it had. Nothing is guessed.
//!
//! Shapes: durations travel as microseconds, rounded up (a bound never becomes "none"), names as `namespace/name`,
//! identities as SPIFFE IDs; empty text and 0 stand for absence where the model has an `Option`, and a policy part
//! that is missing stands for its default.

mod service;
mod endpoint;
mod session;
mod route;
mod action;
mod balancer;
mod limits;
mod faults;
mod policy;
mod health;
mod resilience;
mod authorization;
mod view;

pub use session::session_keys;

use std::fmt::Display;
use std::time::Duration;
use weft_model::{Port, ServiceName};

/// Which field of a message breaks what the model promises, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConvertError {
    /// A path from the converted message: `routes[1].rules[0].backends[2].port`.
    pub field: String,
    pub reason: String,
}

impl ConvertError {
    pub fn new(field: impl Into<String>, reason: impl Display) -> Self {
        Self { field: field.into(), reason: reason.to_string() }
    }

    /// The same error seen from the message that holds this one under `outer`.
    fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

type Result<T> = std::result::Result<T, ConvertError>;

/// Converts each item; an error names its index.
fn each<W, M: TryFrom<W, Error = ConvertError>>(field: &str, items: Vec<W>) -> Result<Vec<M>> {
    let convert = |(n, item)| M::try_from(item).map_err(|error| error.within(&format!("{field}[{n}]")));
    items.into_iter().enumerate().map(convert).collect()
}

/// Parses each text; an error names its index.
fn parsed<T: std::str::FromStr<Err: Display>>(field: &str, items: &[String]) -> Result<Vec<T>> {
    let parse = |(n, item): (usize, &String)| {
        item.parse().map_err(|error| ConvertError::new(format!("{field}[{n}]"), format!("{item:?}: {error}")))
    };
    items.iter().enumerate().map(parse).collect()
}

fn name(field: &str, text: &str) -> Result<ServiceName> {
    ServiceName::parse(text).map_err(|error| ConvertError::new(field, error))
}

fn name_text(name: &ServiceName) -> String {
    format!("{}/{}", name.namespace, name.name)
}

fn port(field: &str, number: u32) -> Result<Port> {
    let port = u16::try_from(number).ok().and_then(Port::new);
    port.ok_or_else(|| ConvertError::new(field, format!("{number} is not a port (1 to 65535)")))
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Rounded up, so that what is not 0 stays so; longer than half a million years is cut.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn some_micros(duration: Option<Duration>) -> u64 {
    duration.map_or(0, micros)
}

fn some_duration(micros: u64) -> Option<Duration> {
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// HTTP statuses; an error names its index.
fn statuses(codes: &[u32]) -> Result<Vec<u16>> {
    let status = |(n, status): (usize, &u32)| match u16::try_from(*status) {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(ConvertError::new(format!("statuses[{n}]"), format!("{status} is not an HTTP status"))),
    };
    codes.iter().enumerate().map(status).collect()
}

/// A header name, method or cookie name (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests;
