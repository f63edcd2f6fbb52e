//! The chart that weftctl carries: the files of `charts/weft` as they were when it was built.
//!
//! Beside the way to a release: helm is given them as a folder that goes with the value. Invariant: the definitions are those of the
//! chart, parsed here once and nowhere written down again.

use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;
use tempfile::TempDir;

include!(concat!(env!("OUT_DIR"), "/chart.rs"));

/// Where its definitions are.
const DEFINITIONS: &str = "crds/";

/// The chart as a folder.
#[derive(Debug)]
pub struct Chart {
    folder: TempDir,
}

impl Chart {
    /// Writes it where only this user can.
    pub fn unpack() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("weft-chart-").tempdir()?;
        for (name, content) in FILES {
            let path = folder.path().join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, content)?;
        }
        Ok(Self { folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// As `Chart.yaml` has it.
pub fn version() -> String {
    let text = file("Chart.yaml");
    let chart: Value = serde_yaml_ng::from_str(text).unwrap_or_default();
    chart["version"].as_str().unwrap_or_default().to_owned()
}

/// The files that have CustomResourceDefinitions: name and text.
fn definition_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter(|(name, _)| name.starts_with(DEFINITIONS)).map(|(name, _)| (*name, file(name)))
}

/// The CustomResourceDefinitions as helm would print them.
pub fn definitions_text() -> String {
    definition_files().map(|(name, text)| format!("---\n# Source: weft/{name}\n{text}")).collect()
}

/// The same, each of them a document.
pub fn definitions() -> Vec<Value> {
    let documents = definition_files().map(|(_, text)| text).flat_map(serde_yaml_ng::Deserializer::from_str);
    documents.filter_map(|document| Value::deserialize(document).ok()).filter(|value| !value.is_null()).collect()
}

/// Empty: there is none.
fn file(name: &str) -> &'static str {
    let found = FILES.iter().find(|(known, _)| *known == name);
    found.and_then(|(_, content)| std::str::from_utf8(content).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_is_the_chart() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/weft");
        let chart = Chart::unpack().unwrap();
        for (name, _) in FILES {
            assert_eq!(fs::read(chart.path().join(name)).unwrap(), fs::read(source.join(name)).unwrap(), "{name}");
        }
        let inside = |folder: &str| fs::read_dir(source.join(folder)).unwrap().count();
        let carried = |folder: &str| FILES.iter().filter(|(name, _)| name.starts_with(folder)).count();
        assert_eq!((inside("templates"), inside("crds")), (carried("templates/"), carried("crds/")));
        assert_eq!(version(), env!("CARGO_PKG_VERSION"), "weftctl and its chart are one release");
    }

    #[test]
    fn its_definitions_are_known_by_name() {
        let definitions = definitions();
        let mut names: Vec<_> = definitions.iter().filter_map(|one| one["metadata"]["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorizationpolicies.weft.dev", "namespacepolicies.weft.dev", "trafficpolicies.weft.dev"]);
    }
}
