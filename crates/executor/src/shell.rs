//! Jobs in a shell of this host, without containers.
//!
//! Such a job has all rights of the user that runs onspot. It is ended by signals, which a
//! malicious job can escape. This executor is meant for trusted jobs on hosts without Docker.

mod exchange;
mod folders;
mod processes;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use onspot_gitlab::{Stream, TraceWriter};
use rustix::process::Signal;
use tokio::process::Command;

use crate::drive::{drive, greet, refuse};
use crate::error::Error;
use crate::gate::{Gate, Gates};
use crate::helper::request::Claim;
use crate::helper::{HelperAnswer, HelperCall, HelperRequest};
use crate::host::Host;
use crate::plan::{JobPlan, Site};
use crate::run::{Executor, JobRun, Outcome, Swept};
use crate::settings::{AFTER_SCRIPT_TIMEOUT, ShellSettings, folder_name};

use self::exchange::exchange;
use self::folders::{folder_of, remove_others};
use self::processes::{Group, MARK, end_marked, hold, marked, signal_marked};

/// How long a script may take to end after the request to end.
const GRACE: Duration = Duration::from_secs(5);

/// The variables that a job inherits from onspot's own environment: never its credentials.
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
    slots: Arc<Slots>,
}

/// Facts about the slots that outlive their jobs.
#[derive(Debug, Default)]
struct Slots {
    /// The slots' gates, which are closed while a slot is frozen.
    gates: Gates,
    /// The processes of each slot's last job.
    groups: parking_lot::Mutex<HashMap<usize, Arc<Group>>>,
}

impl Slots {
    /// A new group for a slot's next job.
    fn new_group(&self, slot: usize) -> Arc<Group> {
        let mut groups = self.groups.lock();
        let group = groups.entry(slot).or_default();
        *group = Arc::default();
        Arc::clone(group)
    }

    fn group(&self, slot: usize) -> Arc<Group> {
        let mut groups = self.groups.lock();
        Arc::clone(groups.entry(slot).or_default())
    }
}

/// A job's processes.
struct ShellJob<'a> {
    executor: &'a ShellExecutor,
    plan: &'a JobPlan,
    files: PathBuf,
    mark: String,
    group: Arc<Group>,
    gate: Arc<Gate>,
}

impl ShellExecutor {
    /// An executor with these settings. It changes nothing before the first job.
    pub fn new(settings: ShellSettings) -> Self {
        let environment = INHERITED
            .iter()
            .filter_map(|&key| Some((key.to_owned(), std::env::var(key).ok()?)))
            .collect();
        Self {
            settings,
            environment,
            slots: Arc::default(),
        }
    }

    fn runner_folder(&self) -> PathBuf {
        let name = folder_name(&self.settings.common.runner.name);
        self.settings.builds_root.join(name)
    }

    /// The mark of the processes of a slot.
    fn mark(&self, slot: usize) -> String {
        format!("{}/", self.slot_folder(slot).display())
    }

