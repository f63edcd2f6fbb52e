//! Which namespace a command means.
//!
//! Flags shared by several commands. A namespace is checked here, so that a typing error is one of usage.

use weft_model::names::label;

/// `-n NS`.
#[derive(Debug, clap::Args)]
pub struct Namespace {
    /// Namespace
    #[arg(short, long, value_name = "NS", default_value = "default", value_parser = |text: &str| label(text))]
    pub namespace: String,
}

/// `-n NS` or `-A`.
#[derive(Debug, clap::Args)]
pub struct Scope {
    #[command(flatten)]
    namespace: Namespace,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}

impl Scope {
    /// The one namespace; `None` for all.
    pub fn namespace(&self) -> Option<&str> {
        (!self.all_namespaces).then_some(self.namespace.namespace.as_str())
    }

    /// Where nothing was found, in words.
    pub fn place(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("in namespace {namespace}; -A looks into all"),
            None => "in any namespace".to_owned(),
        }
    }
}
