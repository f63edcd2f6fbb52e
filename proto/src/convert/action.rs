//! What a rule does with a request beside sending it on: redirects, rewrites, mirrors, retries.
//!
//! Refuses what would not make a sound URL or an honest share: host names and paths that are none, statuses that redirect
//! nobody, a denominator of 0.

use super::{ConvertError, Result, name, name_text, port, some_duration, some_micros, some_text};
use crate::v1;
use weft_model::Port;
use weft_model::names::subdomain;
use weft_model::route::{Mirror, PathRewrite, Redirect, Rewrite, RouteRetry, Scheme};

impl From<&Redirect> for v1::Redirect {
    fn from(redirect: &Redirect) -> Self {
        let scheme = match redirect.scheme {
            None => v1::Scheme::Unchanged,
            Some(Scheme::Http) => v1::Scheme::Http,
            Some(Scheme::Https) => v1::Scheme::Https,
        };
        Self {
            scheme: scheme.into(),
            hostname: redirect.hostname.clone().unwrap_or_default(),
            port: redirect.port.map_or(0, |port| port.get().into()),
            path: redirect.path.as_ref().map(Into::into),
            status: redirect.status.into(),
        }
    }
}

impl TryFrom<v1::Redirect> for Redirect {
    type Error = ConvertError;

    fn try_from(wire: v1::Redirect) -> Result<Self> {
        let scheme = match v1::Scheme::try_from(wire.scheme).map_err(|error| ConvertError::new("scheme", error))? {
            v1::Scheme::Unchanged => None,
            v1::Scheme::Http => Some(Scheme::Http),
            v1::Scheme::Https => Some(Scheme::Https),
        };
        let status = match wire.status {
            status @ (301 | 302 | 303 | 307 | 308) => status as u16,
            other => return Err(ConvertError::new("status", format!("{other} redirects nobody"))),
        };
        Ok(Self {
            scheme,
            hostname: hostname(wire.hostname)?,
            port: some_port(wire.port)?,
            path: path(wire.path)?,
            status,
        })
    }
}

impl From<&Rewrite> for v1::Rewrite {
    fn from(rewrite: &Rewrite) -> Self {
        let path = rewrite.path.as_ref().map(Into::into);
        Self { hostname: rewrite.hostname.clone().unwrap_or_default(), path }
    }
}

impl TryFrom<v1::Rewrite> for Rewrite {
    type Error = ConvertError;

    fn try_from(wire: v1::Rewrite) -> Result<Self> {
        Ok(Self { hostname: hostname(wire.hostname)?, path: path(wire.path)? })
    }
}

fn some_port(number: u32) -> Result<Option<Port>> {
    if number == 0 { Ok(None) } else { port("port", number).map(Some) }
}

fn hostname(text: String) -> Result<Option<String>> {
    let checked = some_text(text).map(|text| subdomain(&text)).transpose();
    checked.map_err(|error| ConvertError::new("hostname", error))
}

fn path(wire: Option<v1::PathRewrite>) -> Result<Option<PathRewrite>> {
    wire.map(PathRewrite::try_from).transpose().map_err(|error| error.within("path"))
}

impl From<&PathRewrite> for v1::PathRewrite {
    fn from(path: &PathRewrite) -> Self {
        let kind = match path {
            PathRewrite::Full(path) => v1::path_rewrite::Kind::Full(path.clone()),
            PathRewrite::Prefix(path) => v1::path_rewrite::Kind::Prefix(path.clone()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::PathRewrite> for PathRewrite {
    type Error = ConvertError;

    fn try_from(wire: v1::PathRewrite) -> Result<Self> {
        // What is put in place of a path becomes part of a request line: no spaces, no line ends.
        let sound = |field: &str, path: String| {
            let refused =
                || ConvertError::new(field, format!("{path:?} does not begin with '/' or is not visible ASCII"));
            let visible = path.bytes().all(|byte| byte.is_ascii_graphic());
            if path.starts_with('/') && visible { Ok(path) } else { Err(refused()) }
        };
        match wire.kind {
            Some(v1::path_rewrite::Kind::Full(path)) => sound("full", path).map(Self::Full),
            Some(v1::path_rewrite::Kind::Prefix(path)) => sound("prefix", path).map(Self::Prefix),
            None => Err(ConvertError::new("kind", "neither full nor prefix")),
        }
    }
}

impl From<&Mirror> for v1::Mirror {
    fn from(mirror: &Mirror) -> Self {
        Self {
            service: name_text(&mirror.service),
            port: mirror.port.get().into(),
            numerator: mirror.numerator,
            denominator: mirror.denominator,
            refused: mirror.refused,
        }
    }
}

impl TryFrom<v1::Mirror> for Mirror {
    type Error = ConvertError;

    fn try_from(wire: v1::Mirror) -> Result<Self> {
        if wire.denominator == 0 {
            return Err(ConvertError::new("denominator", "is 0"));
        }
        Ok(Self {
            service: name("service", &wire.service)?,
            port: port("port", wire.port)?,
            refused: wire.refused,
            numerator: wire.numerator,
            denominator: wire.denominator,
        })
    }
}

impl From<&RouteRetry> for v1::RouteRetry {
    fn from(retry: &RouteRetry) -> Self {
        let codes = |statuses: &Vec<u16>| v1::StatusCodes { codes: statuses.iter().map(|s| u32::from(*s)).collect() };
        Self {
            attempts: retry.attempts,
            statuses: retry.statuses.as_ref().map(codes),
            backoff_us: some_micros(retry.backoff),
        }
    }
}

impl TryFrom<v1::RouteRetry> for RouteRetry {
    type Error = ConvertError;

    fn try_from(wire: v1::RouteRetry) -> Result<Self> {
        let statuses = wire.statuses.map(|codes| super::statuses(&codes.codes)).transpose()?;
        Ok(Self { attempts: wire.attempts, statuses, backoff: some_duration(wire.backoff_us) })
    }
}
