//! The cowsay pipeline with `onspot run`: this host is the only worker, and there is no AWS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use onspot_e2e::local_run::LocalRun;
use onspot_e2e::world::{JOB_IMAGE, RUNNER};
use onspot_e2e::{cowsay, engine, images};
use onspot_mock_gitlab::{MockGitlab, NewRunner};

use crate::diagnosis;
use crate::scene::{green, push_folder};

/// The label of everything that the executor creates for this runner.
const OURS: &str = "onspot.runner=laptop";

#[tokio::test(flavor = "multi_thread")]
async fn proof_run_without_aws() {
    let docker = engine::connect().await.expect("a Docker engine");
    images::ensure(&docker, &[images::COWSAY, images::HELPER], &mut drop)
        .await
        .expect("images");
    let folder = tempfile::tempdir().expect("a folder");
    // Job containers reach this host at its own address, not at its loopback.
    let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let gitlab = MockGitlab::builder().bind(everywhere).start().await;
    let gitlab = gitlab.expect("GitLab");
    let token = gitlab.create_runner(NewRunner {
        tags: vec![RUNNER.to_owned()],
        ..NewRunner::default()
    });
    let onspot = LocalRun::start(folder.path(), &config(&gitlab, &token));
    let mut onspot = onspot.expect("onspot run");

    let cowsay = images::repository().join("fixtures/cowsay");
    let (_, pushed) = push_folder(&gitlab, "cowsay", &cowsay).await;
    let ended =
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(green(&gitlab, pushed.id)))
            .await;
    if ended.is_err() {
        diagnosis::jobs(&gitlab);
        diagnosis::log(&onspot.log());
    }
    let status = onspot.end().await.expect("it ends in time");
    assert!(status.success(), "{status}");
    let pipeline = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));

    let trace = gitlab.trace(pipeline.job("verify").expect("verify").id);
    let ghost = cowsay::ghost(&trace);
    assert!(ghost.contains("building build @ stage build"), "{trace}");
    let left = engine::containers(&docker, OURS)
        .await
        .expect("containers")
        .len();
    assert_eq!(left, 0, "no container is left");
    assert!(gitlab.violations().is_empty(), "{:?}", gitlab.violations());
}

/// A runner that runs the cowsay image's jobs.
fn config(gitlab: &MockGitlab, token: &str) -> String {
    format!(
        "concurrent = 2\ncheck_interval = 1\n\n[[runners]]\nname = \"laptop\"\nurl = \"{}\"\n\
         token = \"{token}\"\nexecutor = \"docker\"\n\n[runners.docker]\nimage = \"{JOB_IMAGE}\"\n\
         pull_policy = \"if-not-present\"\n",
        gitlab.url(),
    )
}
