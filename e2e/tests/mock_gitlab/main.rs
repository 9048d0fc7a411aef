//! The mock GitLab as runners, git and people meet it: over HTTP.

mod artifacts;
mod coordinator;
mod git;
mod people;
mod runner;
mod verbs;
