//! A small cowsay pipeline, as payloads.

use onspot_gitlab::job::{ArtifactSpec, ArtifactsFile, CacheSpec, Dependency, JobPayload, When};
use onspot_gitlab::{JobId, JobToken, Variable};

use super::gitlab::{GitLab, TOKEN};
use super::job;

/// A job for the only commit.
pub(crate) fn checked_out(id: u64, script: &[&str], gitlab: &GitLab) -> JobPayload {
    let mut payload = job(script);
    payload.id = JobId(id);
    payload.variables = vec![Variable::public("CI_BUILD_REF", &gitlab.sha)];
    payload.allow_git_fetch = true;
    payload.git_info.repo_url = gitlab.repo_url();
    payload.git_info.sha.clone_from(&gitlab.sha);
    payload.git_info.r#ref = "main".into();
    payload.git_info.refspecs = vec!["+refs/heads/main:refs/remotes/origin/main".into()];
    payload.git_info.depth = 20;
    payload
}

fn cache() -> CacheSpec {
    CacheSpec {
        key: "$CI_BUILD_REF".into(),
        untracked: true,
        ..CacheSpec::default()
    }
}

pub(crate) fn build_job(gitlab: &GitLab) -> JobPayload {
    let script = [
        "echo 'who you gonna call' >ghosts.txt",
        "mkdir out; echo 'from the artifact' >out/report.txt; touch out/left.o",
    ];
    let mut payload = checked_out(42, &script, gitlab);
    payload.cache = vec![cache()];
    payload.artifacts = vec![
        ArtifactSpec {
            paths: vec!["out/".into()],
            exclude: vec!["**/*.o".into()],
            ..ArtifactSpec::default()
        },
        ArtifactSpec {
            paths: vec!["nothing".into()],
            when: When::OnFailure,
            ..ArtifactSpec::default()
        },
    ];
    payload
}

pub(crate) fn verify_job(gitlab: &GitLab) -> JobPayload {
    let mut payload = checked_out(43, &["cat ghosts.txt README"], gitlab);
    payload.cache = vec![CacheSpec {
        policy: "pull".into(),
        ..cache()
    }];
    payload
}

pub(crate) fn collect_job(gitlab: &GitLab) -> JobPayload {
    let script = [
        "cat out/report.txt; test ! -e ghosts.txt; test ! -e out/left.o",
        "if grep -r glcbt .git; then exit 1; fi",
    ];
    let mut payload = checked_out(44, &script, gitlab);
    payload.dependencies = vec![Dependency {
        id: JobId(42),
        token: JobToken::new(TOKEN),
        name: "build".into(),
        artifacts_file: Some(ArtifactsFile {
            filename: "artifacts.zip".into(),
            size: 1,
        }),
    }];
    payload
}
