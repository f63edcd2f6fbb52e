//! The wire contract (generated from `discovery.proto`) and the one place where wire turns into model and back.
//!
//! [`v1`] is the generated code; [`convert`] the conversions: `From<&model>` for wire types, and
//! `TryFrom<wire>` for model types, which checks everything the model promises and names the field that is wrong.

pub mod convert;

/// Generated messages, clients and servers.
#[allow(clippy::all, missing_docs, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("weft.v1");
}
