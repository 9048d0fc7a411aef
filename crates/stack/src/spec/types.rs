//! The words that `onspot.toml` chooses from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How private subnets reach the internet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// By a NAT gateway: AWS looks after it; about 33 dollars a month and its traffic.
    #[default]
    Gateway,
    /// Not at all: managers and workers are in the public subnets, with no inbound rule from outside.
    None,
}

impl From<Nat> for onspot_netplan::Nat {
    fn from(nat: Nat) -> Self {
        match nat {
            Nat::Gateway => Self::Gateway,
            Nat::None => Self::None,
        }
    }
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// For every job.
    #[default]
    Always,
    /// When the worker does not have them.
    IfNotPresent,
    /// Never.
    Never,
}

impl From<PullPolicy> for onspot_settings::PullPolicy {
    fn from(policy: PullPolicy) -> Self {
        match policy {
            PullPolicy::Always => Self::Always,
            PullPolicy::IfNotPresent => Self::IfNotPresent,
            PullPolicy::Never => Self::Never,
        }
    }
}
