//! The signature check against the AWS SDK's own signer.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest,
    SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use proptest::prelude::*;

use super::*;
use crate::cloud::Principal;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn known(token: Option<&str>) -> Credentials {
    let credentials = Credentials::default();
    credentials.add(Credential {
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: SECRET.to_owned(),
        session_token: token.map(str::to_owned),
        expires: None,
        principal: Principal::Operator,
    });
    credentials
}

fn settings(service: &str, presigned: bool) -> SigningSettings {
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode =
            aws_sigv4::http_request::UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    settings.session_token_mode = SessionTokenMode::Include;
    if presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_mins(10));
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    }
    settings
}

/// A request, signed by the SDK's signer.
fn signed(
    service: &str,
    uri: &str,
    body: &[u8],
    token: Option<&str>,
    presigned: bool,
) -> http::Request<()> {
    let identity = SdkCredentials::new(
        "AKIDEXAMPLE",
        SECRET,
        token.map(str::to_owned),
        None,
        "test",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name(service)
        .time(SystemTime::now())
        .settings(settings(service, presigned))
        .build()
        .unwrap()
        .into();
    let host = uri.trim_start_matches("http://").split('/').next().unwrap();
    let headers = [("host", host), ("x-amz-meta-note", "  two   words ")];
    let signable_body = if presigned {
        SignableBody::UnsignedPayload
    } else {
        SignableBody::Bytes(body)
    };
    let request = SignableRequest::new("PUT", uri, headers.into_iter(), signable_body).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut signed = http::Request::builder()
        .method("PUT")
        .uri(uri)
        .header("host", host)
        .header("x-amz-meta-note", "  two   words ")
        .body(())
        .unwrap();
    instructions.apply_to_request_http1x(&mut signed);
    signed
}

fn check(
    request: &http::Request<()>,
    payload: &str,
    credentials: &Credentials,
) -> Result<Credential, Refusal> {
    let request = Request {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: request.headers(),
    };
    Signed::find(&request)?.check(&request, payload, credentials, Timestamp::now())
}

fn hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

#[test]
fn requests_signed_by_the_sdk_are_accepted() {
    let uri = "http://10.0.0.1:4566/bucket/cache/project/1/a%20key%2B%C3%A9.zip?list-type=2&prefix=run%2Forder";
    for token in [None, Some("a/session+token==")] {
        let request = signed("s3", uri, b"body", token, false);
        assert!(check(&request, &hash(b"body"), &known(token)).is_ok());
        let request = signed("s3", uri, b"", token, true);
        assert!(check(&request, UNSIGNED_PAYLOAD, &known(token)).is_ok());
    }
    let request = signed(
        "ec2",
        "http://10.0.0.1:4566/",
        b"Action=RunInstances",
        None,
        false,
    );
    assert!(check(&request, &hash(b"Action=RunInstances"), &known(None)).is_ok());
}

#[test]
fn another_secret_path_body_or_token_is_refused() {
    let request = signed(
        "ec2",
        "http://10.0.0.1:4566/",
        b"Action=A",
        Some("token"),
        false,
    );
    assert_eq!(
        check(&request, &hash(b"Action=B"), &known(Some("token"))).unwrap_err(),
        Refusal::SignatureDoesNotMatch
    );
    assert_eq!(
        check(&request, &hash(b"Action=A"), &known(Some("other"))).unwrap_err(),
        Refusal::InvalidToken
    );
    assert_eq!(
        check(&request, &hash(b"Action=A"), &Credentials::default()).unwrap_err(),
        Refusal::InvalidAccessKeyId
    );
    let other = known(Some("token"));
    let mut credential = other.find("AKIDEXAMPLE").unwrap();
    credential.secret_key.push('x');
    other.add(credential);
    assert_eq!(
        check(&request, &hash(b"Action=A"), &other).unwrap_err(),
        Refusal::SignatureDoesNotMatch
    );
}

#[test]
fn time_runs_out() {
    let request = signed("s3", "http://10.0.0.1:4566/bucket/key", b"", None, true);
    let request = Request {
        method: "PUT",
        path: request.uri().path(),
        query: request.uri().query().unwrap(),
        headers: request.headers(),
    };
    let found = Signed::find(&request).unwrap();
    let at = |seconds| Timestamp::now() + SignedDuration::from_secs(seconds);
    assert!(
        found
            .check(&request, UNSIGNED_PAYLOAD, &known(None), at(590))
            .is_ok()
    );
    assert_eq!(
        found
            .check(&request, UNSIGNED_PAYLOAD, &known(None), at(610))
            .unwrap_err(),
        Refusal::RequestExpired
    );
}

#[test]
fn a_missing_signature_is_refused() {
    let request = http::Request::builder()
        .uri("http://a/b?c=d")
        .body(())
        .unwrap();
    assert_eq!(
        check(&request, UNSIGNED_PAYLOAD, &known(None)).unwrap_err(),
        Refusal::MissingAuthenticationToken
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_key_and_query(key in "[ -~é]{1,24}", value in "[ -~ü]{0,16}", body in "[a-z]{0,32}") {
        let key = encode(&key, true);
        let uri = format!("http://10.0.0.1:4566/bucket/{key}?x-id=PutObject&value={}", encode(&value, false));
        let request = signed("s3", &uri, body.as_bytes(), None, false);
        prop_assert!(check(&request, &hash(body.as_bytes()), &known(None)).is_ok());
    }
}
