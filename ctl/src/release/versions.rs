//! From which version of the mesh to which it may be upgraded in one step, and in which state a release can be changed.
//!
//! Pure. Sidecars of the version before work with a control plane of the next: that is what is tested, and nothing further apart.

use semver::Version;

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "{from} is installed and this weftctl brings {to}, which is older: use the weftctl of the version that is to run"
    )]
    Older { from: String, to: String },
    #[error(
        "{from} is installed and this weftctl brings {to}: upgrade one minor version at a time, with the weftctl of each"
    )]
    TooFar { from: String, to: String },
    #[error("{0:?} is installed, which is no version that weftctl knows how to upgrade")]
    Unknown(String),
    #[error(
        "an operation on the release has not ended (it is {status}): another helm is at work, or was interrupted; {advice}"
    )]
    Pending { status: String, advice: &'static str },
}

impl Refusal {
    /// Whether `--force` is of any use.
    pub fn can_be_forced(&self) -> bool {
        !matches!(self, Self::Pending { .. })
    }
}

/// From the version that is installed to the one that comes.
pub fn step(from: &str, to: &str) -> Result<(), Refusal> {
    let (Ok(old), Ok(new)) = (Version::parse(from), Version::parse(to)) else {
        return Err(Refusal::Unknown(from.to_owned()));
    };
    let told = || (from.to_owned(), to.to_owned());
    let older = |(from, to)| Err(Refusal::Older { from, to });
    if (new.major, new.minor) < (old.major, old.minor) {
        return older(told());
    }
    let next = new.major == old.major && new.minor <= old.minor + 1;
    // What is called 1.0 follows the last of 0.
    let first = new.major == old.major + 1 && new.minor == 0;
    match next || first {
        true => Ok(()),
        false => {
            let (from, to) = told();
            Err(Refusal::TooFar { from, to })
        }
    }
}

/// Whether a release of this status can be upgraded.
pub fn settled(status: &str) -> Result<(), Refusal> {
    let pending = |advice| Err(Refusal::Pending { status: status.to_owned(), advice });
    match status {
        "pending-install" => pending("if nobody is, `weftctl uninstall` takes away what there is of it"),
        "pending-upgrade" | "pending-rollback" => pending("if nobody is, `helm rollback` makes an end of it"),
        "uninstalling" => pending("`weftctl uninstall` finishes that"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_at_a_time_and_never_back() {
        for (from, to) in [
            ("0.1.0", "0.1.0"),
            ("0.1.3", "0.1.0"),
            ("0.1.0", "0.2.5"),
            ("0.9.1", "1.0.0"),
            ("1.3.0", "1.4.0-rc.1"),
            ("1.7.2", "2.0.1"),
        ] {
            assert_eq!(step(from, to), Ok(()), "{from} to {to}");
        }
        for (from, to, words) in [
            ("0.2.0", "0.1.9", "older"),
            ("1.0.0", "0.9.0", "older"),
            ("0.1.0", "0.3.0", "one minor version at a time"),
            ("0.9.0", "1.1.0", "one minor version at a time"),
            ("0.9.0", "2.0.0", "one minor version at a time"),
            ("main", "0.1.0", "\"main\" is installed"),
        ] {
            let refusal = step(from, to).unwrap_err();
            assert!(refusal.to_string().contains(words) && refusal.can_be_forced(), "{from} to {to}: {refusal}");
        }
    }

    #[test]
    fn a_release_that_somebody_is_at_is_left_alone() {
        for status in ["deployed", "failed", "superseded", "unknown"] {
            assert_eq!(settled(status), Ok(()), "{status}");
        }
        for (status, words) in [
            ("pending-install", "weftctl uninstall"),
            ("pending-upgrade", "helm rollback"),
            ("uninstalling", "finishes"),
        ] {
            let refusal = settled(status).unwrap_err();
            assert!(refusal.to_string().contains(words) && !refusal.can_be_forced(), "{refusal}");
        }
    }
}
