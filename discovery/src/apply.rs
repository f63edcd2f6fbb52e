//! Apply, delete and get of documents, as `weftctl` does them: a source that people write.
//!
//! translate -> plan (compare with what is stored) -> one commit. All documents of a call are put into force or none; what
//! other sources keep is not touched.

mod documents;
mod plan;
mod outcome;

pub use documents::Documents;
pub use outcome::{Applied, ApplyError, Done, Outcome};
