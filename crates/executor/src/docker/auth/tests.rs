//! Which login an image gets.

use onspot_gitlab::job::Credentials;
use onspot_gitlab::{Secret as Hidden, Variable};
use wiremock::matchers::{body_json, header, header_regex, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn logins_of(job: &JobPayload, of_job: &str, of_runner: Option<&str>, ecr: Ecr) -> Logins {
    let variables = Variables::resolve([Variable::public("DOCKER_AUTH_CONFIG", of_job)]);
    let own = Own {
        of_runner,
        file: None,
        ecr: &Arc::new(ecr),
    };
    Logins::of(job, &variables, &own, |text| panic!("{text}"))
}

fn logins(of_job: &str) -> Logins {
    logins_of(&JobPayload::default(), of_job, None, Ecr::default())
}

async fn user(logins: &Logins, image: &str) -> Option<(String, &'static str)> {
    let found = logins.for_image(image, |text| panic!("{text}")).await?;
    Some((found.credentials.username?, found.source))
}

#[tokio::test]
async fn the_nearest_source_wins() {
    let job = JobPayload {
        credentials: vec![Credentials {
            r#type: "registry".into(),
            url: "registry.example:5000".into(),
            username: "gitlab-ci-token".into(),
            password: Hidden::new("token"),
        }],
        ..JobPayload::default()
    };
    // "job:secret"
    let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"am9iOnNlY3JldA=="}}}"#;
    let of_runner = r#"{"auths":{"docker.io":{"username":"runner","password":"p"},
        "other.example":{"username":"runner","password":"p"}}}"#;
    let logins = logins_of(&job, config, Some(of_runner), Ecr::default());
    let from_job = Some(("job".to_owned(), "the job's DOCKER_AUTH_CONFIG"));
    assert_eq!(user(&logins, "alpine").await, from_job);
    assert_eq!(user(&logins, "npalm/cowsay:latest").await, from_job);
    assert_eq!(
        user(&logins, "registry.example:5000/a/b:1").await,
        Some(("gitlab-ci-token".to_owned(), "the job"))
    );
    assert_eq!(user(&logins, "other.example/x").await.unwrap().0, "runner");
    assert_eq!(user(&logins, "unknown.example/x").await, None);
}

#[tokio::test]
async fn a_login_for_a_path_is_for_what_is_below_it() {
    let config = r#"{"auths":{
        "registry.example/team":{"username":"team","password":"p"},
        "registry.example/team/app":{"username":"app","password":"p"},
        "Registry.Example:5000":{"username":"whole","password":"p"},
        "docker.io/company":{"username":"company","password":"p"},
        "https://old.example/v1/":{"username":"old","password":"p"}}}"#;
    let logins = logins(config);
    for (image, expected) in [
        ("registry.example/team/tool:1", Some("team")),
        ("registry.example/team/app", Some("app")),
        ("registry.example/team/app/sub@sha256:00", Some("app")),
        ("registry.example/teams/tool", None),
        ("registry.example/other", None),
        ("registry.example:5000/any/thing:1", Some("whole")),
        ("company/private", Some("company")),
        ("alpine", None),
        ("old.example/x", Some("old")),
    ] {
        let found = user(&logins, image).await.map(|(user, _)| user);
        assert_eq!(found.as_deref(), expected, "{image}");
    }
}

#[test]
fn a_broken_config_is_named_without_its_content() {
    let variables = Variables::resolve([Variable::public("DOCKER_AUTH_CONFIG", "{secret")]);
    let own = Own {
        of_runner: Some("{secret"),
        file: None,
        ecr: &Arc::default(),
    };
    let mut warnings = Vec::new();
    Logins::of(&JobPayload::default(), &variables, &own, |text| {
        warnings.push(text.to_owned());
    });
    assert_eq!(
        warnings,
        ["the runner's DOCKER_AUTH_CONFIG is not the JSON of a docker config.json"],
        "once, since the job has no other"
    );
}

#[tokio::test]
async fn the_hosts_file_is_read_and_an_identity_token_is_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    let own = Own {
        of_runner: None,
        file: Some(&file),
        ecr: &Arc::default(),
    };
    let read = || Logins::of_runner(&own, |text| panic!("{text}"));
    assert!(read().for_image("a.example/x", |_| {}).await.is_none());
    std::fs::write(
        &file,
        r#"{"auths":{"a.example":{"auth":"PHRva2VuPjo=","identitytoken":"t"}}}"#,
    )
    .unwrap();
    let found = read().for_image("a.example/x", |_| {}).await.unwrap();
    assert_eq!(found.credentials.identitytoken.as_deref(), Some("t"));
    assert_eq!(found.credentials.username, None);
    assert_eq!(found.source, OF_HOST);
}

