#![doc = include_str!("../README.md")]

pub mod ansi;
mod artifacts;
mod client;
mod error;
mod failure;
mod identity;
pub mod job;
mod mask;
mod null;
mod registration;
mod remote;
mod report;
pub mod request;
pub mod response;
mod system_id;
mod token;
mod trace;
mod update;
mod variables;

pub use artifacts::ArtifactStream;
pub use client::{Client, ClientOptions};
pub use error::{Error, TokenKind};
pub use failure::FailureReason;
pub use identity::{Features, Info, RunnerIdentity, VERSION, architecture};
pub use job::{AssignedJob, JobPayload};
pub use mask::{MASK, Masker};
pub use registration::{Created, NewRunner, RunnerScope, Verified};
pub use remote::Remote;
pub use report::{ReportOptions, Reported, report_result, report_result_with};
pub use request::ArtifactUpload;
pub use response::{
    JobPoll, JobRequestOutcome, PatchAnswer, PatchOutcome, RemoteStatus, UpdateAnswer,
    UpdateOutcome,
};
pub use system_id::SystemId;
pub use token::{JobId, JobToken, RunnerToken, Secret};
pub use trace::{
    Stream, TraceOptions, TracePosition, TraceSession, TraceStart, TraceStream, TraceWriter,
};
pub use update::{JobState, JobUpdate, TraceSummary};
pub use variables::{FILE_FOLDER, Variable, Variables};
