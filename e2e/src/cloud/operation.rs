//! A call's service and operation, as AWS names them.

use http::{HeaderMap, Method};

/// A call's service, operation and (S3) path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    /// As in the signature's scope.
    pub(super) service: String,
    /// `CreateFleet`, `PutObject`, …; `?` if unknown.
    pub(super) action: String,
    /// S3's path; empty elsewhere.
    pub(super) resource: String,
}

impl Operation {
    /// Determines it from a request. `form` is the body of a query-protocol call, otherwise empty.
    pub(super) fn of(
        service: &str,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        form: &[u8],
    ) -> Self {
        let (action, resource) = if service == "s3" {
            (
                s3_action(method, path, query, headers).to_owned(),
                path.to_owned(),
            )
        } else {
            let action = target(headers)
                .or_else(|| rpc(path))
                .or_else(|| form_field(form, "Action"))
                .or_else(|| form_field(query.as_bytes(), "Action"));
            (action.unwrap_or_else(|| "?".to_owned()), String::new())
        };
        Self {
            service: service.to_owned(),
            action,
            resource,
        }
    }
}

/// The JSON protocols name the operation in a header.
fn target(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-amz-target")?.to_str().ok()?;
    value.rsplit('.').next().map(str::to_owned)
}

/// RPC v2 names it in the path: `/service/<service>/operation/<operation>`.
fn rpc(path: &str) -> Option<String> {
    path.rsplit_once("/operation/")
        .map(|(_, name)| name.to_owned())
}

/// The query protocols name it in the body.
fn form_field(form: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(form)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// S3's operations are determined by method, path and the names in the query.
fn s3_action(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> &'static str {
    let has = |name: &str| {
        query
            .split('&')
            .any(|part| part.split('=').next().is_some_and(|key| key == name))
    };
    let key = path
        .trim_start_matches('/')
        .split_once('/')
        .is_some_and(|(_, key)| !key.is_empty());
    let bucket = !path.trim_start_matches('/').is_empty();
    match (method.as_str(), bucket, key) {
        ("GET", false, _) => "ListBuckets",
        ("GET", true, false) if has("list-type") => "ListObjectsV2",
        ("GET", true, false) if has("location") => "GetBucketLocation",
        ("GET", true, false) if !has("x-id") && query.contains('=') => "ListObjects",
        ("GET", true, false) => "GetBucketSetting",
        ("PUT", true, false) if query.is_empty() || query.starts_with("x-id") => "CreateBucket",
        ("PUT", true, false) => "PutBucketSetting",
        ("DELETE", true, false) if query.is_empty() || query.starts_with("x-id") => "DeleteBucket",
        ("DELETE", true, false) => "DeleteBucketSetting",
        ("HEAD", true, false) => "HeadBucket",
        ("POST", true, false) => "DeleteObjects",
        ("GET", true, true) => "GetObject",
        ("HEAD", true, true) => "HeadObject",
        ("PUT", true, true) if has("partNumber") => "UploadPart",
        ("PUT", true, true) if headers.contains_key("x-amz-copy-source") => "CopyObject",
        ("PUT", true, true) => "PutObject",
        ("DELETE", true, true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true, true) => "DeleteObject",
        ("POST", true, true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true, true) if has("uploadId") => "CompleteMultipartUpload",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(method: &str, path: &str, query: &str) -> String {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Operation::of("s3", &method, path, query, &HeaderMap::new(), b"").action
    }

    #[test]
    fn s3_by_method_path_and_query() {
        assert_eq!(s3("GET", "/", ""), "ListBuckets");
        assert_eq!(
            s3("GET", "/b", "list-type=2&prefix=run%2F"),
            "ListObjectsV2"
        );
        assert_eq!(s3("PUT", "/b", ""), "CreateBucket");
        assert_eq!(s3("PUT", "/b", "lifecycle"), "PutBucketSetting");
        assert_eq!(s3("PUT", "/b/run/leader", "x-id=PutObject"), "PutObject");
        assert_eq!(s3("HEAD", "/b/run/leader", ""), "HeadObject");
        assert_eq!(s3("PUT", "/b/key", "partNumber=1&uploadId=u"), "UploadPart");
        assert_eq!(s3("GET", "/b", "publicAccessBlock"), "GetBucketSetting");
    }

    #[test]
    fn query_and_json_protocols() {
        let post = Method::POST;
        let none = HeaderMap::new();
        let fleet = Operation::of(
            "ec2",
            &post,
            "/",
            "",
            &none,
            b"Version=2016-11-15&Action=CreateFleet",
        );
        assert_eq!(fleet.action, "CreateFleet");
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-amz-target",
            "Logs_20140328.PutLogEvents".parse().unwrap(),
        );
        assert_eq!(
            Operation::of("logs", &post, "/", "", &headers, b"{}").action,
            "PutLogEvents"
        );
    }
}
