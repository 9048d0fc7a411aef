//! What EC2's error codes mean for the next launch: one table.
//!
//! The codes are those of the EC2 API reference (*Error codes for the Amazon EC2 API*), as they
//! appear both in a failed call and in the `Errors` of a fleet of type `instant`.

use onspot_reconcile::{CallError, CallFailure};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Why EC2 launched nothing, classified by what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The pool is empty for now: another one may have capacity.
    Capacity,
    /// The pool does not exist: its zone does not have the type.
    NotOffered,
    /// The most that may be paid for a spot instance is less than it costs now.
    Price,
    /// A limit of the account or of one of its resources is used up.
    Limit,
    /// Too many calls.
    Throttled,
    /// EC2 has a problem of its own.
    Fault,
    /// The request can't succeed until somebody changes something.
    Configuration,
}

/// How a launch failed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchFailure {
    /// EC2 said no: nothing was launched.
    Refused(Refusal),
    /// There was no answer, or the answer does not say whether something was launched.
    Unknown,
    /// The same token was sent before with other parameters, which decided what it launches.
    TokenUsed,
}

/// The codes of a maximum spot price that is too low.
const PRICE: &[&str] = &["SpotMaxPriceTooLow"];

const CAPACITY: &[&str] = &[
    "InsufficientAddressCapacity",
    "InsufficientCapacity",
    "InsufficientCapacityOnHost",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientReservedInstancesCapacity",
    "InsufficientVolumeCapacity",
    "ReservationCapacityExceeded",
    "UnfulfillableCapacity",
];

/// The codes of used-up limits that do not end in `LimitExceeded` or `QuotaExceeded`.
const LIMITS: &[&str] = &[
    "InsufficientFreeAddressesInSubnet",
    "MaxConfigLimitExceededException",
    "MaxFleetCountExceeded",
    "MaxSpotFleetRequestCountExceeded",
    "MaxSpotInstanceCountExceeded",
    "PendingVerification",
    "ResourceCountExceeded",
    "TargetCapacityLimitExceededException",
];

const THROTTLED: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

const FAULTS: &[&str] = &[
    "ConcurrentModification",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServerInternal",
    "ServiceUnavailable",
    "Unavailable",
];

/// The codes of a wrong configuration that do not begin with one of [`WRONG`].
const CONFIGURATION: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "Blocked",
    "EncryptedVolumesNotSupported",
    "IncorrectState",
    "InstanceTpmEkPubNotFound",
    "OperationNotPermitted",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "TagPolicyViolation",
    "UnauthorizedOperation",
    "VPCIdNotSpecified",
    "ValidationError",
    "VolumeTypeNotAvailableInZone",
];

/// How the codes begin that say that the request, or a resource it names, is wrong.
const WRONG: &[&str] = &[
    "AuthFailure.",
    "Invalid",
    "Malformed",
    "Missing",
    "NoSuch",
    "Unknown",
    "Unsupported",
];

/// Part of EC2's message when a zone does not offer a type, which the code alone does not tell.
const NOT_IN_ZONE: &str = "is not supported in your requested Availability Zone";

impl Refusal {
    /// What `code` and `message` mean. A code that is in no table counts as a fault: the launch is
    /// retried, and nothing more expensive is bought instead.
    pub fn of(code: &str, message: &str) -> Self {
        let ours = |table: &[&str]| table.contains(&code);
        // In a fleet, "Unsupported" is about one of its types: in that zone, or as spot.
        if message.contains(NOT_IN_ZONE) || code == "Unsupported" {
            Self::NotOffered
        } else if ours(PRICE) {
            Self::Price
        } else if ours(CAPACITY) {
            Self::Capacity
        } else if ours(THROTTLED) {
            Self::Throttled
        } else if ours(LIMITS) || is_limit(code) {
            Self::Limit
        } else if ours(FAULTS) {
            Self::Fault
        } else if ours(CONFIGURATION) || WRONG.iter().any(|start| code.starts_with(start)) {
            Self::Configuration
        } else {
            Self::Fault
        }
    }