    fn slot_folder(&self, slot: usize) -> PathBuf {
        self.runner_folder().join(format!("slot-{slot}"))
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
            let runner = &self.settings.common;
            greet(&run, runner);
            let folder = self.slot_folder(run.slot).join(folder_of(&run.payload));
            let site = Site {
                executor: "shell",
                builds_dir: &folder.to_string_lossy(),
                slot: run.slot,
                short_token: run.short_token.as_str(),
                world_writable: false,
            };
            let plan = match JobPlan::new(&run.payload, runner, &site) {
                Ok(plan) => plan,
                Err(error) => {
                    self.slots.gates.open(run.slot);
                    return refuse(&run, &error);
                }
            };
            let mut job = ShellJob {
                executor: self,
                plan: &plan,
                files: self.runner_folder().join(format!("files-{}", run.slot)),
                mark: self.mark(run.slot),
                group: self.slots.new_group(run.slot),
                gate: self.slots.gates.of(run.slot),
            };
            let outcome = drive(&mut job, &run, &plan, AFTER_SCRIPT_TIMEOUT).await;
            self.slots.gates.open(run.slot);
            outcome
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<Swept, Error>> {
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

    fn freeze(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.slots.gates.close(slot).await;
            if hold(&self.mark(slot), &self.slots.group(slot)).await {
                Ok(())
            } else {
                Err(Error::Unstoppable)
            }
        }
        .boxed()
    }

    fn thaw(&self, slot: usize) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.slots.group(slot).go_on();
            signal_marked(&self.mark(slot), Signal::CONT);
            self.slots.gates.open(slot);
            Ok(())
        }
        .boxed()
    }

    fn warm(&self, _slot: usize) -> BoxFuture<'_, Result<(), Error>> {
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

    async fn prepare(&mut self, trace: &TraceWriter) -> Result<(), Error> {
        trace.info("Using Shell executor...");
        // Processes that an earlier job of this slot may have left.
        end_marked(&self.mark).await;
        tokio::fs::create_dir_all(&self.files)
            .await
            .map_err(Error::io(format!("create {}", self.files.display())))?;
        remove_others(&self.plan.place.builds).await?;
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::Claim(Claim { keep: true }),
        };
        self.call(&call, trace).await.map(drop)
    }

    async fn call(&self, call: &HelperCall, trace: &TraceWriter) -> Result<HelperAnswer, Error> {
        let mut line = serde_json::to_vec(call)
            .map_err(|error| Error::Payload(format!("the helper's request: {error}")))?;
        line.push(b'\n');
        let failed = Error::io("run the helper");
        let binary = &self.executor.settings.helper_binary;
        let pass = self.gate.pass().await;
        let spawned = self
            .executor
            .command(binary, &self.mark)
            .envs(self.plan.proxies())
            .arg("helper")
            .spawn();
        drop(pass);
        let mut helper = match spawned {
            Ok(helper) => helper,
            Err(error) => return Err(failed(error)),
        };
        let output = trace.stream(Stream::OUTPUT);
        let mut answer = Vec::new();
        let status = exchange(
            &mut helper,
            &line,
            |text| answer.extend_from_slice(text),
            |text| {
                output.write(text);
            },
        );
        let status = status.await.map_err(failed)?;
        let refused = |code| Error::Helper {
            what: call.request.name().to_owned(),
            exit_code: i64::from(code),
        };
        if status != 0 {
            return Err(refused(status));
        }
        serde_json::from_slice(&answer).map_err(|_| refused(0))
    }

    async fn get_ready(&mut self, _trace: &TraceWriter) -> Result<(), Error> {
        Ok(())
    }

    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, Error> {
        let shell = self.executor.settings.shell();
        let failed = Error::io(format!("run {shell}"));
        let pass = self.gate.pass().await;
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
        drop(pass);
        let (output, errors) = (trace.stream(Stream::OUTPUT), trace.stream(Stream::ERRORS));
        let exit_code = exchange(
            &mut child,
            script.as_bytes(),
            |text| output.write(text),
            |text| errors.write(text),
        )
        .await;
        drop((output, errors));
        // As in a container, nothing outlives the script, unless it was asked to end and still has
        // time to.
        if !self.group.is_stopping() {
            self.group.end();
        }
        exit_code.map_err(failed)
    }

    async fn stop_script(&self) {
        self.group.stop();
        signal_marked(&self.mark, Signal::TERM);
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

    async fn end_scripts(&self) -> Result<(), Error> {
        self.group.end();
        if end_marked(&self.mark).await {
            Ok(())
        } else {
            Err(Error::Unkillable)
        }
    }

    fn freezes(&self) -> u64 {
        self.gate.closings()
    }

    fn helper_file(&self, name: &str) -> PathBuf {
        self.files.join(name.replace('/', "-"))
    }

    async fn put_file(&self, from: &Path, at: &Path) -> Result<(), Error> {
        copy(from, at).await
    }

    async fn take_file(&self, from: &Path, to: &Path) -> Result<(), Error> {
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

async fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let action = format!("copy {} to {}", from.display(), to.display());
    tokio::fs::copy(from, to)
        .await
        .map(drop)
        .map_err(Error::io(action))
}
