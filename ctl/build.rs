//! Builds the page of `weftctl dashboard` from `dashboard/` into OUT_DIR, from where `dashboard/page.rs` embeds it; and lists the files
//! of `charts/weft`, which `release/chart.rs` embeds as they are.
//!
//! Nothing is written to the source tree: sources are copied, npm and the bundler run on the copy. Where that cannot be done
//! (no Node, no npm, no registry) the build goes on with a warning, the page says why it is missing, and the next build tries again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What the page is made of, below `dashboard/`. Its tests are not.
const SOURCES: &[&str] = &["package.json", "package-lock.json", ".npmrc", "build.mjs", "src"];
/// The oldest Node that the bundler runs on.
const OLDEST_NODE: u32 = 18;

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    println!("cargo::rerun-if-changed=build.rs");
    page(&out)?;
    chart(&out)
}

/// The chart's files by their paths in it: `(&str, &[u8])`.
fn chart(out: &Path) -> io::Result<()> {
    let chart = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/weft"))?;
    println!("cargo::rerun-if-changed={}", chart.display());
    let (mut folders, mut files) = (vec![chart.clone()], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let line = |file: &PathBuf| {
        let name = file.strip_prefix(&chart).unwrap_or(file);
        format!("({:?}, include_bytes!({:?})),\n", name.display().to_string(), file.display().to_string())
    };
    let files: String = files.iter().map(line).collect();
    fs::write(out.join("chart.rs"), format!("pub const FILES: &[(&str, &[u8])] = &[\n{files}];\n"))
}

fn page(out: &Path) -> io::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboard");
    for part in SOURCES {
        println!("cargo::rerun-if-changed={}", source.join(part).display());
    }
    let built = match build(&source, out) {
        Ok(()) => {
            let file = |name: &str| format!("include_bytes!({:?})", out.join("page").join(name));
            let [html, script, style, icon, notice] =
                ["index.html", "app.js", "app.css", "icon.svg", "NOTICE.txt"].map(file);
            format!("Ok(Page {{ html: {html}, script: {script}, style: {style}, icon: {icon}, notice: {notice} }})")
        }
        Err(reason) => {
            println!("cargo::warning=weftctl is built without its dashboard: {reason}");
            // A file that is never there: cargo runs this script again next time.
            println!("cargo::rerun-if-changed={}", out.join("never").display());
            format!("Err({reason:?})")
        }
    };
    fs::write(out.join("page.rs"), format!("pub const BUILT: Result<Page, &str> = {built};\n"))
}

fn build(source: &Path, out: &Path) -> Result<(), String> {
    let version = said(Command::new("node").arg("--version"))?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) {
        return Err(format!("Node {OLDEST_NODE} or later is needed, and this is {}", version.trim()));
    }
    let copy = out.join("dashboard");
    // What was deleted from the sources must not linger.
    let _ = fs::remove_dir_all(copy.join("src"));
    for part in SOURCES {
        copy_all(&source.join(part), &copy.join(part)).map_err(|error| format!("copying dashboard/{part}: {error}"))?;
    }
    install(&copy)?;
    said(Command::new("node").arg("build.mjs").arg(out.join("page")).current_dir(&copy)).map(drop)
}

/// The libraries that the lock file names, unless they are there already: a change of our own sources needs no network.
fn install(copy: &Path) -> Result<(), String> {
    let wanted = fs::read(copy.join("package-lock.json")).map_err(|error| error.to_string())?;
    let stamp = copy.join("node_modules/.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // No package's own scripts run. An unreachable registry is given up within seconds, not minutes.
    let flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=2"];
    let patience = ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", "--fetch-timeout=60000"];
    said(Command::new("npm").args(flags).args(patience).current_dir(copy))?;
    fs::write(stamp, wanted).map_err(|error| error.to_string())
}

/// What a program prints, or in one line why it failed.
fn said(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name} is missing"),
        _ => format!("{name}: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let tells = |line: &&str| line.contains("error") || line.contains("ERR");
    let line = errors.lines().find(tells).or_else(|| errors.lines().next()).unwrap_or("no reason given");
    Err(format!("{name} failed ({}): {}", output.status, line.trim()))
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        copy_all(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}
