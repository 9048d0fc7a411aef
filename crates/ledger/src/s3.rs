//! The ledger of a stack: objects below a prefix of its bucket.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::Error;
use crate::store::{Answer, Condition, ETag, Ledger, Listed, Put};

/// The prefix of the ledger in a stack's bucket.
pub const DEFAULT_PREFIX: &str = "run/";

/// Time limit of a call, including the SDK's retries. A hung call must not use up a lease or the
/// time of a leader.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Objects below a prefix of an S3 bucket, written with `If-Match` and `If-None-Match`.
#[derive(Debug, Clone)]
pub struct S3Ledger {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Ledger {
    /// The ledger below `prefix` (which ends with `/`, [`DEFAULT_PREFIX`] in a stack) of `bucket`.
    pub fn new(client: Client, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            client,
            bucket: bucket.into(),
            prefix: prefix.into(),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl Ledger for S3Ledger {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<(Vec<u8>, ETag)>> {
        let call = async move {
            let sent = self
                .client
                .get_object()
                .bucket(&self.bucket)
                .key(self.full(key))
                .send()
                .await;
            let found = match sent {
                Ok(found) => found,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(failed("read", key, error)),
            };
            let etag = ETag::new(found.e_tag.unwrap_or_default());
            let body = found
                .body
                .collect()
                .await
                .map_err(|source| Error::Unavailable {
                    operation: "read",
                    key: key.to_owned(),
                    source: source.into(),
                })?;
            Ok(Some((body.to_vec(), etag)))
        };
        Box::pin(limited("read", key, call))
    }

    fn put_if<'a>(&'a self, key: &'a str, body: Vec<u8>, condition: Condition) -> Answer<'a, Put> {
        let call = async move {
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(self.full(key))
                .content_type("application/json")
                .body(ByteStream::from(body));
            let (put, replaces) = match condition {
                Condition::Absent => (put.if_none_match("*"), false),
                Condition::Matches(etag) => (put.if_match(etag.as_str()), true),
            };
            match put.send().await {
                Ok(written) => Ok(Put::Written(ETag::new(written.e_tag.unwrap_or_default()))),
                Err(error) if status(&error) == Some(412) => Ok(Put::Refused),
                // `ConditionalRequestConflict`, or `OperationAborted` for one on the bucket.
                Err(error) if status(&error) == Some(409) => Ok(Put::Conflict),
                // The object to replace is gone.
                Err(error) if replaces && is_absent(&error) => Ok(Put::Refused),
                Err(error) => Err(failed("write", key, error)),
            }
        };
        Box::pin(limited("write", key, call))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<Listed>> {
        let call =
            async move {
                let mut pages = self
                    .client
                    .list_objects_v2()
                    .bucket(&self.bucket)
                    .prefix(self.full(prefix))
                    .into_paginator()
                    .send();
                let mut listed = Vec::new();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| failed("list", prefix, error))?;
                    listed.extend(page.contents.unwrap_or_default().into_iter().filter_map(
                        |object| {
                            let key = object.key?.strip_prefix(&self.prefix)?.to_owned();
                            Some(Listed {
                                key,
                                etag: ETag::new(object.e_tag?),
                            })
                        },
                    ));
                }
                Ok(listed)
            };
        Box::pin(limited("list", prefix, call))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        let call = async move {
            let delete = self
                .client
                .delete_object()
                .bucket(&self.bucket)
                .key(self.full(key));
            delete
                .send()
                .await
                .map_err(|error| failed("delete", key, error))?;
            Ok(())
        };
        Box::pin(limited("delete", key, call))
    }
}

async fn limited<T>(
    operation: &'static str,
    key: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Error::Timeout {
            operation,
            key: key.to_owned(),
            limit: CALL_LIMIT,
        }),
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error
        .raw_response()
        .map(|response| response.status().as_u16())
}

/// Whether the object does not exist; a missing bucket is another error.
fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    status(error) == Some(404) && error.code() != Some("NoSuchBucket")
}

