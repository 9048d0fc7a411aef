//! Jobs in a shell of this host, without containers.
//!
//! Such a job has the authority of the user that onspot runs as: it can read what that user can
//! read, and it is ended by signals, which a job that means to can escape. It is meant for trusted
//! jobs, on hosts without Docker.

mod processes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use onspot_gitlab::TraceWriter;
use onspot_gitlab::job::JobPayload;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::drive::{drive, greet, refuse};
use crate::error::ExecutorError;
use crate::helper::request::Claim;
use crate::helper::{HelperAnswer, HelperCall, HelperRequest};
use crate::host::Host;
use crate::plan::{JobPlan, Site};
use crate::run::{Executor, JobRun, Outcome, Swept};
use crate::settings::{ShellSettings, folder_name};

use self::processes::{Group, MARK, end_marked, marked};

/// How long a script that is asked to end gets.
const GRACE: Duration = Duration::from_secs(5);

/// How long the output of a process that has ended is read on.
const LINGER: Duration = Duration::from_secs(1);

/// What a job gets of onspot's own environment: never its credentials.
const INHERITED: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// Runs jobs in a shell of this host.
#[derive(Debug, Clone)]
pub struct ShellExecutor {
    settings: ShellSettings,
    environment: BTreeMap<String, String>,
}

/// A job's processes.
struct ShellJob<'a> {
    executor: &'a ShellExecutor,
    plan: &'a JobPlan,
    files: PathBuf,
    mark: String,
    group: Group,
}

impl ShellExecutor {
    /// An executor with these settings. Nothing is touched before the first job.
    pub fn new(settings: ShellSettings) -> Self {
        let environment = INHERITED
            .iter()
            .filter_map(|&key| Some((key.to_owned(), std::env::var(key).ok()?)))
            .collect();
        Self {
            settings,
            environment,
        }
    }

    fn runner_folder(&self) -> PathBuf {
        let name = folder_name(&self.settings.runner.name);
        self.settings.builds_root.join(name)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, mark: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(&self.environment)
            .env(MARK, mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Executor for ShellExecutor {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn run(&self, run: JobRun) -> BoxFuture<'_, Outcome> {
        async move {
            let runner = &self.settings.runner;
            greet(&run, runner);
            let slot = self.runner_folder().join(format!("slot-{}", run.slot));
            let folder = slot.join(folder_of(&run.payload));
            let site = Site {
                executor: "shell",
                builds_dir: &folder.to_string_lossy(),
                slot: run.slot,
                world_writable: false,
            };
            let plan = match JobPlan::new(&run.payload, runner, &site) {
                Ok(plan) => plan,
                Err(error) => return refuse(&run, &error),
            };
            let mut job = ShellJob {
                executor: self,
                plan: &plan,
                files: self.runner_folder().join(format!("files-{}", run.slot)),
                mark: format!("{}/", slot.display()),
                group: Group::default(),
            };
            drive(&mut job, &run, &plan, runner.after_script_timeout).await
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Swept, ExecutorError>> {
        async move {
            let mark = format!("{}/", self.runner_folder().display());
            let job_containers = marked(&mark).len();
            end_marked(&mark).await;
            Ok(Swept {
                job_containers,
                ..Swept::default()
            })
        }
        .boxed()
    }

    fn warm(&self, _slot: usize) -> BoxFuture<'_, Result<(), ExecutorError>> {
        async { Ok(()) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

impl Host for ShellJob<'_> {
    fn name(&self) -> &'static str {
        "shell"
    }

    async fn prepare(&mut self, trace: &TraceWriter) -> Result<(), ExecutorError> {
        trace.info("Using Shell executor...");
        // What an earlier job of this slot could still have running.
        end_marked(&self.mark).await;
        tokio::fs::create_dir_all(&self.files)
            .await
            .map_err(ExecutorError::io(format!(
                "create {}",
                self.files.display()
            )))?;
        remove_others(&self.plan.place.builds).await?;
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::Claim(Claim { keep: true }),
        };
        self.call(&call, trace).await.map(drop)
    }

    async fn call(
        &self,
        call: &HelperCall,
        trace: &TraceWriter,
    ) -> Result<HelperAnswer, ExecutorError> {
        let mut line = serde_json::to_vec(call)
            .map_err(|error| ExecutorError::Payload(format!("the helper's request: {error}")))?;
        line.push(b'\n');
        let failed = ExecutorError::io("run the helper");
        let binary = &self.executor.settings.helper_binary;
        let mut helper = match self
            .executor
            .command(binary, &self.mark)
            .envs(self.plan.proxies())
            .arg("helper")
            .spawn()
        {
            Ok(helper) => helper,
            Err(error) => return Err(failed(error)),
        };
        let mut answer = Vec::new();
        let status = exchange(
            &mut helper,
            &line,
            |text| answer.extend_from_slice(text),
            |text| {
                trace.write(text);
            },
        );
        let status = status.await.map_err(failed)?;
        let refused = |code| ExecutorError::Helper {
            what: call.request.name().to_owned(),
            exit_code: i64::from(code),
        };
        if status != 0 {
            return Err(refused(status));
        }
        serde_json::from_slice(&answer).map_err(|_| refused(0))
    }

    async fn get_ready(&mut self, _trace: &TraceWriter) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, ExecutorError> {
        let shell = &self.executor.settings.shell;
        let failed = ExecutorError::io(format!("run {shell}"));
        let spawned = self
            .executor
            .command(shell, &self.mark)
            .process_group(0)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return Err(failed(error)),
        };
        self.group.begin(child.id());
        let write = |text: &[u8]| trace.write(text);
        let exit_code = exchange(&mut child, script.as_bytes(), write, write).await;
        // As in a container, nothing outlives the script, unless it is asked to end: then it has
        // time to.
        if !self.group.is_stopping() {
            self.group.end();
        }
        exit_code.map_err(failed)
    }

    async fn stop_script(&self) {
        self.group.stop();
        processes::signal_marked(&self.mark, Signal::TERM);
        let ended = async {
            while self.group.lives() || !marked(&self.mark).is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            end_marked(&self.mark).await;
        }
        self.group.end();
    }

    async fn end_scripts(&self) -> Result<(), ExecutorError> {
        self.group.end();
        if end_marked(&self.mark).await {
            Ok(())
        } else {
            Err(ExecutorError::Unkillable)
        }
    }

    fn helper_file(&self, name: &str) -> PathBuf {
        self.files.join(name.replace('/', "-"))
    }

    async fn put_file(&self, from: &Path, at: &Path) -> Result<(), ExecutorError> {
        copy(from, at).await
    }

    async fn take_file(&self, from: &Path, to: &Path) -> Result<(), ExecutorError> {
        copy(from, to).await
    }

    async fn clean_up(&mut self) {
        self.group.end();
        end_marked(&self.mark).await;
        if let Err(error) = tokio::fs::remove_dir_all(&self.files).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a job's temporary files were not removed");
        }
        let temp = self.plan.place.temp_dir();
        if let Err(error) = tokio::fs::remove_dir_all(&temp).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a job's file variables were not removed");
        }
    }
}

