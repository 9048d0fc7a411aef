//! `.gitlab-ci.yml`: from its text to the jobs of a pipeline.
//!
//! The keywords follow the CI/CD YAML reference of GitLab. Keywords that only change what GitLab
//! shows (`coverage`, `release`, …) are accepted and have no effect; a keyword that GitLab does
//! not know is an error, as it is there.

mod duration;
mod job;
mod merge;
mod parts;
mod read;
mod rules;

use std::time::Duration;

use serde_json::{Map, Value};

use super::model::Variable;
use read::Node;
pub(super) use rules::{evaluate, wants_pipeline};

/// The timeout of a job that names none: the default of a GitLab project.
const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
/// The stages of a pipeline that names none.
const DEFAULT_STAGES: [&str; 3] = ["build", "test", "deploy"];
/// Keywords at the top level that are no jobs.
const GLOBAL_KEYWORDS: [&str; 12] = [
    "default",
    "stages",
    "types",
    "include",
    "workflow",
    "variables",
    "image",
    "services",
    "before_script",
    "after_script",
    "cache",
    "spec",
];

/// Why a `.gitlab-ci.yml` can't be used, in words like GitLab's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CiError {
    /// Not YAML, or not a mapping.
    #[error("(<unknown>): {0}")]
    Syntax(String),
    /// A part of it is wrong.
    #[error("{place} {problem}")]
    Config { place: String, problem: String },
}

impl CiError {
    pub(super) fn at(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config {
            place: place.into(),
            problem: problem.into(),
        }
    }
}

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CiConfig {
    /// In order, with `.pre` first and `.post` last.
    pub(super) stages: Vec<String>,
    pub(super) jobs: Vec<JobSpec>,
    /// `workflow: rules`.
    pub(super) workflow: Option<Vec<rules::Rule>>,
    /// Variables of the whole pipeline.
    pub(super) variables: Vec<Variable>,
}

/// A job as configured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JobSpec {
    pub(super) name: String,
    pub(super) stage: String,
    /// `before_script`, then `script`.
    pub(super) script: Vec<String>,
    pub(super) after_script: Vec<String>,
    pub(super) hooks: Vec<(String, Vec<String>)>,
    pub(super) image: Option<ImageSpec>,
    pub(super) services: Vec<ImageSpec>,
    /// Global variables, overridden by the job's own.
    pub(super) variables: Vec<Variable>,
    pub(super) caches: Vec<CacheSpec>,
    pub(super) artifacts: Option<ArtifactSpec>,
    pub(super) tags: Vec<String>,
    /// `None`: all jobs of earlier stages.
    pub(super) needs: Option<Vec<Need>>,
    /// `None`: the artifacts of all jobs it waits for.
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) allow_failure: AllowFailure,
    pub(super) when: When,
    pub(super) timeout: Duration,
    pub(super) environment: Option<Environment>,
    pub(super) retry: Retry,
    pub(super) interruptible: bool,
    /// Its number and the count of all, for `parallel: N`.
    pub(super) parallel: Option<(u64, u64)>,
    pub(super) rules: Option<Vec<rules::Rule>>,
    pub(super) only: Option<Vec<String>>,
    pub(super) except: Option<Vec<String>>,
}

/// An image for the job or a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageSpec {
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) command: Option<Vec<String>>,
    pub(super) pull_policy: Option<Vec<String>>,
    pub(super) variables: Vec<Variable>,
    /// `docker:` and `kubernetes:` options, passed on.
    pub(super) executor_opts: Map<String, Value>,
}

/// One cache.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CacheSpec {
    pub(super) key: CacheKey,
    pub(super) untracked: Option<bool>,
    pub(super) paths: Option<Vec<String>>,
    pub(super) policy: String,
    pub(super) when: String,
    pub(super) unprotect: bool,
    pub(super) fallback_keys: Vec<String>,
}

/// A cache's key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CacheKey {
    /// As it is: the runner expands the variables in it.
    Plain(String),
    /// From the last commits that changed some files.
    Files {
        files: Vec<String>,
        prefix: Option<String>,
    },
}

/// `artifacts:`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ArtifactSpec {
    pub(super) name: Option<String>,
    pub(super) untracked: Option<bool>,
    pub(super) paths: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) when: Option<String>,
    pub(super) expire_in: Option<String>,
    /// Type of report and its paths.
    pub(super) reports: Vec<(String, Vec<String>)>,
}

/// A job that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) job: String,
    pub(super) artifacts: bool,
    pub(super) optional: bool,
}

/// `allow_failure:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AllowFailure {
    Never,
    Always,
    ExitCodes(Vec<i64>),
}

impl AllowFailure {
    /// Is a failure with this exit code allowed?
    pub(super) fn covers(&self, exit_code: Option<i64>) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// `when:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    OnSuccess,
    OnFailure,
    Always,
    Manual,
    Never,
}

/// `environment:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) name: String,
    pub(super) url: Option<String>,
    pub(super) action: String,
}

/// `retry:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) max: u64,
    /// Failure reasons; empty: all.
    pub(super) when: Vec<String>,
    /// Exit codes; empty: none.
    pub(super) exit_codes: Vec<i64>,
}

