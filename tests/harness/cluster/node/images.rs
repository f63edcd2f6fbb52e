//! Images for the node: packed from programs of this machine by `scripts/image`, since no registry is within reach.
//!
//! Those of the mesh hold the binaries under test, without debug information; each is packed again only when its program is newer.
//! Fails with what the script says.

use crate::cluster::binaries;
use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use weft_examples::mesh::binary;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The tag of the mesh's images unless another is asked for: what the chart asks for by itself.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// Archives to load.
#[derive(Debug, Clone, Default)]
pub struct Images(Vec<PathBuf>);

impl Images {
    /// None but those that every node has.
    pub fn none() -> Self {
        Self::default()
    }

    /// Archives that somebody else has packed.
    pub fn archived(archives: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(archives.into_iter().collect())
    }

    /// `names` as `scripts/images` knows them, such as `weft-proxy` or `redis`, from the binaries under test.
    pub fn packed(names: &[&str]) -> anyhow::Result<Self> {
        let programs = binary("weft-proxy")?.parent().context("binaries have no directory")?.to_owned();
        let out = programs.join("images");
        let stale = |name: &&&str| {
            let packed = modified(&out.join(format!("{name}.tar")));
            let sources =
                [programs.join(name), Path::new(ROOT).join("scripts/images"), Path::new(ROOT).join("scripts/image")];
            packed.is_none_or(|packed| sources.iter().filter_map(|path| modified(path)).any(|source| source > packed))
        };
        let stale: Vec<&&str> = names.iter().filter(stale).collect();
        if !stale.is_empty() {
            let mut pack = Command::new(Path::new(ROOT).join("scripts/images"));
            pack.arg("--programs").arg(&programs).arg("--out").arg(&out).args(["--strip", "--tag", TAG]).args(stale);
            run(pack.env("WEFT_ETCD", binaries::program("etcd")?))?;
        }
        names.iter().map(|name| existing(out.join(format!("{name}.tar")))).collect::<Result<_, _>>().map(Self)
    }

    /// Clients of this machine in one image, `localhost/tools:test`: a shell, curl, dig and what belongs to them.
    pub fn tools() -> anyhow::Result<Self> {
        let out = binary("weft-test-server")?.with_file_name("images");
        fs::create_dir_all(&out)?;
        let archive = out.join("tools.tar");
        if !archive.is_file() {
            let programs = ["bash", "sleep", "cat", "hostname", "seq", "env", "curl", "dig"].map(|name| {
                let folders = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
                folders.into_iter().find(|path| path.exists()).with_context(|| format!("{name} is not installed"))
            });
            let programs = programs.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
            let mut pack = Command::new(Path::new(ROOT).join("scripts/image"));
            pack.args(["--name", "localhost/tools:test", "--link", "/bin/sh=/usr/local/bin/bash", "--out"])
                .arg(&archive);
            run(pack.args(programs))?;
        }
        Ok(Self(vec![existing(archive)?]))
    }

    /// These and others.
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    pub(super) fn archives(&self) -> &[PathBuf] {
        &self.0
    }
}

/// What holds a pod's namespaces, and CoreDNS, packed into `dir`.
pub(super) fn own(dir: &Path) -> anyhow::Result<Images> {
    let pause = dir.join("pause");
    fs::write(pause.with_extension("c"), include_str!("pause.c"))?;
    run(Command::new("cc").args(["-static", "-Os", "-o"]).arg(&pause).arg(pause.with_extension("c")))?;
    let coredns = binaries::program("coredns")?;
    let pack = |name: &str, program: &Path| {
        let out = dir.join(format!("{name}.tar"));
        let file = format!("{}=/{name}", program.display());
        let (name, entry) = (format!("localhost/{name}:test"), format!("/{name}"));
        let mut pack = Command::new(Path::new(ROOT).join("scripts/image"));
        run(pack.args(["--name", &name, "--entrypoint", &entry, "--out"]).arg(&out).arg(file))?;
        existing(out)
    };
    Ok(Images(vec![pack("pause", &pause)?, pack("coredns", &coredns)?]))
}

/// Fails unless `archive` is there.
fn existing(archive: PathBuf) -> anyhow::Result<PathBuf> {
    ensure!(archive.is_file(), "{} was not packed", archive.display());
    Ok(archive)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
