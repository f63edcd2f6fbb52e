//! `weftctl dashboard`: the mesh as a local web page, served from this binary until Ctrl-C.
//!
//! Listens on loopback only, prints a link that works once, and opens it where there is a screen. Reads through discovery's admin
//! API like every other command; discovery that is away is shown on the page and is no reason to end.

mod page;
mod gate;
mod memory;
mod standing;
mod live;
mod desk;
mod serve;

use crate::connect::Discovery;
use crate::print::Output;
use anyhow::Context as _;
use gate::Gate;
use live::Live;
use serve::{Site, router};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to serve it: a loopback address; port 0 is any free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    listen: SocketAddr,
    /// Only print the link
    #[arg(long)]
    no_open: bool,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write ADDRESS:PORT, for example 127.0.0.1:0".to_owned())?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => {
            Err("the page shows the whole mesh and is for this machine alone: write 127.0.0.1:PORT or [::1]:PORT, \
                      and forward the port (ssh -L) to look from elsewhere"
                .to_owned())
        }
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let page = page::get(page::BUILT)?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("listening on {}", args.listen))?;
    let address = listener.local_addr()?;
    let (gate, token) = Gate::new(address).context("no randomness for the token")?;
    let (live, (desk, waiting)) = (Arc::new(Live::new()), desk::desk());
    let site = Site { gate, page, live: Arc::clone(&live), desk };
    let link = format!("http://{address}/?token={token}");
    // Before the link says that Ctrl-C ends it: whoever is quick is not to meet with an error.
    let mut interrupted = signal(SignalKind::interrupt())?;
    if !announce(&link)? {
        return Ok(Output::default());
    }
    if !args.no_open && std::io::stdout().is_terminal() {
        open(&link);
    }
    let served = axum::serve(listener, router(Arc::new(site)));
    tokio::select! {
        ended = served.into_future() => ended.context("serving the page")?,
        () = live.keep(discovery) => {}
        () = desk::work(waiting, discovery) => {}
        _ = interrupted.recv() => {}
    }
    Ok(Output::default())
}

/// `false`: nobody reads it.
fn announce(link: &str) -> std::io::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    let text = format!("{link}\nThe link works once, in one browser on this machine. Ctrl-C ends it.\n");
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// In the user's browser, where there is one; the printed link does as well.
fn open(link: &str) {
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(|name| std::env::var_os(name).is_some());
    let program = match std::env::consts::OS {
        "macos" => "open",
        _ if screen => "xdg-open",
        _ => return,
    };
    let quiet = || Stdio::null();
    // It may be missing, and it ends when it likes.
    let _ = std::process::Command::new(program).arg(link).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for good in ["127.0.0.1:0", "127.1.2.3:8080", "[::1]:80"] {
            assert_eq!(loopback(good).unwrap().to_string(), good);
        }
        for foreign in ["0.0.0.0:0", "10.0.0.1:80", "[::]:0", "192.0.2.1:1"] {
            assert!(loopback(foreign).unwrap_err().contains("for this machine alone"), "{foreign}");
        }
        for none in ["", "localhost:80", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(loopback(none).unwrap_err().contains("ADDRESS:PORT"), "{none}");
        }
    }
}
