//! Every answer of the protocol and its meaning.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use onspot_gitlab::response::{self, RemoteStatus};
use onspot_gitlab::{
    Error, JobId, JobRequestOutcome, PatchOutcome, TokenKind, UpdateOutcome, Verified,
};

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

#[test]
fn a_token_is_confirmed() {
    let none = HeaderMap::new();
    let body = br#"{"id":12,"token":"glrt-1","token_expires_at":"2027-01-02T03:04:05.000Z"}"#;
    let verified = response::verified(status(200), &none, body).unwrap();
    assert_eq!(verified.id, Some(12));
    assert_eq!(
        verified.token_expires_at.unwrap().to_string(),
        "2027-01-02T03:04:05Z"
    );

    let body = br#"{"id":12,"token":"glrt-1","token_expires_at":null}"#;
    assert_eq!(
        response::verified(status(200), &none, body)
            .unwrap()
            .token_expires_at,
        None
    );
    assert_eq!(
        response::verified(status(200), &none, b"200").unwrap(),
        Verified::default()
    );
}

#[test]
fn a_refused_token_has_a_hint() {
    let body = br#"{"message":"403 Forbidden"}"#;
    let error = response::verified(status(403), &HeaderMap::new(), body).unwrap_err();
    insta::assert_snapshot!(error, @"GitLab refused the runner token when asked to verify the runner (403 Forbidden)");
    insta::assert_snapshot!(error.hint().unwrap(), @"The runner was deleted, or its token was reset or has expired: create one under Settings > CI/CD > Runners, and give its glrt- token.");
    assert!(!error.is_transient());

    let body = br#"{"error":"insufficient_scope"}"#;
    let error = response::created(status(403), &HeaderMap::new(), body).unwrap_err();
    assert!(matches!(
        error,
        Error::Refused {
            token: TokenKind::Access,
            ..
        }
    ));
    insta::assert_snapshot!(error, @"GitLab refused the access token when asked to create a runner (insufficient_scope)");
}

#[test]
fn rejected_parameters_are_named() {
    let body = br#"{"message":{"tag_list":["can't be empty"]}}"#;
    let error = response::created(status(400), &HeaderMap::new(), body).unwrap_err();
    insta::assert_snapshot!(error, @r#"GitLab answered 400 Bad Request when asked to create a runner: {"tag_list":["can't be empty"]}"#);
}

#[test]
fn a_created_runner_has_a_token() {
    let body = br#"{"id":9,"token":"glrt-new","token_expires_at":null}"#;
    let created = response::created(status(201), &HeaderMap::new(), body).unwrap();
    assert_eq!((created.id, created.token.expose()), (9, "glrt-new"));
}

#[test]
fn asking_for_a_job() {
    let last_update = headers(&[("x-gitlab-last-update", "abc")]);
    for (code, expected) in [
        (204, JobRequestOutcome::NoJob),
        (409, JobRequestOutcome::Conflict),
        (403, JobRequestOutcome::Forbidden),
    ] {
        let poll = response::job(status(code), &last_update, b"").unwrap();
        assert_eq!(poll.outcome, expected);
        assert_eq!(poll.last_update.as_deref(), Some("abc"));
    }
    let error = response::job(status(503), &HeaderMap::new(), b"<html>down</html>").unwrap_err();
    assert!(error.is_transient());
    insta::assert_snapshot!(error, @"GitLab answered 503 Service Unavailable when asked to hand out a job: Service Unavailable");
}

#[test]
fn a_job_that_cannot_be_read_can_still_be_failed() {
    let body = br#"{"id":7,"token":"t","variables":"none"}"#;
    match response::job(status(201), &HeaderMap::new(), body) {
        Err(Error::Payload {
            job: Some((id, token)),
            ..
        }) => {
            assert_eq!((id, token.expose()), (JobId(7), "t"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reporting_a_state() {
    for (code, expected) in [
        (200, UpdateOutcome::Accepted),
        (202, UpdateOutcome::Pending),
        (412, UpdateOutcome::TraceIncomplete),
        (403, UpdateOutcome::Refused),
        (404, UpdateOutcome::Refused),
    ] {
        let answer = response::update(status(code), &HeaderMap::new(), b"").unwrap();
        assert_eq!(answer.outcome, expected, "{code}");
    }
    let headers = headers(&[
        ("job-status", "canceling"),
        ("x-gitlab-trace-update-interval", "7"),
    ]);
    let answer = response::update(status(200), &headers, b"200").unwrap();
    assert_eq!(answer.remote, RemoteStatus::Canceling);
    assert_eq!(answer.interval, Some(Duration::from_secs(7)));
    assert!(
        response::update(status(500), &headers, b"")
            .unwrap_err()
            .is_transient()
    );
}

#[test]
fn appending_to_a_trace() {
    let range = headers(&[("range", "0-1500"), ("job-status", "running")]);
    for (code, expected) in [
        (202, PatchOutcome::Accepted),
        (416, PatchOutcome::Offset(1500)),
        (403, PatchOutcome::Refused),
        (404, PatchOutcome::Refused),
    ] {
        let answer = response::patch(status(code), &range, b"").unwrap();
        assert_eq!(answer.outcome, expected, "{code}");
        assert_eq!(answer.remote, RemoteStatus::Running);
    }
    assert!(response::patch(status(416), &HeaderMap::new(), b"").is_err());
}

#[test]
fn intervals_have_bounds() {
    for (value, seconds) in [
        ("60", Some(60)),
        ("0", None),
        ("-3", None),
        ("86400", Some(900)),
    ] {
        let headers = headers(&[("x-gitlab-trace-update-interval", value)]);
        let answer = response::patch(status(202), &headers, b"").unwrap();
        assert_eq!(answer.interval, seconds.map(Duration::from_secs));
    }
}

#[test]
fn gitlab_sets_the_time_of_the_next_try() {
    let error = |pairs| {
        response::job(status(429), &headers(pairs), b"Retry later\n")
            .unwrap_err()
            .retry_after()
    };
    assert_eq!(
        error(&[("retry-after", "17")]),
        Some(Duration::from_secs(17))
    );
    assert_eq!(error(&[("retry-after", "soon")]), None);
    // A time in the past is no reason to wait.
    assert_eq!(
        error(&[("ratelimit-resettime", "Wed, 21 Oct 2015 07:28:00 GMT")]),
        None
    );
    let later = error(&[("ratelimit-resettime", "Wed, 21 Oct 2150 07:28:00 GMT")]).unwrap();
    assert!(later > Duration::from_hours(24));
}

#[test]
fn uploading() {
    let none = HeaderMap::new();
    assert!(response::uploaded("a.zip", status(201), &none, b"201").is_ok());
    let error = response::uploaded("a.zip", status(413), &none, b"").unwrap_err();
    insta::assert_snapshot!(error, @"the artifact a.zip is larger than GitLab allows");
    assert!(
        response::uploaded("a.zip", status(503), &none, b"")
            .unwrap_err()
            .is_transient()
    );
}
