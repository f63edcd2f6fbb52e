//! A crowd of customers: requests arrive at a steady rate, whether or not the shop keeps up (an open loop).
//!
//! Not a service but what services are for. Prints a line of JSON per second and one in the end; exits with 1 when a
//! request failed. Latency counts from the moment a request was due, so that a stall is not hidden by waiting for it.

mod customer;
mod report;

use customer::{Customer, Visit};
use report::Report;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// How long a customer waits for a reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many replies may wait to be counted.
const UNCOUNTED: usize = 4096;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The shop's frontend, host:port
    #[arg(long, default_value = "frontend.shop.svc.cluster.local:80")]
    frontend: String,
    /// Requests per second, of all customers together
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    rate: f64,
    /// How many customers there are; each has one connection and one request at a time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..10_000))]
    customers: u32,
    /// When to stop; SIGTERM stops earlier
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 100_000.0 => Ok(rate),
        _ => Err("not a number above 0 and up to 100000".to_owned()),
    }
}

pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let (visits, counted) = mpsc::channel(UNCOUNTED);
    let counting = tokio::spawn(count(counted));
    tokio::select! {
        () = arrive(&flags, visits) => {}
        () = super::replica::told_to_end() => {}
    }
    // The requests on their way hold a sender each: counting ends after the last of them.
    let report = timeout(PATIENCE * 2, counting).await??;
    println!("{}", report.summary());
    anyhow::ensure!(report.failed() == 0, "{} of {} requests failed", report.failed(), report.requests());
    Ok(())
}

/// Sends a customer into the shop whenever a request is due.
async fn arrive(flags: &Flags, visits: mpsc::Sender<Visit>) {
    let (leave, mut waiting) = mpsc::channel(flags.customers as usize);
    for _ in 0..flags.customers {
        // There is room for all of them.
        let _ = leave.send(Customer::new(&flags.frontend)).await;
    }
    let start = Instant::now();
    for number in 0u32.. {
        let due = start + Duration::from_secs_f64(f64::from(number) / flags.rate);
        if due > start + flags.duration {
            return;
        }
        sleep_until(due).await;
        let Some(mut customer) = waiting.recv().await else { return };
        let (visits, leave) = (visits.clone(), leave.clone());
        tokio::spawn(async move {
            let visit = customer.visit(due, PATIENCE).await;
            // Nobody is left to listen only when the program ends.
            let _ = visits.send(visit).await;
            let _ = leave.send(customer).await;
        });
    }
}

/// Counts until the last sender is gone.
async fn count(mut visits: mpsc::Receiver<Visit>) -> Report {
    let mut report = Report::default();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    loop {
        tokio::select! {
            visit = visits.recv() => match visit {
                Some(visit) => report.add(visit),
                None => return report,
            },
            _ = second.tick() => println!("{}", report.progress()),
        }
    }
}
