//! The chart's dashboards and alert rules, by a real Prometheus that has scraped a running mesh.
//!
//! Debian's package is needed; where it is missing, each case that needs it says so.

mod alerts;
mod board;
mod events;
mod lint;
mod queries;

use std::process::ExitCode;
use weft_examples::mesh::Workload;
use weft_tests::prometheus::{self, Prometheus, Target};
use weft_tests::suite::Stage;
use weft_tests::world::{NAMESPACE, server, workload};
use weft_tests::{Outcome, Plan, Suite, World};

/// A mesh and who scrapes it.
pub struct Scene {
    pub world: World,
    pub prometheus: Prometheus,
}

fn main() -> ExitCode {
    Suite::on("meshed", Scene::new)
        .unless(prometheus::missing())
        .case("the dashboards are sound", sound)
        .case("what the panels are about happens", async |scene: &Scene| events::happen(&scene.world).await)
        .case("endpoints are left out", async |scene: &Scene| events::left_out(&scene.world).await)
        .case("every query of every panel has data", queries::answered)
        .case("promtool finds nothing to complain about in what is exported", lint::metrics)
        .case("the alert rules are valid, evaluated, and fire when they should", alerts::checked)
        .case("the example configuration of Prometheus is one", lint::example)
        .run()
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let slow = server("echo-2").args(["--delay", "250ms"]);
        let client = Workload::new(NAMESPACE, "client", "client")
            .proxy_arg("--access-log=json")
            .proxy_arg("--otlp-endpoint=http://127.0.0.1:9")
            .proxy_arg("--logs-exporter=otlp")
            .proxy_arg("--metrics-exporter=otlp");
        let world = Plan::new()
            .echo("echo", 2)
            .workload(workload("echo", 2).application(slow))
            .workload(client)
            .client("leaver")
            .documents(events::POLICIES)
            .start()?;
        let mut targets: Vec<Target> = world
            .members()
            .map(|member| Target {
                address: member.admin(),
                instance: format!("{}/{}", member.namespace(), member.name()),
            })
            .collect();
        targets.extend(
            world.mesh().discovery().iter().map(|replica| Target {
                address: replica.admin(),
                instance: format!("weft-system/{}", replica.name()),
            }),
        );
        let prometheus = Prometheus::start(world.network(), &targets, &alerts::file())?;
        Ok(Self { world, prometheus })
    }
}

impl Stage for Scene {
    fn testimony(&self) -> String {
        self.world.testimony()
    }
}

async fn sound(_: &Scene) -> Outcome {
    board::all()?.iter().try_for_each(board::Board::sound)
}
