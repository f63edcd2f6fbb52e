//! What weftctl is told of certificates and of the root of trust, and the steps that it asks for to replace it.
//!
//! Questions to the authority, which decides; here its answers become messages. A step that is refused says who still needs what.

use crate::authority::{Authority, Leaving, Ledger, RotateError, Rotation, in_use, waiting};
use crate::rpc::{seconds, store_status};
use crate::serve::Proxies;
use std::collections::HashSet;
use tonic::Status;
use weft_identity::certificate::{fingerprint, subject, validity};
use weft_proto::v1;
use weft_proto::v1::rotate_trust_request::Step;

/// Every certificate that has not expired, with whether its owner still uses it.
pub async fn certificates(authority: &Authority) -> Result<Vec<v1::Certificate>, Status> {
    let issued = authority.issued().await.map_err(store_status)?;
    let used: HashSet<String> = in_use(issued.clone()).into_iter().map(|ledger| ledger.serial).collect();
    Ok(issued.into_iter().map(|ledger| certificate(&used, ledger)).collect())
}

fn certificate(used: &HashSet<String>, ledger: Ledger) -> v1::Certificate {
    v1::Certificate {
        identity: ledger.identity.to_string(),
        proxy: ledger.proxy,
        not_before: ledger.not_before,
        not_after: ledger.not_after,
        anchor: ledger.anchor,
        renewals: ledger.renewals,
        replaced: !used.contains(&ledger.serial) && !ledger.forgotten,
        forgotten: ledger.forgotten,
        confirmed: ledger.trusts.is_some(),
        serial: ledger.serial,
    }
}

/// How far the rotation is.
pub async fn state(authority: &Authority) -> Result<v1::TrustState, Status> {
    let trust = authority.trust();
    let in_use = authority.in_use_lately().await.map_err(store_status)?;
    let (coming, leaving) = match &trust.rotation {
        Rotation::Rest => (&[][..], &[][..]),
        Rotation::Adding(next) => (next.anchors(), &[][..]),
        Rotation::Issuing(leaving) => (&[][..], leaving.anchors.as_slice()),
    };
    let stage = match &trust.rotation {
        Rotation::Rest => v1::TrustStage::Rest,
        Rotation::Adding(_) => v1::TrustStage::Adding,
        Rotation::Issuing(_) => v1::TrustStage::Issuing,
    };
    let anchors = trust.anchors();
    let anchors = anchors.iter().map(|anchor| {
        let print = fingerprint(anchor);
        let (from, to) = validity(anchor).map_err(|error| Status::internal(error.to_string()))?;
        let present = trust.issuer.anchors().contains(anchor);
        let role = match () {
            () if anchor == trust.issuer.certificate() => v1::TrustRole::Issuing,
            () if leaving.contains(anchor) => v1::TrustRole::Leaving,
            () if coming.contains(anchor) && !present => v1::TrustRole::Coming,
            () => v1::TrustRole::Trusted,
        };
        Ok(v1::TrustAnchor {
            certificates: in_use.iter().filter(|ledger| ledger.anchor == print).count() as u64,
            fingerprint: print,
            subject: subject(anchor),
            not_before: seconds(from),
            not_after: seconds(to),
            role: role.into(),
        })
    });
    let anchors = anchors.collect::<Result<_, Status>>()?;
    let used = in_use.iter().map(|ledger| ledger.serial.clone()).collect();
    let waiting = waiting(&trust, in_use).into_iter().map(|ledger| certificate(&used, ledger)).collect();
    let taken_back = matches!(&trust.rotation, Rotation::Issuing(Leaving { taken_back: true, .. }));
    Ok(v1::TrustState { stage: stage.into(), anchors, waiting, taken_back })
}

/// Takes one step. `proxies` are those with a stream to this replica.
pub async fn step(authority: &Authority, proxies: &Proxies, request: v1::RotateTrustRequest) -> Result<(), Status> {
    let done = match request.step {
        Some(Step::Add(v1::NewIssuer { certificates, key, anchors })) => {
            let anchors = (!anchors.is_empty()).then_some(anchors.as_str());
            authority.add(&certificates, &key, anchors).await
        }
        Some(Step::Issue(_)) => authority.issue_anew().await,
        Some(Step::Remove(_)) => authority.remove_old().await,
        Some(Step::TakeBack(_)) => authority.take_back().await,
        Some(Step::Forget(v1::ProxyName { namespace, name })) => match proxies.find(&namespace, &name) {
            Some(session) => Err(RotateError::Connected(session.name())),
            None => authority.forget(&namespace, &name).await,
        },
        None => return Err(Status::invalid_argument("step: missing, or of a later version")),
    };
    done.map_err(|error| match error {
        RotateError::Store(error) => store_status(error),
        RotateError::Malformed(_) | RotateError::TrustDomain(_) => Status::invalid_argument(error.to_string()),
        RotateError::Contended => Status::aborted(error.to_string()),
        RotateError::Unknown(_) => Status::not_found(error.to_string()),
        RotateError::Stage(_)
        | RotateError::Same
        | RotateError::Connected(_)
        | RotateError::NotEverywhere(_)
        | RotateError::Needed(_) => Status::failed_precondition(error.to_string()),
    })
}
