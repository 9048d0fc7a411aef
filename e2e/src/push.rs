//! `push DIR`: push a folder into a GitLab and follow its pipeline.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use base64::Engine;
use clap::{Args, ValueEnum};
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::Command;
use url::Url;

/// How often the jobs are looked at.
const POLL: Duration = Duration::from_millis(300);
/// A pipeline is made before `git push` ends, so this is for slow servers only.
const PIPELINE_APPEARS: Duration = Duration::from_secs(10);
/// So long an unreachable GitLab is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the world says how it is reached, beneath the workspace's root.
const WORLD: &str = ".onspot/world.json";

/// Push a folder with a `.gitlab-ci.yml` and follow its jobs.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// The folder; it need not be a git repository.
    pub dir: PathBuf,
    /// How jobs are shown.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub output: OutputFormat,
    /// The GitLab to push to, instead of the running world's.
    #[arg(long, requires = "token")]
    pub url: Option<Url>,
    /// An access token of that GitLab.
    #[arg(
        long,
        env = "ONSPOT_GITLAB_TOKEN",
        hide_env_values = true,
        requires = "url"
    )]
    pub token: Option<String>,
    /// The project's name; by default the folder's.
    #[arg(long)]
    pub project: Option<String>,
}

/// How jobs are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Traces as they grow.
    Text,
    /// One object a line and job, when it is over.
    Json,
}