    /// What to do about it, if somebody has to do something.
    pub fn hint(self, code: &str) -> Option<&'static str> {
        match self {
            Self::Capacity | Self::Throttled | Self::Fault => None,
            Self::NotOffered => Some("choose types that the zones have"),
            Self::Price => Some("raise `spot_price`, or leave it out"),
            Self::Limit => Some(match code {
                "InsufficientFreeAddressesInSubnet" => "use larger subnets, or more of them",
                "PendingVerification" => "AWS verifies the account: wait, or ask its support",
                _ => quota(code).map_or(
                    "ask for a higher limit in the console of Service Quotas",
                    |(_, hint)| hint,
                ),
            }),
            Self::Configuration => Some(match code {
                "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
                    "give the managers' role the permission: run `onspot up` again, and look for \
                     service control policies of the organisation"
                }
                "TagPolicyViolation" => {
                    "a tag policy of the organisation forbids these tags: ask for an exception"
                }
                code if code.starts_with("InvalidAMI") => {
                    "choose an image that exists, and run `onspot up` again"
                }
                code if code.starts_with("AuthFailure.ServiceLinkedRole") => {
                    "run `onspot up` again: it makes the service-linked roles"
                }
                _ => "mend the configuration, and run `onspot up` again",
            }),
        }
    }
}

/// The name of the quota behind a code in the console of Service Quotas.
pub fn quota_name(code: &str) -> Option<&'static str> {
    quota(code).map(|(name, _)| name)
}

/// The maximum price and the current price, from EC2's message about a bid that is too low: "Your
/// Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of
/// 0.0041."
pub fn prices_in(message: &str) -> Option<(&str, &str)> {
    let words = message.split_whitespace();
    let mut prices = words
        .map(|word| {
            word.trim_start_matches('$')
                .trim_end_matches(['.', ',', ';'])
        })
        .filter(|word| word.parse::<f64>().is_ok_and(f64::is_finite));
    Some((prices.next()?, prices.next()?))
}

/// The quota's name, and where to request an increase.
fn quota(code: &str) -> Option<(&'static str, &'static str)> {
    Some(match code {
        "MaxSpotInstanceCountExceeded" | "MaxSpotFleetRequestCountExceeded" => (
            "the quota of spot instances (in vCPUs, a family of types)",
            "ask for more of \"All Standard Spot Instance Requests\" in Service Quotas, or lower \
             `limit`",
        ),
        "VcpuLimitExceeded" | "InstanceLimitExceeded" => (
            "the quota of on-demand instances (in vCPUs, a family of types)",
            "ask for more of \"Running On-Demand Standard instances\" in Service Quotas, or lower \
             `limit`",
        ),
        "MaxFleetCountExceeded" | "TargetCapacityLimitExceededException" => (
            "the quota of EC2 fleets",
            "ask for more EC2 fleets, or more target capacity of them, in Service Quotas",
        ),
        "VolumeLimitExceeded" | "MaxIOPSLimitExceeded" | "VolumeIOPSLimit" => (
            "the quota of EBS storage",
            "ask for more storage of gp3 volumes in Service Quotas",
        ),
        "InsufficientFreeAddressesInSubnet" => {
            ("the free addresses of the subnet", "use larger subnets")
        }
        _ => return None,
    })
}

fn is_limit(code: &str) -> bool {
    let parts = ["LimitExceeded", "QuotaExceeded", "CountExceeded"];
    parts.iter().any(|part| code.contains(part))
}

impl Error {
    /// What this error means if a launch failed with it.
    pub fn launch_failure(&self) -> LaunchFailure {
        match self {
            Self::Call(call) => of_call(call),
            Self::Incomplete { .. } | Self::TooSlow { .. } => LaunchFailure::Unknown,
            Self::Tag(_)
            | Self::NoImage { .. }
            | Self::NoTemplate { .. }
            | Self::UserData { .. }
            | Self::CannotLaunch { .. } => LaunchFailure::Refused(Refusal::Configuration),
        }
    }
}

