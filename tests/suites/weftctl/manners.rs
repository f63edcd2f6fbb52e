//! How `weftctl` behaves whatever it is asked: one table of all its commands, held against everything that is true of each.
//!
//! A command without a row fails the first case, so that no new one is forgotten. Terminals are real ones (`script` makes a
//! pseudo-terminal), pipes are the shell's.

use super::{done, fails, weftctl};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use weft_examples::mesh::{PROXY_UID, binary};
use weft_examples::pods::{Output, Program};
use weft_tests::programs::curl;
use weft_tests::{Outcome, World};

/// A command, and arguments that make it work in this world.
struct Row {
    command: &'static str,
    args: &'static [&'static str],
    how: How,
}

#[derive(PartialEq, Clone, Copy)]
enum How {
    /// Has `-o table|wide|json|yaml`.
    Lists,
    /// Prints something else.
    Tells,
    /// Changes or makes something: not to be run at every turn.
    Does,
    /// The same, and asks nobody.
    Alone,
    /// Runs until it is ended.
    Stays,
}

const fn row(command: &'static str, args: &'static [&'static str], how: How) -> Row {
    Row { command, args, how }
}

const ROWS: &[Row] = &[
    // helm and a cluster are asked, not discovery: suite `chart` has both.
    row("install", &["--dry-run", "--helm", "/nowhere/helm"], How::Alone),
    row("upgrade", &["--dry-run", "--helm", "/nowhere/helm"], How::Alone),
    row("uninstall", &["--dry-run", "--helm", "/nowhere/helm"], How::Alone),
    row("apply", &["-f", "-"], How::Does),
    row("delete", &["service", "nobody", "-n", "test"], How::Does),
    row("get", &["services", "-A"], How::Lists),
    row("get", &["endpoints", "-n", "test"], How::Lists),
    row("get", &["certificates", "-A"], How::Lists),
    row("status", &[], How::Lists),
    row("proxy dump", &["client", "-n", "test"], How::Tells),
    row("proxy services", &["client", "-n", "test"], How::Lists),
    row("proxy endpoints", &["client", "-n", "test"], How::Lists),
    row("proxy config", &["client", "-n", "test"], How::Lists),
    row("explain", &["--from", "test/client", "--to", "http://echo.test/name"], How::Tells),
    row("stat", &["-A", "-w", "500ms"], How::Lists),
    row("edges", &["-A", "-w", "500ms"], How::Lists),
    row("tap", &[], How::Stays),
    row("top", &[], How::Stays),
    row("dashboard", &[], How::Stays),
    row("logs level", &["test/client"], How::Tells),
    row("logs show", &["test/client"], How::Tells),
    row("diagnose", &["client", "-n", "test", "-f", "/nowhere/it.tar.gz"], How::Does),
    row("check", &[], How::Lists),
    row("token create", &["-n", "test", "--service-account", "client"], How::Does),
    row("trust anchors", &[], How::Tells),
    row("trust status", &[], How::Lists),
    row("trust rotate", &["--dry-run"], How::Tells),
    row("trust abort", &[], How::Does),
    row("trust forget", &["test/nobody"], How::Does),
    row("certificates", &["-A"], How::Lists),
    row("inject", &["-f", "-", "--trust-anchors", "/dev/null"], How::Alone),
    row("uninject", &["-f", "-"], How::Alone),
    row("completion", &["bash"], How::Alone),
    row("manual", &["/nowhere/pages"], How::Alone),
];

impl Row {
    fn words(&self, more: &[&'static str]) -> Vec<&'static str> {
        self.command.split(' ').chain(self.args.iter().copied()).chain(more.iter().copied()).collect()
    }

    fn name(&self) -> String {
        self.words(&[]).join(" ")
    }
}

/// The commands below `path`, as `--help` lists them.
fn commands(world: &World, path: &[&str]) -> anyhow::Result<Vec<String>> {
    let help = done(world, &[path, &["--help"]].concat(), "")?;
    let Some((_, listed)) = help.split_once("\nCommands:\n") else { return Ok(vec![]) };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter(|line| line.starts_with("  "));
    let names = names.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| *name != "help").map(str::to_owned).collect())
}

/// All commands that do something themselves.
fn leaves(world: &World) -> anyhow::Result<BTreeSet<String>> {
    let mut leaves = BTreeSet::new();
    for name in commands(world, &[])? {
        let below = commands(world, &[&name])?;
        match below.is_empty() {
            true => drop(leaves.insert(name)),
            false => leaves.extend(below.into_iter().map(|below| format!("{name} {below}"))),
        }
    }
    Ok(leaves)
}

pub async fn every_command(world: &World) -> Outcome {
    let leaves = leaves(world)?;
    ensure!(leaves.len() > 15, "{leaves:?}");
    let without: Vec<_> = leaves.iter().filter(|leaf| ROWS.iter().all(|row| row.command != **leaf)).collect();
    ensure!(without.is_empty(), "commands without a row in tests/suites/weftctl/manners.rs: {without:?}");
    Ok(())
}

/// The rows of commands that this version has.
fn rows(world: &World) -> anyhow::Result<impl Iterator<Item = &'static Row>> {
    let leaves = leaves(world)?;
    Ok(ROWS.iter().filter(move |row| leaves.contains(row.command)))
}

