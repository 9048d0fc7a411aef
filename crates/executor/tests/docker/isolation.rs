//! What jobs share and what they do not, and that nothing is left of them.

use std::time::Duration;

use onspot_cache::CacheAccess;
use onspot_executor::{DockerExecutor, Executor, Outcome, Stop};
use onspot_gitlab::job::{Hook, Image};
use onspot_gitlab::{FailureReason, Variable};

use crate::LONG;
use crate::support::ghost::checked_out;
use crate::support::gitlab::GitLab;
use crate::support::{Bench, IMAGE, job};

/// Like Docker in Docker passes its certificates to the job.
#[tokio::test]
async fn a_bare_path_is_shared_by_the_job_and_its_services() {
    let bench = Bench::with("volumes", "http://127.0.0.1:9", |settings| {
        settings.docker.volumes = vec!["/certs/client".into()];
        settings.docker.disable_cache = true;
    })
    .await;
    let mut payload = job(&[
        "for i in $(seq 100); do if [ -e /certs/client/ca.pem ]; then break; fi; sleep 0.1; done",
        "cat /certs/client/ca.pem; echo >/certs/client/from-the-job",
    ]);
    payload.services = vec![Image {
        name: IMAGE.into(),
        alias: "docker".into(),
        entrypoint: vec!["sh".into(), "-c".into()],
        command: vec!["echo a certificate >/certs/client/ca.pem; sleep 1000".into()],
        ..Image::default()
    }];
    let ended = bench.run(payload.clone()).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    assert!(ended.trace.contains("\na certificate\n"), "{}", ended.trace);
    assert_eq!(bench.volumes(), 0);

    // The next job has a new one.
    payload.steps[0].script = vec!["ls /certs/client".into()];
    let next = bench.run(payload).await;
    assert!(!next.trace.contains("from-the-job"), "{}", next.trace);
    assert_eq!(bench.volumes(), 0);
    bench.finish().await;
}

/// As a volume for `/cache` does with GitLab Runner on one host, but only for jobs with the same
/// rights.
#[tokio::test]
async fn a_bare_path_is_kept_for_the_next_job_of_the_project_and_for_no_other() {
    let bench = Bench::with("kept", "http://127.0.0.1:9", |settings| {
        settings.docker.volumes = vec!["/cache".into(), "/also/$CI_PROJECT_ID".into()];
    })
    .await;
    let of = |project: u64, protected: bool, line: &str| {
        let mut payload = job(&[line]);
        payload.job_info.project_id = project;
        payload.git_info.protected = Some(protected);
        let id = Variable::public("CI_PROJECT_ID", project.to_string());
        payload.variables.push(id);
        // Anybody may write there.
        payload.image.as_mut().unwrap().executor_opts.docker.user = "12345".into();
        payload
    };
    let list = "ls /cache /also/*";
    let first = bench
        .run(of(
            7,
            false,
            "echo kept-it >/cache/own; echo too >/also/7/own",
        ))
        .await;
    assert_eq!(first.outcome, Outcome::Success, "{}", first.trace);
    let next = bench.run(of(7, false, "cat /cache/own /also/7/own")).await;
    assert!(next.trace.contains("\nkept-it\ntoo\n"), "{}", next.trace);
    for stranger in [of(8, false, list), of(7, true, list)] {
        let ended = bench.run(stranger).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
        assert!(!ended.trace.contains("\nown\n"), "{}", ended.trace);
    }
    // What removes the leftovers of a killed worker leaves it.
    bench.executor.sweep().await.unwrap();
    let next = bench.run(of(7, false, "cat /cache/own")).await;
    assert!(next.trace.contains("\nkept-it\n"), "{}", next.trace);
    assert_eq!((bench.volumes(), bench.kept_volumes()), (0, 6));
    bench.finish().await;
}

