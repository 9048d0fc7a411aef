//! What a person wants to know of a stack that is up.

use std::collections::BTreeMap;

use onspot_reconcile::Plan;
use serde::Serialize;

/// A stack that is up.
#[derive(Debug, Clone, Serialize)]
pub struct Outputs {
    /// The stack's name.
    pub stack: String,
    /// Its region.
    pub region: String,
    /// The VPC's id.
    pub vpc_id: String,
    /// The bucket with the cache and the ledger.
    pub bucket: String,
    /// The CloudWatch log group.
    pub log_group: String,
    /// The managers' Auto Scaling group.
    pub manager_group: String,
    /// The launch template of each runner's workers, by the runner's name.
    pub launch_templates: BTreeMap<String, String>,
    /// What was changed.
    pub changes: Plan,
    /// What could not be done yet, and what to do about it.
    pub notes: Vec<String>,
}
