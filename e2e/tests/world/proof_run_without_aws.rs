//! The cowsay pipeline by `onspot run`: this host is the only worker, and there is no AWS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use onspot_e2e::gitlab::{GitLabOptions, MockGitLab, NewRunner};
use onspot_e2e::world::{JOB_IMAGE, RUNNER, program};
use onspot_e2e::{cowsay, engine, images};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::diagnosis;
use crate::scene::{green, push_folder};

/// The label of everything that the executor makes.
const KIND: &str = "onspot.kind";

#[tokio::test(flavor = "multi_thread")]
async fn proof_run_without_aws() {
    let docker = engine::connect().await.expect("a Docker engine");
    images::ensure(&docker, &[images::COWSAY, images::HELPER], &mut drop)
        .await
        .expect("images");
    let folder = tempfile::tempdir().expect("a folder");
    // Jobs' containers reach this host at an address of its own, not at its loopback.
    let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let options = GitLabOptions::new(everywhere, folder.path().join("gitlab"));
    let gitlab = MockGitLab::serve(options).await.expect("GitLab");
    let token = gitlab.create_runner(NewRunner {
        tags: vec![RUNNER.to_owned()],
        ..NewRunner::default()
    });
    let before = engine::containers(&docker, KIND)
        .await
        .expect("containers")
        .len();
    let mut onspot = run(folder.path(), &gitlab, &token);

    let cowsay = images::repository().join("fixtures/cowsay");
    let (_, pushed) = push_folder(&gitlab, "cowsay", &cowsay).await;
    let ended =
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(green(&gitlab, pushed.id)))
            .await;
    if ended.is_err() {
        diagnosis::jobs(&gitlab);
    }
    end(&mut onspot).await;
    let pipeline = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));

    let trace = gitlab.trace(pipeline.job("verify").expect("verify").id);
    let ghost = cowsay::ghost(&trace);
    assert!(ghost.contains("building build @ stage build"), "{trace}");
    let left = engine::containers(&docker, KIND)
        .await
        .expect("containers")
        .len();
    assert_eq!(left, before, "no container is left");
    assert!(gitlab.violations().is_empty(), "{:?}", gitlab.violations());
}

/// `onspot run` with a `config.toml`, and no AWS credentials anywhere.
fn run(folder: &Path, gitlab: &MockGitLab, token: &str) -> Child {
    let config = folder.join("config.toml");
    let text = format!(
        "concurrent = 2\ncheck_interval = 1\n\n[[runners]]\nname = \"laptop\"\nurl = \"{}\"\n\
         token = \"{token}\"\nexecutor = \"docker\"\n\n[runners.docker]\nimage = \"{JOB_IMAGE}\"\n\
         pull_policy = \"if-not-present\"\n",
        gitlab.url(),
    );
    std::fs::write(&config, text).expect("config.toml");
    let mut command = Command::new(program::find().expect("the binary"));
    command
        .args(["run", "--config"])
        .arg(&config)
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .env("NO_PROXY", "*");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.spawn().expect("onspot run")
}

/// Ends it as systemd would.
async fn end(onspot: &mut Child) {
    let pid = onspot.id().and_then(|id| i32::try_from(id).ok());
    let pid = pid.and_then(Pid::from_raw).expect("it still runs");
    kill_process(pid, Signal::TERM).expect("SIGTERM");
    let status = tokio::time::timeout(Duration::from_secs(30), onspot.wait()).await;
    let status = status.expect("it ends in time").expect("a status");
    assert!(status.success(), "{status}");
}
