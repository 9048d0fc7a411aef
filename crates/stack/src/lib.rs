#![doc = include_str!("../README.md")]

mod cache_bucket;
mod clients;
mod error;
mod instances;
mod migrate;
pub mod names;
pub mod program;
pub mod resources;
pub mod spec;
mod step;
mod verbs;
mod waits;

pub use cache_bucket::cache_connections;
pub use clients::{Clients, partition, s3, sdk_config};
pub use error::Error;
pub use migrate::{MigrateError, Migration, migrate};
pub use spec::{Spec, SpecError};
pub use verbs::Outputs;
pub use verbs::down::{JobsEnd, JobsEnded, Removed, down, plan_down};
pub use verbs::logs::{LogLine, LogOptions, follow, read_logs};
pub use verbs::plan::{StackPlan, UpOptions, plan};
pub use verbs::render::render;
pub use verbs::status::{InstanceStatus, ResourceStatus, Status, status};
pub use verbs::up::up;
