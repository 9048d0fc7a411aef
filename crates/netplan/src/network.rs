//! The network as the other layers use it: ids.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Member, Nat, Role, Tier};

/// A subnet and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubnetId {
    /// EC2's id, for example `subnet-0a1b2c3d`.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
}

/// The ids of a network that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The VPC.
    pub vpc_id: String,
    /// The public subnets, ordered by zone.
    pub public_subnets: Vec<SubnetId>,
    /// The private subnets, ordered by zone.
    pub private_subnets: Vec<SubnetId>,
    /// The managers' security group.
    pub manager_sg: String,
    /// The workers' security group.
    pub worker_sg: String,
    /// How private instances reach the internet.
    pub nat: Nat,
}

impl Network {
    /// The network that these ids make up.
    pub(crate) fn of(ids: &BTreeMap<Role, String>, nat: Nat) -> Result<Self, Error> {
        let one = |role: Role| {
            let id = ids.get(&role).cloned();
            id.ok_or_else(|| Error::Missing {
                role: role.to_string(),
            })
        };
        let subnets = |wanted: Tier| {
            let subnet = |(role, id): (&Role, &String)| match role {
                Role::Subnet(tier, zone) if *tier == wanted => Some(SubnetId {
                    id: id.clone(),
                    zone: zone.clone(),
                }),
                _ => None,
            };
            ids.iter().filter_map(subnet).collect()
        };
        Ok(Self {
            vpc_id: one(Role::Vpc)?,
            public_subnets: subnets(Tier::Public),
            private_subnets: subnets(Tier::Private),
            manager_sg: one(Role::SecurityGroup(Member::Manager))?,
            worker_sg: one(Role::SecurityGroup(Member::Worker))?,
            nat,
        })
    }

    /// The subnets of managers and workers: the private ones if they reach the internet, else the
    /// public ones.
    pub fn instance_subnets(&self) -> &[SubnetId] {
        match self.nat {
            Nat::Gateway => &self.private_subnets,
            Nat::None => &self.public_subnets,
        }
    }
}
