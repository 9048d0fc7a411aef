//! *Ghost*: build and verify run on two different spot workers, so that the output of verify can
//! only have come through the S3 cache.

use onspot_e2e::world::{JOB_IMAGE, StackOptions};
use onspot_e2e::{cowsay, engine, images};
use onspot_mock_gitlab::{JobView, PipelineView, Project};

use crate::aws;
use crate::scene::{STEP, Scene, green, none_of, prove, push_folder, wait};

#[tokio::test(flavor = "multi_thread")]
async fn proof_ghost() {
    prove(StackOptions::default(), async |scene| {
        let folder = images::repository().join("fixtures/cowsay");
        let (project, pushed) = push_folder(scene.gitlab(), "cowsay", &folder).await;
        let pipeline = green(scene.gitlab(), pushed.id).await;

        the_ghost_is_whole(scene, &pipeline).await;
        two_spot_workers_ran_it(scene, &pipeline).await;
        the_cache_lies_under_its_key(scene, &project, &pipeline).await;
        the_logs_are_in_cloudwatch(scene, &pipeline).await;
        a_job_finds_no_credentials(scene).await;
        scene.no_worker_is_left().await;
        assert_eq!(scene.managers().len(), 1);
        the_ledger_is_empty(scene).await;
        scene.nothing_was_wrong();
    })
    .await;
}

fn worker_of(job: &JobView) -> String {
    job.worker.clone().expect("the worker of a job")
}

/// The output of verify equals, line by line, the output of the same program here.
async fn the_ghost_is_whole(scene: &Scene, pipeline: &PipelineView) {
    let verify = pipeline.job("verify").expect("verify");
    let script = "cowsay -f ghostbusters building build @ stage build";
    let command = ["sh", "-c", &format!("PATH=$PATH:/usr/games; {script}")];
    let ghost = engine::run(scene.world.docker(), scene.world.id(), JOB_IMAGE, &command).await;
    let ghost = ghost.expect("a ghost").replace("\r\n", "\n");
    assert!(ghost.contains("building build @ stage build"), "{ghost}");
    assert_eq!(
        cowsay::ghost(&scene.trace(verify.id)).trim_end(),
        ghost.trim_end(),
    );
}

async fn two_spot_workers_ran_it(scene: &Scene, pipeline: &PipelineView) {
    let workers = pipeline.jobs.iter().map(worker_of).collect::<Vec<_>>();
    assert_eq!(workers.len(), 2);
    assert_ne!(workers[0], workers[1], "one job a worker");
    let instances = scene.world.hypervisor().ec2().instances().await;
    let instances = instances.expect("instances");
    for worker in workers {
        let instance = instances.iter().find(|instance| instance.id == worker);
        let instance = instance.unwrap_or_else(|| panic!("{worker} is no instance"));
        assert!(instance.spot, "{worker} is a spot instance");
        assert_eq!(instance.tag("onspot:role"), "worker");
    }
    assert_eq!(
        pipeline
            .jobs
            .iter()
            .map(|job| job.script_starts)
            .collect::<Vec<_>>(),
        [1, 1]
    );
}

/// GitLab Runner's key for a shared cache, below the prefix that this runner's role may access.
async fn the_cache_lies_under_its_key(scene: &Scene, project: &Project, pipeline: &PipelineView) {
    let expected = format!("cache/docker-m3/project/{}/{}", project.id, pipeline.sha);
    assert_eq!(aws::objects(&scene.world, "cache/").await, [expected]);
}

async fn the_logs_are_in_cloudwatch(scene: &Scene, pipeline: &PipelineView) {
    let manager = scene.managers()[0].instance.id.clone();
    let mut streams = vec![format!("manager/{manager}")];
    streams.extend(
        pipeline
            .jobs
            .iter()
            .map(|job| format!("worker/{}", worker_of(job))),
    );
    wait("every instance has logged", STEP, async || {
        let lines = scene.onspot(&["logs"]).await;
        let logged = |stream: &str| {
            lines.iter().any(|line| {
                line["stream"] == stream
                    && line["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("onspot"))
            })
        };
        let missing = streams.iter().filter(|stream| !logged(stream));
        none_of(&missing.cloned().collect::<Vec<_>>())
    })
    .await;
}

/// Looks for everything that would let a job act as its worker: the metadata service, credentials
/// in the environment, the runner's token, the engine's socket, the worker's own files.
const SPY: &str = r#"
spy:
  image: debian:bookworm-slim
  script:
    - if timeout 5 bash -c '</dev/tcp/169.254.169.254/80'; then exit 10; fi
    - if env | grep -E '^AWS_|gl[r]t-'; then exit 11; fi
    - if grep -rl 'gl[r]t-' "$CI_PROJECT_DIR" "$CI_PROJECT_DIR.tmp" /root 2>/dev/null; then exit 12; fi
    - if ls -d /var/run/docker.sock /etc/onspot /var/lib/onspot /onspot; then exit 13; fi
    - echo "nothing found"
"#;

async fn a_job_finds_no_credentials(scene: &Scene) {
    let pushed = scene.push_files("spy", &[(".gitlab-ci.yml", SPY)]).await;
    let pipeline = green(scene.gitlab(), pushed.id).await;
    let trace = scene.trace(pipeline.job("spy").expect("spy").id);
    assert!(trace.contains("\nnothing found"), "{trace}");
}

/// Nothing is left of finished jobs and terminated workers except the records kept for a day.
async fn the_ledger_is_empty(scene: &Scene) {
    wait("the ledger forgets what is over", STEP, async || {
        let mut left = Vec::new();
        for prefix in ["run/job/", "run/order/", "run/payload/", "run/state/"] {
            left.extend(aws::objects(&scene.world, prefix).await);
        }
        none_of(&left)
    })
    .await;
}
