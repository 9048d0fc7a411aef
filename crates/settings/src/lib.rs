#![doc = include_str!("../README.md")]

pub mod duration;
mod feature_flags;
mod instance;
mod policy;
mod runner;
mod timing;
mod token;

pub use feature_flags::{FEATURE_FLAGS, FeatureFlag, Standing, boolean, feature_flag};
pub use instance::{
    DEFAULT_LEASE_FILE, LocalRunner, LocalSettings, ManagedRunner, ManagerSettings, SettingsError,
    WorkerPool, WorkerSettings,
};
pub use policy::{IdlePeriod, Lifecycle, Policy};
pub use runner::{
    Cache, ContainerService, Docker, Encryption, JobsIn, PullPolicy, Resources, Runner,
};
pub use timing::{Timing, TimingError};
pub use token::{Secret, TokenError, TokenRef};
