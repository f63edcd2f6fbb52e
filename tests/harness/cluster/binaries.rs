//! Where Kubernetes' own programs are: in the directory that WEFT_TEST_KUBERNETES names, as `scripts/kubernetes` prints it.
//!
//! A machine that cannot build them has none; suites then say so for each of their cases and go on.

use anyhow::ensure;
use std::path::PathBuf;

/// Names the directory.
const VARIABLE: &str = "WEFT_TEST_KUBERNETES";

/// Why there can be no API server here, if so.
pub fn missing() -> Option<String> {
    program("kube-apiserver").err().map(|error| error.to_string())
}

/// The path of one of Kubernetes' programs.
pub(super) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(path.is_file(), "there is no {}: scripts/kubernetes builds it", path.display());
    Ok(path)
}

/// The Gateway API's definitions, whatever their version: the script keeps one.
pub(super) fn gateway_api() -> anyhow::Result<PathBuf> {
    let directory = directory()?;
    let mut entries = std::fs::read_dir(&directory)?.filter_map(Result::ok).map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("gateway-api-"));
    entries.find(named).ok_or_else(|| anyhow::anyhow!("no gateway-api-* in {}", directory.display()))
}

pub(super) fn directory() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let directory = named.map(PathBuf::from);
    directory.ok_or_else(|| anyhow::anyhow!("{VARIABLE} is not set to what `scripts/kubernetes` prints"))
}
