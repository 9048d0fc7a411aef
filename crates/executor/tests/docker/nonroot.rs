//! Images whose user is not root.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use onspot_executor::Outcome;
use onspot_gitlab::job::{ArtifactSpec, ArtifactsFile, CacheSpec, Dependency, Image, JobPayload};
use onspot_gitlab::{JobId, JobToken, Variable};

use crate::support::ghost::checked_out;
use crate::support::gitlab::{GitLab, TOKEN};
use crate::support::{Bench, IMAGE};

/// Builds an image with its own user, and returns its name.
fn image() -> String {
    let name = "onspot-test-nonroot:1";
    let dockerfile = format!("FROM {IMAGE}\nRUN useradd -m -u 1000 app\nUSER app\n");
    let mut build = Command::new("docker")
        .args(["build", "--quiet", "--tag", name, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = build.stdin.take().unwrap();
    stdin.write_all(dockerfile.as_bytes()).unwrap();
    drop(stdin);
    assert!(build.wait().unwrap().success());
    name.into()
}

fn as_user(id: u64, script: &[&str], gitlab: &GitLab, image: &str) -> JobPayload {
    let mut payload = checked_out(id, script, gitlab);
    payload.image = Some(Image {
        name: image.into(),
        ..Image::default()
    });
    payload.cache = vec![CacheSpec {
        key: "k".into(),
        paths: vec!["vendor/".into()],
        ..CacheSpec::default()
    }];
    payload
}

fn on_artifacts_of(mut payload: JobPayload, job: u64) -> JobPayload {
    payload.dependencies = vec![Dependency {
        id: JobId(job),
        token: JobToken::new(TOKEN),
        name: "one".into(),
        artifacts_file: Some(ArtifactsFile {
            filename: "artifacts.zip".into(),
            size: 1,
        }),
    }];
    payload
}

#[tokio::test]
async fn caches_and_artifacts_keep_their_owners() {
    let image = image();
    let dir = tempfile::tempdir().unwrap();
    let gitlab = GitLab::start(dir.path(), &[("README", "read me\n")]).await;
    let bench = Bench::with("nonroot", &gitlab.url, |_| {}).await;
    let script = [
        "id -u; mkdir -p vendor out; echo first >vendor/lib.txt; echo x >out/o.txt",
        "chmod 640 vendor/lib.txt out/o.txt; chmod 750 vendor out",
        "touch made-here; echo more >>README",
    ];
    let mut one = as_user(61, &script, &gitlab, &image);
    one.artifacts = vec![ArtifactSpec {
        paths: vec!["out/".into()],
        ..ArtifactSpec::default()
    }];
    let ended = bench.run_with_cache(one).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    assert!(ended.trace.contains("\n1000\n"), "{}", ended.trace);

    for format in ["zip", "tarzstd"] {
        let script = [
            "cat vendor/lib.txt; echo second >>vendor/lib.txt; echo y >>out/o.txt",
            "rm vendor/lib.txt; echo third >vendor/lib.txt; touch vendor/new out/new",
            "stat -c '%u %a' vendor/lib.txt vendor out",
        ];
        let mut two = on_artifacts_of(as_user(62, &script, &gitlab, &image), 61);
        let format = Variable::public("CACHE_COMPRESSION_FORMAT", format);
        two.variables.push(format);
        let ended = bench.run_with_cache(two).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
        assert!(
            ended.trace.contains("\n1000 644\n1000 750\n1000 750\n"),
            "{}",
            ended.trace
        );
    }
    bench.finish().await;
}

#[tokio::test]
async fn with_the_usual_umask_the_files_belong_to_the_images_user() {
    let image = image();
    let dir = tempfile::tempdir().unwrap();
    let gitlab = GitLab::start(dir.path(), &[("README", "read me\n")]).await;
    let bench = Bench::with("give-away", &gitlab.url, |_| {}).await;
    let script = [
        "stat -c '%u %a' README .git/HEAD; echo more >>README; touch made-here",
        "test -O . && cat \"$KEY_FILE\"",
    ];
    let mut payload = as_user(63, &script, &gitlab, &image);
    let flag = Variable::public("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", "true");
    payload.variables.push(flag);
    payload.variables.push(Variable {
        file: true,
        ..Variable::public("KEY_FILE", "a key\n")
    });
    for _ in 0..2 {
        let ended = bench.run(payload.clone()).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
        assert!(
            ended.trace.contains("\n1000 644\n1000 644\n"),
            "{}",
            ended.trace
        );
        assert!(ended.trace.contains("\na key\n"), "{}", ended.trace);
    }
    bench.finish().await;
}
