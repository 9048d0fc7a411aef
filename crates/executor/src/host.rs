//! What a job's course needs from the place it runs in: two places exist, Docker and a shell.

use std::path::{Path, PathBuf};

use onspot_gitlab::TraceWriter;

use crate::error::ExecutorError;
use crate::helper::{HelperAnswer, HelperCall};

/// The place a job runs in.
pub(crate) trait Host {
    /// `docker` or `shell`.
    fn name(&self) -> &'static str;

    /// Makes the helper ready and fetches what the job needs (images).
    async fn prepare(&mut self, trace: &TraceWriter) -> Result<(), ExecutorError>;

    /// Asks the helper for something; what it says goes to the trace.
    async fn call(
        &self,
        call: &HelperCall,
        trace: &TraceWriter,
    ) -> Result<HelperAnswer, ExecutorError>;

    /// Makes all ready that the script needs, with nothing of the job's own running yet but its
    /// services.
    async fn get_ready(&mut self, trace: &TraceWriter) -> Result<(), ExecutorError>;

    /// Runs a script to its end in a shell of its own and gives the exit code.
    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, ExecutorError>;

    /// Ends a running script: first asked, then forced. [`Host::script`] ends by it.
    async fn stop_script(&self);

    /// Ends all that is the job's own, services included; the helper stays. An error if something
    /// may still run.
    async fn end_scripts(&self) -> Result<(), ExecutorError>;

    /// How often the job was frozen so far.
    fn freezes(&self) -> u64;

    /// Where a file of this name is for the helper.
    fn helper_file(&self, name: &str) -> PathBuf;

    /// Gives the helper a file.
    async fn put_file(&self, from: &Path, at: &Path) -> Result<(), ExecutorError>;

    /// Takes a file from the helper.
    async fn take_file(&self, from: &Path, to: &Path) -> Result<(), ExecutorError>;

    /// Ends and removes everything, the helper included. Nothing of the job runs afterwards.
    async fn clean_up(&mut self);
}
