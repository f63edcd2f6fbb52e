//! What proxies have counted: asked of each through its replica, and read into [`Reading`]s.
//!
//! Few are asked at a time, so that a large mesh is not asked all at once. A proxy that does not answer, or is too old to be
//! asked, is named and left out; the command fails only when none answers.

pub mod exposition;
pub mod tally;

use crate::connect::{CallError, Discovery};
use crate::progress::Progress;
use crate::status::connected;
use anyhow::bail;
use exposition::{Series, read};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tally::growth;
use tokio::time::Instant;
use weft_proto::v1;

/// What proxies call this question.
const TOPIC: &str = "metrics";
/// How many proxies are asked at a time.
const AT_ONCE: usize = 16;

/// What one proxy had counted when it was asked.
#[derive(Debug, Clone)]
pub struct Reading {
    pub namespace: String,
    pub proxy: String,
    /// The service account of its identity.
    pub account: String,
    /// When the answer came.
    pub at: Instant,
    pub series: Vec<Series>,
}

/// The readings of all proxies that `wanted` selects, and a line for each that has none.
pub async fn readings(
    discovery: &Discovery,
    families: &[&str],
    wanted: impl Fn(&v1::Proxy) -> bool,
    progress: &Progress,
) -> anyhow::Result<(Vec<Reading>, Vec<String>)> {
    let question = json!({ "families": families }).to_string();
    let asked: Vec<_> = connected(discovery).await?.into_iter().filter(|proxy| wanted(proxy)).collect();
    progress.expect(asked.len());
    let answers = asked.into_iter().map(async |proxy| {
        let answer = one(discovery, proxy, question.clone()).await;
        progress.step();
        answer
    });
    let answers: Vec<_> = futures::stream::iter(answers).buffered(AT_ONCE).collect().await;
    let (mut readings, mut notes) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(reading) => readings.push(reading),
            Err(note) => notes.push(note),
        }
    }
    if readings.is_empty() && !notes.is_empty() {
        bail!("no proxy tells what it counts:\n  {}", notes.join("\n  "));
    }
    Ok((readings, notes))
}

/// The service account of a proxy's identity.
pub fn account(proxy: &v1::Proxy) -> &str {
    proxy.identity.rsplit('/').next().unwrap_or_default()
}

async fn one(discovery: &Discovery, proxy: v1::Proxy, question: String) -> Result<Reading, String> {
    let name = format!("{}/{}", proxy.namespace, proxy.name);
    let said = match discovery.ask_proxy(&name, TOPIC, question).await {
        Ok(Some(said)) => said,
        Ok(None) => return Err(format!("{name}: it has just gone")),
        Err(CallError::Refused(status)) => return Err(format!("{name}: {}", status.message())),
        Err(error) => return Err(format!("{name}: {error}")),
    };
    let at = Instant::now();
    let answer: Value = serde_json::from_str(&said).map_err(|error| format!("{name}: {error}"))?;
    let text = answer["text"].as_str().ok_or_else(|| format!("{name}: its answer has no text"))?;
    let series = read(text).map_err(|error| format!("{name}: {error}"))?;
    let account = account(&proxy).to_owned();
    Ok(Reading { namespace: proxy.namespace, proxy: proxy.name, account, at, series })
}

/// What `after` counted that `before` had not, and over how long. Of a proxy that was not there before nothing is known.
pub fn window(before: &[Reading], after: &[Reading]) -> Vec<(Reading, Duration)> {
    let grown = |now: &Reading| {
        let then = before.iter().find(|then| then.namespace == now.namespace && then.proxy == now.proxy)?;
        let series = growth(&then.series, &now.series);
        Some((Reading { series, ..now.clone() }, now.at.duration_since(then.at)))
    };
    after.iter().filter_map(grown).collect()
}
