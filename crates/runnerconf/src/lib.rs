#![doc = include_str!("../README.md")]

mod blank;
mod duration;
mod ec2_options;
mod error;
mod known;
mod lint;
mod model;
mod render;
mod section;
mod token;

pub use ec2_options::{Ec2Options, OptionError};
pub use error::{ConfigError, ConfigErrorKind, Excerpt, nearest};
pub use lint::{Warning, lint};
pub use model::{
    Autoscaler, AutoscalerPolicy, Cache, CacheType, Config, Containers, Docker, ExecutorKind,
    Machine, MachinePeriod, PullPolicy, Resources, Runner, S3, Service,
};
pub use render::render;
pub use token::{Secret, TokenError, TokenRef};
