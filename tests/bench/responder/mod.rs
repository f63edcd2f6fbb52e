//! The server that is loaded: answers everybody with the same bytes, as cheaply as it can.
//!
//! One program for all kinds of traffic, each on a port of its own. So cheap that the proxies are what is measured; a
//! connection that says what it does not understand is closed.

mod http1;
mod http2;
mod tcp;

use crate::traffic::Traffic;
use anyhow::Context;
use std::net::Ipv6Addr;
use tokio::net::TcpListener;
use weft_examples::pods::Program;

/// This program in this role.
pub fn program() -> anyhow::Result<Program> {
    let own = std::env::current_exe().context("find this program")?;
    Ok(Program::new(own).label("responder").arg("respond"))
}

/// Serves until it is killed.
pub fn run(body: usize) -> anyhow::Result<()> {
    let body: &'static [u8] = vec![b'x'; body].leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = |traffic: Traffic| TcpListener::bind((Ipv6Addr::UNSPECIFIED, traffic.port()));
        let http1 = http1::serve(listen(Traffic::Http1).await?, body);
        let http2 = http2::serve(listen(Traffic::Http2).await?, body);
        let tcp = tcp::serve(listen(Traffic::Tcp).await?);
        // The mesh's own tests wait for the same words.
        println!("the responder is ready");
        tokio::try_join!(http1, http2, tcp)?;
        Ok(())
    })
}
