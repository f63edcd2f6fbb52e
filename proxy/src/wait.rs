//! `weft-proxy wait`: ends when the proxy in this pod is ready.
//!
//! Runs as the start hook of a classic sidecar, so that the kubelet starts the application only afterwards. Beside
//! everything else: it asks the admin endpoint as a probe does. Fails when time runs out, saying what was missing.

use clap::Args;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use weft_model::Port;

/// How long one question may take, and the pause before the next.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// `weft-proxy wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Where the proxy's admin endpoint listens
    #[arg(long, env = "WEFT_ADMIN_PORT", default_value = "15020")]
    admin_port: Port,
}

impl Wait {
    /// Returns when the proxy is ready.
    pub fn run(self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let said = match ask(self.admin_port.get()) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => return Ok(()),
                Ok(answer) => {
                    answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.trim().to_owned())
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                anyhow::bail!("the proxy is not ready after {:?}: {said}", self.timeout);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn ask(port: u16) -> std::io::Result<String> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A proxy that is not ready until it was asked `refusals` times.
    fn proxy(refusals: usize) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (asked, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let status = if asked < refusals { "503 Unavailable" } else { "200 OK" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n\r\nnot ready\nlisteners: not yet\n");
            }
        });
        Port::new(port).unwrap()
    }

    #[test]
    fn it_ends_when_the_proxy_is_ready() {
        let wait = |refusals, timeout| Wait { timeout, admin_port: proxy(refusals) }.run();
        wait(3, Duration::from_secs(60)).unwrap();
        let late = wait(usize::MAX, Duration::from_millis(300)).unwrap_err().to_string();
        assert!(late.contains("listeners: not yet"), "{late}");
    }

    #[test]
    fn nobody_there_is_not_ready() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let wait = Wait { timeout: Duration::ZERO, admin_port: Port::new(port).unwrap() };
        assert!(wait.run().unwrap_err().to_string().contains("refused"));
    }
}
