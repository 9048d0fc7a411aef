//! From a changed branch or tag to a pipeline.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::ci::{self, CacheKey, CiConfig, CiError, JobSpec, Situation, Tree};
use crate::error::Error;
use crate::expand::{Unknown, in_text};
use crate::git;
use crate::ids::{PipelineId, ProjectId};
use crate::model::Commit;
use crate::server::Server;
use crate::state::{Content, NewPipeline};
use crate::variable::Variable;
use crate::variables::slug;

/// The path of a project's configuration.
const CONFIG: &str = ".gitlab-ci.yml";

/// A ref that points to another commit.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) tag: bool,
    pub(crate) before: String,
    pub(crate) sha: String,
    pub(crate) source: &'static str,
    pub(crate) variables: Vec<Variable>,
}

/// The changes between two states of a repository's refs. Deleted refs create no pipeline.
pub(crate) fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Change> {
    let short = |full: &str| {
        let kinds = [("refs/heads/", false), ("refs/tags/", true)];
        let mut kinds = kinds.into_iter();
        kinds.find_map(|(prefix, tag)| Some((full.strip_prefix(prefix)?.to_owned(), tag)))
    };
    after
        .iter()
        .filter(|(name, sha)| before.get(*name) != Some(sha))
        .filter_map(|(full, sha)| {
            let (name, tag) = short(full)?;
            Some(Change {
                name,
                tag,
                before: before
                    .get(full)
                    .map_or_else(|| git::ZERO.to_owned(), Clone::clone),
                sha: sha.clone(),
                source: "push",
                variables: Vec::new(),
            })
        })
        .collect()
}

/// Create a pipeline for a change; `None` if the commit has no configuration, or no job is to run.
pub(crate) async fn pipeline(
    server: &Server,
    project: ProjectId,
    change: Change,
) -> Result<Option<PipelineId>, Error> {
    let repository = git::path(&server.dir, project);
    let Some(text) = git::file(&repository, &change.sha, CONFIG).await? else {
        return Ok(None);
    };
    let commit = git::commit(&repository, &change.sha).await?;
    let known = known_variables(server, project, &change, &commit);
    let content = match content(&repository, &text, &change, &known).await? {
        Ok(None) => return Ok(None),
        Ok(Some(mut content)) => {
            resolve_cache_keys(&repository, &change.sha, &mut content.jobs, server).await?;
            Ok(content)
        }
        Err(error) => Err(error.to_string()),
    };
    let skip = ["[skip ci]", "[ci skip]"]
        .iter()
        .any(|word| commit.message.contains(word));
    let sha = change.sha.clone();
    let id = server.change(|state| PipelineId(state.next_id()));
    // This ref is created before the jobs and stays: after a force push nothing else might keep
    // their commit.
    git::set_ref(&repository, &format!("refs/pipelines/{id}"), &sha).await?;
    let new = NewPipeline {
        id,
        project,
        commit,
        before_sha: change.before,
        git_ref: change.name,
        tag: change.tag,
        source: change.source.to_owned(),
        variables: change.variables,
        content,
        skip,
    };
    server.change(|state| state.add_pipeline(new, Timestamp::now()));
    tracing::info!(pipeline = %id, project = %project, sha, "pipeline made");
    Ok(Some(id))
}

/// The variables for rules and includes, without those of the configuration.
fn known_variables(
    server: &Server,
    project: ProjectId,
    change: &Change,
    commit: &Commit,
) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    server.read(|state| {
        for variable in state
            .projects
            .get(&project)
            .into_iter()
            .flat_map(|p| &p.variables)
        {
            known.insert(variable.key.clone(), variable.value.clone());
        }
        if let Some(project) = state.projects.get(&project) {
            known.insert("CI_PROJECT_PATH".to_owned(), project.full_path());
            known.insert(
                "CI_DEFAULT_BRANCH".to_owned(),
                project.default_branch.clone(),
            );
        }
    });
    let branch_or_tag = if change.tag {
        "CI_COMMIT_TAG"
    } else {
        "CI_COMMIT_BRANCH"
    };
    for (key, value) in [
        (branch_or_tag, &change.name),
        ("CI_COMMIT_REF_NAME", &change.name),
        ("CI_COMMIT_REF_SLUG", &slug(&change.name)),
        ("CI_COMMIT_SHA", &change.sha),
        ("CI_COMMIT_BEFORE_SHA", &change.before),
        ("CI_COMMIT_MESSAGE", &commit.message),
        ("CI_COMMIT_TITLE", &commit.title),
        ("CI_PIPELINE_SOURCE", &change.source.to_owned()),
    ] {
        known.insert(key.to_owned(), value.clone());
    }
    known.extend(pairs(&change.variables));
    known
}

fn pairs(variables: &[Variable]) -> impl Iterator<Item = (String, String)> {
    let variables = variables.iter();
    variables.map(|variable| (variable.key.clone(), variable.value.clone()))
}

/// The configuration's variables, overridden by those from outside.
fn beneath(
    of_configuration: &[Variable],
    known: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = pairs(of_configuration).collect();
    all.extend(known.clone());
    all
}

/// The content of a pipeline; `None` if none is wanted. An invalid configuration is not an error of
/// the server.
async fn content(
    repository: &Path,
    text: &str,
    change: &Change,
    known: &BTreeMap<String, String>,
) -> Result<Result<Option<Content>, CiError>, Error> {
    let mut tree = tree(repository, text, change).await?;
    let config = CiConfig::read(text, situation(change, known, &tree));
    let config = match config {
        Ok(config) => config,
        Err(error) => return Ok(Err(error)),
    };
    for (name, variables) in config.compared_with() {
        let name = in_text(name, &beneath(variables, known), Unknown::Stay);
        let since = git::changed_since(repository, &name, &change.sha).await?;
        tree.changed_since.insert(name, since);
    }
    Ok(chosen(config, change, known, &tree))
}

