//! `.gitlab-ci.yml`: from its text to the jobs of a pipeline.
//!
//! The steps are GitLab's: files are included, then `extends` and after it `!reference` resolved,
//! then jobs read, multiplied by `parallel`, and checked against one another. The keywords follow
//! the CI/CD YAML reference. Keywords that only change what GitLab shows (`coverage`, `release`, …)
//! are accepted and have no effect; a keyword that GitLab does not know is an error, as in GitLab,
//! and so is a feature that this server does not support.

mod auto_cancel;
mod check;
mod duration;
mod error;
mod expression;
mod globals;
mod include;
mod job;
mod matrix;
mod merge;
mod needs;
mod parts;
mod policy;
mod read;
mod reference;
mod report;
mod rules;
mod spec;
mod tree;
mod yaml;

use serde_json::{Map, Value};

use crate::variable::Variable;
use read::Node;

pub(crate) use auto_cancel::{AutoCancel, OnNewCommit};
pub(crate) use check::missing_needs;
pub(crate) use error::CiError;
pub(crate) use rules::{compared_with, evaluate, wanted};
pub(crate) use spec::{ArtifactSpec, CacheKey, CacheSpec, ImageSpec, JobSpec, Rule, When};
pub(crate) use tree::{Situation, Tree, is_yaml};

/// The stages of a pipeline that defines none.
const DEFAULT_STAGES: [&str; 3] = ["build", "test", "deploy"];
/// Keywords at the top level that are not jobs.
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

/// A whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CiConfig {
    /// In order, with `.pre` first and `.post` last.
    pub(crate) stages: Vec<String>,
    pub(crate) jobs: Vec<JobSpec>,
    /// `workflow: rules`.
    pub(crate) workflow: Option<Vec<Rule>>,
    /// `workflow: auto_cancel`.
    pub(crate) auto_cancel: AutoCancel,
    /// Variables of the whole pipeline.
    pub(crate) variables: Vec<Variable>,
}

impl CiConfig {
    /// Read a configuration. Included files are looked up in the situation's tree.
    pub(crate) fn read(text: &str, situation: Situation<'_>) -> Result<Self, CiError> {
        let root = include::expand(yaml::mapping(text)?, situation)?;
        let root = reference::resolve(&merge::resolve(&root)?)?;
        let stages = stages(&root)?;
        let globals = globals::Globals::read(&root)?;
        let mut jobs = Vec::new();
        for (name, value) in &root {
            // A hidden entry is for anchors and references, and may contain anything.
            if !GLOBAL_KEYWORDS.contains(&name.as_str()) && !name.starts_with('.') {
                jobs.push((name.as_str(), job::read(name, value, &globals)?));
            }
        }
        let jobs = needs::by_name_of_each(jobs);
        check::all(&stages, &jobs)?;
        let (workflow, auto_cancel) = workflow(&root)?;
        Ok(Self {
            stages,
            jobs,
            workflow,
            auto_cancel,
            variables: globals.variables,
        })
    }

    /// Read a configuration that needs nothing from the repository.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> Result<Self, CiError> {
        let situation = Situation {
            variables: &std::collections::BTreeMap::new(),
            tree: &Tree::default(),
            git_ref: "main",
            tag: false,
        };
        Self::read(text, situation)
    }

    /// Every ref in `changes:compare_to`, with the variables of its job.
    pub(crate) fn compared_with(&self) -> impl Iterator<Item = (&str, &[Variable])> {
        let of_workflow = compared_with(self.workflow.iter().flatten());
        let of_workflow = of_workflow.map(|name| (name, self.variables.as_slice()));
        let of_jobs = self.jobs.iter().flat_map(|job| {
            let names = compared_with(job.rules.iter().flatten());
            names.map(|name| (name, job.variables.as_slice()))
        });
        of_workflow.chain(of_jobs)
    }
}

fn stages(root: &Map<String, Value>) -> Result<Vec<String>, CiError> {
    let given = root
        .get("stages")
        .or_else(|| root.get("types"))
        .map(|value| Node::new(value, "stages").strings())
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

fn workflow(root: &Map<String, Value>) -> Result<(Option<Vec<Rule>>, AutoCancel), CiError> {
    let Some(value) = root.get("workflow") else {
        return Ok((None, AutoCancel::default()));
    };
    let workflow = Node::new(value, "workflow");
    workflow.only_keys(&["rules", "name", "auto_cancel"])?;
    let rules = workflow.optional("rules", |node| rules::read(node, rules::Scope::Workflow))?;
    let auto_cancel = workflow.optional("auto_cancel", auto_cancel::read)?;
    Ok((rules, auto_cancel.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
