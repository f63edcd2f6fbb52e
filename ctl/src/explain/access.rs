//! What the other end says: asks the proxy of the first endpoint of each way whether it would let the request in, and what it limits.
//!
//! The second half of `weftctl explain`. Never fails: what cannot be found out is said in the answer, and the first half stays
//! as good as it is.

use crate::connect::Discovery;
use std::net::IpAddr;
use weft_model::Protocol;
use weft_model::explain::access::{Access, Arrival, Limited, Ruling};
use weft_model::explain::{Asked, Candidate, Explanation, Imagined, Outcome, Standing, Way};

/// What proxies call these questions.
const TOPIC: &str = "authorize";
const LIMITS: &str = "limits";

/// Adds what the endpoints' proxies say to each way, and to the outcome if none of them lets the request in.
pub async fn add(request: &Imagined, explanation: &mut Explanation, discovery: &Discovery) {
    let Explanation { from, service, ways, outcome, .. } = explanation;
    let opaque = matches!(service.protocol, Protocol::Tcp | Protocol::Tls);
    for way in ways.iter_mut().filter(|way| way.refused.is_none()) {
        let all = way.tries.iter().flat_map(|tries| &tries.endpoints);
        let Some(first) = all.into_iter().find(|endpoint| endpoint.standing == Standing::Candidate) else { continue };
        let (ruling, limits) = match arrival(from, first, request.sent(way), opaque) {
            Ok(arrival) => (rule(&arrival, discovery).await, limits(&arrival, discovery).await),
            Err(ruling) => (ruling, None),
        };
        way.access = Some(Access { endpoint: first.id.clone(), ruling, limits });
    }
    if *outcome == Outcome::Forwarded
        && let Some(refused) = refused(ways)
    {
        *outcome = refused;
    }
}

/// What reaches `endpoint`; or what is known without asking there.
fn arrival(from: &Asked, endpoint: &Candidate, request: Imagined, opaque: bool) -> Result<Arrival, Ruling> {
    let Some(expected) = &endpoint.identity else { return Err(Ruling::NoSidecar) };
    let unknown = |why: &str| Ruling::Unknown(why.to_owned());
    let identity = from.identity.clone().ok_or_else(|| unknown("the proxy asked is too old to say who it is"))?;
    let to = endpoint.address.ok_or_else(|| unknown("the endpoint has no address"))?;
    let alike = |own: &&IpAddr| own.is_ipv4() == to.is_ipv4();
    let address = from.addresses.iter().find(alike);
    let address = *address.ok_or_else(|| unknown("the proxy asked has no address of the endpoint's family"))?;
    let at = format!("{}/{}", expected.namespace, endpoint.id);
    Ok(Arrival { at, identity, address, port: to.port(), opaque, request })
}

async fn rule(arrival: &Arrival, discovery: &Discovery) -> Ruling {
    let asked = async {
        let json = serde_json::to_string(arrival)?;
        match discovery.ask_proxy(&arrival.at, TOPIC, json).await? {
            Some(answer) => Ok::<_, anyhow::Error>(serde_json::from_str(&answer)?),
            None => anyhow::bail!("proxy {} is not connected to the replicas asked", arrival.at),
        }
    };
    asked.await.unwrap_or_else(|why| Ruling::Unknown(why.to_string()))
}

/// `None`: a proxy that is older, or not there; the ruling says which.
async fn limits(arrival: &Arrival, discovery: &Discovery) -> Option<Limited> {
    let json = serde_json::to_string(arrival).ok()?;
    let answer = discovery.ask_proxy(&arrival.at, LIMITS, json).await.ok()??;
    serde_json::from_str(&answer).ok()
}

/// Refused wherever the request goes, and at least once by an endpoint's proxy that answers.
fn refused(ways: &[Way]) -> Option<Outcome> {
    let answer = |way: &Way| match way.access.as_ref().map(|access| &access.ruling) {
        Some(Ruling::Refused { answer, .. }) => answer.clone(),
        _ => None,
    };
    let all = ways.iter().all(|way| way.refused.is_some() || answer(way).is_some());
    all.then(|| ways.iter().find_map(answer)).flatten().map(Outcome::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(identity: Option<&str>, addresses: &[&str]) -> Asked {
        serde_json::from_value(json!({"proxy": "cart-0", "namespace": "shop", "revision": 7, "connected": true,
            "workers": 1, "identity": identity, "addresses": addresses}))
        .unwrap()
    }

    fn endpoint(identity: Option<&str>, address: Option<&str>) -> Candidate {
        let none = json!({"secs": 0, "nanos": 0});
        serde_json::from_value(json!({"id": "search-0", "address": address, "state": "ready", "weight": 1,
            "identity": identity, "in_flight": 0, "latency": none, "penalty": none, "standing": "candidate"}))
        .unwrap()
    }

    fn request() -> Imagined {
        let json = json!({"method": "GET", "host": "a", "port": 80, "path": "/", "query": "", "headers": []});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_other_end_is_asked_as_the_connection_would_reach_it() {
        let (cart, search) = ("spiffe://weft.local/ns/shop/sa/cart", "spiffe://weft.local/ns/find/sa/search");
        let to = endpoint(Some(search), Some("[fd00::2]:8080"));
        let arrival = |from: &Asked, to: &Candidate| super::arrival(from, to, request(), false);
        let arrived = arrival(&asked(Some(cart), &["10.0.0.1", "fd00::1"]), &to).unwrap();
        assert_eq!((&*arrived.at, arrived.port, arrived.opaque), ("find/search-0", 8080, false));
        assert_eq!(
            (arrived.identity.to_string(), arrived.address.to_string()),
            (cart.to_owned(), "fd00::1".to_owned())
        );
        let plain = endpoint(None, Some("10.0.0.2:8080"));
        assert_eq!(arrival(&asked(Some(cart), &["10.0.0.1"]), &plain), Err(Ruling::NoSidecar));
        for (from, to) in [
            (asked(None, &["fd00::1"]), to.clone()),
            (asked(Some(cart), &["10.0.0.1"]), to),
            (asked(Some(cart), &["10.0.0.1"]), endpoint(Some(search), None)),
        ] {
            assert!(matches!(arrival(&from, &to), Err(Ruling::Unknown(_))));
        }
    }

    #[test]
    fn the_outcome_is_a_refusal_only_if_nobody_lets_it_in() {
        let refusal = json!({"status": 403, "reason": "denied-by=shop/x", "text": "denied"});
        let way = |refused: Option<&serde_json::Value>, ruling: serde_json::Value| -> Way {
            serde_json::from_value(
                json!({"service": {"namespace": "shop", "name": "search"}, "port": 80, "share": 50.0,
                "refused": refused, "access": {"endpoint": "search-0", "ruling": ruling}}),
            )
            .unwrap()
        };
        let denied = || way(None, json!({"refused": {"policy": "shop/x", "answer": refusal}}));
        let nobody = way(Some(&refusal), json!("open"));
        let wanted = serde_json::from_value(json!({"refused": refusal})).unwrap();
        assert_eq!(refused(&[denied(), nobody.clone()]), Some(wanted));
        for others in [vec![denied(), way(None, json!("open"))], vec![nobody], vec![]] {
            assert_eq!(refused(&others), None);
        }
    }
}
