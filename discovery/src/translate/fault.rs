//! Faults: what is wrong with a document, each naming the document, the field and the reason.
//!
//! Filled by every check of the translator and answered to whoever applied the document. Collecting never fails; a
//! document with one fault or more is not translated, and all its faults are told at once.

use std::fmt;

/// One fault, shown as `document: field: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `HTTPRoute shop/split`, or `document 3` where the document does not say what it is.
    pub document: String,
    /// Such as `spec.rules[0].backendRefs`; empty when the fault lies with the whole document.
    pub field: String,
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "{}: {}", self.document, self.reason),
            field => write!(f, "{}: {field}: {}", self.document, self.reason),
        }
    }
}

/// The faults of one document, collected while it is checked.
#[derive(Debug, Default)]
pub struct Faults {
    document: String,
    list: Vec<Fault>,
    /// Fields already refused for their shape: what a later check says of their default is noise.
    refused: Vec<String>,
}

impl Faults {
    pub fn of(document: impl Into<String>) -> Self {
        Self { document: document.into(), ..Self::default() }
    }

    /// Notes that `field` is wrong because of `reason`.
    pub fn add(&mut self, field: impl Into<String>, reason: impl fmt::Display) {
        let field = field.into();
        if !self.refused.contains(&field) {
            self.list.push(Fault { document: self.document.clone(), field, reason: reason.to_string() });
        }
    }

    /// Notes a fault and mutes all later ones of the same field.
    pub fn refuse(&mut self, field: String, reason: impl fmt::Display) {
        self.add(field.clone(), reason);
        self.refused.push(field);
    }

    /// Whether `field` was refused before.
    pub fn has_refused(&self, field: &str) -> bool {
        self.refused.iter().any(|refused| refused == field)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn into_list(self) -> Vec<Fault> {
        self.list
    }
}
