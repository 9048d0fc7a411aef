//! Whole runs of the binary: command line, exit code, stdout and stderr.

mod bad_files;
mod first_steps;
mod invocation;
mod no_aws;
