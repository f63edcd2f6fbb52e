//! The dashboards of the chart as Grafana reads them: what is checked without one, and the queries in them.
//!
//! Grafana takes nearly anything and shows an empty panel; what would be wrong in it is therefore an error here, naming dashboard
//! and panel.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use weft_tests::Outcome;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/weft/dashboards");
/// The identifiers of Grafana's units that are used here.
const UNITS: [&str; 10] = ["bytes", "Bps", "cps", "none", "ops", "percentunit", "reqps", "s", "short", "string"];

/// A dashboard.
pub struct Board {
    pub name: String,
    pub json: Value,
}

/// One query of a panel.
pub struct Query {
    /// Dashboard and panel, for messages.
    pub of: String,
    pub expression: String,
    pub instant: bool,
}

/// A template variable that is asked of Prometheus.
pub struct Variable {
    pub name: String,
    pub selector: String,
    pub label: String,
    /// Several values at once, or all.
    pub multi: bool,
}

/// All dashboards, by name.
pub fn all() -> anyhow::Result<Vec<Board>> {
    let mut boards = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let path = entry?.path();
        let name = path.file_stem().context("a file")?.to_string_lossy().into_owned();
        let json = serde_json::from_str(&std::fs::read_to_string(&path)?).with_context(|| name.clone())?;
        boards.push(Board { name, json });
    }
    boards.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<&str> = boards.iter().map(|board| board.name.as_str()).collect();
    ensure!(names == ["control-plane", "mesh", "proxy", "service"], "{names:?}");
    Ok(boards)
}

impl Board {
    /// Panels that show something: all but the headings of rows.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["panels"]).filter(|panel| panel["type"] != "row")
    }

    pub fn queries(&self) -> Vec<Query> {
        let of_panel = |panel: &Value| {
            let of = format!("{}: {}", self.name, text(&panel["title"]));
            let query = |target: &Value| Query {
                of: of.clone(),
                expression: text(&target["expr"]).to_owned(),
                instant: target["instant"] == true,
            };
            list(&panel["targets"]).map(query).collect::<Vec<_>>()
        };
        self.panels().flat_map(of_panel).collect()
    }

    pub fn variables(&self) -> anyhow::Result<Vec<Variable>> {
        let asked = list(&self.json["templating"]["list"]).filter(|variable| variable["type"] == "query");
        asked.map(|variable| read(variable).with_context(|| self.name.clone())).collect()
    }

    /// Whatever would leave a panel empty or make an import fail.
    pub fn sound(&self) -> Outcome {
        let json = &self.json;
        ensure!(json["uid"] == format!("weft-{}", self.name), "{}: uid {}", self.name, json["uid"]);
        ensure!(json["id"].is_null() && json["schemaVersion"].as_u64() >= Some(36), "{}: no import", self.name);
        ensure!(list(&json["tags"]).any(|tag| tag == "weft"), "{}: dashboards link to each other by tag", self.name);
        let first = &json["templating"]["list"][0];
        ensure!(first["name"] == "datasource" && first["type"] == "datasource" && first["query"] == "prometheus");
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&json["panels"]) {
            let of = format!("{}: {}", self.name, text(&panel["title"]));
            ensure!(!text(&panel["title"]).is_empty() && ids.insert(panel["id"].as_u64()), "{of}: title, or id twice");
            for place in places(panel).with_context(|| of.clone())? {
                ensure!(taken.insert(place), "{of}: lies on top of another panel");
            }
            if panel["type"] != "row" {
                self.panel_is_sound(panel).with_context(|| of)?;
            }
        }
        self.names_only_what_exists()
    }

    fn panel_is_sound(&self, panel: &Value) -> Outcome {
        ensure!(matches!(text(&panel["type"]), "stat" | "timeseries" | "table"), "of the kind {}", panel["type"]);
        ensure!(!text(&panel["description"]).is_empty(), "no description");
        let unit = text(&panel["fieldConfig"]["defaults"]["unit"]);
        ensure!(UNITS.contains(&unit), "unit {unit:?}");
        let mut references = BTreeSet::new();
        for target in list(&panel["targets"]) {
            let source = &target["datasource"];
            ensure!(source["uid"] == "${datasource}" && source["type"] == "prometheus", "a data source of its own");
            ensure!(references.insert(text(&target["refId"])), "a refId twice");
            ensure!(target["range"] != target["instant"], "both instant and range, or neither");
        }
        ensure!(!references.is_empty(), "no query");
        ensure!(panel["datasource"]["uid"] == "${datasource}", "a data source of its own");
        Ok(())
    }

    /// Every `$name` is Grafana's or a variable, and every variable is used.
    fn names_only_what_exists(&self) -> Outcome {
        let variables: Vec<String> = self.variables()?.into_iter().map(|variable| variable.name).collect();
        let mut used = BTreeSet::new();
        for query in self.queries() {
            for rest in query.expression.split('$').skip(1) {
                let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                ensure!(name == "__rate_interval" || variables.contains(&name), "{}: ${name}", query.of);
                used.insert(name);
            }
        }
        let unused = variables.iter().find(|name| !used.contains(*name));
        ensure!(unused.is_none(), "{}: nobody asks for {unused:?}", self.name);
        Ok(())
    }
}

/// The squares of Grafana's grid that a panel covers.
fn places(panel: &Value) -> anyhow::Result<Vec<(u64, u64)>> {
    let side = |name: &str| panel["gridPos"][name].as_u64().context("no place in the grid");
    let (x, y, w, h) = (side("x")?, side("y")?, side("w")?, side("h")?);
    ensure!(w > 0 && h > 0 && x + w <= 24, "wider than the grid");
    Ok((x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))).collect())
}

/// `label_values(selector, label)`
fn read(variable: &Value) -> anyhow::Result<Variable> {
    let query = text(&variable["query"]["query"]);
    let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
    let (selector, label) = inside.and_then(|inside| inside.rsplit_once(", ")).with_context(|| query.to_owned())?;
    ensure!(variable["datasource"]["uid"] == "${datasource}", "a data source of its own");
    ensure!(variable["multi"] == variable["includeAll"], "all, but not several");
    Ok(Variable {
        name: text(&variable["name"]).to_owned(),
        selector: selector.to_owned(),
        label: label.to_owned(),
        multi: variable["multi"] == true,
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