fn listings(world: &World) -> anyhow::Result<Vec<&'static Row>> {
    // A proxy knows only what it has called.
    curl(world.client(), &[&world.url("/name")])?;
    Ok(rows(world)?.filter(|row| row.how == How::Lists).collect())
}

pub async fn forms(world: &World) -> Outcome {
    for row in listings(world)? {
        let name = row.name();
        let json = done(world, &row.words(&["-o", "json"]), "")?;
        let value: Value = serde_json::from_str(&json).with_context(|| format!("{name}: {json}"))?;
        ensure!(value.is_array() || value.is_object(), "{name}: {json}");
        let yaml = done(world, &row.words(&["-o", "yaml"]), "")?;
        for document in serde_yaml_ng::Deserializer::from_str(&yaml) {
            let read: Value = serde::Deserialize::deserialize(document).with_context(|| format!("{name}: {yaml}"))?;
            ensure!(!read.is_string(), "{name}: {yaml}");
        }
        let (table, wide) =
            (done(world, row.words(&[]).as_slice(), "")?, done(world, &row.words(&["-o", "wide"]), "")?);
        ensure!(wide.lines().count() >= 1 && table.lines().count() >= 1, "{name}: {table}{wide}");
        let headings = |text: &str| text.lines().next().map_or(0, |line| line.split_whitespace().count());
        ensure!(headings(&wide) >= headings(&table), "{name}: wide has no more than {table}");
    }
    Ok(())
}

/// What the command writes to a terminal of so many columns, both streams in one.
fn on_terminal(world: &World, words: &[&str], columns: usize, env: &str) -> anyhow::Result<String> {
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let socket = world.mesh().discovery()[0].socket();
    let command = format!(
        "stty cols {columns} rows 50; {env} exec {} --discovery unix://{} {line}",
        binary("weftctl")?.display(),
        socket.display()
    );
    let output = world.mesh().node().run(Program::new("script").args(["-qec", &command, "/dev/null"]))?;
    ensure!(output.status.success(), "{words:?} at {columns}: {} {}", output.status, output.text());
    Ok(output.stdout.replace('\r', ""))
}

