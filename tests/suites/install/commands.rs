//! Commands as users type them: by bash, with kubectl, helm and weftctl in the path and the cluster as the current one.
//!
//! Pages of the docs are followed literally: every line of their `sh` blocks, from the repository's folder. One that fails is an
//! error with all that it said.

use anyhow::{Context, bail, ensure};
use std::path::Path;
use std::process::Command;
use weft_examples::mesh::binary;
use weft_tests::cluster::{Node, helm};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A user's shell.
pub struct Shell {
    programs: tempfile::TempDir,
    kubeconfig: std::path::PathBuf,
}

impl Shell {
    pub fn on(node: &Node) -> anyhow::Result<Self> {
        let programs = tempfile::tempdir()?;
        let kubectl = node.kubectl_command(&[])?.get_program().to_owned();
        let named = [
            ("kubectl", kubectl.into()),
            ("helm", helm().map_err(anyhow::Error::msg)?),
            ("weftctl", binary("weftctl")?),
        ];
        for (name, path) in named {
            std::os::unix::fs::symlink(path, programs.path().join(name))?;
        }
        Ok(Self { programs, kubeconfig: node.kubeconfig().to_owned() })
    }

    /// What `line` prints on standard output.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        let home = self.programs.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", line])
            .current_dir(ROOT)
            .env("PATH", format!("{}:{path}", home.display()))
            .env("HOME", home)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NO_COLOR", "1")
            .output()?;
        let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{line}: {}\n{said}{failed}", output.status);
        Ok(said.into_owned())
    }
}

/// The commands of a page of the docs.
pub fn of_page(page: &str) -> anyhow::Result<Vec<String>> {
    let path = Path::new(ROOT).join("docs").join(page);
    let commands = commands(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?);
    ensure!(!commands.is_empty(), "{page} has no commands");
    Ok(commands)
}

/// Those under one heading.
pub fn of_section(page: &str, heading: &str) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs").join(page))?;
    let section = text.split("\n## ").find(|section| section.starts_with(heading));
    let commands = commands(section.with_context(|| format!("{page} has no heading {heading:?}"))?);
    ensure!(!commands.is_empty(), "{page}: {heading} has no commands");
    Ok(commands)
}

/// Whether a command was refused with the words that a page quotes.
pub fn quoted(page: &str, said: anyhow::Result<String>, words: &str) -> anyhow::Result<()> {
    let Err(error) = said else { bail!("it was not refused with {words:?}") };
    ensure!(format!("{error:#}").contains(words), "not {words:?} but {error:#}");
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs").join(page))?;
    ensure!(text.contains(words), "{page} does not quote {words:?}");
    Ok(())
}

/// The lines of `sh` blocks; a line that ends in a backslash goes on.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines = blocks.flat_map(|block| block.replace("\\\n", "").lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect()
}
