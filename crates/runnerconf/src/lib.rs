#![doc = include_str!("../README.md")]

mod blank;
mod check;
mod ec2_options;
mod error;
mod keys;
mod lint;
mod model;
mod reference;
mod render;
mod section;
mod settings;

pub use check::{Beside, FIRST, Report, ReportedKey, ReportedRunner, Standing, beside, check};
pub use ec2_options::{Ec2Options, OptionError};
pub use error::{ConfigError, ConfigErrorKind, Excerpt, nearest};
pub use lint::{Warning, lint};
pub use model::{
    Autoscaler, AutoscalerPolicy, Cache, CacheType, Config, Docker, ExecutorKind, Machine,
    MachinePeriod, OffPeak, Runner, S3, S3Authentication,
};
pub use reference::{Fate, reference};
pub use render::render;
pub use settings::{Unusable, strange_options};
