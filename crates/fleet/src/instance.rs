//! Instances as EC2 shows them, and the pools that they come from.

use std::fmt;

use jiff::Timestamp;
use onspot_settings::Lifecycle;
use serde::{Deserialize, Serialize};

/// EC2's id of an instance, for example `i-0a1b2c3d4e5f60718`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// The id as EC2 writes it.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as EC2 writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for InstanceId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

/// A source of capacity. Each pool can run dry independently of the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pool {
    /// For example `m6i.large`.
    pub instance_type: String,
    /// For example `eu-west-1a`.
    pub zone: String,
    /// How it is paid for.
    pub lifecycle: Lifecycle,
}

/// Stands for the part of a pool that AWS did not name.
pub(crate) const UNKNOWN: &str = "?";

impl Pool {
    /// A pool of which only the lifecycle is known.
    pub fn unknown(lifecycle: Lifecycle) -> Self {
        Self {
            instance_type: UNKNOWN.to_owned(),
            zone: UNKNOWN.to_owned(),
            lifecycle,
        }
    }

    /// Whether AWS named both type and zone.
    pub fn is_known(&self) -> bool {
        self.instance_type != UNKNOWN && self.zone != UNKNOWN
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance_type,
            zone,
            lifecycle,
        } = self;
        if zone == UNKNOWN {
            write!(f, "{instance_type} ({lifecycle})")
        } else {
            write!(f, "{instance_type} in {zone} ({lifecycle})")
        }
    }
}

/// An instance's state in EC2's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Being started.
    Pending,
    /// Started; its operating system may still boot.
    Running,
    /// Being stopped.
    Stopping,
    /// Stopped, and able to start again.
    Stopped,
    /// Being terminated.
    ShuttingDown,
    /// Gone; EC2 still lists it for a while.
    Terminated,
}

impl InstanceState {
    /// Whether the instance is gone, or cannot run jobs any more and will certainly go.
    ///
    /// An instance that is shutting down may still run for a moment.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Terminated)
    }

    /// Whether the instance counts as capacity: it runs or will run.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// An instance of the stack as EC2 shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// EC2's id.
    pub id: InstanceId,
    /// The pool that it came from.
    pub pool: Pool,
    /// Its current state.
    pub state: InstanceState,
    /// When it was launched, by EC2's clock.
    pub launched_at: Timestamp,
    /// Why EC2 changed its state, for example `Server.SpotInstanceTermination`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Its address in the VPC.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub private_ip: Option<String>,
    /// Its tags.
    pub tags: onspot_reconcile::Tags,
    /// Whether it was launched from other content than launches use now; `false` where nobody
    /// compared.
    #[serde(default)]
    pub outdated: bool,
}
