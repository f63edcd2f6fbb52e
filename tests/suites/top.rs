//! `weftctl top` in a real terminal: tmux, its keys and what is on its screen.
//!
//! Left out, with the reason, where there is no tmux. The shell around `weftctl` stays in the terminal and says how it was left.

use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weft_examples::mesh::binary;
use weft_examples::pods::{Pod, Program, poll_until};
use weft_tests::client::Http1;
use weft_tests::{Outcome, Plan, Suite, World};

/// A machine may stand still for a while.
const PATIENCE: Duration = Duration::from_secs(40);

fn main() -> ExitCode {
    let missing =
        std::env::var("PATH").is_ok_and(|path| !path.split(':').any(|dir| PathBuf::from(dir).join("tmux").is_file()));
    Suite::on("meshed", || Plan::new().echo("echo", 1).echo("side", 1).client("client").start())
        .case("without a terminal it says what to use instead", no_terminal)
        .unless(missing.then(|| "tmux is not installed".to_owned()))
        .case("rows appear, are sorted and filtered by keys, and fit the terminal", keys)
        .case("the terminal is given back by q, Ctrl-C and SIGTERM", given_back)
        .case("a discovery that goes away is named, and what was known stays", away)
        .run()
}

async fn no_terminal(world: &World) -> Outcome {
    let output = world.mesh().node().run(world.mesh().discovery()[0].weftctl_program()?.arg("top"))?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}", output.text());
    ensure!(output.stderr.contains("needs a terminal") && output.stderr.contains("stat --watch"), "{}", output.stderr);
    Ok(())
}

/// A terminal with a shell that runs `weftctl top`; ended when dropped.
struct Terminal {
    node: Pod,
    socket: String,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

impl Terminal {
    fn start(world: &World, line: &str) -> anyhow::Result<Self> {
        let (node, dir) = (world.mesh().node().clone(), world.network().dir());
        let terminal = Self { node, socket: dir.join(format!("tmux-{}", fastrand::u32(..))).display().to_string() };
        let discovery = world.mesh().discovery()[0].socket();
        let top = format!("{} --discovery {} top {line}", binary("weftctl")?.display(), discovery.display());
        // What the shell says afterwards shows whether the terminal echoes and reads lines again.
        let shell = format!("{top}; echo \"ended $?\"; stty -a | grep -ow -e '-*icanon' -e '-*echo'; exec sleep 1000");
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "20", &shell])?;
        Ok(terminal)
    }

    fn tmux(&self, args: &[&str]) -> anyhow::Result<String> {
        let program = Program::new("tmux").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        Ok(self.node.run_ok(program.args(["-S", &self.socket]).args(args))?)
    }

    fn screen(&self) -> anyhow::Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    fn press(&self, keys: &[&str]) -> Outcome {
        let words: Vec<&str> = ["send-keys"].into_iter().chain(keys.iter().copied()).collect();
        self.tmux(&words).map(drop)
    }

    /// Waits until the screen is as `wanted` says.
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let mut screen = String::new();
        let look = || {
            screen = self.screen().ok()?;
            wanted(&screen).then_some(())
        };
        poll_until(Instant::now() + PATIENCE, what, look).with_context(|| screen.clone())?;
        Ok(screen)
    }

    /// The shell is back, and the terminal with it.
    fn until_given_back(&self) -> Outcome {
        let screen = self.until("the shell", |screen| screen.contains("ended 0") && screen.contains("echo\n"))?;
        ensure!(!screen.contains("-icanon") && !screen.contains("-echo"), "still raw: {screen}");
        let left = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])?;
        ensure!(left.trim() == "0 1", "the screen is not as it was: {left}");
        Ok(())
    }
}

/// Somebody who calls both services all the time.
struct Traffic(Arc<AtomicBool>);

impl Traffic {
    fn start(world: &World) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let (pod, to, still) =
            (world.client().clone(), [world.at("echo", 80), world.at("side", 80)], Arc::clone(&going));
        tokio::spawn(async move {
            while still.load(Ordering::Relaxed) {
                for (to, path) in to.into_iter().zip(["/name", "/status/500"]) {
                    // What it says is for the sidecars to count.
                    if let Ok(mut client) = Http1::dial(&pod, to) {
                        let _ = client.get(path).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self(going)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The line with `text` in it.
fn at(screen: &str, text: &str) -> Option<usize> {
    screen.lines().position(|line| line.contains(text))
}

async fn keys(world: &World) -> Outcome {
    let _traffic = Traffic::start(world);
    let terminal = Terminal::start(world, "-n test -w 2s")?;
    let both = |screen: &str| at(screen, " echo ").is_some() && at(screen, " side ").is_some();
    let screen = terminal.until("both services", both)?;
    ensure!(screen.contains("4RPS▼") && screen.contains("100.00%") && screen.contains("0.00%"), "{screen}");
    terminal.press(&["3"])?;
    terminal.until("the worst first", |screen| {
        screen.contains("3SUCCESS▼") && at(screen, " side ") < at(screen, " echo ")
    })?;
    terminal.press(&["3"])?;
    terminal.until("the best first", |screen| {
        screen.contains("3SUCCESS▲") && at(screen, " echo ") < at(screen, " side ")
    })?;
    terminal.press(&["/", "s", "i", "d", "Enter"])?;
    terminal.until("one service", |screen| at(screen, " side ").is_some() && at(screen, " echo ").is_none())?;
    terminal.press(&["Escape"])?;
    terminal.until("both again", both)?;
    terminal.press(&["Space"])?;
    terminal.until("a pause", |screen| screen.contains("PAUSED"))?;
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"])?;
    let narrow =
        |screen: &str| !screen.contains("NAMESPACE") && screen.contains("3SUCCESS") && at(screen, "side ").is_some();
    let screen = terminal.until("a narrow table", narrow)?;
    ensure!(screen.lines().all(|line| line.chars().count() <= 40), "{screen}");
    terminal.press(&["q"])?;
    terminal.until_given_back()
}

async fn given_back(world: &World) -> Outcome {
    for leave in ["C-c", "q"] {
        let terminal = Terminal::start(world, "pods -n test")?;
        terminal.until("a screen", |screen| screen.contains("weftctl top"))?;
        terminal.press(&[leave])?;
        terminal.until_given_back()?;
    }
    let terminal = Terminal::start(world, "routes -A")?;
    terminal.until("a screen", |screen| screen.contains("weftctl top"))?;
    let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"])?;
    world.mesh().node().run_ok(Program::new("pkill").args(["-TERM", "-P", shell.trim()]))?;
    terminal.until_given_back()
}

async fn away(world: &World) -> Outcome {
    let _traffic = Traffic::start(world);
    let terminal = Terminal::start(world, "-n test -w 2s")?;
    terminal.until("a service", |screen| at(screen, " echo ").is_some())?;
    let discovery = &world.mesh().discovery()[0];
    discovery.terminate().context("discovery did not run")?;
    let named =
        |screen: &str| screen.lines().rev().take(4).any(|line| line.contains("discovery") || line.contains("proxy"));
    let told = terminal.until("what is wrong", named);
    discovery.start_again()?;
    discovery.wait_ready(PATIENCE)?;
    let screen = told?;
    ensure!(at(&screen, " echo ").is_some(), "{screen}");
    terminal.until("figures again", |screen| at(screen, " echo ").is_some() && !named(screen))?;
    terminal.press(&["q"])?;
    terminal.until_given_back()
}
