//! What discovery says of the trust anchors, for people and for programs.
//!
//! Pure: an answer in, text out. Whoever is waited for is named with when the waiting ends at the latest.

use crate::print::{Table, date, plain, relative, time, width, wrapped};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::SystemTime;
use weft_model::SpiffeId;
use weft_proto::v1;

/// As much of a fingerprint tells anchors apart.
const SHORT: usize = 12;

pub fn table(state: &v1::TrustState, wide: bool, now: SystemTime) -> String {
    let mut headings = vec!["ANCHOR", "SUBJECT", "ROLE", "CERTIFICATES", "EXPIRES"];
    if wide {
        headings.extend(["NOT BEFORE", "NOT AFTER"]);
    }
    let mut table = Table::new(&headings);
    for anchor in &state.anchors {
        let print = if wide { anchor.fingerprint.as_str() } else { short(&anchor.fingerprint) };
        let count = anchor.certificates.to_string();
        let expires = relative(time(anchor.not_after), now);
        let mut row = vec![print.to_owned(), anchor.subject.clone(), role(anchor).to_owned(), count, expires];
        if wide {
            row.extend([date(anchor.not_before), date(anchor.not_after)]);
        }
        table.row(row);
    }
    let mut text = table.render();
    let _ = write!(text, "\n{}", wrapped("", &stage(state), width()));
    text.push_str(&waiting(state, now));
    text
}

pub fn value(state: &v1::TrustState) -> Value {
    let anchors = state.anchors.iter().map(|anchor| {
        json!({
            "fingerprint": anchor.fingerprint,
            "subject": anchor.subject,
            "role": role(anchor),
            "certificates": anchor.certificates,
            "notBefore": date(anchor.not_before),
            "notAfter": date(anchor.not_after),
        })
    });
    let waiting = state.waiting.iter().map(crate::get::certificate);
    json!({
        "stage": word(state.stage()),
        "takenBack": state.taken_back,
        "anchors": anchors.collect::<Vec<_>>(),
        "waitingFor": waiting.collect::<Vec<_>>(),
    })
}

/// What the stage means.
pub fn stage(state: &v1::TrustState) -> String {
    match state.stage() {
        v1::TrustStage::Rest => "No rotation is under way.".to_owned(),
        v1::TrustStage::Adding => match state.waiting.len() {
            0 => "A new anchor is trusted everywhere; the next step issues certificates under it.".to_owned(),
            n => format!("A new anchor is being trusted; {n} do not trust it yet:"),
        },
        v1::TrustStage::Issuing if state.taken_back => match state.waiting.len() {
            0 => "The rotation is being taken back, and nobody needs the new anchor; the next step removes it."
                .to_owned(),
            n => format!("The rotation is being taken back; {n} still need the new anchor:"),
        },
        v1::TrustStage::Issuing => match state.waiting.len() {
            0 => "Nobody needs the old anchor any more; the next step removes it.".to_owned(),
            n => format!("Certificates are issued under the new anchor; {n} still need the old one:"),
        },
    }
}

/// A line for each that is waited for.
pub fn waiting(state: &v1::TrustState, now: SystemTime) -> String {
    state.waiting.iter().map(|certificate| wrapped("  ", &one(certificate, now), width())).collect()
}

fn one(certificate: &v1::Certificate, now: SystemTime) -> String {
    let namespace = certificate.identity.parse().map(|id: SpiffeId| id.namespace).unwrap_or_default();
    let said = if certificate.confirmed { "" } else { ", has never said what it uses" };
    let proxy = plain(&certificate.proxy);
    format!("{namespace}/{proxy} (its certificate ends {}{said})", relative(time(certificate.not_after), now))
}

pub fn word(stage: v1::TrustStage) -> &'static str {
    match stage {
        v1::TrustStage::Rest => "rest",
        v1::TrustStage::Adding => "adding",
        v1::TrustStage::Issuing => "issuing",
    }
}

fn role(anchor: &v1::TrustAnchor) -> &'static str {
    match anchor.role() {
        v1::TrustRole::Trusted => "trusted",
        v1::TrustRole::Issuing => "issuing",
        v1::TrustRole::Coming => "coming",
        v1::TrustRole::Leaving => "leaving",
    }
}

pub fn short(fingerprint: &str) -> &str {
    fingerprint.get(..SHORT).unwrap_or(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_says_whom_it_waits_for() {
        let anchor = |print: &str, role: v1::TrustRole, certificates| v1::TrustAnchor {
            fingerprint: print.repeat(32),
            subject: "O=Weft, CN=root.weft.local".to_owned(),
            not_before: 0,
            not_after: 90_000,
            role: role.into(),
            certificates,
        };
        let waiting = v1::Certificate {
            identity: "spiffe://weft.local/ns/shop/sa/cart".to_owned(),
            proxy: "cart-0".to_owned(),
            not_after: 7_200,
            confirmed: true,
            ..Default::default()
        };
        let state = v1::TrustState {
            stage: v1::TrustStage::Issuing.into(),
            anchors: vec![anchor("ab", v1::TrustRole::Issuing, 3), anchor("cd", v1::TrustRole::Leaving, 1)],
            waiting: vec![waiting],
            taken_back: false,
        };
        let text = table(&state, false, time(3_600));
        assert!(text.contains("abababababab  O=Weft, CN=root.weft.local  issuing  3             in 1d"), "{text}");
        assert!(text.ends_with("1 still need the old one:\n  shop/cart-0 (its certificate ends in 1h)\n"), "{text}");
        let value = value(&state);
        assert_eq!(value["stage"], "issuing");
        assert_eq!(value["waitingFor"][0]["proxy"], "cart-0");
        let back = stage(&v1::TrustState { taken_back: true, ..state });
        assert_eq!(back, "The rotation is being taken back; 1 still need the new anchor:");
        let rest = stage(&v1::TrustState::default());
        assert_eq!(rest, "No rotation is under way.");
    }
}
