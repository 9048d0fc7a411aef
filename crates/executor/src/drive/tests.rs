//! The steps of a job on a simulated host, without waiting.

mod fake;
mod limits;

use onspot_gitlab::{FailureReason, Variable};

use self::fake::{Behaviour, course};
use crate::run::{Outcome, Stop};

const BEFORE: [&str; 5] = [
    "prepare",
    "get_sources",
    "restore_cache",
    "get_ready",
    "script",
];

fn after(start: &[&str], rest: &[&str]) -> Vec<String> {
    start
        .iter()
        .chain(rest)
        .map(|&entry| entry.to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn success_saves_the_cache_and_uploads() {
    let ended = course(Behaviour::default(), None).await;
    assert_eq!(ended.outcome, Outcome::Success);
    let rest = [
        "after_script(success)",
        "end_scripts",
        "archive_cache",
        "upload_artifacts",
        "cleanup_file_variables",
        "clean_up",
    ];
    assert_eq!(ended.log, after(&BEFORE, &rest));
    assert!(
        ended.trace.ends_with("Job succeeded\u{1b}[0;m\n"),
        "{}",
        ended.trace
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_saves_what_is_meant_for_failures() {
    let ended = course(
        Behaviour {
            exit_code: 2,
            ..Behaviour::default()
        },
        None,
    )
    .await;
    assert!(matches!(
        ended.outcome,
        Outcome::Failed {
            exit_code: Some(2),
            ..
        }
    ));
    assert!(ended.log.contains(&"after_script(failed)".to_owned()));
    assert_eq!(
        ended
            .log
            .iter()
            .filter(|entry| *entry == "upload_artifacts")
            .count(),
        1
    );
    assert!(
        ended.trace.contains("archive_cache_on_failure"),
        "{}",
        ended.trace
    );
    assert!(
        ended.trace.contains("upload_artifacts_on_failure"),
        "{}",
        ended.trace
    );
}

#[tokio::test(start_paused = true)]
async fn the_script_never_runs_when_something_before_it_fails() {
    let ended = course(
        Behaviour {
            fails: &["get_sources"],
            ..Behaviour::default()
        },
        None,
    )
    .await;
    let Outcome::Failed {
        reason, message, ..
    } = ended.outcome
    else {
        panic!()
    };
    assert_eq!(reason, FailureReason::ScriptFailure);
    assert_eq!(message, "get_sources failed in the helper (exit code 1)");
    // What a failed job leaves, it leaves too.
    let rest = [
        "end_scripts",
        "archive_cache",
        "upload_artifacts",
        "cleanup_file_variables",
        "clean_up",
    ];
    assert_eq!(ended.log, after(&BEFORE[..2], &rest));
    let on_failure = "upload_artifacts_on_failure";
    assert!(ended.trace.contains(on_failure), "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_fails_nothing() {
    let fails = &["restore_cache", "archive_cache", "cleanup_file_variables"];
    let ended = course(
        Behaviour {
            fails,
            ..Behaviour::default()
        },
        None,
    )
    .await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn artifacts_that_fail_fail_the_job() {
    let ended = course(
        Behaviour {
            fails: &["upload_artifacts"],
            ..Behaviour::default()
        },
        None,
    )
    .await;
    let Outcome::Failed {
        reason,
        exit_code,
        message,
    } = ended.outcome
    else {
        panic!()
    };
    assert_eq!((reason, exit_code), (FailureReason::ScriptFailure, Some(1)));
    assert!(
        message.starts_with("the artifacts were not uploaded: "),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_script_saves_what_is_meant_for_failures() {
    let behaviour = Behaviour {
        endless: &["script"],
        ..Behaviour::default()
    };
    let ended = course(behaviour, Some(("script", Stop::Cancel))).await;
    assert_eq!(ended.outcome, Outcome::Canceled);
    let rest = [
        "stop_script",
        "after_script(canceled)",
        "end_scripts",
        "archive_cache",
        "upload_artifacts",
        "cleanup_file_variables",
        "clean_up",
    ];
    assert_eq!(ended.log, after(&BEFORE, &rest));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_before_the_script_ends_at_once() {
    let behaviour = Behaviour {
        endless: &["get_sources"],
        ..Behaviour::default()
    };
    let ended = course(behaviour, Some(("get_sources", Stop::Cancel))).await;
    assert_eq!(ended.outcome, Outcome::Canceled);
    let rest = ["cleanup_file_variables", "clean_up"];
    assert_eq!(ended.log, after(&BEFORE[..2], &rest));
}

#[tokio::test(start_paused = true)]
async fn saving_of_a_canceled_job_takes_bounded_time() {
    let behaviour = Behaviour {
        endless: &["script", "archive_cache"],
        still_endless: true,
        ..Behaviour::default()
    };
    let began = tokio::time::Instant::now();
    let ended = course(behaviour, Some(("script", Stop::Cancel))).await;
    assert_eq!(ended.outcome, Outcome::Canceled);
    assert!(began.elapsed() < std::time::Duration::from_mins(15));
    assert!(ended.log.contains(&"cleanup_file_variables".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_packed_while_something_may_still_run() {
    let behaviour = Behaviour {
        fails: &["end_scripts"],
        ..Behaviour::default()
    };
    let ended = course(behaviour, None).await;
    let Outcome::Failed { reason, .. } = ended.outcome else {
        panic!("{:?}", ended.outcome)
    };
    assert_eq!(reason, FailureReason::RunnerSystemFailure);
    let rest = [
        "after_script(success)",
        "end_scripts",
        "cleanup_file_variables",
        "clean_up",
    ];
    assert_eq!(ended.log, after(&BEFORE, &rest));
}

#[tokio::test(start_paused = true)]
async fn an_abort_takes_effect_while_a_late_script_is_stopped() {
    let behaviour = Behaviour {
        endless: &["script", "stop_script"],
        ..Behaviour::default()
    };
    let ended = course(behaviour, Some(("stop_script", Stop::Abort))).await;
    assert_eq!(ended.outcome, Outcome::Aborted);
    assert_eq!(ended.log, after(&BEFORE, &["stop_script", "clean_up"]));
}

#[tokio::test(start_paused = true)]
async fn further_steps_run_until_one_fails() {
    for (exit_code, scripts) in [(0, 2), (2, 1)] {
        let behaviour = Behaviour {
            exit_code,
            releases: true,
            ..Behaviour::default()
        };
        let ended = course(behaviour, None).await;
        assert_eq!(ended.outcome == Outcome::Success, exit_code == 0);
        let ran = ended.log.iter().filter(|entry| *entry == "script").count();
        assert_eq!(ran, scripts, "{:?}", ended.log);
        let released = ended.trace.contains("\"step_release\" stage");
        assert_eq!(released, exit_code == 0, "{}", ended.trace);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_at_any_point_only_cleans_up() {
    let points = [
        "prepare",
        "get_sources",
        "script",
        "after_script(success)",
        "archive_cache",
        "upload_artifacts",
    ];
    for point in points {
        for stop in [Stop::Abort, Stop::Interrupt] {
            let endless = &[
                "prepare",
                "get_sources",
                "script",
                "after_script",
                "archive_cache",
                "upload_artifacts",
            ];
            let index = endless
                .iter()
                .position(|what| point.starts_with(what))
                .unwrap();
            let behaviour = Behaviour {
                endless: &endless[index..=index],
                ..Behaviour::default()
            };
            let ended = course(behaviour, Some((point, stop))).await;
            assert_eq!(ended.outcome, Outcome::Aborted, "{point}");
            let rest: Vec<_> = ended
                .log
                .iter()
                .skip_while(|entry| *entry != point)
                .collect();
            assert!(
                rest == [point, "clean_up"] || rest == [point, "end_scripts", "clean_up"],
                "{point}: {rest:?}"
            );
            assert!(!ended.trace.contains("Job "), "{}", ended.trace);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_script_is_ended_by_the_timeout_without_after_script() {
    let ended = course(
        Behaviour {
            endless: &["script"],
            ..Behaviour::default()
        },
        None,
    )
    .await;
    let Outcome::Failed {
        reason,
        exit_code,
        message,
    } = ended.outcome
    else {
        panic!()
    };
    assert_eq!(
        (reason, exit_code),
        (FailureReason::JobExecutionTimeout, None)
    );
    assert_eq!(message, "execution took longer than 1h");
    assert!(ended.log.contains(&"stop_script".to_owned()));
    assert!(ended.log.contains(&"cleanup_file_variables".to_owned()));
    assert!(
        !ended
            .log
            .iter()
            .any(|entry| entry.starts_with("after_script")),
        "{:?}",
        ended.log
    );
}

#[tokio::test(start_paused = true)]
async fn an_endless_after_script_does_not_change_the_result() {
    let ended = course(
        Behaviour {
            endless: &["after_script"],
            ..Behaviour::default()
        },
        None,
    )
    .await;
    assert_eq!(ended.outcome, Outcome::Success);
    assert!(
        ended.trace.contains("after_script was stopped after 5m"),
        "{}",
        ended.trace
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_runs_nothing() {
    let ended = course(
        Behaviour {
            refuse_start: true,
            ..Behaviour::default()
        },
        None,
    )
    .await;
    assert_eq!(ended.outcome, Outcome::Aborted);
    assert_eq!(ended.log, after(&BEFORE[..4], &["clean_up"]));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_after_script_that_counts_ends_the_trace_like_a_scripts() {
    let strict = Variable::public("AFTER_SCRIPT_IGNORE_ERRORS", "false");
    for (variables, counts) in [(vec![], false), (vec![strict], true)] {
        let ended = course(
            Behaviour {
                after_exit_code: 3,
                variables,
                ..Behaviour::default()
            },
            None,
        )
        .await;
        let closing = "ERROR: Job failed: exit code 3";
        assert_eq!(ended.trace.contains(closing), counts, "{}", ended.trace);
        let expected = if counts {
            Outcome::Failed {
                reason: FailureReason::ScriptFailure,
                exit_code: Some(3),
                message: "exit code 3".into(),
            }
        } else {
            Outcome::Success
        };
        assert_eq!(ended.outcome, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_only_expands_on_the_runner_is_masked() {
    let secret = Variable {
        key: "SECRET".into(),
        value: "in-$CI_PROJECT_DIR".into(),
        masked: true,
        ..Variable::default()
    };
    let ended = course(
        Behaviour {
            says: "it is in-/builds/g/p!",
            variables: vec![secret],
            ..Behaviour::default()
        },
        None,
    )
    .await;
    assert!(ended.trace.contains("it is [MASKED]!"), "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_by_a_freeze_is_repeated() {
    let frozen_at = Behaviour {
        frozen_at: "get_sources",
        ..Behaviour::default()
    };
    let ended = course(frozen_at, None).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
    let tries = ended.log.iter().filter(|entry| *entry == "get_sources");
    assert_eq!(tries.count(), 3, "it was frozen twice");
    let word = "this is repeated, because the job was frozen meanwhile";
    assert!(ended.trace.contains(word), "{}", ended.trace);
}
