#![doc = include_str!("../README.md")]

mod control;
mod docker;
mod drive;
mod error;
mod gate;
pub mod helper;
mod host;
mod plan;
mod run;
mod settings;
mod shell;

pub use docker::{
    DockerExecutor, HELPER_DOCKERFILE, HELPER_IMAGE, JOB_LABEL, KIND_LABEL, RUNNER_LABEL,
    SLOT_LABEL, freeze_all, kill_all,
};
pub use error::Error;
pub use run::{Event, Executor, JobRun, Outcome, Stop, Swept};
pub use settings::{DockerSettings, RunnerSettings, ShellSettings};
pub use shell::ShellExecutor;
