//! The policies that select this workload, as discovery told them last, ready for use.
//!
//! A part of the snapshot that `inbound` decides by. A message that does not hold what the model promises is refused whole,
//! and what was told before stays.

use crate::authorize::Table;
use std::sync::Arc;
use weft_model::WorkloadPolicies;
use weft_proto::convert::ConvertError;
use weft_proto::v1;

/// Told policies, compiled.
#[derive(Debug)]
pub struct Guarded {
    pub policies: WorkloadPolicies,
    /// `None`: everything is let in, and nothing has to be looked at.
    pub table: Option<Arc<Table>>,
    /// Of the store, when this was so.
    pub revision: u64,
}

impl Guarded {
    pub fn new(policies: WorkloadPolicies, revision: u64) -> Arc<Self> {
        let table = Table::compile(&policies).map(Arc::new);
        Arc::new(Self { policies, table, revision })
    }

    pub(super) fn told(wire: v1::WorkloadPolicies, revision: u64) -> Result<Arc<Self>, ConvertError> {
        match WorkloadPolicies::try_from(wire) {
            Ok(policies) => Ok(Self::new(policies, revision)),
            Err(ConvertError { field, reason }) => Err(ConvertError::new(format!("policies.{field}"), reason)),
        }
    }
}
