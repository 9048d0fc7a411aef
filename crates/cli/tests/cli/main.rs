//! Whole runs of the binary: command line, exit code, stdout and stderr.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_files;
mod first_steps;
mod invocation;
mod migration;
mod no_aws;
mod no_gitlab;