#[tokio::test]
async fn a_helper_that_is_not_there_is_named_and_another_login_is_used() {
    let config = r#"{"credsStore":"no-such-store",
        "credHelpers":{"a.example":"no-such-helper", "b.example":"../../bin/sh"},
        "auths":{"a.example":{"username":"u","password":"p"}}}"#;
    let logins = logins(config);
    let mut warnings = Vec::new();
    let found = logins
        .for_image("a.example/x", |text| warnings.push(text.to_owned()))
        .await;
    assert_eq!(found.unwrap().credentials.username.as_deref(), Some("u"));
    let expected = ["store", "helper"].map(|what| {
        format!("no login by {OF_JOB}: docker-credential-no-such-{what} is not on this host")
    });
    assert_eq!(warnings, expected);
    warnings.clear();
    let warn = |text: &str| warnings.push(text.to_owned());
    assert!(logins.for_image("b.example/x", warn).await.is_none());
    assert!(
        warnings[1].contains("is no name of a credential helper"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn amazons_registries_are_asked_with_the_hosts_role() {
    let server = MockServer::start().await;
    let in_an_hour = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
    let expires = in_an_hour.duration_since(std::time::UNIX_EPOCH).unwrap();
    // "AWS:token"
    let answer = serde_json::json!({ "authorizationData": [{
        "authorizationToken": "QVdTOnRva2Vu",
        "expiresAt": expires.as_secs_f64(),
        "proxyEndpoint": format!("https://{ECR}"),
    }] });
    let signed = "^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/[0-9]{8}/eu-west-1/ecr/aws4_request, ";
    let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
    Mock::given(method("POST"))
        .and(header("x-amz-target", target))
        .and(header("content-type", "application/x-amz-json-1.1"))
        .and(header_regex("authorization", signed))
        .and(body_json(
            serde_json::json!({ "registryIds": ["123456789012"] }),
        ))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .expect(2)
        .mount(&server)
        .await;
    for config in [
        format!(r#"{{"credHelpers":{{"{ECR}":"ecr-login"}}}}"#),
        r#"{"credsStore":"ecr-login"}"#.to_owned(),
    ] {
        let logins = logins_of(
            &JobPayload::default(),
            &config,
            None,
            Ecr::at(&server.uri()),
        );
        for _ in 0..2 {
            let image = format!("{ECR}/team/app:1");
            let found = logins.for_image(&image, |text| panic!("{text}")).await;
            let credentials = found.unwrap().credentials;
            assert_eq!(credentials.username.as_deref(), Some("AWS"));
            assert_eq!(credentials.password.as_deref(), Some("token"));
            assert_eq!(credentials.serveraddress.as_deref(), Some(ECR));
        }
        assert_eq!(
            user(&logins, "alpine").await,
            None,
            "no other registry is asked"
        );
    }
}

#[tokio::test]
async fn what_amazon_refuses_is_said() {
    let server = MockServer::start().await;
    let refusal = serde_json::json!({
        "__type": "AccessDeniedException", "Message": "the role may not" });
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(400).set_body_json(refusal))
        .mount(&server)
        .await;
    let config = r#"{"credsStore":"ecr-login"}"#;
    let logins = logins_of(&JobPayload::default(), config, None, Ecr::at(&server.uri()));
    let mut warnings = Vec::new();
    let warn = |text: &str| warnings.push(text.to_owned());
    assert!(logins.for_image(&format!("{ECR}/a"), warn).await.is_none());
    let expected = "ECR gives no token: AccessDeniedException: the role may not";
    assert!(warnings[0].ends_with(expected), "{warnings:?}");
}

#[test]
fn only_amazons_own_registries_are_theirs() {
    for host in [
        ECR,
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr-ecr.us-east-1.on.aws",
    ] {
        assert!(ecr::Registry::parse(host).is_some(), "{host}");
    }
    for host in [
        "public.ecr.aws",
        "registry.example",
        "123456789012.dkr.ecr.evil.example#.amazonaws.com",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        "12345678901x.dkr.ecr.eu-west-1.amazonaws.com",
    ] {
        assert_eq!(ecr::Registry::parse(host), None, "{host}");
    }
}