fn of_call(call: &CallError) -> LaunchFailure {
    match (call.code(), call.failure()) {
        (Some("IdempotentParameterMismatch"), _) => LaunchFailure::TokenUsed,
        // A role's credentials renew themselves.
        (Some("RequestExpired" | "ExpiredToken" | "InvalidClientTokenId"), _)
        | (None, CallFailure::NoCredentials) => LaunchFailure::Refused(Refusal::Fault),
        // An internal error of EC2 does not say whether it launched something before.
        (Some(code), _) if FAULTS.contains(&code) => LaunchFailure::Unknown,
        (Some(code), _) => LaunchFailure::Refused(Refusal::of(code, call.message())),
        (None, _) => LaunchFailure::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_the_reference_is_in_its_class() {
        use Refusal::{Capacity, Configuration, Fault, Limit, NotOffered, Price, Throttled};
        for (code, refusal) in [
            ("InsufficientInstanceCapacity", Capacity),
            ("UnfulfillableCapacity", Capacity),
            ("InsufficientHostCapacity", Capacity),
            ("ReservationCapacityExceeded", Capacity),
            ("Unsupported", NotOffered),
            ("SpotMaxPriceTooLow", Price),
            ("MaxFleetCountExceeded", Limit),
            ("MaxSpotInstanceCountExceeded", Limit),
            ("MaxSpotFleetRequestCountExceeded", Limit),
            ("VcpuLimitExceeded", Limit),
            ("InstanceLimitExceeded", Limit),
            ("VolumeLimitExceeded", Limit),
            ("MaxIOPSLimitExceeded", Limit),
            ("TargetCapacityLimitExceededException", Limit),
            ("InsufficientFreeAddressesInSubnet", Limit),
            ("RequestLimitExceeded", Throttled),
            ("EC2ThrottledException", Throttled),
            ("Throttling", Throttled),
            ("InternalError", Fault),
            ("ServiceUnavailable", Fault),
            ("SomethingThatAwsInventsTomorrow", Fault),
            ("UnauthorizedOperation", Configuration),
            ("AuthFailure", Configuration),
            (
                "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
                Configuration,
            ),
            ("InvalidAMIID.NotFound", Configuration),
            ("InvalidBlockDeviceMapping", Configuration),
            ("InvalidFleetConfig", Configuration),
            ("InvalidFleetConfiguration", Configuration),
            ("InvalidLaunchTemplateName.NotFoundException", Configuration),
            ("InvalidParameterCombination", Configuration),
            ("InvalidParameterValue", Configuration),
            ("InvalidSecurityGroupID.NotFound", Configuration),
            ("InvalidSubnetID.NotFound", Configuration),
            ("MissingParameter", Configuration),
            ("OptInRequired", Configuration),
            ("TagPolicyViolation", Configuration),
            ("UnsupportedOperation", Configuration),
        ] {
            assert_eq!(Refusal::of(code, ""), refusal, "{code}");
        }
    }

    #[test]
    fn a_type_that_a_zone_lacks_is_no_wrong_configuration() {
        let message = "Your requested instance type (c5.large) is not supported in your requested \
                       Availability Zone (us-east-1e).";
        assert_eq!(
            Refusal::of("InvalidFleetConfiguration", message),
            Refusal::NotOffered
        );
    }

    #[test]
    fn a_bid_that_is_too_low_is_shown_beside_the_price() {
        let message = "Your Spot request price of 0.001 is lower than the minimum required Spot \
                       request fulfillment price of 0.0041.";
        assert_eq!(prices_in(message), Some(("0.001", "0.0041")));
        assert_eq!(prices_in("The price is too low."), None);
    }

    #[test]
    fn a_limit_is_named_with_what_to_do() {
        for code in LIMITS.iter().chain(&["VcpuLimitExceeded"]) {
            assert!(Refusal::Limit.hint(code).is_some(), "{code}");
        }
        let spot = quota_name("MaxSpotInstanceCountExceeded");
        assert!(spot.is_some_and(|name| name.contains("spot instances")));
    }
}