fn failed<E>(operation: &'static str, key: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let denied = matches!(status(&error), Some(401 | 403));
    let (key, source) = (key.to_owned(), Box::new(error));
    if denied {
        Error::Denied {
            operation,
            key,
            source,
        }
    } else {
        Error::Unavailable {
            operation,
            key,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use wiremock::matchers::{header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::{Key, Order, RunnerName, WorkerId};

    fn ledger_at(server: &MockServer) -> S3Ledger {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(server.uri())
            .force_path_style(true)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .build();
        S3Ledger::new(Client::from_conf(config), "bucket", "run/")
    }

    async fn put_answered(code: u16, condition: Condition) -> Result<Put, Error> {
        let server = MockServer::start().await;
        let (name, value) = match &condition {
            Condition::Absent => ("if-none-match", "*".to_owned()),
            Condition::Matches(etag) => ("if-match", etag.to_string()),
        };
        Mock::given(method("PUT"))
            .and(path("/bucket/run/leader"))
            .and(header(name, value.as_str()))
            .respond_with(ResponseTemplate::new(code).insert_header("etag", "\"2\""))
            .expect(1)
            .mount(&server)
            .await;
        ledger_at(&server)
            .put_if("leader", b"{}".into(), condition)
            .await
    }

    #[tokio::test]
    async fn the_condition_is_sent_and_the_version_is_read() {
        for condition in [Condition::Absent, Condition::Matches(ETag::new("\"1\""))] {
            let put = put_answered(200, condition).await.unwrap();
            assert_eq!(put, Put::Written(ETag::new("\"2\"")));
        }
    }

    #[tokio::test]
    async fn an_unmet_condition_is_a_refusal_and_not_an_error() {
        for code in [404, 412] {
            let condition = Condition::Matches(ETag::new("\"1\""));
            assert_eq!(
                put_answered(code, condition).await.unwrap(),
                Put::Refused,
                "{code}"
            );
        }
        let put = put_answered(412, Condition::Absent).await.unwrap();
        assert_eq!(put, Put::Refused);
        // A create replaces nothing, so the 404 concerns something else.
        let error = put_answered(404, Condition::Absent).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_conflict_with_another_writer_is_not_a_refusal() {
        for condition in [Condition::Absent, Condition::Matches(ETag::new("\"1\""))] {
            let put = put_answered(409, condition).await.unwrap();
            assert_eq!(put, Put::Conflict);
        }
    }

    #[tokio::test]
    async fn a_create_that_conflicts_is_tried_again() {
        let server = MockServer::start().await;
        let conflict = "<Error><Code>ConditionalRequestConflict</Code></Error>";
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(409).set_body_string(conflict))
            .up_to_n_times(2)
            .expect(2)
            .mount(&server)
            .await;
        Mock::given(method("PUT"))
            .and(header("if-none-match", "*"))
            .respond_with(ResponseTemplate::new(200).insert_header("etag", "\"2\""))
            .expect(1)
            .mount(&server)
            .await;
        let order = Order::empty(&RunnerName::new("r"));
        let key = Key::order(&WorkerId::of("AROA", "i-1"));
        let stored = crate::create(&ledger_at(&server), &key, order).await;
        assert_eq!(stored.unwrap().unwrap().etag, ETag::new("\"2\""));
    }

    #[tokio::test]
    async fn a_write_that_always_conflicts_is_an_error_and_not_a_refusal() {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(409))
            .mount(&server)
            .await;
        let order = Order::empty(&RunnerName::new("r"));
        let key = Key::order(&WorkerId::of("AROA", "i-1"));
        let error = crate::create(&ledger_at(&server), &key, order).await;
        assert!(matches!(error, Err(Error::Conflict { .. })));
    }

    #[tokio::test]
    async fn a_missing_bucket_is_not_a_missing_object() {
        let server = MockServer::start().await;
        let gone = "<Error><Code>NoSuchBucket</Code></Error>";
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(404).set_body_string(gone))
            .mount(&server)
            .await;
        let error = ledger_at(&server).get("leader").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn temporary_failures_differ_from_missing_permissions() {
        let error = put_answered(503, Condition::Absent).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        let error = put_answered(403, Condition::Absent).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("s3:PutObject"));
    }

    #[tokio::test]
    async fn an_absent_object_is_none() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(404))
            .mount(&server)
            .await;
        assert_eq!(ledger_at(&server).get("leader").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_listing_has_all_pages_and_no_prefix() {
        let page = |key: &str, more: &str| {
            ResponseTemplate::new(200).set_body_string(format!(
                "<ListBucketResult>{more}<Contents><Key>run/order/{key}</Key>\
                 <ETag>&quot;{key}&quot;</ETag></Contents></ListBucketResult>"
            ))
        };
        let server = MockServer::start().await;
        Mock::given(query_param("continuation-token", "t"))
            .respond_with(page("b", "<IsTruncated>false</IsTruncated>"))
            .mount(&server)
            .await;
        let more = "<IsTruncated>true</IsTruncated>\
                    <NextContinuationToken>t</NextContinuationToken>";
        Mock::given(query_param("prefix", "run/order/"))
            .respond_with(page("a", more))
            .mount(&server)
            .await;
        let listed = ledger_at(&server).list("order/").await.unwrap();
        let keys: Vec<_> = listed
            .iter()
            .map(|o| (o.key.as_str(), o.etag.as_str()))
            .collect();
        assert_eq!(keys, [("order/a", "\"a\""), ("order/b", "\"b\"")]);
    }
}
