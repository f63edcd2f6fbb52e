//! What came out, as JSON, Markdown and a picture: a column for each store, and one for each step of the growth.
//!
//! Nothing is judged here.

use super::projection;
use super::shape::Shape;
use crate::figure::{CHANGE_P99, CPU_PER_CHANGE, Figure, Figures, RSS_ALONE};
use crate::machine;
use crate::report::{document, number, row, write};
use serde_json::{Map, Value, json};
use std::path::Path;
use weft_lab::chart::{Bar, Chart, svg};

#[derive(Debug)]
pub struct Report {
    /// What the stores were measured with.
    pub shape: Shape,
    pub stores: Vec<(&'static str, Figures)>,
    /// By the number of services.
    pub growth: Vec<(usize, Figures)>,
}

impl Report {
    /// Writes `discovery.json`, `discovery.md` and `discovery.svg` into `folder`, and where `docs` are named into them; the Markdown.
    pub fn write(&self, folder: &Path, docs: Option<&Path>) -> anyhow::Result<String> {
        let stores: Map<String, Value> =
            self.stores.iter().map(|(name, figures)| ((*name).to_owned(), json(figures))).collect();
        let growth: Map<String, Value> =
            self.growth.iter().map(|(services, figures)| (services.to_string(), json(figures))).collect();
        let summary = json!({ "machine": machine::description(), "stores": stores, "growth": growth });
        write(&folder.join("discovery.json"), &(serde_json::to_string_pretty(&summary)? + "\n"))?;
        let text = self.markdown();
        write(&folder.join("discovery.md"), &text)?;
        let charts: Vec<Chart> = [CPU_PER_CHANGE, RSS_ALONE, CHANGE_P99].map(|figure| self.chart(figure)).into();
        let picture = svg("Discovery as services grow", &charts);
        write(&folder.join("discovery.svg"), &picture)?;
        if let Some(docs) = docs {
            document(docs, "scale", "bench-discovery", &text, &picture)?;
        }
        Ok(text)
    }

    fn markdown(&self) -> String {
        let stores = self.stores.iter().map(|(name, figures)| ((*name).to_owned(), figures));
        let growth = self.growth.iter().map(|(services, figures)| (format!("{services} services"), figures));
        let tables = [stores.collect::<Vec<_>>(), growth.collect()];
        let measured = tables.iter().filter(|columns| !columns.is_empty()).map(|columns| table(columns) + "\n");
        // By the last store: the one that several replicas can share, unless it was left out.
        let full = self.stores.last().map(|(_, figures)| figures);
        let projected = full.and_then(|full| projection::table(full, &self.shape, &self.growth));
        format!("{}.\n\n", self.shape) + &measured.chain(projected).collect::<String>()
    }

    fn chart(&self, figure: Figure) -> Chart {
        let of = |(services, figures): &(usize, Figures)| Some((*services, figures.get(figure)?));
        let values: Vec<(usize, f64)> = self.growth.iter().filter_map(of).collect();
        let most = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let bar = |(services, value): (usize, f64)| Bar {
            name: format!("{services} services"),
            to: value / most,
            words: number(value),
            ..Bar::default()
        };
        let grid = vec![(0.0, "0".to_owned()), (1.0, number(most))];
        Chart { title: figure.about.to_owned(), grid, bars: values.into_iter().map(bar).collect() }
    }
}

fn table(columns: &[(String, &Figures)]) -> String {
    let titles = columns.iter().map(|(name, _)| name.clone());
    let mut text = row(["figure".to_owned()].into_iter().chain(titles));
    text += &row(["---"].into_iter().chain(columns.iter().map(|_| "---:")).map(str::to_owned));
    let mut seen: Vec<Figure> = vec![];
    for (figure, _) in columns.iter().flat_map(|(_, figures)| figures.iter()) {
        if seen.contains(&figure) {
            continue;
        }
        seen.push(figure);
        let cell = |(_, figures): &(String, &Figures)| figures.get(figure).map_or_else(|| "-".to_owned(), number);
        text += &row([figure.about.to_owned()].into_iter().chain(columns.iter().map(cell)));
    }
    text
}

fn json(figures: &Figures) -> Value {
    Value::Object(figures.iter().map(|(figure, value)| (figure.key.to_owned(), json!(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::STORE_CORES;

    #[test]
    fn each_store_has_a_column_and_a_gap_where_there_is_nothing() {
        let embedded = Figures::default().with(CHANGE_P99, 12.0);
        let etcd = Figures::default().with(CHANGE_P99, 30.0).with(STORE_CORES, 0.25);
        let shape = Shape::full(10, 10, 1, true);
        let report = Report { shape, stores: vec![("embedded", embedded), ("etcd", etcd)], growth: vec![] };
        let text = report.markdown();
        assert!(text.contains("\n\n| figure | embedded | etcd |\n| --- | ---: | ---: |\n"), "{text}");
        assert!(text.contains("| 12.0 | 30.0 |") && text.contains("| - | 0.25 |"), "{text}");
    }
}
