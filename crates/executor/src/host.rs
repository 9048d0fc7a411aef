//! The operations that a job needs from its place; there are two places, Docker and a shell.

use std::path::{Path, PathBuf};

use onspot_gitlab::TraceWriter;

use crate::error::Error;
use crate::helper::{HelperAnswer, HelperCall};

/// The place where a job runs.
pub(crate) trait Host {
    /// `docker` or `shell`.
    fn name(&self) -> &'static str;

    /// Prepares the helper and fetches what the job needs (images).
    async fn prepare(&mut self, trace: &TraceWriter) -> Result<(), Error>;

    /// Sends the helper a request; its messages go to the trace.
    async fn call(&self, call: &HelperCall, trace: &TraceWriter) -> Result<HelperAnswer, Error>;

    /// Prepares everything that the script needs; of the job itself only the services run yet.
    async fn get_ready(&mut self, trace: &TraceWriter) -> Result<(), Error>;

    /// Runs a script to its end in a separate shell and returns the exit code.
    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, Error>;

    /// Ends a running script: first by request, then by force. [`Host::script`] then returns.
    async fn stop_script(&self);

    /// Ends everything of the job, including services, but not the helper. An error if something
    /// may still run.
    async fn end_scripts(&self) -> Result<(), Error>;

    /// How many times the job was frozen so far.
    fn freezes(&self) -> u64;

    /// The path of a file of this name in the helper.
    fn helper_file(&self, name: &str) -> PathBuf;

    /// Copies a file to the helper.
    async fn put_file(&self, from: &Path, at: &Path) -> Result<(), Error>;

    /// Copies a file from the helper.
    async fn take_file(&self, from: &Path, to: &Path) -> Result<(), Error>;

    /// Ends and removes everything, including the helper. Nothing of the job runs afterwards.
    async fn clean_up(&mut self);
}
