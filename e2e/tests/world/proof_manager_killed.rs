//! *Manager killed*, with one job waiting and one running: neither is lost, run twice, or
//! reported twice.

use onspot_e2e::world::StackOptions;
use onspot_mock_gitlab::{JobCallKind, JobView, Status};

use crate::scene::{STEP, Scene, green, prove, wait};

const LONG: &str = r#"
running:
  tags: [docker.m3]
  script:
    - echo "the script has begun"
    - sleep 25
    - echo "the script has ended"
"#;

const SHORT: &str = r#"
waiting:
  tags: [docker.m3]
  script: [echo "it was not forgotten"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn proof_manager_killed() {
    prove(StackOptions::default(), async |scene| {
        // Its worker takes one job, so the next one waits for another worker.
        let (running, waiting) = scene.one_running_one_waiting(LONG, SHORT).await;
        let [manager] = &scene.managers()[..] else {
            panic!("not one manager: {:?}", scene.managers());
        };
        scene
            .world
            .hypervisor()
            .kill(&manager.instance.id)
            .await
            .expect("a kill");
        let then = (job(scene, &running), job(scene, &waiting));
        assert_eq!(then.0.status, Status::Running, "one job runs at the kill");
        assert!(!scene.trace(running.id).contains("\nthe script has ended"));
        assert_eq!(then.1.status, Status::Running, "the other was taken, and");
        assert_eq!(then.1.script_starts, 0, "waits at the kill");

        wait("the group makes another manager", STEP, async || {
            let managers = scene.managers();
            match &managers[..] {
                [next] if next.instance.id != manager.instance.id => Ok(()),
                other => Err(format!("{} managers", other.len())),
            }
        })
        .await;
        for (pipeline, name) in [(running.pipeline, "running"), (waiting.pipeline, "waiting")] {
            let pipeline = green(scene.gitlab(), pipeline).await;
            ran_once(scene, pipeline.job(name).expect("the job"));
        }
        assert!(
            scene.trace(waiting.id).contains("\nit was not forgotten"),
            "the waiting job's output is there"
        );
        let after = job(scene, &running);
        assert_eq!(
            after.worker, then.0.worker,
            "the running job kept its worker"
        );
        scene.nothing_was_wrong();
    })
    .await;
}

fn job(scene: &Scene, job: &JobView) -> JobView {
    scene.gitlab().job(job.id).expect("a job")
}

/// Assigned once, started once, reported once.
fn ran_once(scene: &Scene, job: &JobView) {
    let calls = scene.gitlab().calls(job.id);
    let given = calls
        .iter()
        .filter(|call| matches!(call.kind, JobCallKind::Assigned { .. }));
    assert_eq!(given.count(), 1, "{}: given out once", job.name);
    assert_eq!(job.script_starts, 1, "{}: begun once", job.name);
    assert_eq!(scene.results(job.id), 1, "{}: reported once", job.name);
}