impl CiConfig {
    /// Read a configuration.
    pub(super) fn parse(text: &str) -> Result<Self, CiError> {
        let root: Value = serde_saphyr::from_str_with_options(text, yaml_options())
            .map_err(|error| CiError::Syntax(error.to_string()))?;
        let Value::Object(root) = root else {
            return Err(CiError::Syntax("Invalid configuration format".to_owned()));
        };
        unsupported(text, &root)?;
        let stages = stages(&root)?;
        let globals = job::Globals::read(&root)?;
        let jobs = merge::resolve(&root, |name| !GLOBAL_KEYWORDS.contains(&name))?;
        let mut specs = Vec::new();
        for (name, value) in &jobs {
            if !name.starts_with('.') {
                specs.extend(job::read(name, value, &globals)?);
            }
        }
        let config = Self {
            stages,
            jobs: specs,
            workflow: workflow(&root)?,
            variables: globals.variables,
        };
        config.check()?;
        Ok(config)
    }

    /// What can only be seen when all jobs are known.
    fn check(&self) -> Result<(), CiError> {
        if self.jobs.is_empty() {
            return Err(CiError::at(
                "jobs config",
                "should contain at least one visible job",
            ));
        }
        let index = |stage: &str| self.stages.iter().position(|known| known == stage);
        for job in &self.jobs {
            if index(&job.stage).is_none() {
                return Err(CiError::at(
                    format!("{} job:", job.name),
                    format!(
                        "chosen stage {} does not exist; available stages are {}",
                        job.stage,
                        self.stages.join(", ")
                    ),
                ));
            }
            for need in job.needs.iter().flatten() {
                self.check_reference(job, &need.job, "needs", need.optional)?;
            }
            for name in job.dependencies.iter().flatten() {
                self.check_reference(job, name, "depends on", false)?;
                let other = self.jobs.iter().find(|other| is_named(other, name));
                if other.is_some_and(|other| index(&other.stage) >= index(&job.stage)) {
                    return Err(CiError::at(
                        format!("{} job:", job.name),
                        format!("dependency {name} is not defined in prior stages"),
                    ));
                }
            }
        }
        match self.jobs.iter().find(|job| self.needs_itself(job)) {
            Some(job) => Err(CiError::at(
                format!("{} job:", job.name),
                "The pipeline has circular dependencies",
            )),
            None => Ok(()),
        }
    }

    /// Whether what a job needs, and what that needs and so on, holds the job itself.
    fn needs_itself(&self, job: &JobSpec) -> bool {
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&JobSpec> = vec![job];
        while let Some(next) = open.pop() {
            let needs = next.needs.iter().flatten();
            for need in needs.flat_map(|need| self.named(&need.job)) {
                if need.name == job.name {
                    return true;
                }
                if !seen.contains(&need.name.as_str()) {
                    seen.push(&need.name);
                    open.push(need);
                }
            }
        }
        false
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a JobSpec> {
        self.jobs.iter().filter(move |job| is_named(job, name))
    }

    fn check_reference(
        &self,
        job: &JobSpec,
        name: &str,
        verb: &str,
        optional: bool,
    ) -> Result<(), CiError> {
        if optional || self.jobs.iter().any(|other| is_named(other, name)) {
            return Ok(());
        }
        Err(CiError::at(
            format!("{} job:", job.name),
            format!("{verb} {name}, which is not a job of this pipeline"),
        ))
    }
}

/// Is this the job that another one means by `name`? `parallel` jobs are meant all at once.
pub(super) fn is_named(job: &JobSpec, name: &str) -> bool {
    job.name == name
        || (job.parallel.is_some()
            && job
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' ')))
}

/// Like Ruby's YAML, which GitLab uses: `y` is no boolean, and a later key replaces an earlier one.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    }
}

/// What would change the meaning of a file if it were passed over.
fn unsupported(text: &str, root: &Map<String, Value>) -> Result<(), CiError> {
    let problem = "is not supported by this server";
    if text.contains("!reference") {
        return Err(CiError::at("!reference", problem));
    }
    if root.contains_key("include") {
        return Err(CiError::at("include", problem));
    }
    Ok(())
}

fn stages(root: &Map<String, Value>) -> Result<Vec<String>, CiError> {
    let given = root
        .get("stages")
        .or_else(|| root.get("types"))
        .map(|value| Node::new(value, "stages config").strings())
        .transpose()?;
    let given = given.unwrap_or_else(|| DEFAULT_STAGES.map(str::to_owned).to_vec());
    let mut stages = vec![".pre".to_owned()];
    stages.extend(
        given
            .into_iter()
            .filter(|stage| stage != ".pre" && stage != ".post"),
    );
    stages.push(".post".to_owned());
    Ok(stages)
}

fn workflow(root: &Map<String, Value>) -> Result<Option<Vec<rules::Rule>>, CiError> {
    root.get("workflow")
        .and_then(|workflow| workflow.get("rules"))
        .map(|value| rules::read(&Node::new(value, "workflow:rules")))
        .transpose()
}

#[cfg(test)]
mod tests;
