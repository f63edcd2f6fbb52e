//! Amounts of CPU and memory as Kubernetes writes them (`100m`, `64Mi`, `1e3`), checked and compared.
//!
//! The text is kept as it was written, because that is what goes into the pod. Fails saying what is not understood; amounts
//! that the kubelet would round to nothing are refused.

use std::str::FromStr;

/// A positive amount.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantity {
    text: String,
    value: f64,
}

/// Suffixes and what they stand for (apimachinery's `resource.Quantity`).
const SUFFIXES: [(&str, f64); 15] = [
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("", 1.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("Ki", 1024.0),
    ("Mi", 1048576.0),
    ("Gi", 1073741824.0),
    ("Ti", 1099511627776.0),
    ("Pi", 1125899906842624.0),
];

impl Quantity {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is more than `other`.
    pub fn exceeds(&self, other: &Self) -> bool {
        self.value > other.value
    }

    /// CPU in cores: a thousandth at least.
    pub fn cpu(text: &str) -> Result<Self, String> {
        Self::at_least(text, 1e-3, "1m")
    }

    /// Memory in bytes: a mebibyte at least, or the sidecar could not even start.
    pub fn memory(text: &str) -> Result<Self, String> {
        Self::at_least(text, 1048576.0, "1Mi")
    }

    fn at_least(text: &str, least: f64, named: &str) -> Result<Self, String> {
        let quantity: Self = text.parse()?;
        if quantity.value < least { Err(format!("{text:?} is less than {named}")) } else { Ok(quantity) }
    }
}

impl FromStr for Quantity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not an amount such as 100m, 0.5 or 64Mi");
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| refused())?;
        let exponent = || suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok().filter(|e| (-18..=18).contains(e));
        let factor = SUFFIXES.iter().find(|(known, _)| *known == suffix).map(|(_, factor)| *factor);
        let factor = factor.or_else(|| exponent().map(|e| 10f64.powi(e))).ok_or_else(refused)?;
        Ok(Self { text: text.to_owned(), value: number * factor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        let cases = [("100m", 0.1), ("2", 2.0), ("0.5", 0.5), ("64Mi", 67_108_864.0), ("1e3", 1000.0), ("1E", 1e18)];
        for (text, value) in cases {
            assert_eq!(text.parse::<Quantity>().unwrap().value, value, "{text}");
        }
        for bad in ["", "m", "64MB", "-1", "+1", "1 Gi", "1.2.3", "0x10", "1ee3", "Mi64", "1e99"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn too_little_is_nothing() {
        assert!(Quantity::cpu("0").is_err() && Quantity::cpu("100u").is_err() && Quantity::cpu("1m").is_ok());
        assert!(Quantity::memory("64").is_err() && Quantity::memory("64m").is_err() && Quantity::memory("1Mi").is_ok());
    }

    #[test]
    fn amounts_compare_across_suffixes() {
        let of = |text: &str| text.parse::<Quantity>().unwrap();
        assert!(of("1").exceeds(&of("999m")) && of("1Gi").exceeds(&of("1G")) && !of("1000m").exceeds(&of("1")));
    }
}
