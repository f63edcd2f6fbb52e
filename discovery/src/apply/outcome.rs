//! How a call ended: what became of each document, or why none was put into force.
//!
//! Shared by the plan and the calls. An error is told to the person who called, so it says what to do.

use crate::addresses::Exhausted;
use crate::record::{Content, Source};
use crate::store::{Revision, StoreError};
use crate::translate::{Fault, Kind};

/// Why documents were not put into force, or not found.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A line for each fault.
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
    #[error("{0}")]
    Asked(String),
    #[error("{0} does not exist")]
    NotFound(String),
    /// Another source keeps it.
    #[error("{0}")]
    Belongs(String),
    #[error(transparent)]
    NoAddress(#[from] Exhausted),
    #[error("other writers were always faster: try again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// One document and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    pub outcome: Outcome,
}

/// What a call did, in the order of the documents; in a dry run, what it would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub documents: Vec<Applied>,
    pub revision: Revision,
}

/// Whether `apply` may change it.
pub(super) fn owned(title: &str, content: &Content) -> Result<(), ApplyError> {
    match content.source() {
        Some(Source::Apply) | None => Ok(()),
        Some(Source::Registration) => {
            let reason = format!("{title} is registered by its own proxy, and ends when that proxy withdraws it");
            Err(ApplyError::Belongs(reason))
        }
        Some(Source::Kubernetes) => Err(ApplyError::Belongs(format!("{title} is kept by Kubernetes: change it there"))),
    }
}

pub(super) fn unnamed(namespace: &str, name: &str) -> ApplyError {
    ApplyError::Asked(format!("{namespace:?}/{name:?} is not the name of a document"))
}