/// How many columns a line takes, without what only moves or colours.
fn columns(line: &str) -> usize {
    let mut shown = 0;
    let mut rest = line.chars();
    while let Some(letter) = rest.next() {
        if letter == '\x1b' {
            rest.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else {
            shown += 1;
        }
    }
    shown
}

pub async fn terminals(world: &World) -> Outcome {
    // Figures, so that there are tables of them.
    let load = super::load(world)?;
    let told = on_terminals(world);
    load.abort();
    told
}

fn on_terminals(world: &World) -> Outcome {
    for row in listings(world)? {
        let name = row.name();
        for width in [40, 80, 200] {
            let text = on_terminal(world, &row.words(&[]), width, "")?;
            let wide = text.lines().find(|line| columns(line) > width);
            ensure!(wide.is_none(), "{name} at {width} columns: {wide:?} in\n{text}");
            ensure!(text.lines().count() > 1, "{name}: {text:?}");
        }
        let plain = on_terminal(world, &row.words(&[]), 80, "NO_COLOR=1")?;
        ensure!(!plain.contains("\x1b[3"), "{name} has colours in spite of NO_COLOR: {plain:?}");
        let piped = done(world, &row.words(&[]), "")?;
        ensure!(!piped.contains('\x1b'), "{name} has colours in a pipe: {piped:?}");
    }
    let check = on_terminal(world, &["check"], 80, "")?;
    ensure!(check.contains("\x1b[32mok\x1b[0m"), "no colours at all: {check:?}");
    Ok(())
}

pub async fn closed_pipes(world: &World) -> Outcome {
    let stays = [How::Stays, How::Does];
    for row in rows(world)?.filter(|row| !stays.contains(&row.how)) {
        let line = row.words(&[]).iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let socket = world.mesh().discovery()[0].socket();
        let weftctl = format!("{} --discovery unix://{} {line}", binary("weftctl")?.display(), socket.display());
        // A reader that is gone before the first word, of one stream or of both.
        for pipe in ["| true", "2>&1 | true", "| head -c 1", "--no-such-flag 2>&1 | true"] {
            let script = format!("{weftctl} {pipe}; echo \"status ${{PIPESTATUS[0]}}\"");
            let output = world.mesh().node().run(Program::new("bash").args(["-c", &script]).input(""))?;
            let text = output.text();
            let sound = ["status 0", "status 1", "status 2"].iter().any(|status| text.contains(status));
            ensure!(
                sound && !text.contains("panic") && !text.to_lowercase().contains("broken pipe"),
                "{line} {pipe}: {text}"
            );
        }
    }
    Ok(())
}

pub async fn usage(world: &World) -> Outcome {
    for row in rows(world)? {
        fails(world, &row.words(&["--no-such-flag"]), "", 2, &["--no-such-flag", "--help"])?;
        fails(world, &row.words(&["--timeout", "soon"]), "", 2, &["soon", "--timeout"])?;
        fails(world, &row.words(&["--timeout", "-5s"]), "", 2, &["-5"])?;
        fails(world, &row.words(&["--discovery", "http://somewhere:1"]), "", 2, &["unix:///run/weft/discovery.sock"])?;
        if row.how == How::Lists {
            fails(world, &row.words(&["-o", "xml"]), "", 2, &["xml", "table", "wide", "json", "yaml"])?;
        }
    }
    for (line, word) in
        [("stat -w 0s", "500ms"), ("edges -w 2d", "1h"), ("token create -n a --service-account b --ttl 0s", "1s")]
    {
        fails(world, &line.split(' ').collect::<Vec<_>>(), "", 2, &[word])?;
    }
    Ok(())
}

/// Runs it against a socket of our choice, as this user.
fn led_to(world: &World, row: &Row, socket: &str, user: Option<u32>) -> anyhow::Result<Output> {
    let program = Program::new(binary("weftctl")?).args(["--discovery", socket]).args(row.words(&[]));
    let document =
        "apiVersion: v1\nkind: Service\nmetadata: { name: a, namespace: test }\nspec: { ports: [{ port: 80 }] }\n";
    let program = program.input(document);
    Ok(world.mesh().node().run(match user {
        Some(user) => program.user(user),
        None => program,
    })?)
}

pub async fn nobody_there(world: &World) -> Outcome {
    let real = format!("unix://{}", world.mesh().discovery()[0].socket().display());
    // `top` wants a terminal first, and the page of `dashboard` says it itself.
    let elsewhere = |row: &&Row| row.how == How::Alone || ["top", "dashboard"].contains(&row.command);
    for row in rows(world)?.filter(|row| !elsewhere(row)) {
        let name = row.name();
        let cases = [
            ("unix:///nowhere/discovery.sock", None, ["/nowhere/discovery.sock", "is weft-discovery running?"]),
            (&real, Some(PROXY_UID), [".sock", "try as root"]),
        ];
        for (socket, user, words) in cases {
            let output = led_to(world, row, socket, user)?;
            let text = output.text();
            ensure!(output.status.code() == Some(1), "{name} at {socket}: {} {text}", output.status);
            for word in words {
                ensure!(text.contains(word), "{name} at {socket} does not say {word:?}: {text}");
            }
            // One line, but for `check`, whose findings are its answer.
            ensure!(row.command == "check" || text.trim().lines().count() == 1, "{name} at {socket}: {text}");
        }
    }
    Ok(())
}

pub async fn config(world: &World) -> Outcome {
    let table = done(world, &["proxy", "config", "client", "-n", "test"], "")?;
    let value = |name: &str| {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(name));
        row.and_then(|row| row.split_whitespace().nth(1)).with_context(|| format!("no {name} in\n{table}"))
    };
    ensure!(table.starts_with("SETTING ") && value("name")? == "client" && value("check-port")? == "15002", "{table}");
    ensure!(value("join-token-file")?.ends_with("/join-token"), "files are named");
    ensure!(value("address")?.contains(&world.client().ip().to_string()), "what the machine decided: {table}");
    let json: Value =
        serde_json::from_str(&done(world, &["proxy", "config", "client", "-n", "test", "-o", "json"], "")?)?;
    ensure!(json["discovery"].is_array() && json["zone"].is_null(), "{json}");
    let token = std::fs::read_to_string(value("join-token-file")?)?;
    ensure!(!token.trim().is_empty() && !json.to_string().contains(token.trim()), "the token itself is told");
    let nobody = weftctl(world, &["proxy", "config", "nobody", "-n", "test"], "")?;
    ensure!(nobody.status.code() == Some(1) && nobody.stderr.contains("weftctl status"), "{}", nobody.text());
    Ok(())
}
