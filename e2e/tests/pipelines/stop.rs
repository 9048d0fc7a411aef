//! A stopped `onspot run` leaves nothing on this host.

use std::time::Duration;

use onspot_e2e::local_run::LocalRun;
use onspot_e2e::poll::{self, Look};
use onspot_e2e::{engine, images};
use onspot_mock_gitlab::{MockGitlab, NewRunner};

use crate::host::{add_runner, everywhere};

/// Time limit for its first container.
const FIRST: Duration = Duration::from_mins(1);
/// More slots than the host has processors, so that the start takes a while.
const SLOTS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stopped_during_its_start_leaves_no_container() {
    let docker = engine::connect().await.expect("a Docker engine");
    images::ensure_base(&docker, &mut drop)
        .await
        .expect("the base image");
    images::ensure(&docker, &[images::HELPER], &mut drop)
        .await
        .expect("images");
    let folder = tempfile::tempdir().expect("a folder");
    let gitlab = MockGitlab::builder().bind(everywhere()).start().await;
    let gitlab = gitlab.expect("GitLab");
    let token = gitlab.create_runner(NewRunner::default());
    let name = format!("stopped-{}", std::process::id());
    let mut config = format!("concurrent = {SLOTS}\n");
    add_runner(&mut config, &gitlab, &name, &token, SLOTS, "");
    let mut onspot = LocalRun::start(folder.path(), &config).expect("onspot run");
    let label = format!("onspot.runner={name}");
    let begun = poll::until("its first container", FIRST, || async {
        let found = engine::containers(&docker, &label).await?;
        Ok(if found.is_empty() {
            Look::NotYet("there is none".to_owned())
        } else {
            Look::There(())
        })
    });
    begun
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", onspot.log()));
    let status = onspot.end().await.expect("it ends");
    assert!(status.success(), "{status}\n{}", onspot.log());
    let left = engine::containers(&docker, &label).await.expect("a list");
    assert!(left.is_empty(), "{left:?}");
}
