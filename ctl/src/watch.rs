//! Figures of the last seconds, once or again and again: the flags and the loop of `stat` and `edges`.
//!
//! Reads the counters of proxies, waits, reads them again and hands both to whoever makes figures of them. Ends without an error
//! when nobody reads its output any more.

use crate::connect::Discovery;
use crate::measure::{Reading, readings};
use crate::print::{self, Format, Output, plain};
use crate::progress::Progress;
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Over how long
    #[arg(short, long, value_name = "TIME", default_value = "5s", value_parser = seconds)]
    pub window: Duration,
    /// Again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Half a second to an hour: less is noise, and more is a case for Prometheus.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let window = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let sound = (Duration::from_millis(500)..=Duration::from_secs(3600)).contains(&window);
    sound.then_some(window).ok_or_else(|| "it is not between 500ms and 1h".to_owned())
}

impl Watch {
    /// Shows what `text` makes of two readings of the proxies that `wanted` selects.
    pub async fn run(
        &self,
        discovery: &Discovery,
        families: &[&str],
        wanted: impl Fn(&v1::Proxy) -> bool,
        text: impl Fn(&[Reading], &[Reading]) -> anyhow::Result<String>,
    ) -> anyhow::Result<Output> {
        let asking = || Progress::new("asking proxies", 0);
        let (mut before, _) = readings(discovery, families, &wanted, &asking()).await?;
        loop {
            wait(self.window, !self.watch).await;
            let (after, notes) = readings(discovery, families, &wanted, &asking()).await?;
            let notes = notes.iter().map(|note| plain(note)).collect();
            let output = Output { text: text(&before, &after)?, notes, failed: false };
            if !self.watch {
                return Ok(output);
            }
            if !refresh(&output)? {
                return Ok(Output::default());
            }
            before = after;
        }
    }

    /// In the form that was asked for: `table`, told whether it is to be wide, or `values`.
    pub fn print(
        &self,
        table: impl FnOnce(bool) -> String,
        values: impl FnOnce() -> Vec<Value>,
    ) -> anyhow::Result<String> {
        Ok(match self.output {
            Format::Table | Format::Wide => table(self.output == Format::Wide),
            Format::Json => print::json(&values())?,
            Format::Yaml => print::yaml(&[values()])?,
        })
    }
}

/// Lets the time pass, and shows that it does.
async fn wait(window: Duration, shown: bool) {
    const STEP: Duration = Duration::from_secs(1);
    let steps = window.as_secs().max(1);
    let progress = Progress::new("counting, seconds", usize::try_from(steps).unwrap_or(usize::MAX));
    let mut left = window;
    while shown && left > STEP {
        tokio::time::sleep(STEP).await;
        progress.step();
        left -= STEP;
    }
    tokio::time::sleep(left).await;
}

/// Shows the next state in the place of the last one. `false`: nobody reads any more.
fn refresh(output: &Output) -> std::io::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    // Home, and clear what is below: less flicker than clearing all of it first.
    let clear = if stdout.is_terminal() { "\x1b[H\x1b[J" } else { "" };
    let notes: String = output.notes.iter().map(|note| format!("{note}\n")).collect();
    match write!(stdout, "{clear}{}{notes}", output.text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
