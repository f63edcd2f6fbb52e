//! docs/tour.md, walked: the demo's shop is set up, every command of the page is run, and prints what the page shows.
//!
//! What is compared is the shape: headings and words as they stand, figures, addresses and times masked. A line `...` on the page
//! stands for any lines. A page that shows what the program does not print fails, naming the command and the line.

use anyhow::{Context, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use weft_examples::mesh::binary;
use weft_examples::pods::poll_until;
use weft_tests::suite::Stage;
use weft_tests::{Outcome, Suite};

/// How long the shop may take to open, and a command to print what the page shows: figures need traffic first.
const LONG: Duration = Duration::from_secs(50);

/// The demo, kept up.
struct Shop {
    demo: Mutex<Child>,
    socket: String,
    directory: tempfile::TempDir,
    log: Mutex<Vec<String>>,
}

impl Stage for Shop {
    fn testimony(&self) -> String {
        self.log.lock().map(|log| log.join("\n")).unwrap_or_default()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if let Ok(demo) = self.demo.get_mut() {
            // SIGINT, as Ctrl-C: it takes its namespaces away itself.
            let pid = nix::unistd::Pid::from_raw(demo.id() as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
            let _ = demo.wait();
        }
    }
}

fn open() -> anyhow::Result<Shop> {
    let mut demo = Command::new(binary("weft-demo")?)
        .args(["--keep", "--skip-story"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start weft-demo")?;
    let out = demo.stdout.take().context("its output")?;
    let directory = tempfile::tempdir()?;
    // As in a checkout, where the page's commands are typed.
    std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"), directory.path().join("examples"))?;
    let mut shop = Shop { demo: Mutex::new(demo), socket: String::new(), directory, log: Mutex::default() };
    for line in BufReader::new(out).lines() {
        let line = line?;
        if let Some((_, socket)) = line.split_once("export WEFT_DISCOVERY=") {
            shop.socket = socket.trim().to_owned();
        }
        let up = line.contains("weftctl check");
        shop.log.get_mut().map(|log| log.push(line)).ok();
        if up {
            return Ok(shop);
        }
    }
    bail!("the demo ended: {}", shop.testimony())
}

fn main() -> ExitCode {
    Suite::on("demo", open)
        .case("the page begins as the demo does", begins)
        .case("every command of the page prints what it shows", walked)
        .run()
}

fn page() -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/tour.md");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// A command of the page and the lines below it.
struct Stop {
    command: String,
    shown: Vec<String>,
}

/// Everything behind `$ ` in blocks that begin with three backticks and `console`.
fn stops(page: &str) -> Vec<Stop> {
    let mut stops: Vec<Stop> = vec![];
    for block in page.split("```console\n").skip(1) {
        let block = block.split("\n```").next().unwrap_or_default();
        for line in block.lines() {
            match (line.strip_prefix("$ "), stops.last_mut()) {
                (Some(command), _) => stops.push(Stop { command: command.to_owned(), shown: vec![] }),
                (None, Some(stop)) => stop.shown.push(line.to_owned()),
                (None, None) => {}
            }
        }
    }
    stops
}

async fn begins(shop: &Shop) -> Outcome {
    let stops = stops(&page()?);
    let first: Vec<&str> = stops.iter().take(2).map(|stop| stop.command.as_str()).collect();
    ensure!(first[0] == "make demo KEEP=1" && first[1].starts_with("export WEFT_DISCOVERY=unix://"), "{first:?}");
    ensure!(shop.socket.starts_with("unix://"), "{}", shop.testimony());
    ensure!(stops.len() > 10, "{} commands", stops.len());
    Ok(())
}

async fn walked(shop: &Shop) -> Outcome {
    let stops = stops(&page()?);
    for stop in stops.iter().filter(|stop| !stop.command.starts_with("make ") && !stop.command.starts_with("export ")) {
        let mut said = String::new();
        let look = || {
            // An earlier try's archive would be in the way of the next.
            if stop.command.contains("diagnose") {
                let _ = std::fs::remove_file(shop.directory.path().join("weft-shop-search-0.tar.gz"));
            }
            said = run(shop, &stop.command).unwrap_or_else(|error| error.to_string());
            alike(&stop.shown, &said).is_ok().then_some(())
        };
        if poll_until(Instant::now() + LONG, &stop.command, look).is_err() {
            let missing = alike(&stop.shown, &said).err().unwrap_or_default();
            bail!("$ {}\nthe page shows a line that was not printed: {missing}\nprinted:\n{said}", stop.command);
        }
    }
    Ok(())
}

/// Both streams, as a terminal shows them.
fn run(shop: &Shop, command: &str) -> anyhow::Result<String> {
    let weftctl = binary("weftctl")?;
    let path = format!("{}:{}", weftctl.parent().context("a folder")?.display(), std::env::var("PATH")?);
    let shell = format!("exec 2>&1\n{command}");
    let mut bash = Command::new("timeout");
    bash.args(["--kill-after=5", "25", "bash", "-c", &shell]).current_dir(shop.directory.path()).stdin(Stdio::null());
    let output = bash.env("PATH", path).env("WEFT_DISCOVERY", &shop.socket).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the lines of the page are among those printed, in their order; otherwise the one that is not.
fn alike(shown: &[String], said: &str) -> Result<(), String> {
    let said: Vec<String> = said.lines().map(masked).collect();
    let (mut at, mut free) = (0, false);
    for line in shown {
        if line.trim() == "..." {
            free = true;
            continue;
        }
        let wanted = masked(line);
        let found = said[at..].iter().position(|line| *line == wanted);
        match found {
            Some(skipped) if free || skipped == 0 => at += skipped + 1,
            _ => return Err(format!("{line:?} ({wanted:?})")),
        }
        free = false;
    }
    if free || at == said.len() { Ok(()) } else { Err(format!("nothing more, but there is {:?}", said[at])) }
}

/// One blank for many, `#` for whatever has a digit in a word, or for the `-` of a figure that is not known.
fn masked(line: &str) -> String {
    let word = |word: &str| {
        if word == "-" || word == "yes" || word == "some" {
            return "#".to_owned();
        }
        // Where the demo keeps its files is another place every time.
        for root in ["unix:///tmp/", "/tmp/"] {
            if word.starts_with(root) {
                return format!("{root}#");
            }
        }
        let mut mask = String::new();
        for letter in word.chars() {
            match letter {
                '0'..='9' if mask.ends_with('#') => {}
                '0'..='9' => mask.push('#'),
                other => mask.push(other),
            }
        }
        // 12ms, 1m12s, 3.5 and 198.18.0.2:80 are one figure each; names such as search-0 keep their letters.
        let figure = word.starts_with(|letter: char| letter.is_ascii_digit())
            && word.chars().all(|letter| letter.is_ascii_hexdigit() || "hms%:.,/uskKMiB".contains(letter));
        if figure { "#".to_owned() } else { mask }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}
