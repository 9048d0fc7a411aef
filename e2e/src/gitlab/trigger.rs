//! From a change of a branch or tag to a pipeline.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::ci::{self, CacheKey, CiConfig, JobSpec, When};
use super::error::GitLabError;
use super::git;
use super::ids::{PipelineId, ProjectId};
use super::lifecycle::NewPipeline;
use super::model::{Commit, Variable};
use super::server::Server;

/// Where a project's configuration is.
const CONFIG: &str = ".gitlab-ci.yml";

/// A ref that points somewhere new.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) tag: bool,
    pub(super) before: String,
    pub(super) sha: String,
    pub(super) source: &'static str,
    pub(super) variables: Vec<Variable>,
}

/// The changes between two states of a repository's refs. Deleted ones make no pipeline.
pub(super) fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Change> {
    let short = |name: &str| {
        let branch = name
            .strip_prefix("refs/heads/")
            .map(|name| (name.to_owned(), false));
        branch.or_else(|| {
            name.strip_prefix("refs/tags/")
                .map(|name| (name.to_owned(), true))
        })
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

/// Make a pipeline for a change; `None` if the commit has no configuration, or no job wants to run.
pub(super) async fn pipeline(
    server: &Server,
    project: ProjectId,
    change: Change,
) -> Result<Option<PipelineId>, GitLabError> {
    let repository = git::path(&server.options.dir, project);
    let Some(text) = git::file(&repository, &change.sha, CONFIG).await? else {
        return Ok(None);
    };
    let commit = git::commit(&repository, &change.sha).await?;
    let content = match CiConfig::parse(&text) {
        Ok(config) => {
            let known = known_variables(server, project, &change, &commit, &config);
            let Some(mut jobs) = wanted(&config, &known, &change) else {
                return Ok(None);
            };
            resolve_cache_keys(&repository, &change.sha, &mut jobs, server).await?;
            Ok((config.stages, jobs))
        }
        Err(error) => Err(error.to_string()),
    };
    let skip = ["[skip ci]", "[ci skip]"]
        .iter()
        .any(|word| commit.message.contains(word));
    let sha = change.sha.clone();
    let id = server.change(|state| PipelineId(state.next_id()));
    // Kept for as long as the pipeline, and there before any job is: a force push must not take
    // the commit from its jobs.
    git::set_ref(&repository, &format!("refs/pipelines/{id}"), &sha).await?;
    server.change(|state| {
        state.add_pipeline(
            NewPipeline {
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
            },
            Timestamp::now(),
        );
    });
    tracing::info!(pipeline = %id, project = %project, sha, "pipeline made");
    Ok(Some(id))
}

/// The variables that rules may ask for.
fn known_variables(
    server: &Server,
    project: ProjectId,
    change: &Change,
    commit: &Commit,
    config: &CiConfig,
) -> BTreeMap<String, String> {
    let mut known: BTreeMap<String, String> = config
        .variables
        .iter()
        .map(|variable| (variable.key.clone(), variable.value.clone()))
        .collect();
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
        ("CI_COMMIT_SHA", &change.sha),
        ("CI_COMMIT_MESSAGE", &commit.message),
        ("CI_COMMIT_TITLE", &commit.title),
        ("CI_PIPELINE_SOURCE", &change.source.to_owned()),
    ] {
        known.insert(key.to_owned(), value.clone());
    }
    known.extend(
        change
            .variables
            .iter()
            .map(|v| (v.key.clone(), v.value.clone())),
    );
    known
}

/// The jobs that belong to the pipeline, as their rules leave them; `None`: no pipeline.
fn wanted(
    config: &CiConfig,
    known: &BTreeMap<String, String>,
    change: &Change,
) -> Option<Vec<JobSpec>> {
    if config
        .workflow
        .as_ref()
        .is_some_and(|rules| !ci::wants_pipeline(rules, known))
    {
        return None;
    }
    let jobs: Vec<JobSpec> = config
        .jobs
        .iter()
        .filter_map(|spec| {
            let mut variables = known.clone();
            variables.extend(
                spec.variables
                    .iter()
                    .map(|v| (v.key.clone(), v.value.clone())),
            );
            let verdict = ci::evaluate(spec, &variables, &change.name, change.tag);
            if verdict.when == When::Never {
                return None;
            }
            let mut spec = spec.clone();
            (spec.when, spec.allow_failure) = (verdict.when, verdict.allow_failure);
            spec.variables
                .retain(|old| !verdict.variables.iter().any(|new| new.key == old.key));
            spec.variables.extend(verdict.variables);
            Some(spec)
        })
        .collect();
    (!jobs.is_empty()).then_some(jobs)
}

/// Replace `cache:key:files` by a key made of the commits that last changed them.
async fn resolve_cache_keys(
    repository: &Path,
    sha: &str,
    jobs: &mut [JobSpec],
    server: &Server,
) -> Result<(), GitLabError> {
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

/// Forty hexadecimal digits, as GitLab's, or `default` where no file is there; after the prefix.
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
    fn only_new_and_moved_refs_make_pipelines() {
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
