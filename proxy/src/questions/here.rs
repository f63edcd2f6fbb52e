//! Questions about the process itself: what it has counted, and what it logs. Answered on the control runtime, since no
//! worker knows more about them.
//!
//! A log filter that cannot be read leaves the present one in force, and the answer says what is wrong with it.

use super::{Here, LOGS, METRICS, Said};
use serde::Deserialize;
use std::sync::Arc;
use weft_telemetry::logs::Filter;
use weft_telemetry::metrics::{Registry, only};

/// `{"families": ["weft_requests"]}`: the text that `/metrics` has of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    families: Vec<String>,
}

/// `{"filter": "info,weft_proxy=debug"}`, or `{}` for what is in force.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    filter: Option<String>,
}

/// Answers from this registry and this filter.
pub fn answers(registry: Arc<Registry>, filter: Filter) -> Here {
    Arc::new(move |topic, json| match topic {
        METRICS => Some(read(json).and_then(|wanted| counted(&registry, &wanted))),
        LOGS => Some(read(json).and_then(|change| logged(&filter, change))),
        _ => None,
    })
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| format!("the question cannot be read: {error}"))
}

fn counted(registry: &Registry, wanted: &Wanted) -> Said {
    let text = registry.encode().map_err(|_| "a metric could not be encoded".to_owned())?;
    Ok(serde_json::json!({ "text": only(&text, &wanted.families) }).to_string())
}

fn logged(filter: &Filter, change: Change) -> Said {
    let before = match &change.filter {
        Some(wanted) => filter.set(wanted).map_err(|error| error.to_string())?,
        None => filter.get(),
    };
    let now = change.filter.unwrap_or_else(|| before.clone());
    if now != before {
        tracing::info!(before, now, "another log filter is in force");
    }
    Ok(serde_json::json!({ "filter": now, "before": before }).to_string())
}