/// Whenever a stop interrupts the preparation, nothing is left of the job.
#[tokio::test]
async fn a_stop_while_preparing_leaves_nothing() {
    let bench = Bench::with("prepare-stop", "http://127.0.0.1:9", |settings| {
        settings.docker.volumes = vec!["/certs/client".into()];
        settings.docker.disable_cache = true;
    })
    .await;
    let mut payload = job(&["sleep 1000"]);
    payload.services = vec![Image {
        name: IMAGE.into(),
        entrypoint: vec!["sleep".into(), "1000".into()],
        ..Image::default()
    }];
    // In the order in which a preparation creates them; nothing exists at first.
    let made: [fn(&Bench) -> bool; 5] = [
        |_| true,
        |bench| bench.networks() > 0,
        |bench| bench.volumes() > 0,
        |bench| bench.containers("service") > 0,
        |bench| bench.containers("job") > 0,
    ];
    for (step, made) in made.into_iter().enumerate() {
        let running = bench.start(payload.clone(), CacheAccess::None, LONG);
        bench.until(made).await;
        running.stop.send_replace(Some(Stop::Abort));
        assert_eq!(running.end(true).await.outcome, Outcome::Aborted);
        let left = bench.containers("job") + bench.containers("service");
        assert_eq!(left + bench.networks() + bench.volumes(), 0, "step {step}");
    }
    bench.executor.close().await;
    assert_eq!(bench.containers("helper"), 0);
    bench.finish().await;
}

/// After a job's timeout, its secrets must not be left for the next one.
#[tokio::test]
async fn no_secret_survives_a_timeout_or_an_abort() {
    let bench = Bench::new("secrets").await;
    let mut payload = job(&["echo begun; sleep 1000"]);
    payload.variables.push(Variable {
        file: true,
        ..Variable::public("KEY_FILE", "a key")
    });
    let key = bench
        .dir
        .path()
        .join("builds")
        .join(&bench.runner)
        .join("slot-0/build/group/project.tmp/KEY_FILE");
    let timed = bench.start(payload.clone(), CacheAccess::None, Duration::from_secs(15));
    let ended = timed.end(true).await;
    assert!(ended.trace.contains("\nbegun\n"), "{}", ended.trace);
    assert!(!key.exists());

    let mut running = bench.start(payload, CacheAccess::None, LONG);
    running.until_trace_holds("\nbegun\n").await;
    assert!(key.exists(), "{}", key.display());
    running.stop.send_replace(Some(Stop::Abort));
    running.end(true).await;
    assert!(!key.exists());
    bench.finish().await;
}

#[tokio::test]
async fn a_job_sees_nothing_of_the_host_nor_of_other_projects() {
    let bench = Bench::new("isolation").await;
    let mut first = job(&["echo secret >left-behind.txt; ls /builds"]);
    first.job_info.project_id = 1;
    first.job_info.project_full_path = "other/project".into();
    assert_eq!(bench.run(first).await.outcome, Outcome::Success);

    let mut second = job(&[
        "find / /builds -xdev -name left-behind.txt; ls /builds /builds/group",
        "env",
    ]);
    second.job_info.project_id = 2;
    let ended = bench.run(second).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    assert!(!ended.trace.contains("/left-behind.txt"), "{}", ended.trace);
    assert!(!ended.trace.contains("\nother\n"), "{}", ended.trace);
    assert!(!ended.trace.contains("AWS_"), "{}", ended.trace);
    bench.finish().await;
}

