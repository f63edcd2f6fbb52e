//! Runs the cases of a suite one after the other on worlds that they share.
//!
//! A world is made when its first case runs and goes when the last has ended, also after a failure and on Ctrl-C. A case
//! fails by an error, a panic or by taking too long; the world's own testimony is printed with it.

use anyhow::{Context, anyhow};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a case may take, unless its suite says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// What a suite plays on.
pub trait Stage: Send + Sync + 'static {
    /// What may explain a failure: warnings in logs, processes that ended.
    fn testimony(&self) -> String;
}

/// Cases in the order in which they run.
pub struct Suite<W> {
    runtime: Arc<Runtime>,
    missing: Option<String>,
    limit: Duration,
    worlds: Vec<Arc<LazyWorld<W>>>,
    trials: Vec<Trial>,
}

struct LazyWorld<W> {
    label: &'static str,
    make: Box<dyn Fn() -> anyhow::Result<W> + Send + Sync>,
    made: OnceLock<Result<W, String>>,
}

impl<W: Stage> Suite<W> {
    /// A suite whose cases run on what `make` makes.
    pub fn on(label: &'static str, make: impl Fn() -> anyhow::Result<W> + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = Arc::new(runtime.expect("threads can be started"));
        Self { runtime, missing: None, limit: LIMIT, worlds: vec![], trials: vec![] }.and_on(label, make)
    }

    /// One more world: every case from here on runs on it too.
    pub fn and_on(mut self, label: &'static str, make: impl Fn() -> anyhow::Result<W> + Send + Sync + 'static) -> Self {
        self.worlds.push(Arc::new(LazyWorld { label, make: Box::new(make), made: OnceLock::new() }));
        self
    }

    /// What this machine is missing for the cases from here on, if anything: each is then reported as ignored, with this reason.
    pub fn unless(mut self, missing: Option<String>) -> Self {
        self.missing = missing;
        self
    }

    /// How long each of the cases from here on may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A case that has to hold on every world.
    pub fn case(mut self, name: &str, case: impl AsyncFn(&W) -> anyhow::Result<()> + Clone + Send + 'static) -> Self {
        for world in self.worlds.clone() {
            self.push(world, name, case.clone());
        }
        self
    }

    /// A case for the world called `label` only.
    pub fn case_on(
        mut self,
        label: &str,
        name: &str,
        case: impl AsyncFn(&W) -> anyhow::Result<()> + Clone + Send + 'static,
    ) -> Self {
        let world = self.worlds.iter().find(|w| w.label == label).expect("the suite has a world of this name").clone();
        self.push(world, name, case);
        self
    }

    fn push(
        &mut self,
        world: Arc<LazyWorld<W>>,
        name: &str,
        case: impl AsyncFn(&W) -> anyhow::Result<()> + Send + 'static,
    ) {
        let trial = match self.missing.clone() {
            None => trial(self.runtime.clone(), self.limit, world, name, case),
            Some(missing) => {
                let ignored = move || Ok(Completion::ignored_with(missing));
                Trial::ignorable_test(format!("{}: {name}", world.label), ignored)
            }
        };
        self.trials.push(trial);
    }

    /// Runs what the command line selects, as `cargo test` would.
    pub fn run(mut self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = Some(1);
        if !arguments.list {
            weft_examples::pods::remove_on_signals(|status| status).expect("signals can be watched");
        }
        // World by world, so that only one mesh at a time needs the machine.
        let order: Vec<&str> = self.worlds.iter().map(|w| w.label).collect();
        let place = |t: &Trial| order.iter().position(|label| t.name().starts_with(&format!("{label}: ")));
        self.trials.sort_by_key(|t| place(t));
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        drop(self.worlds);
        if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn trial<W: Stage>(
    runtime: Arc<Runtime>,
    limit: Duration,
    world: Arc<LazyWorld<W>>,
    name: &str,
    case: impl AsyncFn(&W) -> anyhow::Result<()> + Send + 'static,
) -> Trial {
    Trial::test(format!("{}: {name}", world.label), move || {
        let stage = world.get()?;
        let run = async { tokio::time::timeout(limit, case(stage)).await.context("it took too long")? };
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
        let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("{}", said(panic.as_ref()))));
        outcome.map_err(|error| Failed::from(format!("{error:#}\n{}", stage.testimony())))
    })
}

impl<W> LazyWorld<W> {
    fn get(&self) -> Result<&W, Failed> {
        let made = self.made.get_or_init(|| (self.make)().map_err(|error| format!("no world to play in: {error:#}")));
        made.as_ref().map_err(|error| Failed::from(error.clone()))
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
