//! The mock GitLab as runners, git and people meet it: over HTTP.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod artifacts;
mod configuration;
mod coordinator;
mod git;
mod people;
mod runner;
