//! What a backend says of its own load: ORCA reports in the fields of an answer, in each of their forms.
//!
//! `endpoint-load-metrics` as `TEXT`, `JSON` or `BIN` (Envoy), `endpoint-load-metrics-bin` (gRPC proposal A51). Backends are not
//! trusted: a report that is too long, malformed or not a number is `None`, and counts for nothing.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message;
use serde::Deserialize;

/// The fields that carry reports.
pub const FIELDS: [&str; 2] = ["endpoint-load-metrics", "endpoint-load-metrics-bin"];

/// A longer one is not read.
const LONGEST: usize = 4096;
/// gRPC leaves the padding out, others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The part of `xds.data.orca.v3.OrcaLoadReport` that balancing reads.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
pub struct Report {
    /// 1 is one machine's worth.
    #[prost(double, tag = "1")]
    #[serde(alias = "cpuUtilization")]
    pub cpu_utilization: f64,
    /// Requests per second.
    #[prost(double, tag = "6")]
    #[serde(alias = "rpsFractional")]
    pub rps_fractional: f64,
    /// Failures per second.
    #[prost(double, tag = "7")]
    pub eps: f64,
    /// As the application defines it; counts in place of the CPU's if it is there.
    #[prost(double, tag = "9")]
    #[serde(alias = "applicationUtilization")]
    pub application_utilization: f64,
}

impl Report {
    /// The `value` of the field called `name`.
    ///
    /// ```
    /// # use weft_proxy::balance::orca::Report;
    /// let report = Report::parse("endpoint-load-metrics", b"TEXT cpu_utilization=0.25,rps_fractional=100").unwrap();
    /// assert_eq!(report.capacity(100), Some(400.0)); // requests per second when fully busy
    /// ```
    pub fn parse(name: &str, value: &[u8]) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        let report = match name {
            "endpoint-load-metrics-bin" => Self::binary(value),
            _ => match value.split_at_checked(5)? {
                (b"TEXT ", text) => Self::text(std::str::from_utf8(text).ok()?),
                (b"JSON ", json) => serde_json::from_slice(json).ok(),
                (b"BIN ", _) => None,
                _ => Self::binary(value.strip_prefix(b"BIN ")?),
            },
        }?;
        let numbers = [report.cpu_utilization, report.rps_fractional, report.eps, report.application_utilization];
        numbers.iter().all(|number| number.is_finite() && *number >= 0.0).then_some(report)
    }

    fn binary(base64: &[u8]) -> Option<Self> {
        Self::decode(BASE64.decode(base64).ok()?.as_slice()).ok()
    }

    /// `name=number` with commas between them.
    fn text(text: &str) -> Option<Self> {
        let mut report = Self::default();
        for pair in text.split(',') {
            let (name, value) = pair.split_once('=')?;
            let value: f64 = value.trim().parse().ok()?;
            match name.trim() {
                "cpu_utilization" => report.cpu_utilization = value,
                "application_utilization" => report.application_utilization = value,
                "rps_fractional" => report.rps_fractional = value,
                "eps" => report.eps = value,
                // Memory, costs of requests, metrics that have names: for others.
                _ => {}
            }
        }
        Some(report)
    }

    /// How many requests per second it would serve when fully busy, failures counted as `error_penalty_percent` says;
    /// `None` if it does not say how busy it is (gRPC proposal A58).
    pub fn capacity(&self, error_penalty_percent: u32) -> Option<f64> {
        let utilization = match self.application_utilization {
            0.0 => self.cpu_utilization,
            own => own,
        };
        if utilization <= 0.0 || self.rps_fractional <= 0.0 {
            return None;
        }
        let penalty = self.eps / self.rps_fractional * f64::from(error_penalty_percent) / 100.0;
        Some(self.rps_fractional / (utilization + penalty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report() -> Report {
        Report { cpu_utilization: 0.3, rps_fractional: 120.5, eps: 2.0, application_utilization: 0.6 }
    }

    #[test]
    fn every_form_says_the_same() {
        let base64 = BASE64.encode(report().encode_to_vec());
        for (name, value) in [
            (
                FIELDS[0],
                "TEXT cpu_utilization=0.3,application_utilization=0.6, eps=2,rps_fractional=120.5,mem_utilization=0.9,\
                 named_metrics.queue=7"
                    .to_owned(),
            ),
            (
                FIELDS[0],
                r#"JSON {"cpu_utilization": 0.3, "application_utilization": 0.6, "eps": 2, "rps_fractional": 120.5, "named_metrics": {"a": 1}}"#
                    .to_owned(),
            ),
            (
                FIELDS[0],
                r#"JSON {"cpuUtilization": 0.3, "applicationUtilization": 0.6, "eps": 2, "rpsFractional": 120.5}"#.to_owned(),
            ),
            (FIELDS[0], format!("BIN {base64}")),
            (FIELDS[1], base64.trim_end_matches('=').to_owned()),
            (FIELDS[1], base64.clone()),
        ] {
            assert_eq!(Report::parse(name, value.as_bytes()), Some(report()), "{name}: {value}");
        }
    }

    #[test]
    fn what_is_malformed_counts_for_nothing() {
        let long = format!("TEXT {}", "a=1,".repeat(2000));
        for value in [
            "",
            "TEXT",
            "TEXT ",
            "TEXT cpu_utilization",
            "TEXT cpu_utilization=x",
            "TEXT cpu_utilization=-1",
            "TEXT cpu_utilization=inf",
            "TEXT cpu_utilization=NaN",
            "JSON ",
            "JSON []",
            "JSON {\"eps\": \"x\"}",
            "JSON {\"eps\": 1e999}",
            "BIN ",
            "BIN !!!!",
            "XML <a/>",
            "cpu_utilization=0.3",
            &long,
        ] {
            // An empty message is a report of nothing.
            let nothing = Report::parse(FIELDS[0], value.as_bytes()).is_none_or(|r| r.capacity(100).is_none());
            assert!(nothing, "{value:?}");
        }
    }

    #[test]
    fn the_weight_is_that_of_a58() {
        let capacity = |report: Report| report.capacity(100);
        assert_eq!(capacity(report()), Some(120.5 / (0.6 + 2.0 / 120.5)));
        assert_eq!(capacity(Report { application_utilization: 0.0, eps: 0.0, ..report() }), Some(120.5 / 0.3));
        assert_eq!(report().capacity(0), Some(120.5 / 0.6));
        assert_eq!(capacity(Report { rps_fractional: 0.0, ..report() }), None);
        assert_eq!(capacity(Report { application_utilization: 0.0, cpu_utilization: 0.0, ..report() }), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_sound_report_or_none(value in prop::collection::vec(any::<u8>(), 0..64), form in 0usize..4) {
            let value = [[&b"TEXT "[..], b"JSON ", b"BIN ", b""][form], &value].concat();
            for name in FIELDS {
                if let Some(report) = Report::parse(name, &value) {
                    prop_assert!(report.capacity(100).is_none_or(|capacity| capacity > 0.0));
                }
            }
        }
    }
}
