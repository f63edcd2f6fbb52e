//! Real programs as clients: what a user would type, run inside a pod.
//!
//! Each returns what the program printed. A program that fails is an error with its status and both its streams, unless a
//! test asks for the status itself.

use anyhow::Context;
use std::net::SocketAddr;
use weft_examples::pods::{Output, Pod, Program};

/// `curl` with `args`, quiet but for errors, 20 s at most.
pub fn curl(pod: &Pod, args: &[&str]) -> anyhow::Result<String> {
    run(pod, Program::new("curl").args(["-sS", "--max-time", "20"]).args(args))
}

/// `curl`, whatever becomes of it.
pub fn curl_output(pod: &Pod, args: &[&str]) -> anyhow::Result<Output> {
    Ok(pod.run(Program::new("curl").args(["-sS", "--max-time", "20"]).args(args))?)
}

/// A Python program that has `socket`, `host` and `port` at hand.
pub fn python(pod: &Pod, to: SocketAddr, code: &str) -> anyhow::Result<String> {
    let prelude = format!("import socket, struct, sys, time\nhost, port = '{}', {}\n", to.ip(), to.port());
    // The system's own, not a version manager's shim that needs the user's environment.
    run(pod, Program::new("/usr/bin/python3").arg("-").input(prelude + code))
}

/// One line of `redis-cli`.
pub fn redis(pod: &Pod, to: SocketAddr, command: &[&str]) -> anyhow::Result<String> {
    let to = ["-h".to_owned(), to.ip().to_string(), "-p".to_owned(), to.port().to_string()];
    Ok(run(pod, Program::new("redis-cli").args(to).args(command))?.trim().to_owned())
}

/// `dig +short`, one answer a line.
pub fn dig(pod: &Pod, args: &[&str]) -> anyhow::Result<Vec<String>> {
    let output = run(pod, Program::new("dig").args(["+short", "+time=2", "+tries=2"]).args(args))?;
    Ok(output.lines().map(str::to_owned).collect())
}

/// Runs `program` and returns its standard output.
pub fn run(pod: &Pod, program: Program) -> anyhow::Result<String> {
    let what = program.to_string();
    pod.run_ok(program).with_context(|| what)
}
