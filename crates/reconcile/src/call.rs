//! A failed call to AWS: which operation, the service's message, a hint.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Why a call failed, as far as it matters for the hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallFailure {
    /// The endpoint could not be reached.
    Unreachable,
    /// There was no answer in time.
    TimedOut,
    /// There are no credentials, or they could not be loaded.
    NoCredentials,
    /// The credentials are wrong or expired.
    InvalidCredentials,
    /// The credentials are fine but may not do this.
    Denied,
    /// AWS throttles the calls.
    Throttled,
    /// A quota of the account is used up.
    Quota,
    /// The resource does not exist.
    NotFound,
    /// The resource exists already.
    AlreadyExists,
    /// Something else depends on the resource.
    InUse,
    /// Any other answer of the service.
    Other,
}

/// A failed call to AWS.
#[derive(Debug)]
pub struct CallError {
    operation: &'static str,
    failure: CallFailure,
    code: Option<String>,
    message: String,
    source: Box<dyn Error + Send + Sync>,
}

impl CallError {
    /// Wraps the error of calling `operation` (in AWS's spelling, for example `CreateVpc`).
    pub fn new<E, R>(operation: &'static str, error: SdkError<E, R>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
        R: fmt::Debug + Send + Sync + 'static,
    {
        let code = error.code().map(str::to_owned);
        let message = error.message().map(str::to_owned);
        let message = message.unwrap_or_else(|| innermost(&error));
        let failure = match &error {
            SdkError::DispatchFailure(failure) if failure.is_timeout() => CallFailure::TimedOut,
            // A failed identity provider is a connector error of the kind "other".
            SdkError::DispatchFailure(failure) if failure.is_other() => no_credentials(&error),
            SdkError::DispatchFailure(_) => CallFailure::Unreachable,
            SdkError::TimeoutError(_) => CallFailure::TimedOut,
            SdkError::ConstructionFailure(_) => no_credentials(&error),
            _ => code.as_deref().map_or(CallFailure::Other, of_code),
        };
        Self {
            operation,
            failure,
            code,
            message,
            source: Box::new(error),
        }
    }

    /// The operation that was called, in AWS's spelling.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The service's error code, for example `InvalidVpcID.NotFound`.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The service's message, or the innermost cause if there was no answer.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Why it failed.
    pub fn failure(&self) -> CallFailure {
        self.failure
    }

    /// Whether the resource does not exist.
    pub fn is_not_found(&self) -> bool {
        self.failure == CallFailure::NotFound
    }

    /// Whether the resource exists already.
    pub fn is_already_there(&self) -> bool {
        self.failure == CallFailure::AlreadyExists
    }

    /// Whether something else still depends on the resource.
    pub fn is_in_use(&self) -> bool {
        self.failure == CallFailure::InUse
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self.failure {
            CallFailure::Unreachable => {
                "check the network, the region's name, and aws.endpoint_url if one is set"
            }
            CallFailure::TimedOut => {
                "check the network and try again; every command can be repeated"
            }
            CallFailure::NoCredentials => {
                "log in (`aws sso login`, `aws configure`), or set AWS_PROFILE or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            CallFailure::InvalidCredentials => {
                "the credentials are wrong or have expired: log in again"
            }
            CallFailure::Denied => {
                return Some(format!(
                    "these credentials lack permission for {}: use an identity that may do it",
                    self.operation
                ));
            }
            CallFailure::Throttled => "AWS asks to slow down: try again in a minute",
            CallFailure::Quota => "ask for a higher limit in the console of Service Quotas",
            CallFailure::NotFound
            | CallFailure::AlreadyExists
            | CallFailure::InUse
            | CallFailure::Other => return None,
        };
        Some(hint.to_owned())
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            operation, message, ..
        } = self;
        match (&self.code, self.failure) {
            (Some(code), _) => write!(f, "AWS refused {operation}: {message} ({code})"),
            (None, CallFailure::Unreachable) => {
                write!(f, "cannot reach AWS for {operation}: {message}")
            }
            (None, CallFailure::TimedOut) => write!(f, "no answer from AWS to {operation}"),
            (None, CallFailure::NoCredentials) => write!(f, "no AWS credentials for {operation}"),
            (None, _) => write!(f, "{operation} failed: {message}"),
        }
    }
}

