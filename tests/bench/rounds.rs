//! Rounds: every contender in turn, again and again, so that a noisy minute hits all of them.
//!
//! Nobody is always the one who comes after the most demanding. A round during which the rest of the machine was busy is
//! repeated, within bounds; in the end the quietest are kept and the others thrown away. A failure of ours ends the run; a peer is
//! started anew and measured again, and if it fails then, too, the round goes on without it and the report says so.

use crate::contender::{self, Contender, DIRECT};
use crate::figure::Figures;
use crate::machine::Watch;
use crate::pods;
use crate::report::{Round, Section};
use crate::scenario::Scenario;
use anyhow::Context;
use std::path::PathBuf;
use std::time::Duration;
use weft_examples::pods::Network;

/// The first seconds of a pair belong to nobody: connections, caches and branch predictors have to find their feet.
const WARM_UP: Duration = Duration::from_secs(1);
/// Into how many shorter ones a round of variants is divided: what differs by little has to be compared within seconds, before the
/// machine's own speed has changed.
const SLICES: usize = 5;
/// How many of these there are at least: from one to the next, a machine's speed may change by more than the difference.
const FEWEST: usize = 20;
/// One round of a scenario that starts new pairs takes about as long as this many others.
const FRESH_COSTS: usize = 3;

/// Who is measured, and how often.
#[derive(Debug, Clone)]
pub struct Effort {
    pub contenders: Vec<String>,
    /// Envoy's binary.
    pub envoy: PathBuf,
    pub rounds: usize,
    /// How many rounds may be repeated.
    pub repeats: usize,
    /// How long one measurement lasts.
    pub duration: Duration,
    /// A round is quiet when everybody else on the machine kept fewer cores busy than this.
    pub quiet: f64,
}

type Pairs = Vec<Box<dyn Contender>>;

impl Effort {
    /// All contenders, running side by side.
    pub fn start(&self) -> anyhow::Result<Pairs> {
        self.contenders.iter().map(|name| self.start_one(name)).collect()
    }

    /// Measures a scenario that has variants, which exist only meanwhile. Those that this machine cannot have are left out.
    pub fn measure_variants(&self, scenario: &Scenario) -> anyhow::Result<Section> {
        let (mut present, mut missing) = (vec![], vec![]);
        for name in scenario.variants {
            match contender::missing(name) {
                None => present.push(self.start_one(name)?),
                Some(reason) => missing.push(((*name).to_owned(), reason)),
            }
        }
        Ok(Section { missing, ..self.sliced().measure(scenario, &mut present)? })
    }

    /// The same time, or more, in more and shorter rounds, none below a second.
    fn sliced(&self) -> Self {
        let slices = usize::try_from(self.duration.as_secs()).map_or(SLICES, |seconds| seconds.clamp(1, SLICES));
        let duration = self.duration / slices as u32;
        let fewest = if slices > 1 { FEWEST } else { 0 };
        Self { rounds: (self.rounds * slices).max(fewest), repeats: self.repeats * slices, duration, ..self.clone() }
    }

    fn start_one(&self, name: &str) -> anyhow::Result<Box<dyn Contender>> {
        let started =
            Network::new().map_err(Into::into).and_then(|network| contender::start(name, network, &self.envoy));
        let started = started.with_context(|| format!("start {name}"))?;
        pods::prepare([started.client(), started.server()]).with_context(|| format!("prepare the pods of {name}"))?;
        Ok(started)
    }

