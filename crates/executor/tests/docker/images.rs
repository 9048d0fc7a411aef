//! Access to images, and how often a registry is asked for them.

use onspot_executor::{DockerExecutor, Outcome};
use onspot_gitlab::Variable;
use onspot_gitlab::job::{Image, JobPayload};
use onspot_settings::PullPolicy;

use crate::support::registry::Registry;
use crate::support::{Bench, job};

fn of_project(project: u64, image: &str, login: Option<String>) -> JobPayload {
    let mut payload = job(&["echo it-runs"]);
    payload.job_info.project_id = project;
    payload.image = Some(Image {
        name: image.into(),
        ..Image::default()
    });
    let login = login.map(|login| Variable {
        public: false,
        ..Variable::public("DOCKER_AUTH_CONFIG", login)
    });
    payload.variables.extend(login);
    payload
}

#[tokio::test]
async fn a_private_image_on_a_warm_worker_is_not_for_every_project() {
    let bench = Bench::new("private-image").await;
    let registry = Registry::start(bench.dir.path()).await;
    let image = registry.image.as_str();
    let run = async |bench: &Bench, payload| bench.run(payload).await;

    let owner = run(&bench, of_project(1, image, Some(registry.login()))).await;
    assert_eq!(owner.outcome, Outcome::Success, "{}", owner.trace);
    // Without a login: its own project has pulled it.
    let owner = run(&bench, of_project(1, image, None)).await;
    assert_eq!(owner.outcome, Outcome::Success, "{}", owner.trace);
    assert!(!owner.trace.contains("Pulling"), "{}", owner.trace);

    // Also after a restart of the agent.
    let executor = DockerExecutor::connect(bench.settings.clone()).await;
    let mut bench = bench.with_executor(executor.unwrap()).await;
    let stranger = run(&bench, of_project(2, image, None)).await;
    let Outcome::Failed { message, .. } = stranger.outcome else {
        panic!("{}", stranger.trace);
    };
    assert!(message.contains("is not available"), "{message}");
    assert!(!stranger.trace.contains("it-runs"), "{}", stranger.trace);

    bench.settings.docker.pull_policy = vec![PullPolicy::Never];
    let executor = DockerExecutor::connect(bench.settings.clone()).await;
    let mut bench = bench.with_executor(executor.unwrap()).await;
    let stranger = run(&bench, of_project(2, image, None)).await;
    let told = "pulled with a login of another project";
    assert!(stranger.trace.contains(told), "{}", stranger.trace);

    // If the runner's owner allows it.
    bench.settings.docker.shared_images = vec!["127.0.0.1:*/team/*".into()];
    let executor = DockerExecutor::connect(bench.settings.clone()).await;
    let bench = bench.with_executor(executor.unwrap()).await;
    let stranger = run(&bench, of_project(2, image, None)).await;
    assert_eq!(stranger.outcome, Outcome::Success, "{}", stranger.trace);
    bench.finish().await;
}

#[tokio::test]
async fn another_project_with_its_own_login_gets_a_private_image() {
    let bench = Bench::new("private-login").await;
    let registry = Registry::start(bench.dir.path()).await;
    let image = registry.image.as_str();
    for project in [1, 2] {
        let ended = bench
            .run(of_project(project, image, Some(registry.login())))
            .await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    }
    assert_eq!(registry.pulls(), 1, "the same login needs no second pull");
    bench.finish().await;
}

#[tokio::test]
async fn an_image_that_needs_no_login_is_for_everybody() {
    let bench = Bench::new("public-image").await;
    let registry = Registry::start(bench.dir.path()).await;
    registry.open_to_all();
    for project in [1, 2] {
        let ended = bench.run(of_project(project, &registry.image, None)).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    }
    assert_eq!(registry.pulls(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_pinned_image_is_pulled_once_with_any_policy() {
    let bench = Bench::with("pinned", "http://127.0.0.1:9", |settings| {
        settings.docker.pull_policy = vec![PullPolicy::Always];
    })
    .await;
    let registry = Registry::start(bench.dir.path()).await;
    registry.open_to_all();
    let pinned = registry.pinned();
    for _ in 0..2 {
        let ended = bench.run(of_project(1, &pinned, None)).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    }
    assert_eq!(registry.pulls(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_registrys_rate_limit_is_explained() {
    let bench = Bench::new("rate-limit").await;
    let registry = Registry::start(bench.dir.path()).await;
    registry.exhaust();
    let ended = bench.run(of_project(1, &registry.image, None)).await;
    let Outcome::Failed { .. } = ended.outcome else {
        panic!("{}", ended.trace);
    };
    for text in ["toomanyrequests", "registry_mirrors"] {
        assert!(ended.trace.contains(text), "no {text:?} in {}", ended.trace);
    }
    bench.finish().await;
}
