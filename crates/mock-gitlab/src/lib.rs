#![doc = include_str!("../README.md")]

mod ansi;
mod api;
mod builder;
mod ci;
mod dotenv;
mod error;
mod expand;
mod faults;
mod git;
mod git_http;
mod ids;
mod mock;
mod model;
mod pages;
mod payload;
mod projects;
mod push;
mod record;
mod server;
mod state;
mod status;
mod trigger;
mod variable;
mod variables;
mod views;

pub use builder::Builder;
pub use error::Error;
pub use faults::{Fault, FaultAction};
pub use ids::{JobId, PipelineId, ProjectId, RunnerId};
pub use mock::MockGitlab;
pub use push::{push_commits, push_folder};
pub use record::{Caller, JobCall, JobCallKind, Violation, ViolationKind};
pub use state::NewRunner;
pub use status::Status;
pub use variable::Variable;
pub use views::{JobView, PipelineView, Project};