fn situation<'a>(
    change: &'a Change,
    variables: &'a BTreeMap<String, String>,
    tree: &'a Tree,
) -> Situation<'a> {
    Situation {
        variables,
        tree,
        git_ref: &change.name,
        tag: change.tag,
    }
}

/// The facts about the repository that the configuration queries.
async fn tree(repository: &Path, text: &str, change: &Change) -> Result<Tree, Error> {
    let paths = git::paths(repository, &change.sha).await?;
    let mut yaml = BTreeMap::new();
    if text.contains("include") {
        for path in paths.iter().filter(|path| ci::is_yaml(path)) {
            if let Some(content) = git::file(repository, &change.sha, path).await? {
                yaml.insert(path.clone(), content);
            }
        }
    }
    let changed = if change.tag || change.before == git::ZERO {
        None
    } else {
        Some(git::changed(repository, &change.before, &change.sha).await?)
    };
    Ok(Tree {
        paths,
        yaml,
        changed,
        changed_since: BTreeMap::new(),
    })
}

/// The jobs of the pipeline, after their rules are applied.
fn chosen(
    config: CiConfig,
    change: &Change,
    known: &BTreeMap<String, String>,
    tree: &Tree,
) -> Result<Option<Content>, CiError> {
    let mut auto_cancel = config.auto_cancel;
    let mut more = Vec::new();
    if let Some(rules) = &config.workflow {
        let variables = beneath(&config.variables, known);
        let situation = situation(change, &variables, tree);
        let place = "Failed to parse rule for workflow:";
        let Some(wanted) = ci::wanted(rules, situation, place)? else {
            return Ok(None);
        };
        more = wanted.variables;
        auto_cancel = wanted.auto_cancel.unwrap_or(auto_cancel);
    }
    let mut jobs = Vec::new();
    for mut spec in config.jobs {
        spec.take_variables(&more);
        let variables = beneath(&spec.variables, known);
        if let Some(mut spec) = ci::evaluate(&spec, situation(change, &variables, tree))? {
            name_resource(&mut spec, known);
            let variables = beneath(&spec.variables, known);
            for tag in &mut spec.tags {
                *tag = in_text(tag, &variables, Unknown::Stay);
            }
            jobs.push(spec);
        }
    }
    ci::missing_needs(&jobs)?;
    Ok((!jobs.is_empty()).then_some(Content {
        stages: config.stages,
        jobs,
        auto_cancel,
    }))
}

/// Expand the variables in a job's resource group.
fn name_resource(spec: &mut JobSpec, known: &BTreeMap<String, String>) {
    let Some(group) = spec.resource_group.take() else {
        return;
    };
    let mut variables = beneath(&spec.variables, known);
    variables.insert("CI_JOB_NAME".to_owned(), spec.name.clone());
    variables.insert("CI_JOB_STAGE".to_owned(), spec.stage.clone());
    if let Some(environment) = &spec.environment {
        let name = in_text(&environment.name, &variables, Unknown::Stay);
        variables.insert("CI_ENVIRONMENT_NAME".to_owned(), name);
    }
    spec.resource_group = Some(in_text(&group, &variables, Unknown::Stay));
}

/// Replace `cache:key:files` by a key derived from the last commits that changed the files.
async fn resolve_cache_keys(
    repository: &Path,
    sha: &str,
    jobs: &mut [JobSpec],
    server: &Server,
) -> Result<(), Error> {
    for cache in jobs.iter_mut().flat_map(|job| &mut job.caches) {
        let mut key = match &cache.key {
            CacheKey::Plain(key) => key.clone(),
            CacheKey::Files { files, prefix } => {
                let mut commits = Vec::new();
                for file in files {
                    commits.extend(git::last_change(repository, sha, file).await?);
                }
                key_of(&mut commits, prefix.as_deref())
            }
        };
        if server.options.separate_caches {
            key.push_str(if cache.unprotect {
                "-non_protected"
            } else {
                "-protected"
            });
        }
        cache.key = CacheKey::Plain(key);
    }
    Ok(())
}

/// The prefix, then forty hexadecimal digits as in GitLab, or `default` if no file exists.
fn key_of(commits: &mut [String], prefix: Option<&str>) -> String {
    commits.sort();
    let mut key = if commits.is_empty() {
        "default".to_owned()
    } else {
        hex::encode(Sha256::digest(commits.join("-")))
    };
    key.truncate(40);
    match prefix {
        Some(prefix) => format!("{prefix}-{key}"),
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_and_moved_refs_create_pipelines() {
        let refs = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, sha)| ((*name).to_owned(), (*sha).to_owned()))
                .collect()
        };
        let before = refs(&[
            ("refs/heads/main", "a"),
            ("refs/heads/old", "a"),
            ("refs/heads/x", "c"),
        ]);
        let after = refs(&[
            ("refs/heads/main", "b"),
            ("refs/tags/v1", "b"),
            ("refs/heads/x", "c"),
        ]);
        let changes = changes(&before, &after);
        let shown: Vec<_> = changes
            .iter()
            .map(|c| (c.name.as_str(), c.tag, c.before.as_str()))
            .collect();
        assert_eq!(shown, [("main", false, "a"), ("v1", true, git::ZERO)]);
    }

    #[test]
    fn a_key_of_files_depends_on_their_commits_only() {
        let key = key_of(&mut ["b".to_owned(), "a".to_owned()], Some("p"));
        assert_eq!(
            key,
            key_of(&mut ["a".to_owned(), "b".to_owned()], Some("p"))
        );
        assert_eq!(key.len(), "p-".len() + 40);
        assert_eq!(key_of(&mut [], None), "default");
    }
}
