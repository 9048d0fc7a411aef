//! The plan for a job's caches and artifacts.

use onspot_cache::archive::{Format, Level};
use onspot_cache::{CacheKey, Selection, sanitize};
use onspot_gitlab::Variables;
use onspot_gitlab::job::{ArtifactFormat, CachePolicy, JobPayload, When};

use url::Url;

use super::sources::attempts;
use crate::helper::request::{Download, DownloadArtifacts, UploadArtifacts};
use crate::helper::statement::Statement;
use crate::settings::RunnerSettings;

/// One cache of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachePlan {
    /// Its key.
    pub(crate) key: CacheKey,
    /// The keys to try, in this order; empty if the policy does not pull.
    pub(crate) restore: Vec<CacheKey>,
    /// Whether the policy allows saving, and after which outcome.
    pub(crate) save: Option<When>,
    /// Its files.
    pub(crate) selection: Selection,
    /// The archive's format.
    pub(crate) format: Format,
    /// The compression level.
    pub(crate) level: Level,
    /// A warning for the user.
    pub(crate) warning: Option<String>,
}

/// One upload and its condition.
#[derive(Debug, Clone)]
pub(crate) struct UploadPlan {
    /// After which outcome to upload.
    pub(crate) when: When,
    /// The request to the helper.
    pub(crate) request: UploadArtifacts,
}