/// Why a folder could not be pushed or its pipeline not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The folder has nothing to run.
    #[error("{0:?} has no .gitlab-ci.yml")]
    NoConfiguration(PathBuf),
    /// No world is running here.
    #[error("no running world: there is no {WORLD} here or above")]
    NoWorld,
    /// The world's description can't be used.
    #[error("{path:?} can't be read")]
    World {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// A temporary folder can't be made or filled.
    #[error("a temporary folder can't be used")]
    Folder(#[source] std::io::Error),
    /// `git` could not be started.
    #[error("cannot run git")]
    GitMissing(#[source] std::io::Error),
    /// `git` failed.
    #[error("git {step} failed: {message}")]
    GitFailed {
        /// The subcommand.
        step: String,
        /// What it wrote to its error output.
        message: String,
    },
    /// GitLab can't be reached or does not answer as it should.
    #[error("GitLab did not answer to {what}")]
    Api {
        /// The path asked for.
        what: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// GitLab's answer is not what it should be.
    #[error("GitLab's answer to {what} makes no sense")]
    Answer {
        /// The path asked for.
        what: String,
    },
    /// The push made no pipeline.
    #[error("no pipeline was made for commit {0}")]
    NoPipeline(String),
}

impl PushError {
    pub(crate) fn folder(source: std::io::Error) -> Self {
        Self::Folder(source)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoWorld => "start one with `just up`, or give --url and --token".to_owned(),
            Self::NoConfiguration(_) => {
                "write one: https://docs.gitlab.com/ci/yaml/ tells how".to_owned()
            }
            Self::GitMissing(_) => "install git".to_owned(),
            Self::NoPipeline(_) => "does any job want to run on a push to main?".to_owned(),
            Self::Api { .. } => "is it running? `just up` starts it".to_owned(),
            _ => return None,
        })
    }

    /// 2 for wrong use, else 1.
    fn exit_code(&self) -> u8 {
        match self {
            Self::NoConfiguration(_) | Self::NoWorld => 2,
            _ => 1,
        }
    }
}

/// Push, follow, and say how it ended: 0 success, 1 failure, 2 wrong use.
pub async fn run(args: PushArgs) -> u8 {
    match follow(&args).await {
        Ok(success) => u8::from(!success),
        Err(error) => {
            let mut stderr = anstream::stderr().lock();
            let mut text = format!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            // Nobody is left to tell if this fails.
            let _ = writeln!(stderr, "{text}");
            if let Some(hint) = error.hint() {
                let _ = writeln!(stderr, "  {hint}");
            }
            error.exit_code()
        }
    }
}

async fn follow(args: &PushArgs) -> Result<bool, PushError> {
    if !args.dir.join(".gitlab-ci.yml").is_file() {
        return Err(PushError::NoConfiguration(args.dir.clone()));
    }
    let (url, token) = match (&args.url, &args.token) {
        (Some(url), Some(token)) => (url.clone(), token.clone()),
        _ => running_world()?,
    };
    let project = format!("root/{}", project_name(args));
    let repository = join(&url, &format!("{project}.git"));
    let sha = publish(&args.dir, &repository, &token).await?;
    let api = Api::new(&url, token)?;
    let project = project.replace('/', "%2F");
    let pipeline = api.pipeline_of(&project, &sha).await?;
    Follower {
        api,
        project,
        pipeline,
        format: args.output,
        jobs: BTreeMap::new(),
        shown: None,
    }
    .run()
    .await
}

/// The folder's name, as GitLab would have it in a path.
fn project_name(args: &PushArgs) -> String {
    let named = args.project.clone();
    let folder = || {
        let full = args.dir.canonicalize().unwrap_or_else(|_| args.dir.clone());
        full.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let name = named.or_else(folder).unwrap_or_default().to_lowercase();
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() {
        "project".to_owned()
    } else {
        plain.to_owned()
    }
}

#[derive(Debug, Deserialize)]
struct World {
    gitlab_url: Url,
    gitlab_token: String,
}

/// Address and token of the world that runs here, or in a folder above.
fn running_world() -> Result<(Url, String), PushError> {
    let here = std::env::current_dir().map_err(PushError::Folder)?;
    let path = here
        .ancestors()
        .map(|folder| folder.join(WORLD))
        .find(|path| path.is_file())
        .ok_or(PushError::NoWorld)?;
    let wrong = |source| PushError::World {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(&path).map_err(wrong)?;
    let world: World = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
    Ok((world.gitlab_url, world.gitlab_token))
}

fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Push a folder's files as a new commit on `main`, and return the commit.
///
/// The folder is only read; what its `.gitignore` names stays out.
pub async fn publish(dir: &Path, repository: &Url, token: &str) -> Result<String, PushError> {
    let temporary = tempfile::tempdir().map_err(PushError::Folder)?;
    let git_dir = temporary.path().join("repository.git");
    let git = Git {
        git_dir: &git_dir,
        work_tree: dir,
        token,
    };
    git.run(&["init", "--quiet", "--bare"]).await?;
    git.run(&["add", "--all", "."]).await?;
    let tree = git.run(&["write-tree"]).await?;
    let branch = "+refs/heads/main:refs/remotes/origin/main";
    // The first push has nothing to build upon.
    let parent = match git
        .run(&["fetch", "--quiet", repository.as_str(), branch])
        .await
    {
        Ok(_) => Some(git.run(&["rev-parse", "refs/remotes/origin/main"]).await?),
        Err(PushError::GitMissing(source)) => return Err(PushError::GitMissing(source)),
        Err(_) => None,
    };
    let message = format!(
        "Push {}",
        dir.file_name().unwrap_or(OsStr::new("files")).display()
    );
    let mut commit = vec!["commit-tree", &tree, "-m", &message];
    if let Some(parent) = &parent {
        commit.extend(["-p", parent]);
    }
    let sha = git.run(&commit).await?;
    let target = format!("{sha}:refs/heads/main");
    git.run(&["push", "--quiet", "--force", repository.as_str(), &target])
        .await?;
    Ok(sha)
}

/// Git with a repository of its own, the folder as its work tree, and nobody's configuration.
struct Git<'a> {
    git_dir: &'a Path,
    work_tree: &'a Path,
    token: &'a str,
}

impl Git<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<String, PushError> {
        let step = arguments.first().copied().unwrap_or_default();
        let output = self
            .command(arguments, step)
            .output()
            .await
            .map_err(PushError::GitMissing)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let Output {
            status,
            stdout,
            stderr,
        } = &output;
        if status.success() {
            return Ok(text(stdout));
        }
        Err(PushError::GitFailed {
            step: step.to_owned(),
            message: text(stderr),
        })
    }

    fn command(&self, arguments: &[&str], step: &str) -> Command {
        let credentials =
            base64::engine::general_purpose::STANDARD.encode(format!("oauth2:{}", self.token));
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(self.work_tree)
            .env("GIT_DIR", self.git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            // In the environment, as arguments can be seen by every process.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env(
                "GIT_CONFIG_VALUE_0",
                format!("Authorization: Basic {credentials}"),
            )
            .kill_on_drop(true);
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "onspot");
            command.env(format!("GIT_{role}_EMAIL"), "onspot@example.com");
        }
        if step != "init" {
            command.env("GIT_WORK_TREE", ".");
        }
        command
    }
}

