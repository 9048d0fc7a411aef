//! *Out of memory*: a job that allocates endlessly fails with an explanation, its worker survives,
//! and the next job runs on the same worker. The stack has tags of an owner, which the worker has
//! too, and for which `plan` finds nothing left to do.

use onspot_e2e::world::StackOptions;
use onspot_mock_gitlab::Status;

use crate::scene::{green, prove};

/// A program that reads an endless line keeps all of it in memory. The kernel kills that child of
/// the shell.
const EATER: &str = r#"
eat:
  tags: [docker.m3]
  script:
    - echo "the script has begun"
    - tail /dev/zero || exit 3
    - echo "the script has ended"
"#;

const NEXT: &str = r#"
next:
  tags: [docker.m3]
  script: [echo "still here"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn proof_out_of_memory() {
    let options = StackOptions {
        memory: Some("64m".to_owned()),
        tags: vec![("CostCenter".to_owned(), "ci / 42".to_owned())],
        limit: 1,
        max_builds: 0,
        idle_time: "60s".to_owned(),
        ..StackOptions::default()
    };
    prove(options, async |scene| {
        let pushed = scene
            .push_files("eater", &[(".gitlab-ci.yml", EATER)])
            .await;
        let eater = scene
            .job_when(pushed.id, "eat", |job| job.status == Status::Failed)
            .await;
        let trace = scene.trace(eater.id);
        let told = "the job ran out of memory (it had 64 MiB)";
        assert_eq!(trace.matches(told).count(), 1, "{trace}");
        assert!(trace.contains("Job failed: exit code 3"), "{trace}");
        assert!(!trace.contains("\nthe script has ended"), "{trace}");

        let pushed = scene.push_files("next", &[(".gitlab-ci.yml", NEXT)]).await;
        let pipeline = green(scene.gitlab(), pushed.id).await;
        let next = pipeline.job("next").expect("next");
        assert_eq!(next.worker, eater.worker, "the worker lives");
        assert!(!scene.trace(next.id).contains("out of memory"));

        let workers = scene.workers();
        let worker = &workers.first().expect("the worker").instance;
        assert_eq!(worker.tag("CostCenter"), "ci / 42");
        let arguments = scene.up_arguments();
        let mut plan = arguments.each_ref().map(String::as_str).to_vec();
        plan[0] = "plan";
        plan.retain(|argument| *argument != "--yes");
        let plan = scene.onspot(&plan).await;
        let plan = plan.last().expect("a plan");
        let changes = plan["plan"]["changes"].as_array().expect("changes");
        let left: Vec<_> = changes
            .iter()
            .filter(|change| change["kind"] != "keep")
            .collect();
        assert!(left.is_empty(), "{left:?}");
        scene.nothing_was_wrong();
    })
    .await;
}