/// The caches, and what the job's author should know of them.
pub(super) fn caches(job: &JobPayload, variables: &Variables) -> (Vec<CachePlan>, Vec<String>) {
    let mut plans = Vec::new();
    let mut warnings = Vec::new();
    for spec in &job.cache {
        let selection = Selection {
            paths: expanded(&spec.paths, variables),
            exclude: Vec::new(),
            untracked: spec.untracked,
        };
        if selection.is_empty() {
            continue;
        }
        let mut key = variables.expand(&spec.key);
        if spec.key.is_empty() {
            key = format!("{}/{}", job.job_info.name, job.git_info.r#ref);
        }
        let Some(key) = cache_key(&key, variables, &mut warnings) else {
            continue;
        };
        let policy_text = variables.expand(&spec.policy);
        let policy = CachePolicy::parse(&policy_text);
        let (pulls, pushes) = policy.map_or((false, false), |p| (p.pulls(), p.pushes()));
        let restore = if pulls {
            candidates(&key, &spec.fallback_keys, variables, &mut warnings)
        } else {
            vec![]
        };
        let variable = |name| variables.get(name).unwrap_or_default();
        plans.push(CachePlan {
            key,
            restore,
            save: pushes.then_some(spec.when),
            selection,
            format: Format::parse(variable("CACHE_COMPRESSION_FORMAT")),
            level: Level::parse(variable("CACHE_COMPRESSION_LEVEL")),
            warning: policy.is_none().then(|| {
                format!("unknown cache policy {policy_text:?}: it can be pull, push or pull-push")
            }),
        });
    }
    (plans, warnings)
}

/// How long one transfer of a cache may take (`CACHE_REQUEST_TIMEOUT`, in minutes). Without it,
/// one goes on for as long as bytes flow.
pub(super) fn transfer_seconds(variables: &Variables) -> Option<u64> {
    let minutes: u64 = variables
        .get("CACHE_REQUEST_TIMEOUT")?
        .trim()
        .parse()
        .ok()?;
    Some(minutes.checked_mul(60)?).filter(|seconds| *seconds > 0)
}

fn cache_key(text: &str, variables: &Variables, warnings: &mut Vec<String>) -> Option<CacheKey> {
    match CacheKey::new(text, variables.flag("FF_HASH_CACHE_KEYS")) {
        Ok(key) => {
            if key.shown != text {
                let shown = &key.shown;
                warnings.push(format!("cache key {text:?} sanitized to {shown:?}"));
            }
            Some(key)
        }
        Err(error) => {
            warnings.push(format!("a cache is left out: {error}"));
            None
        }
    }
}

/// The cache's own key, its fallback keys, and the job's last fallback. A user-defined fallback key
/// must not give access to a protected branch's cache.
fn candidates(
    key: &CacheKey,
    fallback: &[String],
    variables: &Variables,
    warnings: &mut Vec<String>,
) -> Vec<CacheKey> {
    let last = variables
        .get("CACHE_FALLBACK_KEY")
        .map(|key| variables.expand(key));
    let last = last.filter(|key| {
        let allowed = !is_protected(key);
        if !allowed {
            let text = format!("CACHE_FALLBACK_KEY {key:?} not allowed to end in \"-protected\"");
            warnings.push(text);
        }
        allowed
    });
    let mut keys = vec![key.clone()];
    for text in expanded(fallback, variables).into_iter().chain(last) {
        if text.trim().is_empty() {
            continue;
        }
        if let Some(key) = cache_key(&text, variables, warnings)
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }
    keys
}

/// Whether a key belongs to a protected branch in any spelling: as it becomes part of the object's
/// name, and without the dots and blanks that a storage may remove.
fn is_protected(key: &str) -> bool {
    let key = sanitize(key).unwrap_or_default();
    key.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
        .ends_with("-protected")
}

pub(super) fn downloads(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
) -> DownloadArtifacts {
    let with_file = job.dependencies.iter().filter(|dependency| {
        dependency
            .artifacts_file
            .as_ref()
            .is_some_and(|file| !file.filename.is_empty())
    });
    DownloadArtifacts {
        gitlab: settings.runner.url.to_string(),
        ca_pem: settings.tls_ca_pem.clone(),
        attempts: attempts(variables, "ARTIFACT_DOWNLOAD_ATTEMPTS"),
        direct: !variables
            .get("FF_USE_DIRECT_DOWNLOAD")
            .is_some_and(super::is_no),
        downloads: with_file
            .map(|dependency| Download {
                job: dependency.id,
                name: dependency.name.clone(),
                token: dependency.token.clone(),
            })
            .collect(),
    }
}

pub(super) fn uploads(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
    executor: &str,
) -> Vec<UploadPlan> {
    let stated = variables.flag("RUNNER_GENERATE_ARTIFACTS_METADATA");
    let plan = |spec: &onspot_gitlab::job::ArtifactSpec| {
        let selection = Selection {
            paths: expanded(&spec.paths, variables),
            exclude: expanded(&spec.exclude, variables),
            untracked: spec.untracked,
        };
        let kind = if spec.artifact_type.is_empty() {
            "archive"
        } else {
            &spec.artifact_type
        };
        let request = UploadArtifacts {
            gitlab: settings.runner.url.to_string(),
            ca_pem: settings.tls_ca_pem.clone(),
            job: job.id,
            token: job.token.clone(),
            name: file_name(&variables.expand(&spec.name)),
            kind: kind.to_owned(),
            format: spec.artifact_format.clone(),
            expire_in: variables.expand(&spec.expire_in),
            level: Level::parse(
                variables
                    .get("ARTIFACT_COMPRESSION_LEVEL")
                    .unwrap_or_default(),
            ),
            selection,
            // A statement is one more file, and only an archive can have that.
            statement: (stated && spec.artifact_format == ArtifactFormat::Zip)
                .then(|| statement(job, settings, variables, executor)),
        };
        UploadPlan {
            when: spec.when,
            request,
        }
    };
    let known = |spec: &&onspot_gitlab::job::ArtifactSpec| {
        !matches!(spec.artifact_format, ArtifactFormat::Other(_))
    };
    job.artifacts
        .iter()
        .filter(known)
        .map(plan)
        .filter(|plan| !plan.request.selection.is_empty())
        .collect()
}

fn statement(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
    executor: &str,
) -> Statement {
    let variable = |name| variables.get(name).unwrap_or_default().to_owned();
    let mut repository = job.git_info.repo_url.clone();
    if let Ok(mut url) = Url::parse(&repository) {
        // These fail only for URLs that cannot have any.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        repository = url.into();
    }
    Statement {
        repository: repository.trim_end_matches(".git").to_owned(),
        sha: job.git_info.sha.clone(),
        job: job.id.to_string(),
        job_name: job.job_info.name.clone(),
        runner_id: variable("CI_RUNNER_ID"),
        runner_name: settings.runner.name.clone(),
        executor: executor.to_owned(),
        started_at: variable("CI_JOB_STARTED_AT"),
        variables: job.variables.iter().map(|v| v.key.clone()).collect(),
        version: variables
            .get("SLSA_PROVENANCE_SCHEMA_VERSION")
            .map(str::to_owned),
    }
}

/// The last part of the artifact's name, as GitLab Runner takes it; its defaults where there is
/// none.
fn file_name(name: &str) -> String {
    if name.is_empty() {
        return "artifacts".into();
    }
    let name = name.trim_end_matches('/');
    match name.rsplit('/').next().unwrap_or_default() {
        "" | "." | ".." => "default".into(),
        base => base.replace('\0', "_"),
    }
}

fn expanded(list: &[String], variables: &Variables) -> Vec<String> {
    list.iter().map(|text| variables.expand(text)).collect()
}
