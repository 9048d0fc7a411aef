//! *Worker killed*, during build and without notice: the pipeline succeeds on another worker, with
//! one trace that tells what happened. Both workers get the job's image through the manager's image
//! cache.

use onspot_e2e::world::{JOB_IMAGE, StackOptions};

use crate::scene::{STEP, Scene, green, prove, wait};

const PIPELINE: &str = r#"
stages: [build, verify]
cache: {key: "$CI_COMMIT_SHA", untracked: true}
default: {tags: [docker.m3]}
build:
  stage: build
  script:
    - echo "the script has begun"
    - sleep 12
    - cowsay -f ghostbusters "still here" > ghosts.txt
    - echo "the script has ended"
verify:
  stage: verify
  script: [cat ghosts.txt]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn proof_worker_killed() {
    let options = StackOptions {
        registry_cache: true,
        ..StackOptions::default()
    };
    prove(options, async |scene| {
        wait(
            "the manager's cache answers",
            STEP,
            async || match &kept_images(scene).await[..] {
                "{\"repositories\":[]}" => Ok(()),
                other => Err(other.to_owned()),
            },
        )
        .await;
        let pushed = scene
            .push_files("killed", &[(".gitlab-ci.yml", PIPELINE)])
            .await;
        let running = scene
            .job_that_shows(pushed.id, "build", "\nthe script has begun")
            .await;
        let victim = running.worker.expect("the worker of build");
        let before = scene.trace(running.id);
        assert!(!before.contains("\nthe script has ended"), "{before}");
        scene
            .world
            .hypervisor()
            .kill(&victim)
            .await
            .expect("a kill");

        let pipeline = green(scene.gitlab(), pushed.id).await;
        let build = pipeline.job("build").expect("build");
        assert_eq!(build.id, running.id, "the very same job");
        let heir = build.worker.clone().expect("the worker of build");
        assert_ne!(heir, victim);

        let trace = scene.trace(build.id);
        assert!(trace.starts_with(&before), "nothing of the trace is lost");
        let (_, after) = trace.split_once(&before).expect("what came afterwards");
        assert!(
            after.contains(&victim),
            "it says which worker was lost: {after}"
        );
        assert!(after.contains("terminated"), "and why: {after}");
        assert_eq!(trace.matches("\nthe script has begun").count(), 2);
        assert_eq!(trace.matches("\nthe script has ended").count(), 1);

        // A second attempt does not depend on the spot market.
        let instances = scene.world.hypervisor().ec2().instances().await;
        let instances = instances.expect("instances");
        let spot = |id: &str| {
            instances
                .iter()
                .find(|found| found.id == id)
                .map(|found| found.spot)
        };
        assert_eq!((spot(&victim), spot(&heir)), (Some(true), Some(false)));

        assert_eq!(scene.results(build.id), 1, "one result was reported");
        let (name, _) = JOB_IMAGE.split_once(':').expect("a tag");
        let kept = kept_images(scene).await;
        assert!(kept.contains(name), "workers pulled elsewhere: {kept}");
        scene.nothing_was_wrong();
    })
    .await;
}

/// The content of the manager's image cache; empty while it does not answer.
async fn kept_images(scene: &Scene) -> String {
    let managers = scene.managers();
    let Some(manager) = managers.first() else {
        return String::new();
    };
    let ask = [
        "curl",
        "-sS",
        "-m",
        "5",
        "http://127.0.0.1:15850/v2/_catalog",
    ];
    let answer = scene.world.hypervisor().exec(&manager.instance.id, &ask);
    match answer.await {
        Ok((_, printed)) => printed.trim().to_owned(),
        Err(error) => error.to_string(),
    }
}
