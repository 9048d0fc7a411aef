//! The programs that get the sources: git, and the shell of the hooks.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::super::HelperError;
use super::super::git::{self, GitCall};
use super::super::request::{Place, Sources};
use super::super::say;

/// A job's sources on their way to its folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) at: &'a Place,
    pub(super) sources: &'a Sources,
}

impl Work<'_> {
    /// Runs git commands in the project's folder, up to the first that fails.
    pub(super) async fn run_all(&self, calls: &[GitCall]) -> Result<(), HelperError> {
        self.run_all_in(Path::new(&self.at.project_dir()), calls)
            .await
    }

    pub(super) async fn run_all_in(
        &self,
        dir: &Path,
        calls: &[GitCall],
    ) -> Result<(), HelperError> {
        for call in calls {
            match self.run(dir, call).await {
                Err(HelperError::Program { .. }) if call.may_fail => {}
                other => other?,
            }
        }
        Ok(())
    }

    async fn run(&self, dir: &Path, call: &GitCall) -> Result<(), HelperError> {
        let status = self
            .git(dir)
            .args(&call.args)
            .stdin(Stdio::null())
            .status()
            .await
            .map_err(HelperError::file("run", "git"))?;
        if status.success() {
            return Ok(());
        }
        let verb = call
            .args
            .iter()
            .find(|arg| !arg.starts_with('-') && !arg.contains('='));
        Err(HelperError::Program {
            command: format!("git {}", verb.map_or("", String::as_str)),
            status: status.to_string(),
        })
    }

    /// What git prints.
    pub(super) async fn ask(
        &self,
        dir: &Path,
        args: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, HelperError> {
        let mut git = Command::new("git");
        overrule(&mut git, self.at, &[]);
        git.args(args);
        output(&mut git, dir, input).await
    }

    /// Whether git can be asked for this: it fails without a word otherwise.
    pub(super) async fn can(&self, args: &[&str]) -> bool {
        let mut git = self.git(Path::new(&self.at.project_dir()));
        git.args(args).stdin(Stdio::null());
        let status = git.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.await.is_ok_and(|status| status.success())
    }

    /// Runs a script before or after the check-out.
    pub(super) async fn shell(&self, script: &str, dir: &Path) -> Result<(), HelperError> {
        let failed = |error| HelperError::file("run", "bash")(error);
        let mut child = self
            .command("bash", dir)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A script that ends early does not read the rest.
            let _ = stdin.write_all(script.as_bytes()).await;
        }
        let status = child.wait().await.map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(HelperError::Program {
            command: "the script".into(),
            status: status.to_string(),
        })
    }

    fn git(&self, dir: &Path) -> Command {
        let mut git = self.command("git", dir);
        // Files of git-lfs come all at once afterwards, not one by one at the check-out.
        git.env("GIT_LFS_SKIP_SMUDGE", "1");
        git
    }

    /// A program with the job's variables, whose whole output goes to the trace.
    fn command(&self, program: &str, dir: &Path) -> Command {
        let environment = &self.sources.environment;
        let mut command = Command::new(program);
        command
            .current_dir(dir)
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GCM_INTERACTIVE", "Never")
            .kill_on_drop(true)
            // Standard output is reserved for the answer.
            .stdout(std::io::stderr());
        overrule(&mut command, self.at, environment);
        command
    }
}

/// Makes our git settings override the repository's; they follow those that the job sets in the
/// same way.
fn overrule(command: &mut Command, at: &Place, environment: &[(String, String)]) {
    let first = git::settings_of_job(environment);
    let overrides = git::overrides(at);
    command.env("GIT_CONFIG_COUNT", (first + overrides.len()).to_string());
    for (index, (key, value)) in overrides.into_iter().enumerate() {
        let index = first + index;
        command.env(format!("GIT_CONFIG_KEY_{index}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
    }
}

/// The files in the project's folder that git does not track, NUL-separated.
pub(in super::super) async fn untracked(at: &Place) -> Result<Vec<u8>, HelperError> {
    let mut git = Command::new("git");
    overrule(&mut git, at, &[]);
    git.args(["ls-files", "--others", "-z"]);
    output(&mut git, Path::new(&at.project_dir()), b"").await
}

/// The output of a git command.
async fn output(git: &mut Command, dir: &Path, input: &[u8]) -> Result<Vec<u8>, HelperError> {
    let failed = |error| HelperError::file("run", "git")(error);
    let mut child = git
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A program that ends early does not read the rest.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    say(String::from_utf8_lossy(&output.stderr).trim_end());
    let verb = git.as_std().get_args().next().unwrap_or_default();
    Err(HelperError::Program {
        command: format!("git {}", verb.to_string_lossy()),
        status: output.status.to_string(),
    })
}
