//! Refused calls, answered in the format of the service.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use super::sigv4::Refusal;

impl Refusal {
    /// The error code of `service`.
    pub(super) fn code(self, service: &str) -> &'static str {
        let s3 = service == "s3";
        match self {
            Self::MissingAuthenticationToken if s3 => "AccessDenied",
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::IncompleteSignature if s3 => "AuthorizationHeaderMalformed",
            Self::IncompleteSignature => "IncompleteSignature",
            Self::InvalidAccessKeyId if s3 => "InvalidAccessKeyId",
            Self::InvalidAccessKeyId if service == "ec2" => "AuthFailure",
            Self::InvalidAccessKeyId => "InvalidClientTokenId",
            Self::InvalidToken if s3 => "InvalidToken",
            Self::InvalidToken if service == "ec2" => "AuthFailure",
            Self::InvalidToken => "InvalidClientTokenId",
            Self::ExpiredToken if service == "ec2" => "RequestExpired",
            Self::ExpiredToken => "ExpiredToken",
            Self::RequestExpired if s3 => "RequestTimeTooSkewed",
            Self::RequestExpired => "RequestExpired",
            Self::SignatureDoesNotMatch if service == "ec2" => "AuthFailure",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::PayloadHashMismatch => "XAmzContentSHA256Mismatch",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::MissingAuthenticationToken => "The request is not signed.",
            Self::IncompleteSignature => "The signature can't be read.",
            Self::InvalidAccessKeyId => "Nobody has this access key.",
            Self::InvalidToken => "The session token is not the one of this access key.",
            Self::ExpiredToken => "The credentials' time is over.",
            Self::RequestExpired => "The request's time is over, or its signer's clock is off.",
            Self::SignatureDoesNotMatch => {
                "The signature is not the one that the secret key of this access key gives."
            }
            Self::PayloadHashMismatch => "The body is not the one that was signed.",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::PayloadHashMismatch | Self::IncompleteSignature => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// The whole answer.
    pub(super) fn response(self, service: &str, headers: &HeaderMap) -> Response {
        let (code, message) = (self.code(service), self.message());
        let json = headers.contains_key("x-amz-target");
        let (kind, body) = if json {
            let body = serde_json::json!({"__type": code, "message": message}).to_string();
            ("application/x-amz-json-1.1", body)
        } else {
            ("text/xml", xml(service, code, message))
        };
        (self.status(), [(CONTENT_TYPE, kind)], Body::from(body)).into_response()
    }
}

/// The three XML shapes of errors: S3's, EC2's, and that of the query protocol.
fn xml(service: &str, code: &str, message: &str) -> String {
    let error = format!("<Code>{code}</Code><Message>{message}</Message>");
    let id = uuid::Uuid::new_v4();
    let body = match service {
        "s3" => format!("<Error>{error}<RequestId>{id}</RequestId></Error>"),
        "ec2" => format!(
            "<Response><Errors><Error>{error}</Error></Errors><RequestID>{id}</RequestID></Response>"
        ),
        _ => format!(
            "<ErrorResponse><Error><Type>Sender</Type>{error}</Error>\
             <RequestId>{id}</RequestId></ErrorResponse>"
        ),
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")
}
