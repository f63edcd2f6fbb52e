//! What the terminal says: keys and changes of its size.
//!
//! Read on a thread of its own, for the terminal is read by waiting. The thread ends with the process.

use ratatui::crossterm::event::{Event, KeyEvent, KeyEventKind, read};
use tokio::sync::mpsc::{Receiver, channel};

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    Key(KeyEvent),
    Resized,
    /// The terminal is there no more.
    Gone,
}

pub struct Keys(Receiver<Heard>);

impl Keys {
    pub fn listen() -> Self {
        let (to, from) = channel(16);
        std::thread::spawn(move || {
            loop {
                let heard = match read() {
                    Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Heard::Key(key),
                    Ok(Event::Resize(..)) => Heard::Resized,
                    Ok(_) => continue,
                    Err(_) => Heard::Gone,
                };
                let gone = matches!(heard, Heard::Gone);
                if to.blocking_send(heard).is_err() || gone {
                    return;
                }
            }
        });
        Self(from)
    }

    pub async fn next(&mut self) -> Heard {
        self.0.recv().await.unwrap_or(Heard::Gone)
    }
}
