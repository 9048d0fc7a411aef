//! *Cancel* of a waiting and of a running job: both end as canceled, the running one after its
//! after_script; no more workers are launched for them.

use onspot_e2e::world::StackOptions;
use onspot_mock_gitlab::{JobView, Status};

use crate::aws;
use crate::scene::{STEP, Scene, none_of, prove, wait};

const LONG: &str = r#"
running:
  tags: [docker.m3]
  script:
    - echo "the script has begun"
    - sleep 600
  after_script: [echo "cleaning up after $CI_JOB_STATUS"]
"#;

const SHORT: &str = r#"
waiting:
  tags: [docker.m3]
  script: [echo "the script has begun"]
  after_script: [echo "cleaning up"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn proof_cancel() {
    // A worker is terminated after its job, and also if it got none.
    let options = StackOptions {
        idle_time: "5s".to_owned(),
        ..StackOptions::default()
    };
    prove(options, async |scene| {
        let (running, waiting) = scene.one_running_one_waiting(LONG, SHORT).await;

        let mark = scene.world.cloud().calls().len();
        assert!(scene.gitlab().cancel_job(waiting.id));
        assert!(scene.gitlab().cancel_job(running.id));
        let waiting = canceled(scene, &waiting).await;
        let running = canceled(scene, &running).await;

        assert_eq!(waiting.script_starts, 0, "it never ran");
        assert!(!scene.trace(waiting.id).contains("cleaning up"));
        let trace = scene.trace(running.id);
        assert!(trace.contains("\ncleaning up after canceled"), "{trace}");

        wait("the ledger forgets both", STEP, async || {
            none_of(&aws::objects(&scene.world, "run/job/").await)
        })
        .await;
        scene.no_worker_is_left().await;
        let since = scene.world.cloud().calls().since(mark);
        let launches: Vec<_> = since
            .iter()
            .filter(|call| call.action == "CreateFleet")
            .collect();
        assert!(launches.is_empty(), "nothing is launched: {launches:?}");
        scene.nothing_was_wrong();
    })
    .await;
}

async fn canceled(scene: &Scene, job: &JobView) -> JobView {
    scene
        .job_when(job.pipeline, &job.name, |job| {
            job.status == Status::Canceled
        })
        .await
}
