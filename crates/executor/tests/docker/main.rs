//! Whole jobs on a real Docker engine.

mod freeze;
mod images;
mod isolation;
mod lifecycle;
mod memory;
mod nonroot;
mod proxy;
mod services;
mod support;

use std::time::{Duration, Instant};

use onspot_cache::CacheAccess;
use onspot_executor::{DockerExecutor, Error, Executor, Outcome, Stop};
use onspot_gitlab::job::Image;
use onspot_gitlab::{FailureReason, Variable};

use support::ghost::{build_job, collect_job, verify_job};
use support::gitlab::{GitLab, TOKEN};
use support::{Bench, job, with_after_script};

const LONG: Duration = Duration::from_mins(2);

#[tokio::test]
async fn a_script_runs_in_one_shell_and_after_script_in_another() {
    let bench = Bench::new("script").await;
    let mut payload = job(&[
        "export SHARED=one-shell",
        "echo \"got $SHARED in $CI_PROJECT_DIR\"",
        "cat\necho 'a command that reads input gets none'",
        "echo \"$QUOTED\"; cat \"$KEY_FILE\"",
        "(exit 0) | cat; pwd; touch /seen",
    ]);
    payload
        .variables
        .push(Variable::public("QUOTED", "it's \"$HOME\" \\n"));
    payload.variables.push(Variable {
        file: true,
        ..Variable::public("KEY_FILE", "content of the file\n")
    });
    let payload = with_after_script(
        payload,
        "echo \"after: ${SHARED:-nothing shared}, $CI_JOB_STATUS\"; ls /seen $KEY_FILE",
    );
    let ended = bench.run(payload).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    for text in [
        "\u{1b}[32;1m$ export SHARED=one-shell\u{1b}[0;m\n",
        "got one-shell in /builds/group/project\n",
        "$ cat # collapsed multi-line command",
        "a command that reads input gets none\n",
        "it's \"$HOME\" \\n\ncontent of the file\n",
        "\n/builds/group/project\n",
        "after: nothing shared, success\n/builds/group/project.tmp/KEY_FILE\n/seen\n",
        "Job succeeded",
    ] {
        assert!(ended.trace.contains(text), "no {text:?} in {}", ended.trace);
    }
    assert_eq!(
        ended.events,
        [
            "Preparing(\"prepare_executor\")",
            "Step(prepare_executor)",
            "Preparing(\"get_sources\")",
            "Step(get_sources)",
            "ReadyToStart",
            "Started",
            "ScriptDone { exit_code: 0 }",
            "Step(step_script)",
            "Step(after_script)",
            "Preparing(\"cleanup_file_variables\")",
            "Step(cleanup_file_variables)",
        ]
    );
    assert_eq!(bench.containers("job"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn lines_in_gitlab_env_reach_after_script() {
    let bench = Bench::new("gitlab-env").await;
    let writes = [
        "echo \"GREETING=hello there\" >>\"$GITLAB_ENV\"",
        "echo done",
    ];
    let mut payload = with_after_script(job(&writes), "echo \"[$GREETING]\"");
    for user in ["", "1000"] {
        if let Some(image) = &mut payload.image {
            image.executor_opts.docker.user = user.into();
        }
        let ended = bench.run(payload.clone()).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
        let found = "\n[hello there]\n";
        assert!(ended.trace.contains(found), "{user}: {}", ended.trace);
    }
    // But not the next job.
    let next = bench.run(job(&["echo \"[${GREETING-unset}]\""])).await;
    assert!(next.trace.contains("\n[unset]\n"), "{}", next.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_failing_command_ends_the_script_with_its_exit_code() {
    let bench = Bench::new("failure").await;
    for (line, code) in [("false | true", 1), ("(exit 3)", 3), ("exit 77", 77)] {
        let payload = with_after_script(job(&[line, "echo never"]), "echo $CI_JOB_STATUS; false");
        let ended = bench.run(payload).await;
        let Outcome::Failed {
            reason,
            exit_code,
            message,
        } = ended.outcome
        else {
            panic!("{line}: {:?}", ended.outcome);
        };
        assert_eq!(
            (reason, exit_code),
            (FailureReason::ScriptFailure, Some(code)),
            "{line}"
        );
        assert_eq!(message, format!("exit code {code}"));
        assert!(!ended.trace.contains("\nnever\n"), "{}", ended.trace);
        assert!(ended.trace.contains("\nfailed\n"), "{}", ended.trace);
        assert!(
            ended.trace.contains("after_script failed (exit code 1)"),
            "{}",
            ended.trace
        );
        assert!(
            ended
                .trace
                .contains(&format!("ERROR: Job failed: exit code {code}"))
        );
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_killed() {
    let bench = Bench::new("timeout").await;
    let began = Instant::now();
    let running = bench.start(
        job(&["sleep 1000"]),
        CacheAccess::None,
        Duration::from_secs(8),
    );
    let ended = running.end(true).await;
    let Outcome::Failed { reason, .. } = ended.outcome else {
        panic!("{}", ended.trace)
    };
    assert_eq!(reason, FailureReason::JobExecutionTimeout);
    assert!(
        ended.trace.contains("execution took longer than 8s"),
        "{}",
        ended.trace
    );
    assert!(began.elapsed() < Duration::from_mins(1));
    assert_eq!(bench.containers("job"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn a_cancel_ends_the_script_and_runs_after_script() {
    let bench = Bench::new("cancel").await;
    let payload = with_after_script(
        job(&["echo begun", "sleep 1000", "echo never"]),
        "echo \"[$CI_JOB_STATUS]\"",
    );
    let mut running = bench.start(payload, CacheAccess::None, LONG);
    running.until_trace_holds("\nbegun\n").await;
    running.stop.send_replace(Some(Stop::Cancel));
    let ended = running.end(true).await;
    assert_eq!(ended.outcome, Outcome::Canceled, "{}", ended.trace);
    assert!(ended.trace.contains("\n[canceled]\n"), "{}", ended.trace);
    assert!(!ended.trace.contains("\nnever\n"), "{}", ended.trace);
    assert_eq!(bench.containers("job"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn an_abort_kills_everything_and_writes_nothing_more() {
    let bench = Bench::new("abort").await;
    let payload = with_after_script(
        job(&["trap '' TERM; echo begun", "sleep 1000"]),
        "echo after",
    );
    for stop in [Stop::Abort, Stop::Interrupt] {
        let mut running = bench.start(payload.clone(), CacheAccess::None, LONG);
        running.until_trace_holds("\nbegun\n").await;
        let before = running.trace.contents();
        running.stop.send_replace(Some(stop));
        let ended = running.end(true).await;
        assert_eq!(ended.outcome, Outcome::Aborted);
        assert!(
            ended.trace.len() - before.len() < "$ sleep 1000".len() + 20,
            "{}",
            ended.trace
        );
        assert!(!ended.trace.contains("\nafter\n"), "{}", ended.trace);
        assert_eq!(bench.containers("job"), 0);
    }
    bench.finish().await;
}

#[tokio::test]
async fn a_refused_start_starts_nothing() {
    let bench = Bench::new("refused").await;
    let running = bench.start(job(&["echo begun"]), CacheAccess::None, LONG);
    let ended = running.end(false).await;
    assert_eq!(ended.outcome, Outcome::Aborted);
    assert!(!ended.trace.contains("begun"), "{}", ended.trace);
    assert_eq!(bench.containers("job"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn an_unavailable_image_fails_the_job() {
    let bench = Bench::with("image", "http://127.0.0.1:9", |settings| {
        settings.docker.pull_policy = vec![onspot_settings::PullPolicy::Never];
        settings.docker.allowed_images = vec!["debian:*".into(), "missing/*".into()];
    })
    .await;
    // GitLab Runner uses this reason for an image that may not be pulled and for one that is not
    // allowed.
    let reason = FailureReason::RunnerSystemFailure;
    for image in ["missing/image:1", "alpine"] {
        let mut payload = job(&["true"]);
        payload.image = Some(Image {
            name: image.into(),
            ..Image::default()
        });
        let ended = bench.run(payload).await;
        let Outcome::Failed {
            reason: given,
            message,
            ..
        } = ended.outcome
        else {
            panic!("{}", ended.trace)
        };
        assert_eq!(given, reason, "{message}");
        assert!(message.contains(image), "{message}");
    }
    bench.finish().await;
}

/// A small cowsay pipeline: files of one job reach the next ones only by cache and artifact,
/// although all of them run in one slot.
#[tokio::test]
async fn a_ghost_passes_from_job_to_job_by_cache_and_artifact() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("README", "read me\n"), (".gitignore", "*.o\n")];
    let gitlab = GitLab::start(dir.path(), &files).await;
    let bench = Bench::with("ghost", &gitlab.url, |_| {}).await;

    let build = bench.run_with_cache(build_job(&gitlab)).await;
    assert_eq!(build.outcome, Outcome::Success, "{}", build.trace);
    assert!(
        build.trace.contains("untracked: found 3 files"),
        "{}",
        build.trace
    );
    let saved = format!("CacheSaved {{ key: \"{}\"", gitlab.sha);
    assert!(
        build.events.iter().any(|event| event.starts_with(&saved)),
        "{:?}",
        build.events
    );
    assert!(!build.trace.contains(TOKEN), "{}", build.trace);
    let cached = bench
        .dir
        .path()
        .join(format!("cache/project/7/{}/cache.zip", gitlab.sha));
    assert!(cached.is_file());
    assert!(gitlab.artifacts.lock().contains_key(&42));

    let verify = bench.run_with_cache(verify_job(&gitlab)).await;
    assert_eq!(verify.outcome, Outcome::Success, "{}", verify.trace);
    assert!(
        verify.trace.contains("Removing ghosts.txt"),
        "{}",
        verify.trace
    );
    assert!(
        verify.trace.contains("\nwho you gonna call\nread me\n"),
        "{}",
        verify.trace
    );

    let collect = bench.run_with_cache(collect_job(&gitlab)).await;
    assert_eq!(collect.outcome, Outcome::Success, "{}", collect.trace);
    assert!(
        collect.trace.contains("\nfrom the artifact\n"),
        "{}",
        collect.trace
    );
    let tries = collect.trace.matches("; trying again").count();
    assert_eq!(tries, 1, "{}", collect.trace);
    bench.finish().await;
}

#[tokio::test]
async fn a_service_is_reached_by_its_alias() {
    let bench = Bench::with("service", "http://127.0.0.1:9", |settings| {
        settings.common.runner.environment = vec!["MARK=!".into(), "SECRET=overruled".into()];
    })
    .await;
    // bash can use TCP by itself, and perl is in every Debian.
    let server = "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5, \
                  ReuseAddr => 1); while (my $c = $s->accept) { print $c \"hello from $ENV{WHO}$ENV{SECRET}$ENV{MARK}\\n\"; close $c }";
    let mut payload = job(&[
        "for i in $(seq 100); do if exec 3<>/dev/tcp/ghost/8080; then break; fi; sleep 0.1; done",
        "cat <&3",
    ]);
    payload.services = vec![Image {
        name: onspot_executor::HELPER_IMAGE.into(),
        alias: "ghost".into(),
        entrypoint: vec!["perl".into(), "-e".into(), server.into()],
        variables: vec![Variable::public("WHO", "the other side")],
        ..Image::default()
    }];
    payload.variables.push(Variable {
        public: false,
        ..Variable::public("SECRET", "of the job alone")
    });
    let ended = bench.run(payload).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    assert!(
        ended.trace.contains("hello from the other side!\n"),
        "{}",
        ended.trace
    );
    assert_eq!(bench.containers("service") + bench.containers("job"), 0);
    bench.finish().await;
}

#[tokio::test]
async fn a_sweep_kills_leftovers() {
    let bench = Bench::new("sweep").await;
    let mut running = bench.start(job(&["echo begun", "sleep 1000"]), CacheAccess::None, LONG);
    running.until_trace_holds("\nbegun\n").await;
    assert_eq!(bench.containers("job"), 1);
    let swept = bench.executor.sweep().await.unwrap();
    assert_eq!(swept.job_containers, 1);
    assert!(swept.helpers >= 1, "the job's own, perhaps the next one's");
    assert_eq!(bench.containers("job"), 0);
    running.stop.send_replace(Some(Stop::Abort));
    running.end(true).await;
    bench.finish().await;
}

#[tokio::test]
async fn a_missing_helper_image_is_built() {
    // The default one first: its layers are the same, so that this one takes no time.
    let bench = Bench::new("helper-image").await;
    let image = format!("onspot-helper:test-{}", std::process::id());
    let mut settings = bench.settings.clone();
    settings.embedded_helper.clone_from(&image);
    let executor = DockerExecutor::connect(settings).await.unwrap();
    let prepared = executor.prepare().await;
    let removed = std::process::Command::new("docker")
        .args(["rmi", &image])
        .output();
    assert!(prepared.is_ok(), "{prepared:?}");
    assert!(removed.unwrap().status.success());
    bench.finish().await;
}

#[tokio::test]
async fn a_configured_helper_image_follows_its_policy_and_is_never_built() {
    let bench = Bench::new("own-helper").await;
    let mut settings = bench.settings.clone();
    settings.docker.helper_image = Some(onspot_executor::HELPER_IMAGE.to_owned());
    settings.docker.pull_policy = vec![onspot_settings::PullPolicy::Never];
    let executor = DockerExecutor::connect(settings.clone()).await.unwrap();
    executor.prepare().await.unwrap();

    let missing = format!("127.0.0.1:9/own-helper:{}", std::process::id());
    settings.docker.helper_image = Some(missing.clone());
    settings.docker.pull_policy = vec![onspot_settings::PullPolicy::IfNotPresent];
    let executor = DockerExecutor::connect(settings).await.unwrap();
    let error = executor.prepare().await.unwrap_err();
    assert!(matches!(error, Error::Image { .. }), "{error}");
    let tried = error.to_string();
    assert!(tried.contains("if-not-present: "), "{tried}");
    assert!(
        !tried.contains("not on this host"),
        "it was pulled: {tried}"
    );
    let found = std::process::Command::new("docker")
        .args(["image", "inspect", &missing])
        .output();
    assert!(!found.unwrap().status.success(), "nothing got its name");
    bench.finish().await;
}

#[tokio::test]
async fn a_binary_that_does_not_run_in_the_helper_is_noticed() {
    let bench = Bench::new("helper-binary").await;
    let mut settings = bench.settings.clone();
    settings.helper_binary = bench.dir.path().join("onspot");
    std::fs::write(&settings.helper_binary, "no program").unwrap();
    let executor = DockerExecutor::connect(settings).await.unwrap();
    let error = executor.prepare().await.unwrap_err();
    assert!(matches!(error, Error::HelperBinary { .. }), "{error}");
    assert!(error.hint().unwrap().contains("just dist"));
    bench.finish().await;
}
