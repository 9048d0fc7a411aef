//! The runner's own limits for what comes before a job's scripts.

use std::time::Duration;

use onspot_gitlab::FailureReason;

use super::fake::{Behaviour, course};
use crate::run::Outcome;

#[tokio::test(start_paused = true)]
async fn the_runner_limits_preparing_and_the_sources() {
    let limits = [Some(Duration::from_mins(1)), Some(Duration::from_mins(2))];
    for (endless, message) in [
        (
            "prepare",
            "preparing took longer than 1m (prepare_timeout of the runner)",
        ),
        (
            "get_sources",
            "getting the sources took longer than 2m (get_sources_timeout of the runner)",
        ),
    ] {
        let behaviour = Behaviour {
            endless: if endless == "prepare" {
                &["prepare"]
            } else {
                &["get_sources"]
            },
            still_endless: true,
            limits,
            ..Behaviour::default()
        };
        let ended = course(behaviour, None).await;
        let expected = Outcome::Failed {
            reason: FailureReason::JobExecutionTimeout,
            exit_code: None,
            message: message.to_owned(),
        };
        assert_eq!(ended.outcome, expected);
        // As in GitLab Runner, nothing of it is kept.
        assert!(!ended.log.iter().any(|entry| entry == "upload_artifacts"));
    }
}
