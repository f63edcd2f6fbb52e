//! Questions to one proxy over its stream: those that wait to be sent, and those that it has not answered yet.
//!
//! Between the admin service, which waits for an answer, and the stream, which has room now and then. Bounded: whoever asks
//! one too many is told, and the oldest question without an answer is given up for a new one.

use std::collections::VecDeque;
use tokio::sync::oneshot;
use weft_proto::v1;
use weft_proto::v1::subscribe_response::Body;

/// Questions that a proxy has not answered yet.
const OPEN: usize = 16;

/// An answer in JSON, or why the proxy gives none.
pub type Said = Result<String, String>;

/// What a proxy is asked.
#[derive(Debug)]
pub enum Subject {
    /// All that it knows.
    Dump,
    /// A question of a topic that its Hello named.
    Topic { topic: String, json: String },
}

/// A question, and where its answer goes.
#[derive(Debug)]
pub struct Question {
    pub subject: Subject,
    pub reply: oneshot::Sender<Said>,
}

/// The questions of one stream.
#[derive(Debug, Default)]
pub struct Questions {
    due: VecDeque<Question>,
    asked: VecDeque<(u64, oneshot::Sender<Said>)>,
    last: u64,
}

impl Questions {
    pub fn push(&mut self, question: Question) {
        self.due.push_back(question);
    }

    /// Whether there is something to ask.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The next to ask, unless nobody waits for its answer any more.
    pub fn next(&mut self) -> Option<Body> {
        let Question { subject, reply } = self.due.pop_front()?;
        if reply.is_closed() {
            return None;
        }
        if self.asked.len() == OPEN {
            self.asked.pop_front();
        }
        self.last += 1;
        let id = self.last;
        self.asked.push_back((id, reply));
        Some(match subject {
            Subject::Dump => Body::Dump(v1::DumpRequest { id }),
            Subject::Topic { topic, json } => Body::Ask(v1::Ask { id, topic, json }),
        })
    }

    /// The proxy has answered number `id`.
    pub fn answered(&mut self, id: u64, said: Said) {
        if let Some(at) = self.asked.iter().position(|(asked, _)| *asked == id)
            && let Some((_, reply)) = self.asked.remove(at)
        {
            // Who asked may have given up meanwhile.
            let _ = reply.send(said);
        }
    }
}

/// What an answer on the wire says.
pub fn said(answer: Option<v1::answer::Said>) -> Said {
    match answer {
        Some(v1::answer::Said::Json(json)) => Ok(json),
        Some(v1::answer::Said::Refused(why)) => Err(why),
        None => Err("an answer that says nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(questions: &mut Questions) -> oneshot::Receiver<Said> {
        let (reply, answer) = oneshot::channel();
        questions.push(Question { subject: Subject::Dump, reply });
        answer
    }

    #[test]
    fn answers_find_their_questions_and_old_ones_are_given_up() {
        let mut questions = Questions::default();
        drop(question(&mut questions));
        assert!(questions.is_due() && questions.next().is_none(), "nobody waits");
        let mut waiting: Vec<_> = (0..=OPEN).map(|_| question(&mut questions)).collect();
        while questions.next().is_some() {}
        assert!(waiting[0].try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        questions.answered(2, Ok("second".to_owned()));
        questions.answered(2, Ok("again".to_owned()));
        questions.answered(99, Ok("nobody's".to_owned()));
        assert_eq!(waiting[1].try_recv().unwrap(), Ok("second".to_owned()));
    }
}
