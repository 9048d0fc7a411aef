#![doc = include_str!("../README.md")]

mod cpus;
mod cron;
pub mod duration;
mod malformed;
mod periods;
mod size;
pub mod volume;

pub use cpus::Cpus;
pub use cron::Cron;
pub use malformed::Malformed;
pub use periods::Periods;
pub use size::Size;
