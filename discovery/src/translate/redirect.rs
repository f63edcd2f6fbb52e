//! Filters that send a request elsewhere: redirects, URL rewrites and mirrors.
//!
//! Host names and paths are checked here, because they become part of request lines and of `location` fields. Replacing a
//! prefix needs a rule that has exactly one match, by path prefix, as the Gateway API's schema says.

use super::fault::Faults;
use super::spec::{MirrorSpec, PathModifier, PathModifierType, RedirectSpec, RewriteSpec, SchemeSpec};
use super::{field, matching, reference};
use weft_model::route::{Mirror, PathRewrite, Redirect, Rewrite, Scheme};

/// The status of a redirect that names none.
const FOUND: u16 = 302;

pub fn redirect(spec: RedirectSpec, prefix: bool, at: &str, faults: &mut Faults) -> Option<Redirect> {
    let scheme = spec.scheme.map(|scheme| match scheme {
        SchemeSpec::Http => Scheme::Http,
        SchemeSpec::Https => Scheme::Https,
    });
    let status = match spec.status_code {
        None => Some(FOUND),
        Some(code @ (301 | 302 | 303 | 307 | 308)) => u16::try_from(code).ok(),
        Some(other) => {
            faults.add(format!("{at}.statusCode"), format_args!("{other} is not 301, 302, 303, 307 or 308"));
            None
        }
    };
    Some(Redirect {
        scheme,
        hostname: hostname(spec.hostname, at, faults),
        port: spec.port.and_then(|number| field::port(number, format!("{at}.port"), faults)),
        path: path(spec.path, prefix, at, faults),
        status: status?,
    })
}

pub fn rewrite(spec: RewriteSpec, prefix: bool, at: &str, faults: &mut Faults) -> Rewrite {
    Rewrite { hostname: hostname(spec.hostname, at, faults), path: path(spec.path, prefix, at, faults) }
}

/// A mirror of a route in `namespace`.
pub fn mirror(namespace: &str, spec: MirrorSpec, at: &str, faults: &mut Faults) -> Option<Mirror> {
    let ref_at = format!("{at}.backendRef");
    field::unsupported(
        &spec.backend_ref.weight,
        format!("{ref_at}.weight"),
        "a mirror has percent or fraction",
        faults,
    );
    field::unsupported(&spec.backend_ref.filters, format!("{ref_at}.filters"), "a copy is sent as it is", faults);
    let backend = reference::backend(namespace, &spec.backend_ref, &ref_at, faults);
    if spec.percent.is_some() && spec.fraction.is_some() {
        faults.add(format!("{at}.fraction"), "stands beside percent: give one of them");
    }
    let (numerator, denominator) = match (spec.percent, spec.fraction) {
        (Some(percent), _) => (field::number(percent, 0, 100, format!("{at}.percent"), faults), Some(100)),
        (None, None) => (Some(1), Some(1)),
        (None, Some(fraction)) => {
            let at = format!("{at}.fraction");
            let below = fraction.denominator.unwrap_or(100);
            let denominator = field::number(below, 1, i32::MAX.into(), format!("{at}.denominator"), faults);
            let numerator = field::number(fraction.numerator, 0, below.max(1), format!("{at}.numerator"), faults);
            (numerator, denominator)
        }
    };
    let (service, port) = backend?;
    Some(Mirror { service, port, refused: false, numerator: numerator?, denominator: denominator? })
}

fn hostname(given: Option<String>, at: &str, faults: &mut Faults) -> Option<String> {
    field::subdomain(&given?, format!("{at}.hostname"), faults)
}

fn path(given: Option<PathModifier>, prefix: bool, at: &str, faults: &mut Faults) -> Option<PathRewrite> {
    let given = given?;
    let at = format!("{at}.path");
    let (name, value, other) = match given.r#type {
        PathModifierType::ReplaceFullPath => ("replaceFullPath", given.replace_full_path, given.replace_prefix_match),
        PathModifierType::ReplacePrefixMatch => {
            ("replacePrefixMatch", given.replace_prefix_match, given.replace_full_path)
        }
    };
    if other.is_some() {
        faults.add(&at, format_args!("has the field of another type than its own, {name}"));
    }
    let value_at = format!("{at}.{name}");
    let Some(value) = value else {
        faults.add(value_at, "missing, although the type asks for it");
        return None;
    };
    match given.r#type {
        PathModifierType::ReplaceFullPath => matching::path(value, value_at, faults).map(PathRewrite::Full),
        PathModifierType::ReplacePrefixMatch if !prefix => {
            faults.add(
                at,
                "ReplacePrefixMatch needs a rule with exactly one match, which names a path of type PathPrefix",
            );
            None
        }
        // An empty text takes the prefix away.
        PathModifierType::ReplacePrefixMatch if value.is_empty() => Some(PathRewrite::Prefix("/".to_owned())),
        PathModifierType::ReplacePrefixMatch => matching::path(value, value_at, faults).map(PathRewrite::Prefix),
    }
}
