//! interim
use crate::store::{Compare, Op, Store, StoreError};
use std::net::IpAddr;
use weft_model::{Cidr, ServiceName};
pub struct Claim {
    pub address: IpAddr,
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}
pub async fn claim(store: &dyn Store, range: Cidr, name: &ServiceName, _ops: &[Op]) -> Result<Claim, StoreError> {
    for n in 1..range.size() {
        let address = range.nth(n);
        let key = format!("addresses/{address}");
        if _ops.iter().any(|op| matches!(op, Op::Put { key: k, .. } if *k == key)) {
            continue;
        }
        if store.get(&key).await?.is_none() {
            return Ok(Claim {
                address,
                compares: vec![Compare::Absent(key.clone())],
                ops: vec![Op::put(key, name.to_string().into_bytes())],
            });
        }
    }
    Err(StoreError::Unavailable("full".into()))
}
pub fn release(address: IpAddr) -> Op {
    Op::delete(format!("addresses/{address}"))
}
