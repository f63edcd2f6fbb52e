//! The kinds of objects, by the words people use for them.
//!
//! Read from command lines and from documents. An unknown word is an error that lists the known ones.

use std::fmt;
use std::str::FromStr;

/// A kind that documents describe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Services,
    Endpoints,
    Routes,
    GrpcRoutes,
    Grants,
    Policies,
    Authorizations,
    Namespaces,
}

impl Kind {
    /// The word the admin API knows it by.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Endpoints => "endpoints",
            Self::Routes => "routes",
            Self::GrpcRoutes => "grpcroutes",
            Self::Grants => "referencegrants",
            Self::Policies => "policies",
            Self::Authorizations => "authorizationpolicies",
            Self::Namespaces => "namespacepolicies",
        }
    }
}

/// As documents write it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Services => "Service",
            Self::Endpoints => "Endpoint",
            Self::Routes => "HTTPRoute",
            Self::GrpcRoutes => "GRPCRoute",
            Self::Grants => "ReferenceGrant",
            Self::Policies => "TrafficPolicy",
            Self::Authorizations => "AuthorizationPolicy",
            Self::Namespaces => "NamespacePolicy",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    /// Plural, singular, short form or a document's `kind`, in any case.
    fn from_str(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "services" | "service" | "svc" => Ok(Self::Services),
            "endpoints" | "endpoint" | "ep" => Ok(Self::Endpoints),
            "routes" | "route" | "httproutes" | "httproute" => Ok(Self::Routes),
            "grpcroutes" | "grpcroute" => Ok(Self::GrpcRoutes),
            "referencegrants" | "referencegrant" | "grants" | "grant" => Ok(Self::Grants),
            "policies" | "policy" | "trafficpolicies" | "trafficpolicy" => Ok(Self::Policies),
            "authorizationpolicies" | "authorizationpolicy" | "authz" => Ok(Self::Authorizations),
            "namespacepolicies" | "namespacepolicy" => Ok(Self::Namespaces),
            _ => Err("known kinds are services, endpoints, routes, grpcroutes, referencegrants, policies, \
                      authorizationpolicies, namespacepolicies"
                .to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_kind_leads_to_it() {
        let kinds = [Kind::Services, Kind::Endpoints, Kind::Routes, Kind::GrpcRoutes, Kind::Grants, Kind::Policies];
        for kind in kinds.into_iter().chain([Kind::Authorizations, Kind::Namespaces]) {
            assert_eq!(kind.plural().parse(), Ok(kind));
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gadgets".parse::<Kind>().unwrap_err().contains("services"));
    }
}
