//! The mock GitLab from outside, as used by runners, git and people: over HTTP.

#![expect(clippy::unwrap_used, reason = "a failed expectation ends the test")]

mod artifacts;
mod configuration;
mod coordinator;
mod git;
mod people;
mod repositories;
mod runner;
