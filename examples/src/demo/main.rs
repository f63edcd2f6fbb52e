//! `weft-demo`: the whole mesh on this machine, as a story with figures.
//!
//! Starts the shop in pods, shows what a mesh is for, cleans up. The last line is the verdict, and the exit status agrees with
//! it. Whatever happens (a failure, a panic, Ctrl-C), nothing is left on the machine.

mod story;
mod stage;
mod customers;
mod say;
mod config;

use clap::Parser;
use config::{Flags, LIMIT, Verdict};
use say::Say;
use stage::Stage;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use weft_examples::pods;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let verdict: Arc<Mutex<Option<Verdict>>> = Arc::default();
    let known = Arc::clone(&verdict);
    let watching =
        pods::remove_on_signals(move |status| match &*known.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(verdict) => {
                say::last_line(&Ok(verdict.clone()));
                0
            }
            None => {
                say::last_line(&Err("interrupted".to_owned()));
                status
            }
        });
    if let Err(error) = watching {
        say::last_line(&Err(error.to_string()));
        return ExitCode::FAILURE;
    }
    let told = perform(&flags);
    if pods::is_closing() {
        // The signal's thread is cleaning up and will end the process with its own last line.
        wait_forever();
    }
    match told {
        Ok((stage, good)) if flags.keep => {
            *verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(good);
            match stage.keep(&Say::new()) {
                Ok(_customers) => wait_forever(),
                Err(error) => end(Err(format!("{error:#}"))),
            }
        }
        Ok((stage, good)) => {
            drop(stage);
            end(Ok(good))
        }
        Err(reason) => end(Err(reason)),
    }
}

/// Tells the story on a thread of its own, so that neither a hang nor a panic keeps the end from coming.
fn perform(flags: &Flags) -> Result<(Stage, Verdict), String> {
    let (done, result) = mpsc::channel();
    let flags = flags.clone();
    std::thread::spawn(move || {
        let say = Say::new();
        let told = story::tell(&flags, &say).map_err(|error| format!("{error:#}"));
        // The receiver is gone only when the time was up.
        let _ = done.send(told);
    });
    match result.recv_timeout(LIMIT) {
        Ok(told) => told,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("not done after {LIMIT:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("a panic, see above".to_owned()),
    }
}

fn end(verdict: Result<Verdict, String>) -> ExitCode {
    pods::remove_all();
    say::last_line(&verdict);
    if verdict.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn wait_forever() -> ! {
    loop {
        std::thread::park();
    }
}