/// The folder of the project's files in a slot: one for protected branches and tags, another for
/// all the rest.
fn folder_of(job: &JobPayload) -> String {
    let kind = if job.is_protected() { "-protected" } else { "" };
    format!("p{}{kind}", job.job_info.project_id)
}

/// Removes the folders of other projects from the slot that this one's folder is in.
async fn remove_others(builds: &Path) -> Result<(), ExecutorError> {
    let (Some(slot), Some(own)) = (builds.parent(), builds.file_name()) else {
        return Ok(());
    };
    let failed = |error| ExecutorError::io(format!("clear {}", slot.display()))(error);
    let mut entries = match tokio::fs::read_dir(slot).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if entry.file_name() == *own {
            continue;
        }
        let is_dir = entry.file_type().await.map_err(failed)?.is_dir();
        let removed = if is_dir {
            tokio::fs::remove_dir_all(entry.path()).await
        } else {
            tokio::fs::remove_file(entry.path()).await
        };
        removed.map_err(failed)?;
    }
    Ok(())
}

async fn copy(from: &Path, to: &Path) -> Result<(), ExecutorError> {
    let action = format!("copy {} to {}", from.display(), to.display());
    tokio::fs::copy(from, to)
        .await
        .map(drop)
        .map_err(ExecutorError::io(action))
}

/// Hands a process its input and on what it says, until it ends; gives its exit code, and 128 and
/// the signal's number where one ended it, as shells do.
async fn exchange(
    child: &mut Child,
    input: &[u8],
    output: impl FnMut(&[u8]),
    errors: impl FnMut(&[u8]),
) -> std::io::Result<i32> {
    use std::os::unix::process::ExitStatusExt;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A shell that ends before it has read all is not an error of ours.
            let _ = stdin.write_all(input).await;
        }
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let pumps = async { tokio::join!(write, pump(stdout, output), pump(stderr, errors)) };
    let mut pumps = std::pin::pin!(pumps);
    let status = tokio::select! {
        ((), out, err) = &mut pumps => {
            out.and(err)?;
            child.wait().await?
        }
        status = child.wait() => {
            // What it left in the background may hold its output open for ever.
            let _ = tokio::time::timeout(LINGER, pumps).await;
            status?
        }
    };
    Ok(status
        .code()
        .or_else(|| Some(128 + status.signal()?))
        .unwrap_or(-1))
}

async fn pump(
    from: Option<impl AsyncRead + Unpin>,
    mut to: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => to(&buffer[..length]),
        }
    }
}
