//! The parts of a network. `observe` recognises each by its role tag.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a subnet reaches the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Straight to the internet gateway.
    Public,
    /// Behind NAT, or without any way out.
    Private,
}

/// Whom a security group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// The managers.
    Manager,
    /// The workers.
    Worker,
}

/// One part of a stack's network. Its `Display` is the value of the tag `onspot:role`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The VPC.
    Vpc,
    /// The internet gateway.
    InternetGateway,
    /// A subnet, by tier and zone.
    Subnet(Tier, String),
    /// The elastic address of the NAT gateway.
    NatAddress,
    /// The NAT gateway.
    NatGateway,
    /// The route table of a tier.
    Routes(Tier),
    /// The gateway endpoint of a service, for example of `s3`.
    Endpoint(String),
    /// A security group.
    SecurityGroup(Member),
}

impl Role {
    /// The kind of resource, in a plan's words.
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::InternetGateway => "internet gateway",
            Self::Subnet(..) => "subnet",
            Self::NatAddress => "elastic address",
            Self::NatGateway => "nat gateway",
            Self::Routes(_) => "route table",
            Self::Endpoint(_) => "vpc endpoint",
            Self::SecurityGroup(_) => "security group",
        }
    }

    /// The resource's `Name` in `stack`.
    pub fn name(&self, stack: &str) -> String {
        match self {
            Self::Vpc => format!("onspot-{stack}"),
            other => format!("onspot-{stack}-{other}"),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
        })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vpc => f.write_str("vpc"),
            Self::InternetGateway => f.write_str("internet-gateway"),
            Self::Subnet(tier, zone) => write!(f, "{tier}-{zone}"),
            Self::NatAddress => f.write_str("nat-address"),
            Self::NatGateway => f.write_str("nat-gateway"),
            Self::Routes(tier) => write!(f, "{tier}-routes"),
            Self::Endpoint(service) => write!(f, "{service}-endpoint"),
            Self::SecurityGroup(member) => write!(f, "{member}-security-group"),
        }
    }
}

/// A role tag that no part of a network has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no part of a network")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "vpc" => Self::Vpc,
            "internet-gateway" => Self::InternetGateway,
            "nat-address" => Self::NatAddress,
            "nat-gateway" => Self::NatGateway,
            "public-routes" => Self::Routes(Tier::Public),
            "private-routes" => Self::Routes(Tier::Private),
            "manager-security-group" => Self::SecurityGroup(Member::Manager),
            "worker-security-group" => Self::SecurityGroup(Member::Worker),
            other => {
                if let Some(service) = other.strip_suffix("-endpoint") {
                    Self::Endpoint(service.to_owned())
                } else if let Some(zone) = other.strip_prefix("public-") {
                    Self::Subnet(Tier::Public, zone.to_owned())
                } else if let Some(zone) = other.strip_prefix("private-") {
                    Self::Subnet(Tier::Private, zone.to_owned())
                } else {
                    return Err(UnknownRole(other.to_owned()));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_back_from_its_tag() {
        let zone = || "eu-west-1a".to_owned();
        for role in [
            Role::Vpc,
            Role::InternetGateway,
            Role::Subnet(Tier::Public, zone()),
            Role::Subnet(Tier::Private, zone()),
            Role::NatAddress,
            Role::NatGateway,
            Role::Routes(Tier::Public),
            Role::Routes(Tier::Private),
            Role::Endpoint("s3".to_owned()),
            Role::SecurityGroup(Member::Manager),
            Role::SecurityGroup(Member::Worker),
        ] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("worker".parse::<Role>().is_err());
    }
}
