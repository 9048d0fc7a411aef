#![doc = include_str!("../README.md")]

mod error;
mod instance;
mod observed;
mod policy;
mod tagging;
mod workers;

pub use error::FleetError;
pub use instance::{Instance, InstanceId, InstanceState, Lifecycle, Pool};
pub use policy::{
    Action, DRY_FOR, Demand, Policy, Pools, Reason, View, WorkerState, WorkerView, decide,
};
pub use workers::{
    Ec2Fleet, FleetSpec, LaunchRequest, Launched, LaunchedInstance, PoolError, WORKER,
};
