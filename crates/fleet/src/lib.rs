#![doc = include_str!("../README.md")]

mod error;
mod everything;
pub mod group;
mod image;
mod instance;
mod observed;
mod policy;
mod tagging;
pub mod template;
mod workers;

pub use error::FleetError;
pub use everything::{instances, terminate, terminate_all, termination_plan};
pub use image::{Image, image, newest_image};
pub use instance::{Instance, InstanceId, InstanceState, Lifecycle, Pool};
pub use policy::{
    Action, DRY_FOR, Demand, Policy, Pools, Reason, View, WorkerState, WorkerView, decide,
};
pub use workers::{
    Ec2Fleet, FleetSpec, LaunchRequest, Launched, LaunchedInstance, PoolError, WORKER,
};
