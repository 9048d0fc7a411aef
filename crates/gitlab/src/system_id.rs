//! System ids: one runner (one token) may run on many machines, and GitLab tells them apart by
//! their system id.

use std::fmt;

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// Characters after `s_` or `r_`.
const LENGTH: usize = 12;

/// The machine of a runner: `s_` and twelve characters derived from the machine's id, or `r_` and
/// twelve random ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SystemId(String);

impl SystemId {
    /// Derives the id from a machine id (the content of `/etc/machine-id`).
    ///
    /// The machine id itself is confidential (machine-id(5)): only a hash of it leaves the host.
    pub fn of_machine(machine_id: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"onspot\0");
        hash.update(machine_id.trim().as_bytes());
        let digits = hex::encode(hash.finalize());
        Self(format!("s_{}", &digits[..LENGTH]))
    }

    /// Creates an id for a machine without a machine id.
    pub fn random() -> Self {
        let id: String = rand::rng()
            .sample_iter(Alphanumeric)
            .take(LENGTH)
            .map(char::from)
            .collect();
        Self(format!("r_{id}"))
    }

    /// The id of this machine, or a random one if it has no machine id.
    pub fn of_this_host() -> Self {
        match std::fs::read_to_string("/etc/machine-id") {
            Ok(id) if !id.trim().is_empty() => Self::of_machine(&id),
            _ => Self::random(),
        }
    }

    /// Parses a stored id.
    ///
    /// # Errors
    /// [`Error::SystemId`] unless it is `s_` or `r_` and twelve letters or digits.
    pub fn parse(id: &str) -> Result<Self, Error> {
        let valid = id
            .strip_prefix("s_")
            .or_else(|| id.strip_prefix("r_"))
            .is_some_and(|rest| {
                rest.len() == LENGTH && rest.bytes().all(|b| b.is_ascii_alphanumeric())
            });
        if valid {
            Ok(Self(id.to_owned()))
        } else {
            Err(Error::SystemId(id.to_owned()))
        }
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SystemId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self, Error> {
        Self::parse(&id)
    }
}

impl From<SystemId> for String {
    fn from(id: SystemId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_gitlab_wants() {
        for id in [
            SystemId::random(),
            SystemId::of_machine("b08dfa6083e7567a1921a715000001fb\n"),
        ] {
            assert_eq!(SystemId::parse(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn a_machine_keeps_its_id_and_does_not_show_it() {
        let id = SystemId::of_machine("b08dfa6083e7567a1921a715000001fb\n");
        assert_eq!(id, SystemId::of_machine("b08dfa6083e7567a1921a715000001fb"));
        assert_ne!(id, SystemId::of_machine("c08dfa6083e7567a1921a715000001fb"));
        assert!(!id.as_str().contains("b08dfa60"));
    }

    #[test]
    fn other_forms_are_refused() {
        for id in [
            "",
            "s_",
            "x_abcdefghijkl",
            "s_abcdefghijk",
            "s_abcdefghijklm",
            "r_abcdefghij-l",
        ] {
            assert!(SystemId::parse(id).is_err(), "{id}");
        }
    }
}