/// The REST API of a GitLab.
struct Api {
    client: reqwest::Client,
    base: Url,
    token: String,
}

impl Api {
    fn new(base: &Url, token: String) -> Result<Self, PushError> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build();
        let client = client.map_err(|source| PushError::Api {
            what: "anything".to_owned(),
            source,
        })?;
        Ok(Self {
            client,
            base: base.clone(),
            token,
        })
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, PushError> {
        let began = Instant::now();
        loop {
            match self.try_get(path).await {
                Ok(body) => return Ok(body),
                Err(source) if began.elapsed() > PATIENCE || source.is_status() => {
                    return Err(PushError::Api {
                        what: path.to_owned(),
                        source,
                    });
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    async fn try_get(&self, path: &str) -> Result<Vec<u8>, reqwest::Error> {
        let url = format!("{}/api/v4/{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.client.get(url).header("PRIVATE-TOKEN", &self.token);
        Ok(request
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?
            .to_vec())
    }

    async fn json(&self, path: &str) -> Result<Value, PushError> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|_| PushError::Answer {
            what: path.to_owned(),
        })
    }

    async fn pipeline_of(&self, project: &str, sha: &str) -> Result<u64, PushError> {
        let path = format!("projects/{project}/pipelines?sha={sha}");
        let began = Instant::now();
        loop {
            let found = self.json(&path).await?;
            if let Some(id) = found
                .get(0)
                .and_then(|pipeline| pipeline.get("id")?.as_u64())
            {
                return Ok(id);
            }
            if began.elapsed() > PIPELINE_APPEARS {
                return Err(PushError::NoPipeline(sha.to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// A job as `GET …/jobs` shows it.
#[derive(Debug, Clone, Deserialize)]
struct Job {
    id: u64,
    name: String,
    stage: String,
    status: String,
    failure_reason: Option<String>,
    exit_code: Option<i64>,
    duration: Option<f64>,
    worker: Option<String>,
}

impl Job {
    fn is_over(&self) -> bool {
        matches!(
            self.status.as_str(),
            "success" | "failed" | "canceled" | "skipped" | "manual"
        )
    }
}

/// One line of `--output json`.
#[derive(Debug, Serialize)]
struct JobLine<'a> {
    name: &'a str,
    stage: &'a str,
    status: &'a str,
    failure_reason: Option<&'a str>,
    exit_code: Option<i64>,
    duration_s: Option<f64>,
    worker: Option<&'a str>,
    trace: &'a str,
}

/// Follows a pipeline until it is over.
struct Follower {
    api: Api,
    project: String,
    pipeline: u64,
    format: OutputFormat,
    /// How much of a job's trace was printed, in bytes.
    jobs: BTreeMap<u64, usize>,
    /// The job whose trace was printed last.
    shown: Option<u64>,
}

impl Follower {
    async fn run(mut self) -> Result<bool, PushError> {
        let pipeline_path = format!("projects/{}/pipelines/{}", self.project, self.pipeline);
        let jobs_path = format!("{pipeline_path}/jobs?include_retried=true");
        let mut done = BTreeSet::new();
        loop {
            // The pipeline first: once it is over, so are all jobs that are read afterwards.
            let pipeline = self.api.json(&pipeline_path).await?;
            let mut jobs: Vec<Job> = serde_json::from_value(self.api.json(&jobs_path).await?)
                .map_err(|_| PushError::Answer {
                    what: jobs_path.clone(),
                })?;
            jobs.sort_by_key(|job| job.id);
            for job in jobs
                .iter()
                .filter(|job| !done.contains(&job.id))
                .cloned()
                .collect::<Vec<_>>()
            {
                self.show(&job).await?;
                if job.is_over() {
                    done.insert(job.id);
                }
            }
            let status = pipeline
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if matches!(
                status,
                "success" | "failed" | "canceled" | "skipped" | "manual"
            ) {
                let error = pipeline.get("yaml_errors").and_then(Value::as_str);
                self.conclude(status, error);
                return Ok(status == "success");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn show(&mut self, job: &Job) -> Result<(), PushError> {
        let started = !matches!(
            job.status.as_str(),
            "created" | "pending" | "skipped" | "manual"
        );
        if self.format == OutputFormat::Json && !job.is_over() {
            return Ok(());
        }
        let trace = if started {
            self.api
                .get(&format!("projects/{}/jobs/{}/trace", self.project, job.id))
                .await?
        } else {
            Vec::new()
        };
        match self.format {
            OutputFormat::Json => print_line(job, &String::from_utf8_lossy(&trace)),
            OutputFormat::Text => self.print_trace(job, &trace),
        }
        Ok(())
    }

    /// Print what is new of a trace: whole lines only, until the job is over.
    fn print_trace(&mut self, job: &Job, trace: &[u8]) {
        let printed = self.jobs.entry(job.id).or_default();
        let fresh = trace.get(*printed..).unwrap_or_default();
        let end = if job.is_over() {
            fresh.len()
        } else {
            fresh
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1)
        };
        let fresh = &fresh[..end];
        *printed += end;
        let mut out = anstream::stdout().lock();
        let bold = anstyle::Style::new().bold();
        if !fresh.is_empty() {
            if self.shown != Some(job.id) {
                // A closed pipe ends the program by itself soon enough; so below.
                let _ = writeln!(
                    out,
                    "{bold}── {} · stage {} ──{bold:#}",
                    job.name, job.stage
                );
                self.shown = Some(job.id);
            }
            let _ = out.write_all(&without_sections(fresh));
            if fresh.last() != Some(&b'\n') {
                let _ = writeln!(out);
            }
        }
        if job.is_over() {
            let worker = job.worker.as_ref().map(|worker| format!(" on {worker}"));
            let took = job.duration.map(|seconds| format!(" after {seconds:.1} s"));
            let reason = job
                .failure_reason
                .as_ref()
                .map(|reason| format!(" ({reason})"));
            let parts = [reason, took, worker]
                .map(Option::unwrap_or_default)
                .concat();
            let _ = writeln!(
                out,
                "{bold}── {} · {}{parts} ──{bold:#}",
                job.name, job.status
            );
            self.shown = None;
        }
        let _ = out.flush();
    }

    fn conclude(&self, status: &str, error: Option<&str>) {
        let text = match error {
            Some(error) => format!("pipeline {} {status}: {error}", self.pipeline),
            None => format!("pipeline {} {status}", self.pipeline),
        };
        // Beside the lines of JSON, for people.
        let _ = match self.format {
            OutputFormat::Text => writeln!(anstream::stdout(), "{text}"),
            OutputFormat::Json => writeln!(anstream::stderr(), "{text}"),
        };
    }
}

fn print_line(job: &Job, trace: &str) {
    let line = JobLine {
        name: &job.name,
        stage: &job.stage,
        status: &job.status,
        failure_reason: job.failure_reason.as_deref(),
        exit_code: job.exit_code,
        duration_s: job.duration,
        worker: job.worker.as_deref(),
        trace,
    };
    if let Ok(text) = serde_json::to_string(&line) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// A trace without the markers of its sections, which only GitLab's page makes use of.
fn without_sections(trace: &[u8]) -> Vec<u8> {
    Regex::new(r"section_(?:start|end):\d+:[^\r\n]*\r(?:\x1b\[0?K)?").map_or_else(
        |_| trace.to_vec(),
        |marker| marker.replace_all(trace, &b""[..]).into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_markers_are_not_shown() {
        let trace = b"section_start:1700000000:step_script[collapsed=true]\r\x1b[0Kscript\nhello\n\
                      section_end:1700000001:step_script\r\x1b[0Kdone\n";
        assert_eq!(without_sections(trace), b"script\nhello\ndone\n");
    }

    #[test]
    fn a_folder_names_its_project() {
        let name = |dir: &str, project: Option<&str>| {
            project_name(&PushArgs {
                dir: dir.into(),
                output: OutputFormat::Text,
                url: None,
                token: None,
                project: project.map(str::to_owned),
            })
        };
        assert_eq!(name("/nowhere/My App", None), "my-app");
        assert_eq!(name("/nowhere/My App", Some("other")), "other");
        assert_eq!(name("/", None), "project");
    }
}
