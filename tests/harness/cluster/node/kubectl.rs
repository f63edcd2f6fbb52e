//! What a person at the cluster would type: the real kubectl and helm, as administrator.
//!
//! Each returns what the program printed; one that fails is an error with both its streams. Everything that they keep stays in the
//! node's directory.

use super::Node;
use super::images::TAG;
use crate::cluster::binaries;
use anyhow::ensure;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The real helm, or why there is none: WEFT_TEST_HELM names it, as `scripts/helm` prints it.
pub fn helm() -> Result<PathBuf, String> {
    let path = std::env::var_os("WEFT_TEST_HELM").map(PathBuf::from).filter(|path| path.is_file());
    path.ok_or_else(|| "WEFT_TEST_HELM is not set to what `scripts/helm` prints".to_owned())
}

/// The chart's directory.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/weft");

impl Node {
    /// Installs the chart as it is, but for the images, which nobody can pull here; `timeout` as helm takes it.
    pub fn install_mesh(&self, timeout: &str) -> anyhow::Result<()> {
        let tag = format!("images.tag={TAG}");
        let chart = ["install", "weft", CHART, "--namespace", "weft-system", "--create-namespace"];
        let set = ["--set", "images.pullPolicy=Never", "--set", &tag, "--wait", "--timeout", timeout];
        self.helm(&[&chart[..], &set].concat()).map(drop)
    }

    /// `kubectl` with `args`.
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        said(&mut self.kubectl_command(args)?)
    }

    /// The same, not yet started.
    pub fn kubectl_command(&self, args: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binaries::program("kubectl")?);
        command.env("KUBECONFIG", self.kubeconfig()).env("KUBECACHEDIR", self.dir().join("kubectl")).args(args);
        Ok(command)
    }

    /// `helm` with `args`.
    pub fn helm(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(helm().map_err(anyhow::Error::msg)?);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.dir().join("helm").join(folder));
        }
        said(command.env("KUBECONFIG", self.kubeconfig()).args(args))
    }
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = command.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    ensure!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    Ok(stdout.into_owned())
}
