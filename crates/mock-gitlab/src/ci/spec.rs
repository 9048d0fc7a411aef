//! A job as configured, after everything that GitLab resolves before a runner sees it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::auto_cancel::AutoCancel;
use super::expression::Expression;
use super::policy::Policy;
use super::report::Report;
use crate::variable::Variable;

/// A job as configured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobSpec {
    pub(crate) name: String,
    pub(crate) stage: String,
    /// `before_script`, then `script`.
    pub(crate) script: Vec<String>,
    pub(crate) after_script: Vec<String>,
    pub(crate) hooks: Vec<(String, Vec<String>)>,
    pub(crate) image: Option<ImageSpec>,
    pub(crate) services: Vec<ImageSpec>,
    /// Global variables, overridden by the job's own.
    pub(crate) variables: Vec<Variable>,
    /// The names of the job's own variables.
    pub(crate) own_variables: Vec<String>,
    /// Which of the global variables it inherits.
    pub(crate) inherited_variables: Selection,
    pub(crate) caches: Vec<CacheSpec>,
    pub(crate) artifacts: Option<ArtifactSpec>,
    pub(crate) tags: Vec<String>,
    /// `None`: all jobs of earlier stages.
    pub(crate) needs: Option<Vec<Need>>,
    /// `None`: the artifacts of all jobs it waits for.
    pub(crate) dependencies: Option<Vec<String>>,
    pub(crate) allow_failure: AllowFailure,
    pub(crate) when: When,
    pub(crate) timeout: Duration,
    pub(crate) environment: Option<Environment>,
    pub(crate) retry: Retry,
    pub(crate) interruptible: bool,
    /// Only one job of a group runs at a time. Its variables are expanded when the pipeline is
    /// created.
    pub(crate) resource_group: Option<String>,
    /// Its index and the total number, for `parallel`.
    pub(crate) parallel: Option<(u64, u64)>,
    pub(crate) rules: Option<Vec<Rule>>,
    pub(crate) only: Option<Policy>,
    pub(crate) except: Option<Policy>,
}

/// An image for the job or a service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImageSpec {
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) pull_policy: Option<Vec<String>>,
    pub(crate) variables: Vec<Variable>,
    /// `docker:` and `kubernetes:` options, passed on.
    pub(crate) executor_opts: Map<String, Value>,
}

/// One cache.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CacheSpec {
    pub(crate) key: CacheKey,
    pub(crate) untracked: Option<bool>,
    pub(crate) paths: Option<Vec<String>>,
    pub(crate) policy: String,
    pub(crate) when: String,
    pub(crate) unprotect: bool,
    pub(crate) fallback_keys: Vec<String>,
}

/// A cache's key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CacheKey {
    /// Used unchanged: the runner expands its variables.
    Plain(String),
    /// Derived from the last commits that changed some files.
    Files {
        files: Vec<String>,
        prefix: Option<String>,
    },
}

/// `artifacts:`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ArtifactSpec {
    pub(crate) name: Option<String>,
    pub(crate) untracked: Option<bool>,
    pub(crate) paths: Option<Vec<String>>,
    pub(crate) exclude: Option<Vec<String>>,
    pub(crate) when: Option<String>,
    pub(crate) expire_in: Option<String>,
    /// Kinds of reports and their paths.
    pub(crate) reports: Vec<(Report, Vec<String>)>,
}

/// A job that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) job: String,
    pub(crate) artifacts: bool,
    pub(crate) optional: bool,
    /// Those of the generated jobs that are meant, by `needs:parallel:matrix`; `None`: all.
    pub(crate) variants: Option<Vec<String>>,
}

/// `allow_failure:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowFailure {
    Never,
    Always,
    ExitCodes(Vec<i64>),
}

impl JobSpec {
    /// Add variables of this pipeline only; they win over the configuration's global ones, and the
    /// job's own win over them.
    pub(crate) fn take_variables(&mut self, more: &[Variable]) {
        for variable in more {
            let key = &variable.key;
            if self.inherited_variables.includes(key) && !self.own_variables.contains(key) {
                self.variables.retain(|other| other.key != *key);
                self.variables.push(variable.clone());
            }
        }
    }
}

impl AllowFailure {
    /// Is a failure with this exit code allowed?
    pub(crate) fn covers(&self, exit_code: Option<i64>) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::ExitCodes(codes) => exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }
}

/// `when:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    OnSuccess,
    OnFailure,
    Always,
    Manual,
    Never,
}

/// `environment:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) name: String,
    pub(crate) url: Option<String>,
    pub(crate) action: String,
}

/// `retry:`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) max: u64,
    /// Failure reasons; empty: all.
    pub(crate) when: Vec<String>,
    /// Exit codes; empty: none.
    pub(crate) exit_codes: Vec<i64>,
}

/// Which shared settings a job inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    All,
    Nothing,
    These(Vec<String>),
}

impl Selection {
    /// Does it take the one of this name?
    pub(super) fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::These(names) => names.iter().any(|one| one == name),
        }
    }
}

/// One rule: it holds when all its clauses do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(super) condition: Option<Expression>,
    pub(super) changes: Option<Changes>,
    /// Patterns, one of which must match a file.
    pub(super) exists: Option<Vec<String>>,
    pub(super) when: Option<When>,
    pub(super) allow_failure: Option<AllowFailure>,
    pub(super) variables: Vec<Variable>,
    pub(super) needs: Option<Vec<Need>>,
    pub(super) interruptible: Option<bool>,
    pub(super) auto_cancel: Option<AutoCancel>,
}

/// `changes:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) paths: Vec<String>,
    /// The ref to compare with, instead of the state before the push.
    pub(super) compare_to: Option<String>,
}