/// A hook of `.gitlab-ci.yml` runs as root in the helper, and tries to make the engine mount
/// something else as the builds of the job's container.
#[tokio::test]
async fn a_hook_cannot_move_what_the_job_mounts() {
    let dir = tempfile::tempdir().unwrap();
    let gitlab = GitLab::start(dir.path(), &[("README", "read me\n")]).await;
    let bench = Bench::new("escape").await;
    let hook = "cd /; mv /builds /away || true; rmdir /builds || true\n\
                find / -xdev -name 'p7' -exec sh -c 'rm -rf {} && ln -s / {}' ';' || true\n\
                umount /builds && ln -s / /builds || true\n\
                rm -rf /builds/group; ln -s / /builds/group; ls -A / /builds\n";
    let seen = "grep -o '[^ ]* /builds ' /proc/self/mountinfo; ls /builds; pwd -P";
    for _ in 0..2 {
        let mut payload = checked_out(42, &[seen], &gitlab);
        payload.hooks = vec![Hook {
            name: Hook::POST_GET_SOURCES.into(),
            script: vec![hook.into()],
        }];
        // It has only damaged its own folder.
        let ended = bench.run(payload).await;
        assert!(!ended.trace.contains("\nslot-0\n"), "{}", ended.trace);
        assert!(ended.trace.contains("resource busy"), "{}", ended.trace);
        // The job's own mount, as seen by the next job.
        let ended = bench.run(job(&[seen])).await;
        assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
        for text in [
            "/slot-0/build /builds \n",
            "\ngroup\n",
            "\n/builds/group/project\n",
        ] {
            assert!(ended.trace.contains(text), "no {text:?}: {}", ended.trace);
        }
    }
    bench.finish().await;
}

/// A worker that does not know the owner of a slot's files removes them.
#[tokio::test]
async fn a_slot_of_unknown_owner_is_emptied() {
    let bench = Bench::new("unknown").await;
    let first = bench.run(job(&["touch left-behind"])).await;
    assert_eq!(first.outcome, Outcome::Success, "{}", first.trace);
    let kept = bench.run(job(&["ls"])).await;
    assert!(kept.trace.contains("\nleft-behind\n"), "{}", kept.trace);

    let executor = DockerExecutor::connect(bench.settings.clone()).await;
    let restarted = bench.with_executor(executor.unwrap()).await;
    let emptied = restarted.run(job(&["ls"])).await;
    assert_eq!(emptied.outcome, Outcome::Success, "{}", emptied.trace);
    assert!(
        !emptied.trace.contains("\nleft-behind\n"),
        "{}",
        emptied.trace
    );
    restarted.finish().await;
}

/// A job of a protected branch does not find the files of other jobs, and vice versa: a file left
/// there could be anything.
#[tokio::test]
async fn a_slot_keeps_files_only_for_jobs_with_the_same_protection() {
    let bench = Bench::new("protected").await;
    let of = |protected: bool, script: &str| {
        let mut payload = job(&[script]);
        payload.git_info.protected = Some(protected);
        payload
    };
    for (owner, next) in [(false, true), (true, false)] {
        let left = bench.run(of(owner, "touch left-behind")).await;
        assert_eq!(left.outcome, Outcome::Success, "{}", left.trace);
        let same = bench.run(of(owner, "ls")).await;
        assert!(same.trace.contains("\nleft-behind\n"), "{}", same.trace);
        let other = bench.run(of(next, "ls -A")).await;
        assert_eq!(other.outcome, Outcome::Success, "{}", other.trace);
        assert!(!other.trace.contains("\nleft-behind\n"), "{}", other.trace);
    }
    bench.finish().await;
}

/// If getting the sources failed, an earlier job's files may be the cause.
#[tokio::test]
async fn a_slot_forgets_its_files_after_failed_sources() {
    let dir = tempfile::tempdir().unwrap();
    let gitlab = GitLab::start(dir.path(), &[("README", "read me\n")]).await;
    let bench = Bench::new("failed-sources").await;
    let left = bench.run(job(&["touch left-behind"])).await;
    assert_eq!(left.outcome, Outcome::Success, "{}", left.trace);

    let mut failing = checked_out(43, &["true"], &gitlab);
    failing.git_info.sha = "0".repeat(40);
    let failed = bench.run(failing).await;
    let Outcome::Failed {
        reason, exit_code, ..
    } = failed.outcome
    else {
        panic!("{}", failed.trace)
    };
    assert_eq!((reason, exit_code), (FailureReason::ScriptFailure, Some(1)));

    let next = bench.run(job(&["ls -A /builds/group/project"])).await;
    assert_eq!(next.outcome, Outcome::Success, "{}", next.trace);
    assert!(!next.trace.contains(".git"), "{}", next.trace);
    bench.finish().await;
}
