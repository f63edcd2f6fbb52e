//! The user's helm: where it is, whether it is new enough, and what it says.
//!
//! All that weftctl does to a release goes through it, so that releases made by either are the same. Fails with helm's own reason, without
//! what it warns of besides.

use crate::connect::cluster::Flags;
use crate::print::plain;
use semver::Version;
use serde::Deserialize;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// The first that takes the values of the release before and the chart's new ones together.
const OLDEST: Version = Version::new(3, 14, 0);

/// Why helm did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    #[error(
        "{program} is missing: weftctl has helm install the chart that it carries. Get helm {}.{} or later \
         (https://helm.sh/docs/intro/install), or name it with --helm or WEFT_HELM",
        OLDEST.major,
        OLDEST.minor
    )]
    Missing { program: String },
    #[error("{program} cannot be run: {reason}; name another with --helm or WEFT_HELM")]
    Unusable { program: String, reason: String },
    #[error("{program} is helm {found}, and {}.{} or later is needed; name another with --helm or WEFT_HELM", OLDEST.major, OLDEST.minor)]
    Old { program: String, found: String },
    #[error("helm {command}: {reason}")]
    Failed { command: String, reason: String },
    #[error("the answer of helm {command} cannot be read: {reason}")]
    Unreadable { command: String, reason: String },
}

/// A helm that can be used, and the namespace and cluster that it is to be used for.
#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
    place: Vec<OsString>,
}

/// A release that is there, as helm keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Installed {
    /// The chart's name.
    pub chart: String,
    /// The chart's version.
    pub version: String,
    pub revision: u64,
    /// `deployed`, `failed`, `pending-install` and so on.
    pub status: String,
}

impl Helm {
    /// One that is not looked at.
    pub fn of(program: impl Into<PathBuf>, cluster: &Flags) -> Self {
        Self { program: program.into(), place: place(cluster) }
    }

    /// `named`: that one; otherwise the one in the path.
    pub async fn find(named: Option<&Path>, cluster: &Flags) -> Result<Self, HelmError> {
        let helm = Self::of(named.unwrap_or(Path::new("helm")), cluster);
        let name = helm.program.display().to_string();
        let output = helm.command().args(["version", "--template={{.Version}}"]).output().await;
        let output = output.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HelmError::Missing { program: name.clone() },
            _ => HelmError::Unusable { program: name.clone(), reason: error.to_string() },
        })?;
        let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match Version::parse(found.trim_start_matches('v')) {
            Ok(version) if version >= OLDEST => Ok(helm),
            Ok(_) => Err(HelmError::Old { program: name, found }),
            Err(_) => {
                let said = if output.status.success() { found } else { reason(&output) };
                Err(HelmError::Unusable { program: name, reason: format!("it is no helm: {}", plain(&said)) })
            }
        }
    }

    /// The release, if it is there.
    pub async fn installed(&self, release: &str) -> Result<Option<Installed>, HelmError> {
        match self.read(&words(&["get", "metadata", release, "--output=json"])).await {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| HelmError::Unreadable {
                command: "get metadata".to_owned(),
                reason: error.to_string(),
            }),
            Err(HelmError::Failed { reason, .. }) if reason.contains("release: not found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it prints, for commands that change nothing or are done at once.
    pub async fn read(&self, args: &[OsString]) -> Result<String, HelmError> {
        let output = self.command().args(args).args(&self.place).stdin(Stdio::null()).output().await;
        self.said(args, output)
    }

    /// The same of a command that takes its time. Ctrl-C is for helm alone, which writes down how far it came.
    pub async fn work(&self, args: &[OsString]) -> Result<String, HelmError> {
        // From the first of these on, the signal does not end this process any more.
        let _held = signal(SignalKind::interrupt());
        self.read(args).await
    }

    fn command(&self) -> Command {
        Command::new(&self.program)
    }

    fn said(&self, args: &[OsString], output: io::Result<Output>) -> Result<String, HelmError> {
        let command = || {
            let named = args.iter().take(2).map(|arg| arg.to_string_lossy()).filter(|arg| !arg.starts_with('-'));
            let long = args.first().is_some_and(|first| first == "get");
            named.take(1 + usize::from(long)).collect::<Vec<_>>().join(" ")
        };
        let output = output.map_err(|error| HelmError::Unusable {
            program: self.program.display().to_string(),
            reason: error.to_string(),
        })?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(HelmError::Failed { command: command(), reason: reason(&output) }),
        }
    }
}

/// Which cluster, and where in it, in helm's words.
fn place(cluster: &Flags) -> Vec<OsString> {
    let mut place = words(&["--namespace", &cluster.mesh_namespace]);
    if let Some(file) = &cluster.kubeconfig {
        place.extend([OsString::from("--kubeconfig"), file.into()]);
    }
    if let Some(context) = &cluster.context {
        place.extend(words(&["--kube-context", context]));
    }
    place
}

pub fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Why it failed, from `Error:` on: what comes before are warnings and logs.
fn reason(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.rfind("Error: ").map_or(&*said, |at| &said[at + "Error: ".len()..]);
    let lines: Vec<String> = reason.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(plain).collect();
    if lines.is_empty() { format!("{}, and no reason given", output.status) } else { lines.join("\n  ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_reason_is_what_comes_after_warnings() {
        let said = |text: &str| {
            let status = std::process::ExitStatus::from_raw(256);
            reason(&Output { status, stdout: vec![], stderr: text.as_bytes().to_vec() })
        };
        let warned =
            "WARNING: Kubernetes configuration file is group-readable.\nlevel=WARN msg=x\nError: no\x1b way\n\n- a\n";
        assert_eq!(said(warned), "no\\u{1b} way\n  - a");
        assert_eq!(said(""), "exit status: 1, and no reason given");
        assert_eq!(said("unknown flag\n"), "unknown flag");
    }

    #[test]
    fn helm_is_told_which_cluster_is_meant() {
        let flags = Flags {
            kubeconfig: Some("/a.yaml".into()),
            context: Some("staging".to_owned()),
            mesh_namespace: "mesh".to_owned(),
        };
        let wanted = ["--namespace", "mesh", "--kubeconfig", "/a.yaml", "--kube-context", "staging"];
        assert_eq!(place(&flags), words(&wanted));
        assert_eq!(place(&Flags::default()), words(&["--namespace", "weft-system"]));
    }

    /// A script that answers as a helm of this version.
    fn script(answer: &str) -> tempfile::TempPath {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("#!/bin/sh\n{answer}\n")).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        // Closed, or it could not be run.
        file.into_temp_path()
    }

    #[tokio::test]
    async fn a_helm_that_cannot_be_used_is_named_with_what_to_do() {
        let error = async |path: &Path| Helm::find(Some(path), &Flags::default()).await.unwrap_err().to_string();
        let missing = error(Path::new("/nowhere/helm")).await;
        assert!(missing.contains("/nowhere/helm is missing") && missing.contains("helm.sh/docs"), "{missing}");
        let old = error(&script("echo v3.11.2")).await;
        assert!(old.contains("is helm v3.11.2, and 3.14 or later is needed"), "{old}");
        let other = error(&script("echo hello")).await;
        assert!(other.contains("it is no helm: hello"), "{other}");
        assert!(Helm::find(Some(&script("echo v4.0.0")), &Flags::default()).await.is_ok());
    }
}
