//! The reasons and hints of failures.

use bollard::errors::Error as DockerError;

use super::*;

fn helper(what: &str, exit_code: i64) -> Error {
    Error::Helper {
        what: what.into(),
        exit_code,
    }
}

fn image(tried: &str) -> Error {
    Error::Image {
        image: "x".into(),
        tried: tried.into(),
    }
}

fn engine(action: &str, status_code: u16) -> Error {
    let message = "no".into();
    Error::docker(action)(DockerError::DockerResponseServerError {
        status_code,
        message,
    })
}

/// From GitLab Runner 19.4: `common/build.go`, `common/classify_image_pull_failure.go`,
/// `executors/docker`.
#[test]
fn each_failure_has_the_reason_that_gitlab_runner_gives_it() {
    use FailureReason as R;
    let table = [
        (helper("get_sources", 1), R::ScriptFailure, Some(1)),
        (helper("restore_cache", 1), R::ScriptFailure, Some(1)),
        (helper("download_artifacts", 1), R::ScriptFailure, Some(1)),
        (helper("archive_cache", 1), R::ScriptFailure, Some(1)),
        (helper("upload_artifacts", 137), R::ScriptFailure, Some(137)),
        (helper("get_sources", -1), R::RunnerSystemFailure, None),
        (helper("get_sources", 0), R::RunnerSystemFailure, None),
        (helper("claim", 1), R::RunnerSystemFailure, None),
        (helper("wait_for_services", 1), R::RunnerSystemFailure, None),
        (
            image("always: Get \"https://r/v2/\": dial tcp: lookup r: no such host"),
            R::RunnerExternalDependencyFailure,
            None,
        ),
        (
            image("always: net/http: TLS handshake timeout"),
            R::RunnerExternalDependencyFailure,
            None,
        ),
        (
            image("always: manifest for x:y not found: manifest unknown"),
            R::RunnerConfigurationError,
            None,
        ),
        (
            image("always: pull access denied for x"),
            R::RunnerConfigurationError,
            None,
        ),
        (
            image("always: toomanyrequests: slow down"),
            R::ImagePullFailure,
            None,
        ),
        (
            image("always: connection refused; never: not on this host"),
            R::RunnerSystemFailure,
            None,
        ),
        (
            engine("create the job's container", 400),
            R::RunnerConfigurationError,
            None,
        ),
        (
            engine("create the job's container", 500),
            R::RunnerSystemFailure,
            None,
        ),
        (
            engine("start the job's container", 400),
            R::RunnerSystemFailure,
            None,
        ),
        (
            Error::Unsupported("run".into()),
            R::RunnerConfigurationError,
            None,
        ),
        (
            Error::NotAllowed("image".into()),
            R::RunnerSystemFailure,
            None,
        ),
        (
            Error::Payload("GIT_STRATEGY".into()),
            R::RunnerSystemFailure,
            None,
        ),
        (Error::Unkillable, R::RunnerSystemFailure, None),
    ];
    for (error, reason, exit_code) in table {
        assert_eq!(error.failure_reason(), reason, "{error}");
        assert_eq!(error.exit_code(), exit_code, "{error}");
    }
}

#[test]
fn a_registrys_rate_limit_is_explained_with_the_settings() {
    let refused =
        image("always: toomanyrequests: You have reached your unauthenticated pull rate limit.");
    let hint = refused.hint().unwrap();
    for text in [
        "registry_mirrors",
        "registry_cache",
        "DOCKER_AUTH_CONFIG",
        "if-not-present",
    ] {
        assert!(hint.contains(text), "{hint}");
    }
    assert_eq!(refused.failure_reason(), FailureReason::ImagePullFailure);
    let other = image("always: manifest unknown").hint().unwrap();
    assert!(!other.contains("registry_mirrors"), "{other}");
}