    /// Measures `scenario`: on `pairs`, unless it wants new ones.
    pub fn measure(&self, scenario: &Scenario, pairs: &mut Pairs) -> anyhow::Result<Section> {
        let (wanted, repeats) = match scenario.fresh {
            true => (self.rounds.div_ceil(FRESH_COSTS), self.repeats / FRESH_COSTS),
            false => (self.rounds, self.repeats),
        };
        if !scenario.fresh {
            for pair in pairs.iter_mut() {
                self.attempt(scenario, pair, WARM_UP)?;
            }
        }
        let mut rounds: Vec<Round> = vec![];
        let quiet = |rounds: &[Round]| rounds.iter().filter(|round| round.is_quiet(self.quiet)).count();
        while quiet(&rounds) < wanted && rounds.len() < wanted + repeats {
            eprintln!("  round {}", rounds.len() + 1);
            rounds.push(self.round(scenario, pairs)?);
        }
        let disturbed = |round: &Round| !round.is_quiet(self.quiet);
        rounds.sort_by(|a, b| disturbed(a).cmp(&disturbed(b)).then(a.others.total_cmp(&b.others)));
        let thrown_away = rounds.split_off(wanted.min(rounds.len()));
        Ok(Section { scenario: *scenario, rounds, thrown_away, missing: vec![], quiet: self.quiet })
    }

    fn round(&self, scenario: &Scenario, pairs: &mut Pairs) -> anyhow::Result<Round> {
        let (watch, mut measured, mut failed) = (Watch::start()?, vec![], vec![]);
        let mut take = |outcome| match outcome {
            Outcome::Measured(name, figures) => measured.push((name, figures)),
            Outcome::Failed(name, reason) => failed.push((name, reason)),
            Outcome::NotCarried => {}
        };
        if scenario.fresh {
            for name in self.contenders.iter().filter(|name| *name != DIRECT) {
                take(self.attempt(scenario, &mut self.start_one(name)?, self.duration)?);
            }
        } else {
            for pair in pairs.iter_mut() {
                take(self.attempt(scenario, pair, self.duration)?);
            }
            pairs.rotate_left(1);
        }
        let others = watch.others()?;
        eprintln!("    everybody else: {others:.2} cores");
        compare(scenario, &mut measured);
        Ok(Round { measured, failed, others })
    }

    /// What `pair` comes to. A peer that fails has a second attempt, on a new pair that takes this one's place.
    fn attempt(
        &self,
        scenario: &Scenario,
        pair: &mut Box<dyn Contender>,
        duration: Duration,
    ) -> anyhow::Result<Outcome> {
        let name = pair.name();
        let failure = match figures(scenario, pair.as_mut(), duration) {
            Err(failure) if contender::is_peer(name) => failure,
            outcome => return outcome,
        };
        eprintln!("    {name:<8} fails, and is started anew: {failure:#}");
        *pair = self.start_one(name)?;
        if !scenario.fresh {
            // Whatever comes of it, it is measured next.
            figures(scenario, pair.as_mut(), WARM_UP).ok();
        }
        figures(scenario, pair.as_mut(), duration).or_else(|failure| {
            eprintln!("    {name:<8} fails again: {failure:#}");
            Ok(Outcome::Failed(name, format!("{failure:#}")))
        })
    }
}

/// What comes of one measurement.
enum Outcome {
    Measured(&'static str, Figures),
    /// Why.
    Failed(&'static str, String),
    /// This contender has no part in such traffic.
    NotCarried,
}

/// What `pair` comes to in its one attempt.
fn figures(scenario: &Scenario, pair: &mut dyn Contender, duration: Duration) -> anyhow::Result<Outcome> {
    let Some(target) = pair.target(scenario.traffic) else { return Ok(Outcome::NotCarried) };
    let name = pair.name();
    let figures = (scenario.measure)(pair, target, duration).with_context(|| format!("{}: {name}", scenario.name))?;
    let said: Vec<String> = figures.iter().map(|(figure, value)| format!("{} {value:.2}", figure.key)).collect();
    eprintln!("    {name:<8} {}", said.join(", "));
    Ok(Outcome::Measured(name, figures))
}

/// Adds to everybody what is over `direct` in this round.
fn compare(scenario: &Scenario, measured: &mut [(&'static str, Figures)]) {
    let Some((_, direct)) = measured.iter().find(|(name, _)| *name == DIRECT).cloned() else { return };
    for (_, figures) in measured.iter_mut().filter(|(name, _)| *name != DIRECT) {
        for (figure, added) in scenario.over_direct {
            if let (Some(own), Some(floor)) = (figures.get(*figure), direct.get(*figure)) {
                figures.add(*added, own - floor);
            }
        }
    }
}
