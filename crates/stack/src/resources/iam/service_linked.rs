//! The roles with which EC2 Spot and EC2 Fleet act for an account. A new account lacks them, and
//! its fleet requests fail until they exist.

/// A role that belongs to an AWS service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceLinkedRole {
    /// EC2 Spot's.
    Spot,
    /// EC2 Fleet's.
    Fleet,
}

impl ServiceLinkedRole {
    /// All that a stack needs.
    pub const ALL: [Self; 2] = [Self::Spot, Self::Fleet];

    /// What plans call it.
    pub(crate) const RESOURCE: &str = "service-linked role";

    /// Its name, which AWS chooses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spot => "AWSServiceRoleForEC2Spot",
            Self::Fleet => "AWSServiceRoleForEC2Fleet",
        }
    }

    /// The service that it is linked to.
    pub fn service(self) -> &'static str {
        match self {
            Self::Spot => "spot.amazonaws.com",
            Self::Fleet => "ec2fleet.amazonaws.com",
        }
    }
}