impl Error for CallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Converts the SDK's results to ones with [`CallError`].
pub trait ServiceResultExt<T> {
    /// Adds the name of the operation, in AWS's spelling.
    ///
    /// # Errors
    /// The SDK's error as a [`CallError`].
    fn calling(self, operation: &'static str) -> Result<T, CallError>;
}

impl<T, E, R> ServiceResultExt<T> for Result<T, SdkError<E, R>>
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: fmt::Debug + Send + Sync + 'static,
{
    fn calling(self, operation: &'static str) -> Result<T, CallError> {
        self.map_err(|error| CallError::new(operation, error))
    }
}

/// The text of the last error in the chain, which names the cause.
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// [`CallFailure::NoCredentials`] if the chain contains that cause.
fn no_credentials(error: &dyn Error) -> CallFailure {
    let mut link = Some(error);
    while let Some(error) = link {
        let text = error.to_string().to_ascii_lowercase();
        if text.contains("credential") || text.contains("identity") {
            return CallFailure::NoCredentials;
        }
        link = error.source();
    }
    CallFailure::Other
}

/// The meaning of a service's error code. EC2 models no error types, only codes.
fn of_code(code: &str) -> CallFailure {
    match code {
        "AuthFailure"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidAccessKeyId"
        | "UnrecognizedClientException"
        | "RequestExpired"
        | "InvalidToken" => CallFailure::InvalidCredentials,
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => CallFailure::Denied,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "SlowDown"
        | "TooManyRequestsException" => CallFailure::Throttled,
        "DependencyViolation"
        | "ResourceInUse"
        | "DeleteConflict"
        | "BucketNotEmpty"
        | "InvalidIPAddress.InUse" => CallFailure::InUse,
        "EntityAlreadyExists"
        | "AlreadyExists"
        | "AlreadyExistsFault"
        | "BucketAlreadyOwnedByYou"
        | "ResourceAlreadyExistsException"
        | "ParameterAlreadyExists"
        | "RouteAlreadyExists"
        | "Resource.AlreadyAssociated" => CallFailure::AlreadyExists,
        "Gateway.NotAttached" => CallFailure::NotFound,
        code if code.starts_with("NoSuch") || code.contains("NotFound") => CallFailure::NotFound,
        code if code.ends_with(".Duplicate") || code.ends_with(".AlreadyExistsException") => {
            CallFailure::AlreadyExists
        }
        code if code.ends_with("LimitExceeded") || code.ends_with("QuotaExceeded") => {
            CallFailure::Quota
        }
        _ => CallFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    /// A service error like EC2's: a code and a message.
    #[derive(Debug)]
    struct Answer(ErrorMetadata);

    impl fmt::Display for Answer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "service error")
        }
    }

    impl Error for Answer {}

    impl ProvideErrorMetadata for Answer {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    fn answered(code: &str, message: &str) -> CallError {
        let answer = Answer(ErrorMetadata::builder().code(code).message(message).build());
        CallError::new(
            "CreateVpc",
            SdkError::<Answer, ()>::service_error(answer, ()),
        )
    }

    #[test]
    fn the_services_message_is_kept() {
        let error = answered(
            "VpcLimitExceeded",
            "The maximum number of VPCs has been reached.",
        );
        assert_eq!(
            error.to_string(),
            "AWS refused CreateVpc: The maximum number of VPCs has been reached. (VpcLimitExceeded)"
        );
        assert_eq!(error.failure(), CallFailure::Quota);
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("Service Quotas"))
        );
    }

    #[test]
    fn codes_are_classified() {
        for (code, failure) in [
            ("InvalidVpcID.NotFound", CallFailure::NotFound),
            ("InvalidGroup.Duplicate", CallFailure::AlreadyExists),
            (
                "InvalidLaunchTemplateName.NotFoundException",
                CallFailure::NotFound,
            ),
            ("DependencyViolation", CallFailure::InUse),
            ("UnauthorizedOperation", CallFailure::Denied),
            ("RequestLimitExceeded", CallFailure::Throttled),
            ("ExpiredToken", CallFailure::InvalidCredentials),
            ("InvalidParameterValue", CallFailure::Other),
        ] {
            assert_eq!(answered(code, "x").failure(), failure, "{code}");
        }
    }

    #[test]
    fn an_unreachable_endpoint_is_reported() {
        let refused = std::io::Error::other("connection refused");
        let error = SdkError::<Answer, ()>::dispatch_failure(ConnectorError::io(refused.into()));
        let error = CallError::new("DescribeVpcs", error);
        assert_eq!(error.failure(), CallFailure::Unreachable);
        assert_eq!(
            error.to_string(),
            "cannot reach AWS for DescribeVpcs: connection refused"
        );
    }

    #[test]
    fn missing_credentials_are_reported() {
        let missing = "no providers in chain provided credentials";
        let error = ConnectorError::other(missing.into(), None);
        let error = CallError::new("CreateVpc", SdkError::<Answer, ()>::dispatch_failure(error));
        assert_eq!(error.failure(), CallFailure::NoCredentials);
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("AWS_PROFILE"))
        );
    }
}
