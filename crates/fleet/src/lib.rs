#![doc = include_str!("../README.md")]

mod console;
mod error;
mod everything;
pub mod group;
mod image;
mod instance;
mod observed;
mod policy;
mod refusal;
mod strays;
mod tagging;
pub mod template;
mod workers;

pub use console::{console, tail};
pub use error::Error;
pub use everything::{instances, terminate, terminate_all, termination_plan};
pub use image::{Image, image, newest_image};
pub use instance::{Instance, InstanceId, InstanceState, Pool};
pub use onspot_settings::{Lifecycle, Policy};
pub use policy::{
    BootHalt, Boots, DRY_FOR, Demand, Extent, FailedBoot, Pools, Reason, Refused, Scale, Stage,
    View, Worker, decide,
};
pub use refusal::{LaunchFailure, Refusal, prices_in, quota_name};
pub use strays::strays;
pub use workers::{Ec2Fleet, FleetSpec, LaunchRequest, Launched, PoolError, WORKER};
