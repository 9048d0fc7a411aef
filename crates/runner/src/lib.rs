#![doc = include_str!("../README.md")]

pub mod capacity;
mod clock;
pub mod coordinator;
pub mod imds;
mod instance;
pub mod leader;
mod liveness;
mod local;
mod manager;
pub mod metrics;
pub mod schedule;
mod setup;
pub mod worker;

pub use clock::Clock;
pub use instance::{InstanceContext, run_worker};
pub use liveness::{Beat, Liveness};
pub use local::{LocalOptions, run_local};
pub use manager::{ManagerContext, run_manager};
pub use setup::SetupError;
pub use worker::{Retirement, WorkEnd, freeze_limit, watchdog};
