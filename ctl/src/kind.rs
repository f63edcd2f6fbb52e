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
    /// Of both kinds.
    Routes,
    HttpRoutes,
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
            Self::HttpRoutes => "httproutes",
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
            Self::Routes => "Route",
            Self::HttpRoutes => "HTTPRoute",
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
            "routes" | "route" => Ok(Self::Routes),
            "httproutes" | "httproute" => Ok(Self::HttpRoutes),
            "grpcroutes" | "grpcroute" => Ok(Self::GrpcRoutes),
            "referencegrants" | "referencegrant" | "grants" | "grant" => Ok(Self::Grants),
            "policies" | "policy" | "trafficpolicies" | "trafficpolicy" => Ok(Self::Policies),
            "authorizationpolicies" | "authorizationpolicy" | "authz" => Ok(Self::Authorizations),
            "namespacepolicies" | "namespacepolicy" => Ok(Self::Namespaces),
            _ => {
                Err("known kinds are services, endpoints, routes, httproutes, grpcroutes, referencegrants, policies, \
                      authorizationpolicies, namespacepolicies"
                    .to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_kind_leads_to_it() {
        let routes = [Kind::Routes, Kind::HttpRoutes, Kind::GrpcRoutes];
        let others =
            [Kind::Services, Kind::Endpoints, Kind::Grants, Kind::Policies, Kind::Authorizations, Kind::Namespaces];
        for kind in routes.into_iter().chain(others) {
            assert_eq!(kind.plural().parse(), Ok(kind));
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("gadgets".parse::<Kind>().unwrap_err().contains("services"));
    }
}
