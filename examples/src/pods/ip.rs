//! The `ip` program: many steps in one process.
//!
//! Below everything that is plugged in, addressed or routed. Fails with what `ip` said.

use super::error::Error;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Starts one `ip` that works through all of `lines` inside `namespace`.
pub(super) fn start_batch(namespace: &str, lines: &str) -> Result<Child, Error> {
    let mut command = Command::new("ip");
    command.args(["-n", namespace, "-batch", "-"]).env("PATH", system_path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("start `ip` (Debian package iproute2)"))?;
    let mut input = child.stdin.take().expect("stdin is piped");
    match input.write_all(lines.as_bytes()) {
        // It has ended early, and says itself why.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written.map_err(Error::io("talk to `ip`"))?,
    }
    Ok(child)
}

/// Waits for [`start_batch`]'s `ip`.
pub(super) fn finish(child: Child) -> Result<(), Error> {
    let output = child.wait_with_output().map_err(Error::io("wait for `ip`"))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Command { command: "ip -batch".to_owned(), output })
}

/// The caller's PATH and, since a login shell may lack them, the directories of administrators' programs.
pub(super) fn system_path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
